//! The cpus as sysfs has them: their folders, and lists of their numbers
//! (Documentation/admin-guide/cputopology.rst).
//!
//! Must not know what is told of them.

use crate::host::parse::integer;
use std::path::{Path, PathBuf};

/// The folders `cpu0`, `cpu1`, …, by number.
pub(super) fn folders(top: &Path) -> Vec<(u64, PathBuf)> {
    let entries = std::fs::read_dir(top).into_iter().flatten().flatten();
    let number = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let number = integer(name.as_encoded_bytes().strip_prefix(b"cpu")?)?;
        Some((number, entry.path()))
    };
    let mut folders: Vec<_> = entries.filter_map(number).collect();
    folders.sort();
    folders
}

/// Reads a list of cpus, `1,3-5,9`. What cannot be read is left out.
pub(super) fn list(text: &[u8]) -> Vec<u16> {
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
    fn lists() {
        assert_eq!(list(b"1,3-5,9\n"), [1, 3, 4, 5, 9]);
        assert_eq!(list(b"2-2,2"), [2]);
        for rubbish in [&b""[..], b"\n", b"x", b"1-", b"-1", b"5-3", b"99999", b"\xff"] {
            assert!(list(rubbish).is_empty(), "{rubbish:?}");
        }
    }
}
