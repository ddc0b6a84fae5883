//! `netdev`: what network devices sent and received, asked of the kernel over rtnetlink(7), or of
//! `/proc/net/dev` and `/sys/class/net/<device>/statistics` (Documentation/networking/statistics.rst).
//!
//! Netlink knows the devices of the daemon's own network namespace alone. So where `/proc` is another
//! one than the daemon's own, as in a container that has the host's mounted, its files are read. In some
//! of their columns the kernel sums several of its counters, which netlink has each by itself
//! (dev_seq_printf_stats() in net/core/net-procfs.c): here they are summed the same way.
//!
//! Must not know what kind of device one is.

use super::addresses::{self, Addresses};
use super::link_stats::{self, LinkStats};
use super::net;
use crate::host::parse::{integer, lines, number, quoted, words};
use crate::host::pattern::{Filter, Pattern};
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Batch, Family, Labels};
use std::path::Path;
use std::sync::Arc;

const DEVICE: &[&str] = &["device"];

const NO_HANDLER: Family = Family::counter(
    "node_network_receive_nohandler_total",
    DEVICE,
    "Packets received that nothing on the host took.",
);

/// How many columns `/proc/net/dev` has after the device's name.
const COLUMNS: usize = 16;

/// All families: first those of the columns, in the order of the file.
const FAMILIES: [Family; COLUMNS + 2] = [
    Family::counter("node_network_receive_bytes_total", DEVICE, "Bytes received."),
    Family::counter("node_network_receive_packets_total", DEVICE, "Packets received."),
    Family::counter("node_network_receive_errs_total", DEVICE, "Packets received broken."),
    Family::counter(
        "node_network_receive_drop_total",
        DEVICE,
        "Packets received and dropped for want of room.",
    ),
    Family::counter("node_network_receive_fifo_total", DEVICE, "Overruns of the receive queue."),
    Family::counter(
        "node_network_receive_frame_total",
        DEVICE,
        "Frames received with a wrong length, alignment or checksum.",
    ),
    Family::counter(
        "node_network_receive_compressed_total",
        DEVICE,
        "Compressed packets received.",
    ),
    Family::counter("node_network_receive_multicast_total", DEVICE, "Multicast packets received."),
    Family::counter("node_network_transmit_bytes_total", DEVICE, "Bytes sent."),
    Family::counter("node_network_transmit_packets_total", DEVICE, "Packets sent."),
    Family::counter("node_network_transmit_errs_total", DEVICE, "Packets that could not be sent."),
    Family::counter(
        "node_network_transmit_drop_total",
        DEVICE,
        "Packets to be sent and dropped for want of room.",
    ),
    Family::counter("node_network_transmit_fifo_total", DEVICE, "Underruns of the send queue."),
    Family::counter("node_network_transmit_colls_total", DEVICE, "Collisions while sending."),
    Family::counter(
        "node_network_transmit_carrier_total",
        DEVICE,
        "Packets that were not sent because the line was lost, or aborted.",
    ),
    Family::counter("node_network_transmit_compressed_total", DEVICE, "Compressed packets sent."),
    NO_HANDLER,
    addresses::INFO,
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "netdev", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    device_include: Pattern,
    device_exclude: Pattern,
    address_info: bool,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let options: Options = serde::Deserialize::deserialize(options)?;
    let Options { device_include, device_exclude, address_info } = options;
    let filter = Filter { include: device_include, exclude: device_exclude };
    Ok(Arc::new(move |root: &Arc<Root>| {
        let file = net::file(root, "dev").records(512);
        // A service may not be allowed to ask; then the file it is, if there is one.
        let is_own = root.procfs == Path::new("/proc") && LinkStats::may_ask();
        let is_own = is_own || !file.path().exists();
        Box::new(NetDev {
            source: if is_own { Source::Kernel(LinkStats::new()) } else { Source::File(file) },
            root: Arc::clone(root),
            filter: filter.clone(),
            devices: Table::default(),
            addresses: address_info.then(Addresses::default),
        })
    }))
}

struct NetDev {
    source: Source,
    root: Arc<Root>,
    filter: Filter,
    /// By name; `None` for those that are not exposed.
    devices: Table<Option<Device>>,
    addresses: Option<Addresses>,
}

/// Where the counters come from.
enum Source {
    Kernel(LinkStats),
    File(KernelFile),
}

/// Which of the kernel's counters the columns of `/proc/net/dev` are sums of, and the one that it lacks.
const PLACES: [&[usize]; COLUMNS] = [
    &[2],
    &[0],
    &[4],
    &[6, 15], // dropped, missed
    &[14],
    &[10, 11, 12, 13], // length, over, crc, frame
    &[21],
    &[8],
    &[3],
    &[1],
    &[5],
    &[7],
    &[18],
    &[9],
    &[16, 17, 19, 20], // aborted, carrier, heartbeat, window
    &[22],
];
const NO_HANDLER_PLACE: usize = 23;

/// A device that is exposed.
struct Device {
    labels: Labels,
    values: [u64; COLUMNS],
    /// The one counter that `/proc/net/dev` lacks.
    no_handler: Option<f64>,
    /// Where it is, for the file's sake.
    no_handler_file: KernelFile,
}

