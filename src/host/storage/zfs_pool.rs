//! For `zfs`: a pool and its datasets, of the folder that the pool has in `/proc/spl/kstat/zfs`.
//!
//! Must not know what is not the pool's.

use crate::host::Error;
use crate::host::directory::Directory;
use crate::host::gathered::Gathered;
use crate::host::parse::{lines, number, split_after, words};
use crate::host::root::KernelFile;
use crate::host::table::Table;
use crate::metric::Family;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(super) const FAMILIES: [Family; 3] = [
    Family::gauge(
        "node_zfs_zpool_state",
        &["state", "zpool"],
        "The state of the pool: 1 for the one that it is in.",
    ),
    Family::untyped("node_zfs_zpool_*", &["zpool"], "ZFS's own number of that name, of a pool."),
    Family::untyped(
        "node_zfs_zpool_dataset_*",
        &["dataset", "zpool"],
        "ZFS's own number of that name, of a dataset.",
    ),
];
const STATE: usize = 0;
const IO: usize = 1;
const DATASET: usize = 2;
const STATES: [&str; 7] =
    ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"];

/// A pool.
pub(super) struct Pool {
    name: String,
    path: PathBuf,
    state: KernelFile,
    io: KernelFile,
    folder: Directory,
    datasets: Table<KernelFile>,
}

impl Pool {
    pub(super) fn new(name: &str, path: &Path) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            state: KernelFile::new(path.join("state")),
            io: KernelFile::new(path.join("io")),
            folder: Directory::new(path.to_owned()),
            datasets: Table::default(),
        }
    }

    pub(super) fn gather(
        &mut self,
        buffer: &mut Vec<u8>,
        gathered: &mut Gathered,
    ) -> Result<(), Error> {
        let zpool = ("zpool", self.name.as_str());
        if let Some(text) = self.state.read_if_there(buffer) {
            let now = String::from_utf8_lossy(text.trim_ascii()).to_lowercase();
            for state in STATES {
                gathered.add(STATE, &[("state", state), zpool], f64::from(u8::from(state == now)));
            }
        }
        // OpenZFS 2 has no such file any more.
        if let Some(text) = self.io.read_if_there(buffer) {
            for (name, value) in columns(text) {
                gathered.add_named(IO, name, &[zpool], value);
            }
        }
        self.datasets.begin();
        let names = self.folder.list()?;
        for file in names.iter().filter(|name| name.as_bytes().starts_with(b"objset-")) {
            let path = &self.path;
            let make = || KernelFile::new(path.join(file));
            let Some(file) = self.datasets.meet(file.as_bytes(), make) else { continue };
            let Some(text) = file.read_if_there(buffer) else { continue };
            let Some(dataset) = dataset_name(text) else { continue };
            for (name, value) in numbers(text) {
                gathered.add_named(DATASET, name, &[("dataset", &dataset), zpool], value);
            }
        }
        self.datasets.end();
        Ok(())
    }
}

/// Types of data: a signed and an unsigned number of 64 bits.
const NUMBERS: [&[u8]; 2] = [b"3", b"4"];

/// The numbers of a file: below two lines of headings, `NAME TYPE VALUE`.
pub(super) fn numbers(text: &[u8]) -> impl Iterator<Item = (&[u8], f64)> {
    lines(text).skip(2).filter_map(|line| {
        let mut words = words(line);
        let (name, kind, value) = (words.next()?, words.next()?, words.next()?);
        let value = NUMBERS.contains(&kind).then(|| number(value))?;
        Some((name, value?))
    })
}

/// Below a line of headings, a line of names and one of numbers.
fn columns(text: &[u8]) -> impl Iterator<Item = (&[u8], f64)> {
    let mut lines = lines(text).skip(1);
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    words(names).zip(words(values)).filter_map(|(name, value)| Some((name, number(value)?)))
}

/// `dataset_name 7 NAME`, and the name may have spaces in it.
fn dataset_name(text: &[u8]) -> Option<String> {
    let line = lines(text).find(|line| line.starts_with(b"dataset_name "))?;
    let (_, name) = split_after(line, 2)?;
    let name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_spaces() {
        let text =
            b"23 1 0x01\nname type data\ndataset_name                    7    p/a  b\nwrites 4 1\n";
        assert_eq!(dataset_name(text).as_deref(), Some("p/a  b"));
        assert_eq!(dataset_name(b"dataset_name 7"), None);
        assert_eq!(dataset_name(b""), None);
    }

    #[test]
    fn columns_go_by_their_names() {
        let all: Vec<_> = columns(b"12 3\nnread reads x\n100  7 y\n").collect();
        assert_eq!(all, [(&b"nread"[..], 100.0), (&b"reads"[..], 7.0)]);
        assert_eq!(columns(b"").count(), 0);
    }
}
