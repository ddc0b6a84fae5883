//! `dmmultipath`: disks that are reached by several paths, of `/sys/block/dm-*` (multipath(8),
//! Documentation/ABI/testing/sysfs-block-dm).
//!
//! Must not know what is read and written.

use crate::host::class::{Attribute, Class, Text};
use crate::host::directory::Directory;
use crate::host::root::{Root, read_once};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DEVICE: &[&str] = &["device", "sysfs_name"];
/// Sizes of block devices are in sectors of this size.
const SECTOR: f64 = 512.0;
static ATTRIBUTES: [Attribute; 1] = [Attribute {
    file: "size",
    family: Family::gauge("node_dmmultipath_device_size_bytes", DEVICE, "Size of the disk."),
    scale: SECTOR,
}];
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
    let ([a, b, c], [size]) = (PATHS, &ATTRIBUTES);
    [size.family, INFO, ACTIVE, a, b, c, STATE]
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
        Box::new(DmMultipath { disks: Class::new(blocks.clone(), &ATTRIBUTES), blocks })
    }))
}

struct DmMultipath {
    blocks: PathBuf,
    disks: Class<Disk>,
}

struct Disk {
    name: String,
    labels: Labels,
    info: Labels,
    suspended: Text,
    slaves: Directory,
    paths: Table<(String, Text)>,
}

impl Collector for DmMultipath {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.disks.update(Disk::new)?;
        if self.disks.devices().next().is_none() {
            return Ok(());
        }
        for disk in self.disks.devices_mut() {
            disk.own.read(&self.blocks, pass.buffer);
        }
        self.disks.emit(pass.buffer, pass.batch);
        pass.batch.begin(&INFO);
        for disk in self.disks.devices() {
            pass.batch.sample_with(&disk.own.info, 1.0);
        }
        pass.batch.begin(&ACTIVE);
        for disk in self.disks.devices() {
            let is_active = disk.own.suspended.shown() != "1";
            pass.batch.sample_with(&disk.own.labels, f64::from(u8::from(is_active)));
        }
        for (index, family) in PATHS.iter().enumerate() {
            pass.batch.begin(family);
            for disk in self.disks.devices() {
                let (all, working) = disk.own.count();
                let counts = [all, working, all - working];
                let count = counts.get(index).copied().unwrap_or_default();
                pass.batch.sample_with(&disk.own.labels, count as f64);
            }
        }
        pass.batch.begin(&STATE);
        for disk in self.disks.devices() {
            for (path, state) in disk.own.paths.rows() {
                let labels =
                    [("device", disk.own.name.as_str()), ("path", path), ("state", state.shown())];
                pass.batch.sample(&labels, 1.0);
            }
        }
        Ok(())
    }
}

impl Disk {
    fn new(sysfs_name: &str, path: &Path) -> Option<(Labels, Self)> {
        let text = |file: &str| {
            let text = read_once(&path.join(file)).ok()?;
            Some(String::from_utf8_lossy(&text).into_owned())
        };
        let uuid = text("dm/uuid").filter(|uuid| uuid.starts_with(PREFIX))?;
        let name = text("dm/name")?;
        let labels = Labels::new(&[("device", &name), ("sysfs_name", sysfs_name)]);
        let disk = Self {
            info: Labels::new(&[("device", &name), ("sysfs_name", sysfs_name), ("uuid", &uuid)]),
            name,
            labels: labels.clone(),
            suspended: Text::new(path.join("dm/suspended")),
            slaves: Directory::new(path.join("slaves")),
            paths: Table::default(),
        };
        Some((labels, disk))
    }

    fn read(&mut self, blocks: &Path, buffer: &mut Vec<u8>) {
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
