//! `btrfs`: space and commits of btrfs file systems, of `/sys/fs/btrfs`
//! (fs/btrfs/sysfs.c in the kernel's sources, btrfs(5)).
//!
//! Must not know where they are mounted.

use crate::host::directory::names;
use crate::host::parse::{lines, number, words};
use crate::host::readings::{Found, Parse, Readings, Value};
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass, if_there};
use crate::metric::{Family, Labels};
use std::path::Path;
use std::sync::Arc;

const UUID: &[&str] = &["uuid"];
const MODE: &[&str] = &["block_group_type", "mode", "uuid"];
const FAMILIES: [Family; 11] = [
    Family::gauge("node_btrfs_info", &["label", "uuid"], "The file system's label; always 1."),
    Family::gauge(
        "node_btrfs_global_rsv_size_bytes",
        UUID,
        "Space that is kept for the file system's own needs.",
    ),
    Family::gauge("node_btrfs_device_size_bytes", &["device", "uuid"], "Size of the device."),
    Family::gauge(
        "node_btrfs_reserved_bytes",
        &["block_group_type", "uuid"],
        "Space that is reserved for data under way.",
    ),
    Family::gauge("node_btrfs_used_bytes", MODE, "Space in use, of that which is allocated."),
    Family::gauge("node_btrfs_size_bytes", MODE, "Space that is allocated."),
    Family::gauge(
        "node_btrfs_allocation_ratio",
        MODE,
        "Bytes on the devices for each byte stored, by the redundancy of the mode.",
    ),
    Family::counter("node_btrfs_commits_total", UUID, "Commits made."),
    Family::gauge("node_btrfs_last_commit_seconds", UUID, "Time that the last commit took."),
    Family::gauge("node_btrfs_max_commit_seconds", UUID, "The longest time that a commit took."),
    Family::counter("node_btrfs_commit_seconds_total", UUID, "Time spent in commits."),
];
const INFO: usize = 0;
const RESERVE: usize = 1;
const DEVICE: usize = 2;
const RESERVED: usize = 3;
const USED: usize = 4;
const SIZE: usize = 5;
const RATIO: usize = 6;
const COMMITS: usize = 7;
/// Sizes of block devices are in sectors of this size.
const SECTOR: f64 = 512.0;
/// What `commit_stats` has of the families from [`COMMITS`] on.
const COMMIT_STATS: [Parse; 4] = [
    |text| commit_stat(text, b"commits"),
    |text| commit_stat(text, b"last_commit_ms").map(|time| time / 1e3),
    |text| commit_stat(text, b"max_commit_ms").map(|time| time / 1e3),
    |text| commit_stat(text, b"total_commit_ms").map(|time| time / 1e3),
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "btrfs", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Btrfs { systems: Readings::new(root.sysfs.join("fs/btrfs")) })
    }))
}

struct Btrfs {
    systems: Readings,
}

impl Collector for Btrfs {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        if if_there(self.systems.update(look))?.is_none() {
            return Ok(());
        }
        self.systems.emit(&FAMILIES, pass.buffer, pass.batch);
        Ok(())
    }
}

/// A file system's folder is named by its UUID; `features` lies beside it.
fn look(uuid: &str, path: &Path, found: &mut Found) {
    if !uuid.contains('-') {
        return;
    }
    let label = Value::read(path.join("label"));
    found.info(INFO, vec![("label", label), ("uuid", Value::Fixed(uuid.to_owned()))]);
    let own = Labels::new(&[("uuid", uuid)]);
    found.file(RESERVE, &own, path.join("allocation/global_rsv_size"), 1.0);
    let commits = path.join("commit_stats");
    for (offset, parse) in COMMIT_STATS.into_iter().enumerate() {
        if commits.exists() {
            found.parsed(COMMITS + offset, &own, commits.clone(), parse);
        } else {
            // Kernels before 6.1 do not count them.
            found.fixed(COMMITS + offset, &own, 0.0);
        }
    }
    let devices = names(&path.join("devices"));
    for device in &devices {
        let labels = Labels::new(&[("device", device), ("uuid", uuid)]);
        found.file(DEVICE, &labels, path.join("devices").join(device).join("size"), SECTOR);
    }
    for kind in ["data", "metadata", "mixed", "system"] {
        let path = path.join("allocation").join(kind);
        let labels = Labels::new(&[("block_group_type", kind), ("uuid", uuid)]);
        found.file(RESERVED, &labels, path.join("bytes_reserved"), 1.0);
        for mode in names(&path) {
            let path = path.join(&mode);
            if !path.is_dir() {
                continue;
            }
            let labels =
                Labels::new(&[("block_group_type", kind), ("mode", &mode), ("uuid", uuid)]);
            found.file(USED, &labels, path.join("used_bytes"), 1.0);
            found.file(SIZE, &labels, path.join("total_bytes"), 1.0);
            if let Some(ratio) = ratio(&mode, devices.len()) {
                found.fixed(RATIO, &labels, ratio);
            }
        }
    }
}

/// Bytes on the devices for each byte stored (mkfs.btrfs(8), "PROFILES").
fn ratio(mode: &str, devices: usize) -> Option<f64> {
    let with_parity = |parity: usize| {
        let data = devices.checked_sub(parity).filter(|data| *data > 0)?;
        Some(devices as f64 / data as f64)
    };
    match mode {
        "single" | "raid0" => Some(1.0),
        "dup" | "raid1" | "raid10" => Some(2.0),
        "raid1c3" => Some(3.0),
        "raid1c4" => Some(4.0),
        "raid5" => with_parity(1),
        "raid6" => with_parity(2),
        _ => None,
    }
}

/// A line of `commit_stats`: `commits 258051`.
fn commit_stat(text: &[u8], key: &[u8]) -> Option<f64> {
    let mut words = words(lines(text).find(|line| words(line).next() == Some(key))?);
    number(words.nth(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios() {
        assert_eq!(ratio("raid5", 4), Some(4.0 / 3.0));
        assert_eq!(ratio("raid6", 4), Some(2.0));
        assert_eq!(ratio("raid1c4", 4), Some(4.0));
        assert_eq!((ratio("raid5", 1), ratio("raid5", 0), ratio("raid7", 9)), (None, None, None));
    }

    #[test]
    fn commits() {
        let text = b"commits 7\nlast_commit_ms 2000\nmax_commit_ms x\n";
        let shown = COMMIT_STATS.map(|parse| parse(text));
        assert_eq!(shown, [Some(7.0), Some(2.0), None, None]);
    }
}
