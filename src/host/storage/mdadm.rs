//! `mdadm`: software RAID arrays, of `/proc/mdstat` and `/sys/block/md*/md` (md(4),
//! Documentation/admin-guide/md.rst).
//!
//! Must not know how `/proc/mdstat` is written: that is [`mdstat`](super::mdstat)'s.

use super::mdstat::{Array, State, arrays};
use crate::host::class::{Attribute, Class};
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::sync::Arc;

const DEVICE: &[&str] = &["device"];
const STATE: Family = Family::gauge(
    "node_md_state",
    &["device", "state"],
    "What the array is doing: 1 for the state that it is in.",
);
const DISKS: Family =
    Family::gauge("node_md_disks", &["device", "state"], "Disks of the array, by their state.");
const DEGRADED: Family =
    Family::gauge("node_md_degraded", DEVICE, "Disks that the array lacks to be whole.");
/// A family, and what an array has of it.
type Shown = (Family, fn(&Array) -> u64);

/// What is one number of an array.
const NUMBERS: [Shown; 3] = [
    (
        Family::gauge("node_md_disks_required", DEVICE, "Disks that the array is to have."),
        |array| array.required,
    ),
    (Family::gauge("node_md_blocks", DEVICE, "Blocks of the array."), |array| array.blocks),
    (
        Family::gauge("node_md_blocks_synced", DEVICE, "Blocks of the array that are in sync."),
        |array| array.synced,
    ),
];
static ATTRIBUTES: [Attribute; 1] = [Attribute {
    file: "md/raid_disks",
    family: Family::gauge("node_md_raid_disks", DEVICE, "Disks of the array as it is configured."),
    scale: 1.0,
}];
static FAMILIES: [Family; 7] = {
    let ([(a, _), (b, _), (c, _)], [attribute]) = (NUMBERS, &ATTRIBUTES);
    [STATE, DISKS, a, b, c, attribute.family, DEGRADED]
};

const STATES: [(&str, State); 5] = [
    ("active", State::Active),
    ("check", State::Check),
    ("inactive", State::Inactive),
    ("recovering", State::Recovering),
    ("resync", State::Resync),
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "mdadm", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Mdadm {
            mdstat: root.proc("mdstat"),
            arrays: Table::default(),
            devices: Class::new(root.sysfs.join("block"), &ATTRIBUTES),
        })
    }))
}

struct Mdadm {
    mdstat: KernelFile,
    arrays: Table<Row>,
    devices: Class<Device>,
}

struct Row {
    device: Labels,
    states: [Labels; 5],
    disks: [Labels; 3],
    array: Array,
}

/// An array in sysfs.
struct Device {
    labels: Labels,
    /// Missing where an array has no redundancy to lose.
    degraded: Option<KernelFile>,
}

impl Row {
    fn new(name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        let state = |state: &str| Labels::new(&[("device", &name), ("state", state)]);
        Self {
            device: Labels::new(&[("device", &name)]),
            states: STATES.map(|(shown, _)| state(shown)),
            disks: ["active", "failed", "spare"].map(state),
            array: Array::default(),
        }
    }
}

impl Collector for Mdadm {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let text = self.mdstat.read(pass.buffer)?;
        self.arrays.begin();
        for (name, array) in arrays(text) {
            if let Some(row) = self.arrays.meet(name, || Row::new(name)) {
                row.array = array;
            }
        }
        self.arrays.end();
        self.emit_arrays(pass);
        if self.arrays.rows().next().is_some() {
            self.emit_devices(pass)?;
        }
        Ok(())
    }
}

impl Mdadm {
    fn emit_arrays(&self, pass: &mut Pass<'_>) {
        let batch = &mut *pass.batch;
        batch.begin(&STATE);
        for row in self.arrays.rows() {
            for (labels, (_, state)) in row.states.iter().zip(STATES) {
                batch.sample_with(labels, f64::from(u8::from(row.array.state == state)));
            }
        }
        batch.begin(&DISKS);
        for Row { disks, array, .. } in self.arrays.rows() {
            for (labels, count) in disks.iter().zip([array.active, array.failed, array.spare]) {
                batch.sample_with(labels, count as f64);
            }
        }
        for (family, number) in &NUMBERS {
            batch.begin(family);
            for row in self.arrays.rows() {
                batch.sample_with(&row.device, number(&row.array) as f64);
            }
        }
    }

    fn emit_devices(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.devices.update(|name, path| {
            let is_array = name.starts_with("md") && path.join("md").exists();
            let labels = Labels::new(&[("device", name)]);
            let degraded = path.join("md/degraded");
            let degraded = degraded.exists().then(|| KernelFile::new(degraded).single());
            is_array.then(|| (labels.clone(), Device { labels, degraded }))
        })?;
        self.devices.emit(pass.buffer, pass.batch);
        pass.batch.begin(&DEGRADED);
        for device in self.devices.devices_mut() {
            let Device { labels, degraded } = &mut device.own;
            let lacking = match degraded {
                Some(file) => {
                    file.read_if_there(pass.buffer).and_then(crate::host::parse::any_number)
                }
                None => Some(0.0),
            };
            if let Some(lacking) = lacking {
                pass.batch.sample_with(labels, lacking);
            }
        }
        Ok(())
    }
}
