//! `thermal_zone`: temperatures and cooling devices, of `/sys/class/thermal`
//! (Documentation/driver-api/thermal/sysfs-api.rst).
//!
//! Must not know what is measured where.

use crate::host::readings::{Found, Readings};
use crate::host::root::{Root, read_once};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass, if_there};
use crate::metric::{Family, Labels};
use std::path::Path;
use std::sync::Arc;

const DEVICE: &[&str] = &["name", "type"];
const FAMILIES: [Family; 3] = [
    Family::gauge(
        "node_thermal_zone_temp",
        &["zone", "type"],
        "Temperature of the zone in degrees Celsius.",
    ),
    Family::gauge("node_cooling_device_cur_state", DEVICE, "How hard the device cools."),
    Family::gauge("node_cooling_device_max_state", DEVICE, "How hard the device can cool."),
];
const TEMPERATURE: usize = 0;
const CURRENT: usize = 1;
const MAX: usize = 2;
/// The kernel says thousandths of a degree.
const MILLI: f64 = 1e-3;

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "thermal_zone", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(ThermalZone { devices: Readings::new(root.sysfs.join("class/thermal")) })
    }))
}

struct ThermalZone {
    devices: Readings,
}

impl Collector for ThermalZone {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        if if_there(self.devices.update(look))?.is_none() {
            return Ok(());
        }
        self.devices.emit(&FAMILIES, pass.buffer, pass.batch);
        Ok(())
    }
}

fn look(name: &str, path: &Path, found: &mut Found) {
    let Ok(kind) = read_once(&path.join("type")) else { return };
    let kind = String::from_utf8_lossy(&kind);
    if let Some(zone) = name.strip_prefix("thermal_zone") {
        let labels = Labels::new(&[("zone", zone), ("type", &kind)]);
        found.file(TEMPERATURE, &labels, path.join("temp"), MILLI);
    } else if let Some(device) = name.strip_prefix("cooling_device") {
        let labels = Labels::new(&[("name", device), ("type", &kind)]);
        found.file(CURRENT, &labels, path.join("cur_state"), 1.0);
        found.file(MAX, &labels, path.join("max_state"), 1.0);
    }
}
