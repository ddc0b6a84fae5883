//! `dmmultipath`: disks that are reached by several paths, of `/sys/block/dm-*` (multipath(8),
//! Documentation/ABI/testing/sysfs-block-dm).
//!
//! Must not know what is read and written.

use crate::host::class::{Class, Text};
use crate::host::directory::Directory;
use crate::host::parse::number;
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DEVICE: &[&str] = &["device", "sysfs_name"];
/// Sizes of block devices are in sectors of this size.
const SECTOR: f64 = 512.0;
const SIZE: Family =
    Family::gauge("node_dmmultipath_device_size_bytes", DEVICE, "Size of the disk.");
const INFO: Family = Family::gauge(
    "node_dmmultipath_device_info",
    &["device", "sysfs_name", "uuid"],
    "What the disk is; always 1.",
);
const ACTIVE: Family =
    Family::gauge("node_dmmultipath_device_active", DEVICE, "Whether the disk is not suspended.");
const PATHS: [Family; 3] = [
    Family::gauge("node_dmmultipath_device_paths", DEVICE, "Paths to the disk."),
    Family::gauge("node_dmmultipath_device_paths_active", DEVICE, "Paths that work."),
    Family::gauge("node_dmmultipath_device_paths_failed", DEVICE, "Paths that do not work."),
];
const STATE: Family = Family::gauge(
    "node_dmmultipath_path_state",
    &["device", "path", "state"],
    "The state of a path, as its driver names it; always 1.",
);
static FAMILIES: [Family; 7] = {
    let [a, b, c] = PATHS;
    [SIZE, INFO, ACTIVE, a, b, c, STATE]
};
/// What the UUID of such a disk begins with.
const PREFIX: &str = "mpath-";
/// States of a path that works: of a SCSI disk, and of NVMe.
const WORKING: [&str; 2] = ["running", "live"];

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "dmmultipath", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let blocks = root.sysfs.join("block");
        Box::new(DmMultipath { disks: Class::new(blocks.clone(), &[]), blocks })
    }))
}

struct DmMultipath {
    blocks: PathBuf,
    disks: Class<Disk>,
}

/// A disk of the device mapper, which may be another one of the same number, or have another name, at the
/// next pass.
struct Disk {
    sysfs_name: String,
    uuid: Text,
    name: Text,
    labels: Labels,
    info: Labels,
    size: KernelFile,
    bytes: Option<f64>,
    suspended: Text,
    slaves: Directory,
    paths: Table<(String, Text)>,
}

impl Collector for DmMultipath {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.disks.update(|name, path| {
            name.starts_with("dm-").then(|| (Labels::default(), Disk::new(name, path)))
        })?;
        for disk in self.disks.devices_mut() {
            disk.own.read(&self.blocks, pass.buffer);
        }
        let disks = || self.disks.devices().map(|disk| &disk.own).filter(|disk| disk.is_shown());
        let batch = &mut *pass.batch;
        batch.begin(&SIZE);
        for disk in disks() {
            if let Some(bytes) = disk.bytes {
                batch.sample_with(&disk.labels, bytes);
            }
        }
        batch.begin(&INFO);
        for disk in disks() {
            batch.sample_with(&disk.info, 1.0);
        }
        batch.begin(&ACTIVE);
        for disk in disks() {
            let is_active = disk.suspended.shown() != "1";
            batch.sample_with(&disk.labels, f64::from(u8::from(is_active)));
        }
        for (index, family) in PATHS.iter().enumerate() {
            batch.begin(family);
            for disk in disks() {
                let (all, working) = disk.count();
                let counts = [all, working, all - working];
                let count = counts.get(index).copied().unwrap_or_default();
                batch.sample_with(&disk.labels, count as f64);
            }
        }
        batch.begin(&STATE);
        for disk in disks() {
            for (path, state) in disk.paths.rows() {
                let labels =
                    [("device", disk.name.shown()), ("path", path), ("state", state.shown())];
                batch.sample(&labels, 1.0);
            }
        }
        Ok(())
    }
}

