//! `rapl`: energy used by packages and their parts, of `/sys/class/powercap`
//! (Documentation/power/powercap/powercap.rst).
//!
//! Must not know what the parts do.

use crate::host::directory::Directory;
use crate::host::parse::{any_number, scaled};
use crate::host::root::{KernelFile, Root, read_once};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Family, Labels};
use std::collections::BTreeMap;
use std::sync::Arc;

const BY_NAME: Family = Family::counter(
    "node_rapl_*_joules_total",
    &["index", "path"],
    "Energy used by the zone that the name names.",
);
const BY_LABEL: Family = Family::counter(
    "node_rapl_joules_total",
    &["index", "path", "rapl_zone"],
    "Energy used by the zone.",
);
/// The kernel says millionths of a joule.
const MICRO: f64 = 1e-6;

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "rapl", families: &[BY_NAME, BY_LABEL], parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    enable_zone_label: bool,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { enable_zone_label } = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |root: &Arc<Root>| {
        let folder = Directory::new(root.sysfs.join("class/powercap"));
        Box::new(Rapl { folder, with_label: enable_zone_label, zones: BTreeMap::new() })
    }))
}

struct Rapl {
    folder: Directory,
    with_label: bool,
    /// By the part of a family's name that is theirs.
    zones: BTreeMap<String, Vec<Zone>>,
}

struct Zone {
    labels: Labels,
    energy: KernelFile,
}

impl Collector for Rapl {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.update()?;
        if self.with_label {
            pass.batch.begin(&BY_LABEL);
        }
        for (name, zones) in &mut self.zones {
            if !self.with_label {
                pass.batch.begin_named(&BY_NAME, name.as_bytes());
            }
            for zone in zones {
                let text = match zone.energy.read(pass.buffer) {
                    Err(Error::NoData(_)) => continue,
                    text => text?,
                };
                if let Some(value) = any_number(text) {
                    pass.batch.sample_with(&zone.labels, scaled(value, MICRO));
                }
            }
        }
        Ok(())
    }
}

impl Rapl {
    fn update(&mut self) -> Result<(), Error> {
        let top = self.folder.path().to_owned();
        let names = self.folder.list()?;
        if !names.has_changed() {
            return Ok(());
        }
        self.zones.clear();
        let mut used = BTreeMap::new();
        for folder in names.iter() {
            let path = top.join(folder);
            let Ok(text) = read_once(&path.join("name")) else { continue };
            let (name, index) = numbered(&String::from_utf8_lossy(&text), &mut used);
            let (index, shown) = (index.to_string(), path.to_string_lossy());
            let mut labels = vec![("index", index.as_str()), ("path", &shown)];
            if self.with_label {
                labels.push(("rapl_zone", &name));
            }
            let labels = Labels::new(&labels);
            let energy = KernelFile::new(path.join("energy_uj")).single();
            self.zones.entry(name).or_default().push(Zone { labels, energy });
        }
        Ok(())
    }
}

/// `package-1` is number 1 of its name; what has no number is counted.
fn numbered(name: &str, used: &mut BTreeMap<String, u32>) -> (String, u32) {
    if let Some((name, number)) = name.split_once('-')
        && let Ok(number) = number.parse()
    {
        return (name.to_owned(), number);
    }
    let count = used.entry(name.to_owned()).or_default();
    let number = *count;
    *count += 1;
    (name.to_owned(), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_numbered() {
        let mut used = BTreeMap::new();
        let names = ["package-1", "core", "dram", "core", "psys-x"];
        let shown = names.map(|name| numbered(name, &mut used));
        let wanted = [("package", 1), ("core", 0), ("dram", 0), ("core", 1), ("psys-x", 0)];
        assert_eq!(shown, wanted.map(|(name, number)| (name.to_owned(), number)));
    }
}
