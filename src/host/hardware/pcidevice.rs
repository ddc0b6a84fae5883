//! `pcidevice`: PCI devices, their links and virtual functions, of `/sys/bus/pci/devices`
//! (Documentation/ABI/testing/sysfs-bus-pci).
//!
//! Must not know what the devices are for.

use super::pci_ids::Names;
use crate::host::class::Text;
use crate::host::class::{Attribute, Class};
use crate::host::parse::{any_number, decimal, hexadecimal, words};
use crate::host::root::{KernelFile, Root, read_once};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Batch, Family, Labels};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DEVICE: &[&str] = &["segment", "bus", "device", "function"];

const fn gauge(file: &'static str, name: &'static str, help: &'static str) -> Attribute {
    Attribute { file, family: Family::gauge(name, DEVICE, help), scale: 1.0 }
}

#[rustfmt::skip] // a table
static ATTRIBUTES: [Attribute; 7] = [
    gauge("max_link_width", "node_pcidevice_max_link_width", "Lanes that the link can have; -1 if unknown."),
    gauge("current_link_width", "node_pcidevice_current_link_width", "Lanes that the link has; -1 if unknown."),
    gauge("d3cold_allowed", "node_pcidevice_d3cold_allowed", "Whether the device may be switched off."),
    gauge("sriov_drivers_autoprobe", "node_pcidevice_sriov_drivers_autoprobe", "Whether virtual functions get a driver by themselves."),
    gauge("sriov_numvfs", "node_pcidevice_sriov_numvfs", "Virtual functions that are on."),
    gauge("sriov_totalvfs", "node_pcidevice_sriov_totalvfs", "Virtual functions that there can be."),
    gauge("sriov_vf_total_msix", "node_pcidevice_sriov_vf_total_msix", "Interrupt vectors of all virtual functions together."),
];
/// What a device has that lacks the attribute's file, or whose file has no number.
const ABSENT: [f64; ATTRIBUTES.len()] = [NO_LINK, NO_LINK, 0.0, 0.0, 0.0, 0.0, 0.0];
/// Width and speed of a link that there is not, or of which nothing is known.
const NO_LINK: f64 = -1.0;
const INFO: Family = Family::gauge(
    "node_pcidevice_info",
    &[
        "segment",
        "bus",
        "device",
        "function",
        "parent_segment",
        "parent_bus",
        "parent_device",
        "parent_function",
        "class_id",
        "vendor_id",
        "device_id",
        "subsystem_vendor_id",
        "subsystem_device_id",
        "revision",
        "class_name",
        "vendor_name",
        "device_name",
        "subsystem_vendor_name",
        "subsystem_device_name",
    ],
    "A device and the one that it hangs on; always 1. Names are there if they are asked for.",
);
const SPEEDS: [(&str, Family); 2] = [
    (
        "max_link_speed",
        Family::gauge(
            "node_pcidevice_max_link_transfers_per_second",
            DEVICE,
            "Speed that the link can have; -1 if unknown.",
        ),
    ),
    (
        "current_link_speed",
        Family::gauge(
            "node_pcidevice_current_link_transfers_per_second",
            DEVICE,
            "Speed that the link has; -1 if unknown.",
        ),
    ),
];
const NUMA_NODE: Family =
    Family::gauge("node_pcidevice_numa_node", DEVICE, "The device's NUMA node.");
