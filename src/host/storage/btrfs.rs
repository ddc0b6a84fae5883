//! `btrfs`: space, commits and errors of btrfs file systems, of `/sys/fs/btrfs`
//! (fs/btrfs/sysfs.c in the kernel's sources, btrfs(5)), and of the mounted ones themselves.
//!
//! Must not know where they are mounted.

use super::btrfs_devices::Devices;
use crate::host::directory::names;
use crate::host::gathered::Gathered;
use crate::host::parse::{any_number, lines, number, words};
use crate::host::readings::{Found, Parse, Readings, Value};
use crate::host::root::{KernelFile, Root, read_once};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass, if_there};
use crate::metric::{Family, Labels};
use musterd_kernel::btrfs::Device;
use std::path::Path;
use std::sync::Arc;

const UUID: &[&str] = &["uuid"];
const DEVICE_LABELS: &[&str] = &["btrfs_dev_uuid", "device", "uuid"];
const MODE: &[&str] = &["block_group_type", "mode", "uuid"];
const FAMILIES: [Family; 13] = [
    Family::gauge("node_btrfs_info", &["label", "uuid"], "The file system's label; always 1."),
    Family::gauge(
        "node_btrfs_global_rsv_size_bytes",
        UUID,
        "Space that is kept for the file system's own needs.",
    ),
    Family::gauge(
        "node_btrfs_device_size_bytes",
        DEVICE_LABELS,
        "Size of the device; without its own UUID where only sysfs tells it.",
    ),
    Family::gauge(
        "node_btrfs_device_unused_bytes",
        DEVICE_LABELS,
        "Space of the device that is not allocated.",
    ),
    Family::counter(
        "node_btrfs_device_errors_total",
        &["btrfs_dev_uuid", "device", "type", "uuid"],
        "Errors of the device since the file system was made, or since they were last reset.",
    ),
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
const UNUSED: usize = 3;
const ERRORS: usize = 4;
const RESERVED: usize = 5;
const USED: usize = 6;
const SIZE: usize = 7;
const RATIO: usize = 8;
const COMMITS: usize = 9;
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
        Box::new(Btrfs {
            systems: Readings::new(root.sysfs.join("fs/btrfs")),
            sizes: Vec::new(),
            devices: Devices::new(root),
            gathered: Gathered::default(),
        })
    }))
}

struct Btrfs {
    systems: Readings,
    sizes: Vec<Size>,
    devices: Devices,
    gathered: Gathered,
}

/// The file with the size of a device.
struct Size {
    /// As the file system is shown, and as the kernel knows it.
    uuid: String,
    folder: String,
    device: String,
    file: KernelFile,
}

impl Collector for Btrfs {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let mut sizes = None;
        let looked = self.systems.update(|folder, path, found| {
            let uuid = uuid(folder, path);
            if folder.contains('-') {
                look(&uuid, path, found);
            }
            sizes.get_or_insert_with(Vec::new).extend(sizes_of(&uuid, folder, path));
        });
        if if_there(looked)?.is_none() {
            return Ok(());
        }
        self.sizes = sizes.unwrap_or_else(|| std::mem::take(&mut self.sizes));
        self.systems.emit(&FAMILIES, pass.buffer, pass.batch);
        self.gather_devices(pass.buffer);
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

impl Btrfs {
    /// What the file systems say themselves; of those that say nothing, what sysfs says.
    fn gather_devices(&mut self, buffer: &mut Vec<u8>) {
        self.gathered.clear();
        if self.sizes.is_empty() {
            return;
        }
        let asked = self.devices.read(buffer);
        for (folder, devices) in &asked {
            let Some(size) = self.sizes.iter().find(|size| size.folder == *folder) else {
                continue;
            };
            for device in devices {
                gather(&size.uuid, device, &mut self.gathered);
            }
        }
        for size in self.sizes.iter_mut().filter(|size| !asked.contains_key(&size.folder)) {
            if let Some(sectors) = size.file.read_if_there(buffer).and_then(any_number) {
                let labels = [("device", &*size.device), ("uuid", &*size.uuid)];
                self.gathered.add(DEVICE, &labels, sectors * SECTOR);
            }
        }
    }
}

fn gather(uuid: &str, device: &Device, gathered: &mut Gathered) {
    let path = String::from_utf8_lossy(&device.path);
    let name = path.rsplit('/').next().unwrap_or_default();
    let labels = [("btrfs_dev_uuid", &*device.uuid), ("device", name), ("uuid", uuid)];
    gathered.add(DEVICE, &labels, device.size as f64);
    gathered.add(UNUSED, &labels, device.size.saturating_sub(device.used) as f64);
    let [own, device_name, uuid] = labels;
    let errors = &device.errors;
    for (kind, count) in [
        ("corruption", errors.corruption),
        ("flush", errors.flush),
        ("generation", errors.generation),
        ("read", errors.read),
        ("write", errors.write),
    ] {
        gathered.add(ERRORS, &[own, device_name, ("type", kind), uuid], count as f64);
    }
}

/// A file system's folder is named by the UUID that its devices have now; what it was made with, which is written all
/// over it, is the one to know it by (`btrfstune -m`).
fn uuid(folder: &str, path: &Path) -> String {
    let first = read_once(&path.join("metadata_uuid")).unwrap_or_default();
    if first.is_empty() { folder.to_owned() } else { String::from_utf8_lossy(&first).into_owned() }
}

/// Not for `features`, which lies beside the file systems.
fn look(uuid: &str, path: &Path, found: &mut Found) {
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
    let devices = names(&path.join("devices")).len();
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
            if let Some(ratio) = ratio(&mode, devices) {
                found.fixed(RATIO, &labels, ratio);
            }
        }
    }
}

