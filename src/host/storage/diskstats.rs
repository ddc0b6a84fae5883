//! `diskstats`: what block devices did, of `/proc/diskstats`
//! (Documentation/admin-guide/iostats.rst), and what udev says they are.
//!
//! Must not know about file systems but what udev says of a device's contents.

use super::udev::Properties;
use crate::host::parse::{decimal, integer, lines, quoted, split_after, words};
use crate::host::pattern::{Filter, Pattern};
use crate::host::root::{KernelFile, Root, read_once};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Batch, Family, Labels};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

const DEVICE: &[&str] = &["device"];

const INFO: Family = Family::gauge(
    "node_disk_info",
    &["device", "major", "minor", "path", "wwn", "model", "serial", "revision", "rotational"],
    "What a block device is, as labels. Always 1.",
);
const FILESYSTEM_INFO: Family = Family::gauge(
    "node_disk_filesystem_info",
    &["device", "type", "usage", "uuid", "version"],
    "What a block device is formatted as, as labels. Always 1.",
);
const DEVICE_MAPPER_INFO: Family = Family::gauge(
    "node_disk_device_mapper_info",
    &["device", "name", "uuid", "vg_name", "lv_name", "lv_layer"],
    "What a device mapper's device is called, as labels. Always 1.",
);
const WRITE_CACHE: Family =
    Family::gauge("node_disk_ata_write_cache", DEVICE, "Whether an ATA disk has a write cache.");
const WRITE_CACHE_ENABLED: Family = Family::gauge(
    "node_disk_ata_write_cache_enabled",
    DEVICE,
    "Whether an ATA disk's write cache is switched on.",
);
const ROTATION_RATE: Family = Family::gauge(
    "node_disk_ata_rotation_rate_rpm",
    DEVICE,
    "Turns per minute of an ATA disk; 0 if nothing turns.",
);

/// All families: first those of the columns after the device's name, in the order of the file.
const FAMILIES: &[Family] = &[
    Family::counter("node_disk_reads_completed_total", DEVICE, "Reads completed."),
    Family::counter("node_disk_reads_merged_total", DEVICE, "Reads merged into others."),
    Family::counter("node_disk_read_bytes_total", DEVICE, "Bytes read."),
    Family::counter("node_disk_read_time_seconds_total", DEVICE, "Time that reads took, summed."),
    Family::counter("node_disk_writes_completed_total", DEVICE, "Writes completed."),
    Family::counter("node_disk_writes_merged_total", DEVICE, "Writes merged into others."),
    Family::counter("node_disk_written_bytes_total", DEVICE, "Bytes written."),
    Family::counter("node_disk_write_time_seconds_total", DEVICE, "Time that writes took, summed."),
    Family::gauge("node_disk_io_now", DEVICE, "Requests in flight."),
    Family::counter(
        "node_disk_io_time_seconds_total",
        DEVICE,
        "Time in which requests were in flight.",
    ),
    Family::counter(
        "node_disk_io_time_weighted_seconds_total",
        DEVICE,
        "Time in which requests were in flight, times their number.",
    ),
    Family::counter("node_disk_discards_completed_total", DEVICE, "Discards completed."),
    Family::counter("node_disk_discards_merged_total", DEVICE, "Discards merged into others."),
    Family::counter("node_disk_discarded_sectors_total", DEVICE, "Sectors of 512 bytes discarded."),
    Family::counter(
        "node_disk_discard_time_seconds_total",
        DEVICE,
        "Time that discards took, summed.",
    ),
    Family::counter("node_disk_flush_requests_total", DEVICE, "Flushes completed."),
    Family::counter(
        "node_disk_flush_requests_time_seconds_total",
        DEVICE,
        "Time that flushes took, summed.",
    ),
    INFO,
    FILESYSTEM_INFO,
    DEVICE_MAPPER_INFO,
    WRITE_CACHE,
    WRITE_CACHE_ENABLED,
    ROTATION_RATE,
];