const POWER_STATE: Family = Family::gauge(
    "node_pcidevice_power_state",
    &["segment", "bus", "device", "function", "state"],
    "The device's state of power: 1 for the one that it is in.",
);
const STATES: [&str; 7] = ["D0", "D1", "D2", "D3cold", "D3hot", "error", "unknown"];
static FAMILIES: [Family; 12] = {
    let ([a, b, c, d, e, f, g], [(_, max), (_, current)]) = (&ATTRIBUTES, SPEEDS);
    [
        a.family,
        b.family,
        c.family,
        d.family,
        e.family,
        f.family,
        g.family,
        INFO,
        max,
        current,
        NUMA_NODE,
        POWER_STATE,
    ]
};
/// Where distributions have the list of names.
const NAMES: [&str; 3] =
    ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids", "usr/share/pci.ids"];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "pcidevice", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    names: bool,
    ids_file: PathBuf,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { names, ids_file } = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |root: &Arc<Root>| {
        let known = NAMES.map(|name| root.rootfs.join(name));
        let given = (!ids_file.as_os_str().is_empty()).then(|| ids_file.clone());
        let file = given.or_else(|| known.into_iter().find(|path| path.exists()));
        let text = || file.and_then(|path| read_once(&path).ok()).unwrap_or_default();
        Box::new(PciDevice {
            devices: Class::new(root.sysfs.join("bus/pci/devices"), &ATTRIBUTES),
            names: names.then(|| Names::of(&String::from_utf8_lossy(&text()))),
        })
    }))
}

struct PciDevice {
    devices: Class<Device>,
    names: Option<Names>,
}

struct Device {
    labels: Labels,
    info: Labels,
    speeds: [KernelFile; 2],
    numa_node: KernelFile,
    power_state: Text,
    states: [Labels; 7],
}

impl Collector for PciDevice {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let names = self.names.as_ref();
        self.devices.update(|name, path| Device::new(name, path, names))?;
        self.devices.read(pass.buffer);
        emit_attributes(&self.devices, pass.batch);
        pass.batch.begin(&INFO);
        for device in self.devices.devices() {
            pass.batch.sample_with(&device.own.info, 1.0);
        }
        for (index, (_, family)) in SPEEDS.iter().enumerate() {
            pass.batch.begin(family);
            for device in self.devices.devices_mut() {
                let Device { labels, speeds, .. } = &mut device.own;
                let Some(file) = speeds.get_mut(index) else { continue };
                let speed = file.read_if_there(pass.buffer).and_then(speed);
                pass.batch.sample_with(labels, speed.unwrap_or(NO_LINK));
            }
        }
        pass.batch.begin(&NUMA_NODE);
        for device in self.devices.devices_mut() {
            let Device { labels, numa_node, .. } = &mut device.own;
            let node = numa_node.read_if_there(pass.buffer).and_then(any_number);
            // -1: there are no nodes.
            if let Some(node) = node.filter(|node| *node >= 0.0) {
                pass.batch.sample_with(labels, node);
            }
        }
        pass.batch.begin(&POWER_STATE);
        for device in self.devices.devices_mut() {
            let Device { power_state, states, .. } = &mut device.own;
            let now = power_state.read(pass.buffer);
            for (labels, state) in states.iter().zip(STATES).filter(|_| !now.is_empty()) {
                pass.batch.sample_with(labels, f64::from(u8::from(state == now)));
            }
        }
        Ok(())
    }
}

fn emit_attributes(devices: &Class<Device>, batch: &mut Batch) {
    for (index, (attribute, absent)) in ATTRIBUTES.iter().zip(ABSENT).enumerate() {
        batch.begin(&attribute.family);
        for device in devices.devices() {
            batch.sample_with(&device.own.labels, device.number(index).unwrap_or(absent));
        }
    }
}

impl Device {
    fn new(name: &str, path: &Path, names: Option<&Names>) -> Option<(Labels, Self)> {
        let [segment, bus, device, function] = address(name)?;
        let own = [("segment", segment), ("bus", bus), ("device", device), ("function", function)];
        let labels = Labels::new(&own);
        let state = |state| Labels::new(&[&own[..], &[("state", state)]].concat());
        let device = Self {
            info: info(&own, path, names),
            speeds: SPEEDS.map(|(file, _)| KernelFile::new(path.join(file)).single()),
            numa_node: KernelFile::new(path.join("numa_node")).single(),
            power_state: Text::new(path.join("power_state")),
            states: STATES.map(state),
            labels: labels.clone(),
        };
        Some((labels, device))
    }
}

