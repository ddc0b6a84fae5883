//! `arp`: how many neighbours each device knows, of `/proc/net/arp` (arp(7)).
//!
//! Must not know who they are.

use super::net;
use crate::host::parse::{lines, quoted, words};
use crate::host::pattern::{Filter, Pattern};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Family, Labels};
use std::sync::Arc;

const ENTRIES: Family =
    Family::gauge("node_arp_entries", &["device"], "Neighbours in the ARP table, by device.");
/// Where the device stands in a line.
const DEVICE: usize = 5;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "arp", families: &[ENTRIES], parse: configure };

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
        let (file, filter) = (net::file(root, "arp").records(256), filter.clone());
        Box::new(Arp { file, filter, devices: Vec::new() })
    }))
}

struct Arp {
    file: KernelFile,
    filter: Filter,
    devices: Vec<Device>,
}

/// A device that has had neighbours at some time.
struct Device {
    name: Box<[u8]>,
    /// `None` for one that is not shown.
    labels: Option<Labels>,
    count: u64,
}

impl Collector for Arp {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let filter = &self.filter;
        update(self.file.read(pass.buffer)?, &mut self.devices, |name| filter.wants(name))?;
        pass.batch.begin(&ENTRIES);
        for device in self.devices.iter().filter(|device| device.count > 0) {
            if let Some(labels) = &device.labels {
                pass.batch.sample_with(labels, device.count as f64);
            }
        }
        Ok(())
    }
}

fn update(
    text: &[u8],
    devices: &mut Vec<Device>,
    wants: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    for device in devices.iter_mut() {
        device.count = 0;
    }
    for line in lines(text).skip(1) {
        let name = words(line).nth(DEVICE).ok_or_else(|| {
            Error::Parse(format!("net/arp: wanted six columns, found {}", quoted(line)))
        })?;
        if let Some(device) = devices.iter_mut().find(|device| *device.name == *name) {
            device.count += 1;
            continue;
        }
        let shown = String::from_utf8_lossy(name);
        let labels = Labels::new(&[("device", &shown)]);
        // Names that differ in bytes which are no UTF-8 only would be one series twice.
        let is_new = !devices.iter().any(|device| device.labels.as_ref() == Some(&labels));
        let labels = (is_new && wants(&shown)).then_some(labels);
        devices.push(Device { name: name.into(), labels, count: 1 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "IP address HW type Flags HW address Mask Device\n";

    fn counts(devices: &mut Vec<Device>, text: &str) -> Result<Vec<(bool, u64)>, Error> {
        update([HEAD, text].concat().as_bytes(), devices, |name| name != "nope")?;
        Ok(devices.iter().map(|device| (device.labels.is_some(), device.count)).collect())
    }

    #[test]
    fn neighbours_are_counted_by_device() {
        let mut devices = Vec::new();
        let text = "10.0.0.1 0x1 0x2 aa:bb * eth0\n10.0.0.2 0x1 0x2 aa:bc * nope\n10.0.0.3 0x1 0x0 00:00 * eth0\n";
        assert_eq!(counts(&mut devices, text).unwrap(), [(true, 2), (false, 1)]);
        let text = "1 2 3 4 5 eth1\n";
        assert_eq!(counts(&mut devices, text).unwrap(), [(true, 0), (false, 0), (true, 1)]);
        assert_eq!(counts(&mut devices, "").unwrap(), [(true, 0), (false, 0), (true, 0)]);
    }

    #[test]
    fn rubbish() {
        assert!(counts(&mut Vec::new(), "10.0.0.1 0x1\n").is_err());
    }
}
