//! `netclass`: what network devices are and how they are set, of `/sys/class/net`
//! (Documentation/ABI/testing/sysfs-class-net).
//!
//! Must not know what they send and receive: that is netdev's.

use super::links::Links;
use crate::host::class::{Attribute, Class, Text};
use crate::host::parse::any_number;
use crate::host::pattern::Pattern;
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Batch, Family, Labels};
use std::path::Path;
use std::sync::Arc;

const DEVICE: &[&str] = &["device"];

const fn gauge(file: &'static str, name: &'static str, help: &'static str) -> Attribute {
    Attribute { file, family: Family::gauge(name, DEVICE, help), scale: 1.0 }
}

const fn counter(file: &'static str, name: &'static str, help: &'static str) -> Attribute {
    Attribute { file, family: Family::counter(name, DEVICE, help), scale: 1.0 }
}

const COUNT: usize = 16;
const FLAGS: usize = 7;
const IFINDEX: usize = 8;
#[rustfmt::skip] // a table
static ATTRIBUTES: [Attribute; COUNT] = [
    gauge("addr_assign_type", "node_network_address_assign_type", "How the device came by its address (NET_ADDR_*)."),
    gauge("carrier", "node_network_carrier", "Whether the device has a link."),
    counter("carrier_changes", "node_network_carrier_changes_total", "Times the link came or went."),
    counter("carrier_up_count", "node_network_carrier_up_changes_total", "Times the link came."),
    counter("carrier_down_count", "node_network_carrier_down_changes_total", "Times the link went."),
    gauge("dev_id", "node_network_device_id", "The device's number among those that share an address."),
    gauge("dormant", "node_network_dormant", "Whether the device waits for something outside."),
    gauge("flags", "node_network_flags", "The device's flags (IFF_*)."),
    gauge("ifindex", "node_network_iface_id", "The device's number."),
    gauge("iflink", "node_network_iface_link", "The number of the device that this one stands on."),
    gauge("link_mode", "node_network_iface_link_mode", "The device's link mode."),
    gauge("mtu", "node_network_mtu_bytes", "The largest packet that the device takes."),
    gauge("name_assign_type", "node_network_name_assign_type", "How the device came by its name (NET_NAME_*)."),
    gauge("netdev_group", "node_network_net_dev_group", "The group that the device belongs to."),
    gauge("tx_queue_len", "node_network_transmit_queue_length", "Packets that the send queue takes."),
    gauge("type", "node_network_protocol_type", "The protocol of the link (ARPHRD_*)."),
];
const UP: Family =
    Family::gauge("node_network_up", DEVICE, "Whether the device's operational state is up.");
const SPEED: Family =
    Family::gauge("node_network_speed_bytes", DEVICE, "Speed of the link in bytes a second.");
const INFO: Family = Family::gauge(
    "node_network_info",
    &["device", "address", "broadcast", "duplex", "operstate", "adminstate", "ifalias"],
    "What the device is, and how it is; always 1.",
);
/// The kernel says Mbit/s.
const MEGABIT: f64 = 125_000.0;
/// The flag of a device that has been set up (IFF_UP of linux/if.h).
const IFF_UP: u64 = 1;

const FAMILIES: [Family; COUNT + 3] = {
    let mut families = [UP; COUNT + 3];
    let (mut rest, mut attributes): (&mut [Family], &[_]) = (&mut families, &ATTRIBUTES);
    while let ([family, families @ ..], [attribute, more @ ..]) = (rest, attributes) {
        *family = attribute.family;
        (rest, attributes) = (families, more);
    }
    let [.., speed, info] = &mut families;
    (*speed, *info) = (SPEED, INFO);
    families
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "netclass", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    ignored_devices: Pattern,
    ignore_invalid_speed: bool,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { ignored_devices, ignore_invalid_speed } =
        serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |root: &Arc<Root>| {
        Box::new(NetClass {
            devices: Class::new(root.sysfs.join("class/net"), &ATTRIBUTES),
            links: Links::new(root),
            ignored: ignored_devices.clone(),
            ignore_invalid_speed,
        })
    }))
}

