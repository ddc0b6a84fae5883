//! For the collector `cpu`: throttling of cores and packages, and isolated cpus, of
//! `/sys/devices/system/cpu` (Documentation/ABI/testing/sysfs-devices-system-cpu).
//!
//! Must not know what cpus spend their time on.

use crate::host::parse::{integer, number};
use crate::host::root::{KernelFile, Root, read_once};
use crate::host::{Error, Pass};
use crate::metric::{Family, Labels};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) const CORE_THROTTLES: Family = Family::counter(
    "node_cpu_core_throttles_total",
    &["package", "core"],
    "How often a core was slowed down because of its heat.",
);
pub(super) const PACKAGE_THROTTLES: Family = Family::counter(
    "node_cpu_package_throttles_total",
    &["package"],
    "How often a package was slowed down because of its heat.",
);
pub(super) const ISOLATED: Family = Family::gauge(
    "node_cpu_isolated",
    &["cpu"],
    "A cpu that is kept free of the scheduler's choice. Always 1.",
);

/// What is known of the cpus: looked for at the first pass, and when cpus come or go.
pub(super) struct Topology {
    folder: PathBuf,
    cores: Vec<(Labels, KernelFile)>,
    packages: Vec<(Labels, KernelFile)>,
    isolated: Vec<Labels>,
}

impl Topology {
    pub(super) fn new(root: &Root) -> Self {
        let folder = root.sysfs.join("devices/system/cpu");
        Self { folder, cores: Vec::new(), packages: Vec::new(), isolated: Vec::new() }
    }

    /// Looks for counters and isolated cpus. The cpus of a core share its counter, and those of a
    /// package the package's: the first cpu that has one is taken.
    pub(super) fn discover(&mut self) {
        let (mut cores, mut packages) = (BTreeMap::new(), BTreeMap::new());
        for cpu in cpu_folders(&self.folder) {
            let identity = |file| integer(&read_once(&cpu.join("topology").join(file)).ok()?);
            let Some(package) = identity("physical_package_id") else { continue };
            let Some(core) = identity("core_id") else { continue };
            let counter = |file| {
                let path = cpu.join("thermal_throttle").join(file);
                path.exists().then(|| KernelFile::new(path).single())
            };
            if let Some(file) = counter("core_throttle_count") {
                cores.entry((package, core)).or_insert(file);
            }
            if let Some(file) = counter("package_throttle_count") {
                packages.entry(package).or_insert(file);
            }
        }
        let core_labels = |((package, core), file): ((u64, u64), _)| {
            let pairs = [("package", &*package.to_string()), ("core", &*core.to_string())];
            (Labels::new(&pairs), file)
        };
        let package_labels =
            |(package, file): (u64, _)| (Labels::new(&[("package", &package.to_string())]), file);
        self.cores = cores.into_iter().map(core_labels).collect();
        self.packages = packages.into_iter().map(package_labels).collect();
        self.isolated = read_once(&self.folder.join("isolated"))
            .map(|text| parse_list(&text))
            .unwrap_or_default()
            .into_iter()
            .map(|cpu| Labels::new(&[("cpu", &cpu.to_string())]))
            .collect();
    }

    pub(super) fn emit(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        pass.batch.begin(&ISOLATED);
        for labels in &self.isolated {
            pass.batch.sample_with(labels, 1.0);
        }
        for (family, counters) in
            [(&PACKAGE_THROTTLES, &mut self.packages), (&CORE_THROTTLES, &mut self.cores)]
        {
            pass.batch.begin(family);
            for (labels, file) in counters {
                // A cpu may go at any moment, and its files with it.
                let text = file.read_if_there(pass.buffer);
                if let Some(count) = text.and_then(|text| number(text.trim_ascii())) {
                    pass.batch.sample_with(labels, count);
                }
            }
        }
        Ok(())
    }
}

/// The folders `cpu0`, `cpu1`, …, by number.
fn cpu_folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let number = integer(name.as_encoded_bytes().strip_prefix(b"cpu")?)?;
        Some((number, entry.path()))
    };
    let mut folders: Vec<_> = entries.filter_map(number).collect();
    folders.sort();
    folders.into_iter().map(|(_, path)| path).collect()
}

/// Reads a list of cpus, `1,3-5,9`. What cannot be read is left out.
fn parse_list(text: &[u8]) -> Vec<u16> {
    let cpu = |text: &[u8]| u16::try_from(integer(text.trim_ascii())?).ok();
    let mut cpus = Vec::new();
    for part in text.split(|&byte| byte == b',') {
        let mut ends = part.splitn(2, |&byte| byte == b'-').map(cpu);
        match (ends.next().flatten(), ends.next()) {
            (Some(first), None) => cpus.push(first),
            (Some(first), Some(Some(last))) => cpus.extend(first..=last),
            _ => {}
        }
    }
    cpus.sort_unstable();
    cpus.dedup();
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(parse_list(b"1,3-5,9\n"), [1, 3, 4, 5, 9]);
        assert_eq!(parse_list(b"2-2,2"), [2]);
        for rubbish in [&b""[..], b"\n", b"x", b"1-", b"-1", b"5-3", b"99999", b"\xff"] {
            assert!(parse_list(rubbish).is_empty(), "{rubbish:?}");
        }
    }
}
