//! `cgroups`: control groups by controller, of `/proc/cgroups` (cgroups(7)).
//!
//! Must not know what is in them.

use crate::host::gathered::Gathered;
use crate::host::parse::{lines, number, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const FAMILIES: [Family; 2] = [
    Family::gauge("node_cgroups_cgroups", &["subsys_name"], "Control groups of the controller."),
    Family::gauge("node_cgroups_enabled", &["subsys_name"], "Whether the controller is on."),
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "cgroups", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Cgroups { file: root.proc("cgroups").single(), gathered: Gathered::default() })
    }))
}

struct Cgroups {
    file: KernelFile,
    gathered: Gathered,
}

impl Collector for Cgroups {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        let text = self.file.read(pass.buffer)?;
        for line in lines(text).filter(|line| !line.starts_with(b"#")) {
            gather(line, &mut self.gathered).ok_or_else(|| {
                let what = "wanted a name and three numbers";
                Error::Parse(format!("cgroups: {what}, found {}", quoted(line)))
            })?;
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

/// `NAME HIERARCHY CGROUPS ENABLED`
fn gather(line: &[u8], gathered: &mut Gathered) -> Option<()> {
    let mut words = words(line);
    let name = String::from_utf8_lossy(words.next()?);
    let labels = [("subsys_name", &*name)];
    let groups = number(words.nth(1)?)?;
    gathered.add(0, &labels, groups);
    gathered.add(1, &labels, number(words.next()?)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_is_told() {
        let mut gathered = Gathered::default();
        assert!(gather(b"cpu\t3\t172\t1", &mut gathered).is_some());
        for line in ["", "cpu", "cpu 3 172", "cpu 3 x 1"] {
            assert!(gather(line.as_bytes(), &mut gathered).is_none(), "{line}");
        }
    }
}