fn sizes_of<'a>(
    uuid: &'a str,
    folder: &'a str,
    path: &Path,
) -> impl Iterator<Item = Size> + use<'a> {
    let path = path.join("devices");
    names(&path).into_iter().map(move |device| {
        let file = KernelFile::new(path.join(&device).join("size")).single();
        Size { uuid: uuid.to_owned(), folder: folder.to_owned(), device, file }
    })
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
    use crate::exposition::{Format, encode};
    use crate::metric::Batch;
    use musterd_kernel::btrfs::Errors;

    #[test]
    fn a_file_system_is_known_by_what_it_was_made_with() {
        let top = std::env::temp_dir().join(format!("musterd-btrfs-{}", std::process::id()));
        let (folder, first) = ("0abb-1", "7f07-2");
        std::fs::create_dir_all(top.join(folder)).unwrap();
        assert_eq!(uuid(folder, &top.join(folder)), folder, "an older kernel does not say");
        std::fs::write(top.join(folder).join("metadata_uuid"), "\n").unwrap();
        assert_eq!(uuid(folder, &top.join(folder)), folder);
        std::fs::write(top.join(folder).join("metadata_uuid"), format!("{first}\n")).unwrap();
        let shown = uuid(folder, &top.join(folder));
        std::fs::create_dir_all(top.join(folder).join("devices/sda")).unwrap();
        let size = sizes_of(&shown, folder, &top.join(folder)).next().unwrap();
        std::fs::remove_dir_all(&top).unwrap();
        assert_eq!((&*shown, &*size.uuid, &*size.folder), (first, first, folder));
    }

    #[test]
    fn ratios() {
        assert_eq!(ratio("raid5", 4), Some(4.0 / 3.0));
        assert_eq!(ratio("raid6", 4), Some(2.0));
        assert_eq!(ratio("raid1c4", 4), Some(4.0));
        assert_eq!((ratio("raid5", 1), ratio("raid5", 0), ratio("raid7", 9)), (None, None, None));
    }

    #[test]
    fn devices_that_were_asked() {
        let errors = Errors { write: 1, read: 2, flush: 3, corruption: 4, generation: 5 };
        let path = b"/dev/mapper/data".to_vec();
        let device = Device { uuid: "d-1".into(), path, size: 1000, used: 300, errors };
        let (mut gathered, mut batch, mut text) = (Gathered::default(), Batch::new(), Vec::new());
        gather("f-1", &device, &mut gathered);
        gathered.emit(&FAMILIES, &mut batch);
        encode(&batch, Format::Text, &mut text);
        let text = String::from_utf8(text).unwrap();
        let shown: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let labels = r#"btrfs_dev_uuid="d-1",device="data""#;
        let mut wanted = vec![
            format!(r#"node_btrfs_device_size_bytes{{{labels},uuid="f-1"}} 1000"#),
            format!(r#"node_btrfs_device_unused_bytes{{{labels},uuid="f-1"}} 700"#),
        ];
        for (kind, count) in
            [("corruption", 4), ("flush", 3), ("generation", 5), ("read", 2), ("write", 1)]
        {
            wanted.push(format!(
                r#"node_btrfs_device_errors_total{{{labels},type="{kind}",uuid="f-1"}} {count}"#
            ));
        }
        assert_eq!(shown, wanted);
    }

    #[test]
    fn commits() {
        let text = b"commits 7\nlast_commit_ms 2000\nmax_commit_ms x\n";
        let shown = COMMIT_STATS.map(|parse| parse(text));
        assert_eq!(shown, [Some(7.0), Some(2.0), None, None]);
    }
}
