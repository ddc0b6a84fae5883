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
use crate::metric::{Family, Labels};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DEVICE: &[&str] = &["segment", "bus", "device", "function"];

const fn gauge(file: &'static str, name: &'static str, help: &'static str) -> Attribute {
    Attribute { file, family: Family::gauge(name, DEVICE, help), scale: 1.0 }
}

#[rustfmt::skip] // a table
static ATTRIBUTES: [Attribute; 7] = [
    gauge("max_link_width", "node_pcidevice_max_link_width", "Lanes that the link can have."),
    gauge("current_link_width", "node_pcidevice_current_link_width", "Lanes that the link has."),
    gauge("d3cold_allowed", "node_pcidevice_d3cold_allowed", "Whether the device may be switched off."),
    gauge("sriov_drivers_autoprobe", "node_pcidevice_sriov_drivers_autoprobe", "Whether virtual functions get a driver by themselves."),
    gauge("sriov_numvfs", "node_pcidevice_sriov_numvfs", "Virtual functions that are on."),
    gauge("sriov_totalvfs", "node_pcidevice_sriov_totalvfs", "Virtual functions that there can be."),
    gauge("sriov_vf_total_msix", "node_pcidevice_sriov_vf_total_msix", "Interrupt vectors of all virtual functions together."),
];
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
            "Speed that the link can have.",
        ),
    ),
    (
        "current_link_speed",
        Family::gauge(
            "node_pcidevice_current_link_transfers_per_second",
            DEVICE,
            "Speed that the link has.",
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
        let text = file.filter(|_| names).and_then(|path| read_once(&path).ok());
        Box::new(PciDevice {
            devices: Class::new(root.sysfs.join("bus/pci/devices"), &ATTRIBUTES),
            names: text.map(|text| Names::of(&String::from_utf8_lossy(&text))),
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
        self.devices.emit(pass.buffer, pass.batch);
        pass.batch.begin(&INFO);
        for device in self.devices.devices() {
            pass.batch.sample_with(&device.own.info, 1.0);
        }
        for (index, (_, family)) in SPEEDS.iter().enumerate() {
            pass.batch.begin(family);
            for device in self.devices.devices_mut() {
                let Device { labels, speeds, .. } = &mut device.own;
                let Some(file) = speeds.get_mut(index) else { continue };
                if let Some(speed) = file.read_if_there(pass.buffer).and_then(speed) {
                    pass.batch.sample_with(labels, speed);
                }
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
    if let Some(names) = names {
        let number =
            |id: &String| hexadecimal(id.strip_prefix("0x")?.as_bytes()).unwrap_or_default().into();
        let numbers: Vec<u64> = ids.iter().filter_map(number).collect();
        if let [class, vendor, device, by, board, ..] = *numbers {
            let short = |number: u64| u16::try_from(number).unwrap_or_default();
            let (vendor, device, by, board) =
                (short(vendor), short(device), short(by), short(board));
            labels.extend([
                ("class_name", names.class(u32::try_from(class).unwrap_or_default())),
                ("vendor_name", names.vendor(vendor)),
                ("device_name", names.device(vendor, device)),
                ("subsystem_vendor_name", names.vendor(by)),
                ("subsystem_device_name", names.subsystem((vendor, device), (by, board))),
            ]);
        }
    }
    Labels::new(&labels)
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
}