/// The kernel's unit of a column.
#[derive(Clone, Copy)]
enum Unit {
    One,
    /// Of 512 bytes, whatever the device's own are.
    Sectors,
    Milliseconds,
}
use Unit::{Milliseconds, One, Sectors};

impl Unit {
    /// A column's value as it is exposed: in bytes, in seconds, or as it is.
    fn convert(self, value: u64) -> f64 {
        match self {
            One => value as f64,
            Sectors => value as f64 * 512.0,
            Milliseconds => value as f64 / 1000.0,
        }
    }
}

/// The columns' units. Kernels before 4.18 have the first eleven columns, before 5.5 the first
/// fifteen. (Discarded sectors are exposed as such.)
const UNITS: [Unit; 17] = [
    One,
    One,
    Sectors,
    Milliseconds,
    One,
    One,
    Sectors,
    Milliseconds,
    One,
    Milliseconds,
    Milliseconds,
    One,
    One,
    One,
    Milliseconds,
    One,
    Milliseconds,
];
/// Lines with fewer columns are those of partitions before 2.6.25, which meant something else: nothing is
/// shown of these.
const FEWEST: usize = 11;

/// What only ATA disks have: the udev property, and what it is exposed as.
const ATA: [(&str, Family); 3] = [
    ("ID_ATA_WRITE_CACHE", WRITE_CACHE),
    ("ID_ATA_WRITE_CACHE_ENABLED", WRITE_CACHE_ENABLED),
    ("ID_ATA_ROTATION_RATE_RPM", ROTATION_RATE),
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "diskstats", families: FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    device_include: Pattern,
    device_exclude: Pattern,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { device_include, device_exclude } = serde::Deserialize::deserialize(options)?;
    let filter = Filter { include: device_include, exclude: device_exclude };
    Ok(Arc::new(move |root: &Arc<Root>| {
        let (file, filter) = (root.proc("diskstats"), filter.clone());
        Box::new(DiskStats { file, filter, root: Arc::clone(root), disks: Table::default() })
    }))
}

struct DiskStats {
    file: KernelFile,
    root: Arc<Root>,
    filter: Filter,
    /// By number and name; `None` for those that are not exposed.
    disks: Table<Option<Disk>>,
}

/// A device that is exposed.
struct Disk {
    values: [u64; UNITS.len()],
    columns: usize,
    device: Labels,
    identity: Identity,
}

impl Collector for DiskStats {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let text = self.file.read(pass.buffer)?;
        let (root, filter) = (&self.root, &self.filter);
        update(text, &mut self.disks, |line| {
            let device = String::from_utf8_lossy(line.device);
            filter.wants(&device).then(|| Disk {
                values: [0; UNITS.len()],
                columns: 0,
                device: Labels::new(&[("device", &device)]),
                identity: Identity::new(root, line.major, line.minor, &device),
            })
        })?;
        for disk in self.disks.rows_mut().flatten() {
            disk.identity.refresh();
        }
        emit(&self.disks, pass.batch);
        Ok(())
    }
}

/// The beginning of a line.
struct Line<'a> {
    major: u64,
    minor: u64,
    device: &'a [u8],
}

