//! `lnstat`: statistics of the network's caches by cpu, of `/proc/net/stat` (lnstat(8)).
//!
//! Must not know what the columns mean: their names are the kernel's.

use super::net;
use crate::host::directory::Directory;
use crate::host::gathered::Gathered;
use crate::host::parse::{hexadecimal, lines, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass, if_there};
use crate::metric::Family;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

const FAMILIES: [Family; 1] = [Family::counter(
    "node_lnstat_*_total",
    &["cpu", "subsystem"],
    "The kernel's own count of that name.",
)];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "lnstat", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let folder = net::file(root, "stat").path().to_owned();
        Box::new(LnStat {
            folder: Directory::new(folder),
            files: Table::default(),
            gathered: Gathered::default(),
        })
    }))
}

struct LnStat {
    folder: Directory,
    files: Table<(String, KernelFile)>,
    gathered: Gathered,
}

impl Collector for LnStat {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let top = self.folder.path().to_owned();
        let Some(names) = if_there(self.folder.list())? else { return Ok(()) };
        self.files.begin();
        for name in names.iter() {
            self.files.meet(name.as_bytes(), || {
                (name.to_string_lossy().into_owned(), KernelFile::new(top.join(name)))
            });
        }
        self.files.end();
        self.gathered.clear();
        for (subsystem, file) in self.files.rows_mut() {
            let text = file.read(pass.buffer)?;
            gather(subsystem, text, &mut self.gathered)?;
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

/// A line of names, then a line of hexadecimal numbers for each cpu.
fn gather(subsystem: &str, text: &[u8], gathered: &mut Gathered) -> Result<(), Error> {
    let mut lines = lines(text);
    let names: Vec<_> = words(lines.next().unwrap_or_default()).collect();
    for (cpu, line) in lines.enumerate() {
        let cpu = cpu.to_string();
        for (name, word) in names.iter().zip(words(line)) {
            let count = hexadecimal(word).ok_or_else(|| {
                let what = "wanted hexadecimal numbers";
                Error::Parse(format!("net/stat/{subsystem}: {what}, found {}", quoted(line)))
            })?;
            let labels = [("cpu", cpu.as_str()), ("subsystem", subsystem)];
            gathered.add_named(0, name, &labels, count as f64);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_is_told() {
        let mut gathered = Gathered::default();
        assert!(gather("arp_cache", b"entries hits\n0000000a 1\n", &mut gathered).is_ok());
        let error = gather("arp_cache", b"entries\nxyz\n", &mut gathered).unwrap_err();
        assert!(error.to_string().starts_with("net/stat/arp_cache: wanted hexadecimal"), "{error}");
    }
}
