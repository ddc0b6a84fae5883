//! `bcachefs`: file systems of bcachefs and their devices, of `/sys/fs/bcachefs`
//! (Documentation/filesystems/bcachefs, fs/bcachefs/sysfs.c).
//!
//! Must not know where they are mounted.

use super::human::human;
use crate::host::class::{Class, Text};
use crate::host::directory::Directory;
use crate::host::gathered::Gathered;
use crate::host::parse::{integer, lines, words};
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

const UUID: &[&str] = &["uuid"];
const DEVICE: &[&str] = &["device", "uuid"];
#[rustfmt::skip] // a table
const FAMILIES: [Family; 14] = [
    Family::gauge("node_bcachefs_info", UUID, "A file system; always 1."),
    Family::gauge("node_bcachefs_btree_cache_size_bytes", UUID, "Memory that the B-trees' cache uses."),
    Family::gauge("node_bcachefs_compression_compressed_bytes", &["algorithm", "uuid"], "Space that data takes, by the way it is compressed."),
    Family::gauge("node_bcachefs_compression_uncompressed_bytes", &["algorithm", "uuid"], "The size of data, by the way it is compressed."),
    Family::counter("node_bcachefs_errors_total", &["error_type", "uuid"], "Errors found, by their kind."),
    Family::counter("node_bcachefs_*_total", UUID, "The file system's own counter of that name, since the file system was made."),
    Family::counter("node_bcachefs_btree_writes_total", &["type", "uuid"], "Writes of B-tree nodes, by what they are for."),
    Family::gauge("node_bcachefs_btree_write_average_size_bytes", &["type", "uuid"], "Average size of a write of B-tree nodes, by what it is for."),
    Family::gauge("node_bcachefs_device_info", &["device", "label", "state", "uuid"], "A device and its state; always 1."),
    Family::gauge("node_bcachefs_device_bucket_size_bytes", DEVICE, "Size of the device's buckets."),
    Family::gauge("node_bcachefs_device_buckets", DEVICE, "Buckets of the device."),
    Family::gauge("node_bcachefs_device_durability", DEVICE, "As how many copies one on this device counts."),
    Family::counter("node_bcachefs_device_io_done_bytes_total", &["data_type", "device", "operation", "uuid"], "Data read and written, by its kind."),
    Family::counter("node_bcachefs_device_io_errors_total", &["device", "type", "uuid"], "Errors of reading, writing and checksums."),
];
const INFO: usize = 0;
const CACHE_SIZE: usize = 1;
const COMPRESSED: usize = 2;
const UNCOMPRESSED: usize = 3;
const ERRORS: usize = 4;
const COUNTERS: usize = 5;
const WRITES: usize = 6;
const WRITE_SIZE: usize = 7;
const DEVICE_INFO: usize = 8;
const BUCKET_SIZE: usize = 9;
const BUCKETS: usize = 10;
const DURABILITY: usize = 11;
const IO_DONE: usize = 12;
const IO_ERRORS: usize = 13;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "bcachefs", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let systems = Class::new(root.sysfs.join("fs/bcachefs"), &[]);
        Box::new(Bcachefs { systems, gathered: Gathered::default() })
    }))
}

struct Bcachefs {
    systems: Class<System>,
    gathered: Gathered,
}

struct System {
    uuid: String,
    folder: Directory,
    devices: Table<Device>,
    counters: Directory,
    counter_files: Table<KernelFile>,
    cache_size: KernelFile,
    compression: KernelFile,
    errors: KernelFile,
    writes: KernelFile,
}

struct Device {
    name: String,
    label: Text,
    state: Text,
    /// The families of one number with their files.
    numbers: [(usize, KernelFile); 3],
    io_done: KernelFile,
    io_errors: KernelFile,
}