struct NetClass {
    devices: Class<Device>,
    links: Links,
    ignored: Pattern,
    ignore_invalid_speed: bool,
}

/// What is more than a number of one file.
struct Device {
    labels: Labels,
    name: String,
    address: Text,
    broadcast: Text,
    duplex: Text,
    operstate: Text,
    ifalias: Text,
    speed_file: KernelFile,
    /// In Mbit/s.
    speed: Option<f64>,
}

impl Collector for NetClass {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        if self.links.may_have_changed() {
            self.read(pass)?;
        }
        self.devices.emit_again(pass.batch);
        pass.batch.begin(&UP);
        for device in self.devices.devices() {
            let is_up = device.own.operstate.shown() == "up";
            pass.batch.sample_with(&device.own.labels, f64::from(u8::from(is_up)));
        }
        pass.batch.begin(&INFO);
        for device in self.devices.devices() {
            device.own.emit_info(device.number(FLAGS), pass.batch);
        }
        pass.batch.begin(&SPEED);
        for device in self.devices.devices_mut() {
            let device = &mut device.own;
            // Set by hand, a speed may change without a word.
            if device.speed.is_some() {
                device.read_speed(pass.buffer);
            }
            let shown = device.speed.filter(|speed| *speed >= 0.0 || !self.ignore_invalid_speed);
            if let Some(speed) = shown {
                pass.batch.sample_with(&device.labels, speed * MEGABIT);
            }
        }
        Ok(())
    }
}

impl NetClass {
    fn read(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let ignored = &self.ignored;
        self.devices.update(|name, path| {
            // `bonding_masters` is a file among the devices.
            let is_shown = !ignored.matches(name) && path.is_dir();
            is_shown.then(|| Device::new(name, path))
        })?;
        self.devices.read(pass.buffer);
        for device in self.devices.devices_mut() {
            device.own.read(pass.buffer);
        }
        let devices = self.devices.devices();
        self.links.trust(devices.map(|device| (device.own.name.as_str(), device.number(IFINDEX))));
        Ok(())
    }
}

impl Device {
    fn new(name: &str, path: &Path) -> (Labels, Self) {
        let text = |file: &str| Text::new(path.join(file));
        let labels = Labels::new(&[("device", name)]);
        let device = Self {
            labels: labels.clone(),
            name: name.to_owned(),
            address: text("address"),
            broadcast: text("broadcast"),
            duplex: text("duplex"),
            operstate: text("operstate"),
            ifalias: text("ifalias"),
            speed_file: KernelFile::new(path.join("speed")).single(),
            speed: None,
        };
        (labels, device)
    }

    fn read(&mut self, buffer: &mut Vec<u8>) {
        let texts = [
            &mut self.address,
            &mut self.broadcast,
            &mut self.duplex,
            &mut self.operstate,
            &mut self.ifalias,
        ];
        for text in texts {
            text.read(buffer);
        }
        self.read_speed(buffer);
    }

    /// A device without a link, or without a speed, answers EINVAL or -1.
    fn read_speed(&mut self, buffer: &mut Vec<u8>) {
        self.speed = self.speed_file.read_if_there(buffer).and_then(any_number);
    }

    fn emit_info(&self, flags: Option<f64>, batch: &mut Batch) {
        let adminstate = match flags.map(|flags| flags as u64 & IFF_UP) {
            Some(IFF_UP) => "up",
            Some(_) => "down",
            None => "unknown",
        };
        let labels = [
            ("device", self.name.as_str()),
            ("address", self.address.shown()),
            ("broadcast", self.broadcast.shown()),
            ("duplex", self.duplex.shown()),
            ("operstate", self.operstate.shown()),
            ("adminstate", adminstate),
            ("ifalias", self.ifalias.shown()),
        ];
        batch.sample(&labels, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_table() {
        let [flags, number] = [FLAGS, IFINDEX].map(|place| ATTRIBUTES[place].file);
        assert_eq!([flags, number], ["flags", "ifindex"]);
    }
}