/// Brings the table to what `/proc/diskstats` says.
fn update(
    text: &[u8],
    disks: &mut Table<Option<Disk>>,
    make: impl Fn(&Line<'_>) -> Option<Disk>,
) -> Result<(), Error> {
    disks.begin();
    for text in lines(text) {
        let unreadable = || {
            Error::Parse(format!(
                "diskstats: wanted two numbers, a name and numbers, found {}",
                quoted(text)
            ))
        };
        let (key, numbers) = split_after(text, 3).ok_or_else(unreadable)?;
        let mut head = words(key);
        let (Some(major), Some(minor), Some(device)) =
            (head.next().and_then(integer), head.next().and_then(integer), head.next())
        else {
            return Err(unreadable());
        };
        let line = Line { major, minor, device };
        let Some(row) = disks.meet(line.device, || make(&line)) else { continue };
        // Another device of the same name.
        if row.as_ref().is_some_and(|disk| !disk.identity.is_of(&line)) {
            *row = make(&line);
        }
        let Some(disk) = row else { continue };
        disk.columns = 0;
        for (slot, word) in disk.values.iter_mut().zip(words(numbers)) {
            *slot = integer(word).ok_or_else(unreadable)?;
            disk.columns += 1;
        }
        if disk.columns < FEWEST {
            disk.columns = 0;
        }
    }
    disks.end();
    Ok(())
}

fn emit(disks: &Table<Option<Disk>>, batch: &mut Batch) {
    for (index, (family, unit)) in FAMILIES.iter().zip(UNITS).enumerate() {
        batch.begin(family);
        for disk in disks.rows().flatten().filter(|disk| index < disk.columns) {
            if let Some(value) = disk.values.get(index) {
                batch.sample_with(&disk.device, unit.convert(*value));
            }
        }
    }
    let shown = || disks.rows().flatten().filter(|disk| disk.columns > 0);
    let identities = || shown().map(|disk| (disk, &disk.identity));
    batch.begin(&INFO);
    for (_, identity) in identities() {
        batch.sample_with(&identity.info, 1.0);
    }
    batch.begin(&FILESYSTEM_INFO);
    for labels in identities().filter_map(|(_, identity)| identity.filesystem.as_ref()) {
        batch.sample_with(labels, 1.0);
    }
    batch.begin(&DEVICE_MAPPER_INFO);
    for labels in identities().filter_map(|(_, identity)| identity.device_mapper.as_ref()) {
        batch.sample_with(labels, 1.0);
    }
    for (index, (_, family)) in ATA.iter().enumerate() {
        batch.begin(family);
        for (disk, identity) in identities() {
            if let Some(Some(value)) = identity.ata.get(index) {
                batch.sample_with(&disk.device, *value);
            }
        }
    }
}

/// What a device is: its labels as rendered when udev last wrote about it.
struct Identity {
    device: String,
    major: u64,
    minor: u64,
    udev: PathBuf,
    rotational: PathBuf,
    written: Option<Option<SystemTime>>,
    info: Labels,
    filesystem: Option<Labels>,
    device_mapper: Option<Labels>,
    ata: [Option<f64>; ATA.len()],
}

impl Identity {
    fn new(root: &Root, major: u64, minor: u64, device: &str) -> Self {
        // `/dev/cciss/c0d0` is `cciss!c0d0` in sysfs; no name can lead out of the folder.
        let folder = device.replace('/', "!");
        Self {
            device: device.to_owned(),
            major,
            minor,
            udev: root.udev_data.join(format!("b{major}:{minor}")),
            rotational: root.sysfs.join("block").join(folder).join("queue/rotational"),
            written: None,
            info: Labels::default(),
            filesystem: None,
            device_mapper: None,
            ata: [None; ATA.len()],
        }
    }

    fn is_of(&self, line: &Line<'_>) -> bool {
        (self.major, self.minor) == (line.major, line.minor)
    }

    /// Reads and renders again if udev has written since.
    fn refresh(&mut self) {
        let written = std::fs::metadata(&self.udev).and_then(|data| data.modified()).ok();
        if self.written != Some(written) {
            self.written = Some(written);
            self.render(&Properties::read(&self.udev));
        }
    }

    fn render(&mut self, udev: &Properties) {
        let device = ("device", self.device.as_str());
        // The serial on the label first; virtio disks have but the last one.
        let serial = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"];
        let serial = serial.into_iter().find_map(|name| udev.get(name)).unwrap_or_default();
        let rotational = read_once(&self.rotational).is_ok_and(|text| text == b"1");
        self.info = Labels::new(&[
            device,
            ("major", &self.major.to_string()),
            ("minor", &self.minor.to_string()),
            ("path", &udev.text("ID_PATH")),
            ("wwn", &udev.text("ID_WWN")),
            ("model", &udev.text("ID_MODEL")),
            ("serial", &String::from_utf8_lossy(serial)),
            ("revision", &udev.text("ID_REVISION")),
            ("rotational", if rotational { "1" } else { "0" }),
        ]);
        self.filesystem = udev.get("ID_FS_TYPE").map(|_| {
            Labels::new(&[
                device,
                ("type", &udev.text("ID_FS_TYPE")),
                ("usage", &udev.text("ID_FS_USAGE")),
                ("uuid", &udev.text("ID_FS_UUID")),
                ("version", &udev.text("ID_FS_VERSION")),
            ])
        });
        self.device_mapper = udev.get("DM_NAME").map(|_| {
            Labels::new(&[
                device,
                ("name", &udev.text("DM_NAME")),
                ("uuid", &udev.text("DM_UUID")),
                ("vg_name", &udev.text("DM_VG_NAME")),
                ("lv_name", &udev.text("DM_LV_NAME")),
                ("lv_layer", &udev.text("DM_LV_LAYER")),
            ])
        });
        let is_ata = udev.get("ID_ATA").is_some();
        self.ata = ATA
            .each_ref()
            .map(|(property, _)| udev.get(property).filter(|_| is_ata).and_then(decimal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Format, encode};

    fn table(text: &[u8]) -> Result<Table<Option<Disk>>, Error> {
        let root = Root {
            procfs: "/nonexistent".into(),
            sysfs: "/nonexistent".into(),
            rootfs: "/nonexistent".into(),
            udev_data: "/nonexistent".into(),
        };
        let mut disks = Table::default();
        update(text, &mut disks, |line| {
            (line.device != b"loop0").then(|| Disk {
                values: [0; UNITS.len()],
                columns: 0,
                device: Labels::default(),
                identity: Identity::new(&root, line.major, line.minor, "x"),
            })
        })?;
        Ok(disks)
    }

    fn rows(text: &[u8]) -> Result<Vec<(usize, u64)>, Error> {
        let row = |disk: &Disk| (disk.columns, disk.values[0]);
        Ok(table(text)?.rows().flatten().map(row).collect())
    }

    #[test]
    fn nothing_is_shown_of_a_line_that_is_too_short() {
        let shown = |text: &[u8]| {
            let (mut batch, mut out) = (Batch::new(), Vec::new());
            emit(&table(text).unwrap(), &mut batch);
            encode(&batch, Format::Text, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(b"8 1 sda1 6 2 3 4\n"), "");
        assert!(shown(b"8 0 sda 5 1 1 1 1 1 1 1 1 1 1\n").contains("node_disk_info"));
    }

    #[test]
    fn numbers_of_ata_disks_may_have_fractions() {
        let top = std::env::temp_dir().join(format!("musterd-diskstats-{}", std::process::id()));
        std::fs::write(&top, "E:ID_ATA=1\nE:ID_ATA_ROTATION_RATE_RPM=7200.5\n").unwrap();
        let udev = Properties::read(&top);
        std::fs::remove_file(&top).unwrap();
        let mut disks = table(b"8 0 sda 5 1 1 1 1 1 1 1 1 1 1\n").unwrap();
        let identity = &mut disks.rows_mut().flatten().next().unwrap().identity;
        identity.render(&udev);
        assert_eq!(identity.ata, [None, None, Some(7200.5)]);
    }

    #[test]
    fn lines_of_every_age() {
        let text =
            b"   7 0 loop0 1 2\n   8       0 sda 5 1 1 1 1 1 1 1 1 1 1\n   8 1 sda1 6 2 3 4\n\
            259 0 nvme0n1 7 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(rows(text).unwrap(), [(11, 5), (0, 6), (17, 7)]);
        assert!(rows(b"").unwrap().is_empty());
    }

    #[test]
    fn rubbish() {
        for text in [
            &b"8 0"[..],
            b"x 0 sda 1",
            b"8 0 sda 1 x",
            b"8 0 sda 99999999999999999999",
            b"\xff \xff \xff",
        ] {
            assert!(rows(text).is_err(), "{text:?}");
        }
    }
}