impl Collector for Bcachefs {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.systems.update(|uuid, path| {
            path.is_dir().then(|| (Labels::default(), System::new(uuid, path)))
        })?;
        if self.systems.devices().next().is_none() {
            return Err(Error::NoData("no file system of bcachefs is mounted".into()));
        }
        self.gathered.clear();
        for system in self.systems.devices_mut() {
            system.own.gather(pass.buffer, &mut self.gathered);
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

impl System {
    fn new(uuid: &str, path: &Path) -> Self {
        let file = |name: &str| KernelFile::new(path.join(name)).single();
        Self {
            uuid: uuid.to_owned(),
            folder: Directory::new(path.to_owned()),
            devices: Table::default(),
            counters: Directory::new(path.join("counters")),
            counter_files: Table::default(),
            cache_size: file("btree_cache_size"),
            compression: file("compression_stats"),
            errors: file("errors"),
            writes: file("btree_write_stats"),
        }
    }

    fn gather(&mut self, buffer: &mut Vec<u8>, gathered: &mut Gathered) {
        let uuid = ("uuid", self.uuid.as_str());
        gathered.add(INFO, &[uuid], 1.0);
        if let Some(size) = self.cache_size.read_if_there(buffer).and_then(human) {
            gathered.add(CACHE_SIZE, &[uuid], size);
        }
        if let Some(text) = self.compression.read_if_there(buffer) {
            columns(text, |name, sizes| {
                if let [Some(compressed), Some(uncompressed)] = sizes {
                    gathered.add(COMPRESSED, &[("algorithm", name), uuid], compressed);
                    gathered.add(UNCOMPRESSED, &[("algorithm", name), uuid], uncompressed);
                }
            });
        }
        if let Some(text) = self.errors.read_if_there(buffer) {
            columns(text, |name, [count, _]| {
                if let Some(count) = count {
                    gathered.add(ERRORS, &[("error_type", name), uuid], count);
                }
            });
        }
        if let Some(text) = self.writes.read_if_there(buffer) {
            columns(text, |name, numbers| {
                if let [Some(count), Some(size)] = numbers {
                    gathered.add(WRITES, &[("type", name), uuid], count);
                    gathered.add(WRITE_SIZE, &[("type", name), uuid], size);
                }
            });
        }
        self.gather_counters(buffer, gathered);
        self.gather_devices(buffer, gathered);
    }

    fn gather_counters(&mut self, buffer: &mut Vec<u8>, gathered: &mut Gathered) {
        let Ok(names) = self.counters.list().map(|names| names.iter()) else { return };
        self.counter_files.begin();
        for name in names {
            let path = name.as_bytes();
            // The folder's own path is not at hand while its names are.
            let Some(file) = self.counter_files.meet(path, || {
                KernelFile::new(self.folder.path().join("counters").join(name)).single()
            }) else {
                continue;
            };
            let count = file.read_if_there(buffer).and_then(|text| {
                let line = lines(text)
                    .find_map(|line| line.strip_prefix(b"since filesystem creation:"))?;
                human(line)
            });
            if let Some(count) = count {
                gathered.add_named(COUNTERS, path, &[("uuid", &self.uuid)], count);
            }
        }
        self.counter_files.end();
    }

    fn gather_devices(&mut self, buffer: &mut Vec<u8>, gathered: &mut Gathered) {
        let top = self.folder.path().to_owned();
        let Ok(names) = self.folder.list() else { return };
        self.devices.begin();
        for name in names.iter() {
            if let Some(own) = name.as_bytes().strip_prefix(b"dev-") {
                self.devices.meet(own, || Device::new(own, &top.join(name)));
            }
        }
        self.devices.end();
        for device in self.devices.rows_mut() {
            device.gather(&self.uuid, buffer, gathered);
        }
    }
}

impl Device {
    fn new(name: &[u8], path: &Path) -> Self {
        let file = |name: &str| KernelFile::new(path.join(name)).single();
        Self {
            name: String::from_utf8_lossy(name).into_owned(),
            label: Text::new(path.join("label")),
            state: Text::new(path.join("state")),
            numbers: [
                (BUCKET_SIZE, file("bucket_size")),
                (BUCKETS, file("nbuckets")),
                (DURABILITY, file("durability")),
            ],
            io_done: file("io_done"),
            io_errors: file("io_errors"),
        }
    }

    fn gather(&mut self, uuid: &str, buffer: &mut Vec<u8>, gathered: &mut Gathered) {
        let (device, uuid) = (("device", self.name.as_str()), ("uuid", uuid));
        let (label, state) = (self.label.read(buffer), self.state.read(buffer));
        gathered.add(DEVICE_INFO, &[device, ("label", label), ("state", state), uuid], 1.0);
        for (place, file) in &mut self.numbers {
            if let Some(number) = file.read_if_there(buffer).and_then(human) {
                gathered.add(*place, &[device, uuid], number);
            }
        }
        if let Some(text) = self.io_done.read_if_there(buffer) {
            io_done(text, |operation, kind, bytes| {
                let labels = [("data_type", kind), device, ("operation", operation), uuid];
                gathered.add(IO_DONE, &labels, bytes);
            });
        }
        if let Some(text) = self.io_errors.read_if_there(buffer) {
            io_errors(text, |kind, count| {
                gathered.add(IO_ERRORS, &[device, ("type", kind), uuid], count);
            });
        }
    }
}

/// Lines of a name, with a colon or without, and two columns, the first one a number: a heading is
/// none.
fn columns(text: &[u8], mut row: impl FnMut(&str, [Option<f64>; 2])) {
    for line in lines(text) {
        let mut words = words(line);
        let name = words.next().unwrap_or_default();
        let name = String::from_utf8_lossy(name.strip_suffix(b":").unwrap_or(name));
        let numbers = [words.next().and_then(human), words.next().and_then(human)];
        if numbers.first().is_some_and(Option::is_some) {
            row(&name, numbers);
        }
    }
}

/// `read:` and `write:`, and below them a line for each kind of data: `btree : 8912896`.
fn io_done(text: &[u8], mut row: impl FnMut(&str, &str, f64)) {
    let mut operation = "";
    for line in lines(text) {
        match line.trim_ascii() {
            b"read:" => operation = "read",
            b"write:" => operation = "write",
            line => {
                if let Some((kind, bytes)) = field(line).filter(|_| !operation.is_empty()) {
                    row(operation, &kind, bytes);
                }
            }
        }
    }
}

/// The lines below `IO errors since filesystem creation`, up to the next such heading.
fn io_errors(text: &[u8], mut row: impl FnMut(&str, f64)) {
    let below = lines(text).skip_while(|line| !line.ends_with(b"since filesystem creation"));
    for (kind, count) in below.skip(1).map_while(field) {
        row(&kind, count);
    }
}

/// `NAME : NUMBER`
fn field(line: &[u8]) -> Option<(std::borrow::Cow<'_, str>, f64)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, number) = (line.get(..colon)?.trim_ascii(), line.get(colon + 1..)?.trim_ascii());
    Some((String::from_utf8_lossy(name), integer(number)? as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Batch;
    use std::time::{Duration, Instant};

    #[test]
    fn the_driver_without_a_file_system_has_no_data() {
        let top = std::env::temp_dir().join(format!("musterd-bcachefs-{}", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        let systems = Class::new(top.clone(), &[]);
        let mut collector = Bcachefs { systems, gathered: Gathered::default() };
        let deadline = Instant::now() + Duration::from_secs(9);
        let (batch, buffer) = (&mut Batch::new(), &mut Vec::new());
        let collected = collector.collect(&mut Pass { batch, buffer, deadline });
        std::fs::remove_dir_all(&top).unwrap();
        assert!(matches!(collected, Err(Error::NoData(_))), "{collected:?}");
    }

    #[test]
    fn errors_are_those_since_creation() {
        let text = b"IO errors since filesystem creation\n  read:  7\n  write: 1\nIO errors since 8 y ago\n  read: 9\n";
        let mut rows = Vec::new();
        io_errors(text, |kind, count| rows.push((kind.to_owned(), count)));
        assert_eq!(rows, [("read".to_owned(), 7.0), ("write".to_owned(), 1.0)]);
    }

    #[test]
    fn data_is_told_by_operation() {
        let mut rows = Vec::new();
        let text = b"sb : 1\nread:\nsb   :  86016\nuser :x\nwrite:\nuser:610019098624\n";
        io_done(text, |operation, kind, bytes| rows.push(format!("{operation} {kind} {bytes}")));
        assert_eq!(rows, ["read sb 86016", "write user 610019098624"]);
    }

    #[test]
    fn headings_are_no_rows() {
        let mut rows = Vec::new();
        let text = b"type compressed uncompressed\nlz4  48.9k 2M 62.5k\ninitial: 7 x\n\n";
        columns(text, |name, numbers| rows.push(format!("{name} {numbers:?}")));
        assert_eq!(rows, ["lz4 [Some(50073.0), Some(2097152.0)]", "initial [Some(7.0), None]"]);
    }
}