fn info(own: &[(&str, &str); 4], path: &Path, names: Option<&Names>) -> Labels {
    let text = |file: &str| {
        let text = read_once(&path.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    };
    let ids =
        ["class", "vendor", "device", "subsystem_vendor", "subsystem_device", "revision"].map(text);
    let parent = path
        .canonicalize()
        .ok()
        .and_then(|path| Some(path.parent()?.file_name()?.to_string_lossy().into_owned()));
    let parent = parent.as_deref().and_then(address).unwrap_or(["*"; 4]);
    let mut labels = own.to_vec();
    let parents = ["parent_segment", "parent_bus", "parent_device", "parent_function"];
    labels.extend(parents.into_iter().zip(parent));
    let keys = [
        "class_id",
        "vendor_id",
        "device_id",
        "subsystem_vendor_id",
        "subsystem_device_id",
        "revision",
    ];
    labels.extend(keys.into_iter().zip(ids.iter().map(String::as_str)));
    let shown = names.map(|names| names_of(&ids, names)).unwrap_or_default();
    labels.extend(shown.iter().map(|(label, name)| (*label, name.as_str())));
    Labels::new(&labels)
}

/// What a device's numbers stand for: the numbers themselves where they have no name.
fn names_of(ids: &[String; 6], names: &Names) -> Vec<(&'static str, String)> {
    let [class, vendor, device, by, board, _] =
        ids.each_ref().map(|id| id.strip_prefix("0x").unwrap_or(id));
    let number = |id: &str| u16::try_from(hexadecimal(id.as_bytes())?).ok();
    let pair = |vendor, device| number(vendor).zip(number(device));
    let class_number = hexadecimal(class.as_bytes()).and_then(|class| u32::try_from(class).ok());
    let class_name = class_number.and_then(|class| names.class(class)).map(str::to_owned);
    let vendor_name = |id| number(id).and_then(|vendor| names.vendor(vendor)).unwrap_or(id);
    let device_name = pair(vendor, device).and_then(|device| names.device(device));
    let board_name = pair(vendor, device)
        .zip(pair(by, board))
        .and_then(|(device, board)| names.subsystem(device, board));
    vec![
        ("class_name", class_name.unwrap_or_else(|| format!("Unknown class ({class})"))),
        ("vendor_name", vendor_name(vendor).to_owned()),
        ("device_name", device_name.unwrap_or(device).to_owned()),
        ("subsystem_vendor_name", vendor_name(by).to_owned()),
        ("subsystem_device_name", board_name.unwrap_or(board).to_owned()),
    ]
}

/// `0000:45:00.0`: segment, bus, device, function.
fn address(name: &str) -> Option<[&str; 4]> {
    let (segment, rest) = name.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let parts = [segment, bus, device, function];
    let is_number =
        |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.iter().all(is_number).then_some(parts)
}

/// `8.0 GT/s PCIe`
fn speed(text: &[u8]) -> Option<f64> {
    let mut words = words(text);
    let (speed, unit) = (decimal(words.next()?)?, words.next()?);
    unit.trim_ascii().starts_with(b"GT/s").then_some(speed * 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_speeds() {
        assert_eq!(address("0000:45:00.0"), Some(["0000", "45", "00", "0"]));
        assert_eq!((address("pci0000:00"), address("0000:45:00"), address("")), (None, None, None));
        assert_eq!(speed(b"2.5 GT/s PCIe\n"), Some(2.5e9));
        assert_eq!((speed(b"Unknown"), speed(b"")), (None, None));
    }

    #[test]
    fn numbers_without_a_name_are_shown_themselves() {
        let ids = ["0x060100", "0x8086", "0x7a84", "0x1028", "0x0acd", "0x11"].map(str::to_owned);
        let shown = |names: &str| {
            let names = names_of(&ids, &Names::of(names)).into_iter();
            names.map(|(_, name)| name).collect::<Vec<_>>()
        };
        assert_eq!(shown(""), ["Unknown class (060100)", "8086", "7a84", "1028", "0acd"]);
        let some = "1028  Dell\n8086  Intel\n\t7a84  Z690\nC 06  Bridge\n";
        assert_eq!(shown(some), ["Bridge", "Intel", "Z690", "Dell", "0acd"]);
    }
}