impl Disk {
    fn new(sysfs_name: &str, path: &Path) -> Self {
        Self {
            sysfs_name: sysfs_name.to_owned(),
            uuid: Text::new(path.join("dm/uuid")),
            name: Text::new(path.join("dm/name")),
            labels: Labels::default(),
            info: Labels::default(),
            size: KernelFile::new(path.join("size")).single(),
            bytes: None,
            suspended: Text::new(path.join("dm/suspended")),
            slaves: Directory::new(path.join("slaves")),
            paths: Table::default(),
        }
    }

    /// Whether it is reached by several paths, as it was read last.
    fn is_shown(&self) -> bool {
        self.uuid.shown().starts_with(PREFIX) && !self.name.shown().is_empty()
    }

    fn read(&mut self, blocks: &Path, buffer: &mut Vec<u8>) {
        self.uuid.read(buffer);
        self.name.read(buffer);
        if !self.is_shown() {
            return;
        }
        let (device, sysfs_name) =
            (("device", self.name.shown()), ("sysfs_name", self.sysfs_name.as_str()));
        self.labels.set(&[device, sysfs_name]);
        self.info.set(&[device, sysfs_name, ("uuid", self.uuid.shown())]);
        let sectors = self.size.read_if_there(buffer).and_then(|text| number(text.trim_ascii()));
        self.bytes = sectors.map(|sectors| sectors * SECTOR);
        self.suspended.read(buffer);
        self.paths.begin();
        if let Ok(names) = self.slaves.list() {
            for name in names.iter() {
                self.paths.meet(name.as_bytes(), || {
                    let state = Text::new(blocks.join(name).join("device/state"));
                    (name.to_string_lossy().into_owned(), state)
                });
            }
        }
        self.paths.end();
        for (_, state) in self.paths.rows_mut() {
            if state.read(buffer).is_empty() {
                state.set("unknown");
            }
        }
    }

    /// All paths, and those that work.
    fn count(&self) -> (usize, usize) {
        let works = |(_, state): &&(String, Text)| WORKING.contains(&state.shown());
        (self.paths.rows().count(), self.paths.rows().filter(works).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::one_pass::text_of;

    #[test]
    fn disks_are_named_as_they_are_now() {
        let top = std::env::temp_dir().join(format!("musterd-dmmultipath-{}", std::process::id()));
        for folder in ["dm-0/dm", "dm-1/dm", "sda"] {
            std::fs::create_dir_all(top.join(folder)).unwrap();
        }
        let write = |file: &str, text: &str| std::fs::write(top.join(file), text).unwrap();
        write("dm-0/dm/uuid", "mpath-1\n");
        write("dm-0/dm/name", "a\n");
        write("dm-1/dm/uuid", "LVM-1\n");
        write("dm-1/dm/name", "b\n");
        let disks = Class::new(top.clone(), &[]);
        let mut collector = DmMultipath { blocks: top.clone(), disks };
        let mut pass = || {
            let text = text_of(&mut collector);
            let infos =
                text.lines().filter(|line| line.starts_with("node_dmmultipath_device_info"));
            infos.map(str::to_owned).collect::<Vec<_>>()
        };
        let info = |device: &str, sysfs: &str, uuid: &str| {
            let labels = format!(r#"device="{device}",sysfs_name="{sysfs}",uuid="{uuid}""#);
            format!("node_dmmultipath_device_info{{{labels}}} 1")
        };
        assert_eq!(pass(), [info("a", "dm-0", "mpath-1")]);
        write("dm-0/dm/name", "c\n");
        write("dm-1/dm/uuid", "mpath-2\n");
        assert_eq!(pass(), [info("c", "dm-0", "mpath-1"), info("b", "dm-1", "mpath-2")]);
        write("dm-0/dm/uuid", "CRYPT-1\n");
        assert_eq!(pass(), [info("b", "dm-1", "mpath-2")]);
        std::fs::remove_dir_all(&top).unwrap();
    }
}