impl Collector for NetDev {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let (root, filter) = (&self.root, &self.filter);
        let make = |name: &[u8]| {
            let name = String::from_utf8_lossy(name);
            filter.wants(&name).then(|| Device::new(root, &name))
        };
        match &mut self.source {
            Source::Kernel(stats) => {
                let devices = &mut self.devices;
                devices.begin();
                let asked = stats.ask(pass.deadline, |name, counters| {
                    if let Some(Some(device)) =
                        devices.meet(name.as_bytes(), || make(name.as_bytes()))
                    {
                        device.take(&counters);
                    }
                });
                asked.map_err(|source| Error::Read {
                    path: "netlink route socket".into(),
                    source,
                })?;
                devices.end();
            }
            Source::File(file) => {
                update(file.read(pass.buffer)?, &mut self.devices, make)?;
                for device in self.devices.rows_mut().flatten() {
                    let text = device.no_handler_file.read_if_there(pass.buffer);
                    device.no_handler = text.and_then(|text| number(text.trim_ascii()));
                }
            }
        }
        emit(&self.devices, pass.batch);
        pass.batch.begin(&NO_HANDLER);
        for device in self.devices.rows().flatten() {
            if let Some(count) = device.no_handler {
                pass.batch.sample_with(&device.labels, count);
            }
        }
        match &mut self.addresses {
            Some(addresses) => addresses.emit(pass.deadline, pass.batch),
            None => Ok(()),
        }
    }
}

impl Device {
    fn new(root: &Root, name: &str) -> Self {
        let no_handler = root.sysfs.join("class/net").join(name).join("statistics/rx_nohandler");
        Self {
            labels: Labels::new(&[("device", name)]),
            values: [0; COLUMNS],
            no_handler: None,
            no_handler_file: KernelFile::new(no_handler).single(),
        }
    }

    fn take(&mut self, counters: &link_stats::Counters) {
        for (value, places) in self.values.iter_mut().zip(PLACES) {
            let summed = places.iter().filter_map(|place| counters.get(*place));
            *value = summed.fold(0, |sum, count| sum.wrapping_add(*count));
        }
        self.no_handler = counters.get(NO_HANDLER_PLACE).map(|count| *count as f64);
    }
}

/// Brings the table to what `/proc/net/dev` says: after two lines of headings, `name: numbers`.
fn update(
    text: &[u8],
    devices: &mut Table<Option<Device>>,
    make: impl Fn(&[u8]) -> Option<Device>,
) -> Result<(), Error> {
    devices.begin();
    for line in lines(text).skip(2) {
        let unreadable =
            || Error::Parse(format!("net/dev: wanted `name: 16 numbers`, found {}", quoted(line)));
        // A name may hold a colon (an old alias), and never a blank.
        let colon = line.iter().rposition(|&byte| byte == b':').ok_or_else(unreadable)?;
        let (name, numbers) = line.split_at(colon);
        let name = name.trim_ascii();
        if name.is_empty() || name.contains(&b'/') {
            return Err(unreadable());
        }
        let Some(Some(device)) = devices.meet(name, || make(name)) else { continue };
        let mut words = words(numbers.get(1..).unwrap_or_default());
        for slot in &mut device.values {
            *slot = words.next().and_then(integer).ok_or_else(unreadable)?;
        }
    }
    devices.end();
    Ok(())
}

fn emit(devices: &Table<Option<Device>>, batch: &mut Batch) {
    for (index, family) in FAMILIES.iter().take(COLUMNS).enumerate() {
        batch.begin(family);
        for device in devices.rows().flatten() {
            if let Some(value) = device.values.get(index) {
                batch.sample_with(&device.labels, *value as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &[u8]) -> Result<Vec<[u64; COLUMNS]>, Error> {
        let root = Root {
            procfs: "/nonexistent".into(),
            sysfs: "/nonexistent".into(),
            rootfs: "/nonexistent".into(),
            udev_data: "/nonexistent".into(),
        };
        let mut devices = Table::default();
        update(text, &mut devices, |name| {
            (name != b"lo").then(|| Device::new(&root, &String::from_utf8_lossy(name)))
        })?;
        Ok(devices.rows().flatten().map(|device| device.values).collect())
    }

    #[test]
    fn devices() {
        let text =
            b"Inter-|\n face |\n    lo: 1 2\n  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
        assert_eq!(
            values(text).unwrap(),
            [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]]
        );
        assert!(values(b"").unwrap().is_empty());
    }

    #[test]
    fn netlink_is_summed_as_the_file_is() {
        let root = Root {
            procfs: "/nonexistent".into(),
            sysfs: "/nonexistent".into(),
            rootfs: "/nonexistent".into(),
            udev_data: "/nonexistent".into(),
        };
        let mut device = Device::new(&root, "eth0");
        // A power of two each, so that a sum says what is in it.
        let mut counters = [0; link_stats::COUNT];
        counters.iter_mut().enumerate().for_each(|(place, count)| *count = 1 << place);
        device.take(&counters);
        let [.., drop, _, frame, _, _, _, _, _, _, _, _, carrier, _] = device.values;
        assert_eq!(drop, 1 << 6 | 1 << 15);
        assert_eq!(frame, 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13);
        assert_eq!(carrier, 1 << 16 | 1 << 17 | 1 << 19 | 1 << 20);
        let all = device.values.iter().fold(0, |all, value| all | value);
        assert_eq!((all, device.no_handler), ((1 << 23) - 1, Some(f64::from(1 << 23))));
        device.take(&[u64::MAX; link_stats::COUNT]);
    }

    #[test]
    fn rubbish() {
        for line in [
            &b"eth0 1 2"[..],
            b"eth0: 1 2",
            b": 1",
            b"../x: 1",
            b"eth0: x",
            b"\xff: 99999999999999999999",
        ] {
            let text = [b"a\nb\n", line].concat();
            assert!(values(&text).is_err(), "{line:?}");
        }
    }
}
