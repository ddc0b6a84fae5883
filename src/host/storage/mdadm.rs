//! `mdadm`: software RAID arrays, of `/proc/mdstat` and `/sys/block/md*/md` (md(4),
//! Documentation/admin-guide/md.rst).
//!
//! Must not know how `/proc/mdstat` is written: that is [`mdstat`](super::mdstat)'s.

use super::mdstat::{Array, State, arrays};
use crate::host::class::Class;
use crate::host::parse::{number, words};
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass, if_there};
use crate::metric::{Family, Labels};
use std::path::Path;
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
const RAID_DISKS: Family =
    Family::gauge("node_md_raid_disks", DEVICE, "Disks of the array as it is configured.");
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
static FAMILIES: [Family; 7] = {
    let [(a, _), (b, _), (c, _)] = NUMBERS;
    [STATE, DISKS, a, b, c, RAID_DISKS, DEGRADED]
};

/// The states that are shown. An array that is broken, or takes another shape, is in none of them.
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
            devices: Class::new(root.sysfs.join("block"), &[]),
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
    raid_disks: KernelFile,
    /// Not there while the array has no redundancy to lose.
    degraded: KernelFile,
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
            let folder = path.join("md");
            let is_array = name.starts_with("md") && folder.exists();
            is_array.then(|| (Labels::default(), Device::new(name, &folder)))
        })?;
        pass.batch.begin(&RAID_DISKS);
        for device in self.devices.devices_mut() {
            if let Some(disks) = device.own.raid_disks.read_if_there(pass.buffer).and_then(disks) {
                pass.batch.sample_with(&device.own.labels, disks);
            }
        }
        pass.batch.begin(&DEGRADED);
        for device in self.devices.devices_mut() {
            let lacking = match if_there(device.own.degraded.read(pass.buffer)) {
                Ok(text) => text.map_or(Some(0.0), disks),
                Err(_) => None,
            };
            if let Some(lacking) = lacking {
                pass.batch.sample_with(&device.own.labels, lacking);
            }
        }
        Ok(())
    }
}

impl Device {
    fn new(name: &str, folder: &Path) -> Self {
        let file = |name| KernelFile::new(folder.join(name)).single();
        Self {
            labels: Labels::new(&[("device", name)]),
            raid_disks: file("raid_disks"),
            degraded: file("degraded"),
        }
    }
}

/// A number of disks. While it changes, the former one stands behind it: `6 (4)`.
fn disks(text: &[u8]) -> Option<f64> {
    words(text.trim_ascii()).next().and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::one_pass::text_of;

    #[test]
    fn arrays_that_are_changed_while_they_run() {
        let top = std::env::temp_dir().join(format!("musterd-mdadm-{}", std::process::id()));
        let folder = top.join("block/md7/md");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(top.join("mdstat"), "md7 : active raid0 sda[0]\n  9 blocks\n").unwrap();
        let mut collector = Mdadm {
            mdstat: KernelFile::new(top.join("mdstat")),
            arrays: Table::default(),
            devices: Class::new(top.join("block"), &[]),
        };
        let mut pass = || {
            let text = text_of(&mut collector);
            let shown = |name: &str| {
                let line = text.lines().find(|line| line.starts_with(name));
                line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
            };
            (shown("node_md_raid_disks"), shown("node_md_degraded"))
        };
        let text = |text: &str| Some(text.to_owned());
        std::fs::write(folder.join("raid_disks"), "4\n").unwrap();
        assert_eq!(pass(), (text("4"), text("0")));
        std::fs::write(folder.join("raid_disks"), "6 (4)\n").unwrap();
        std::fs::write(folder.join("degraded"), "1\n").unwrap();
        assert_eq!(pass(), (text("6"), text("1")), "of another level now, and reshaped");
        std::fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn numbers_of_disks() {
        assert_eq!((disks(b"4\n"), disks(b"6 (4)\n")), (Some(4.0), Some(6.0)));
        assert_eq!((disks(b""), disks(b"x"), disks(b"(4)")), (None, None, None));
    }
}
