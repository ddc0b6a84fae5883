//! `powersupplyclass`: batteries and mains, of `/sys/class/power_supply`
//! (Documentation/ABI/testing/sysfs-class-power).
//!
//! Must not know what is fed by them.

use crate::host::pattern::Pattern;
use crate::host::readings::{Found, Readings, Value};
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Family, Labels};
use std::path::Path;
use std::sync::Arc;

const SUPPLY: &[&str] = &["power_supply"];
/// The kernel says millionths of a volt, an ampere, a watt.
const MICRO: f64 = 1e-6;
/// The kernel says tenths of a degree.
const TENTH: f64 = 0.1;

/// A file, its unit, and the family that shows it.
struct Attribute(&'static str, f64, Family);

const fn of(file: &'static str, scale: f64, name: &'static str, help: &'static str) -> Attribute {
    Attribute(file, scale, Family::gauge(name, SUPPLY, help))
}

const COUNT: usize = 49;
#[rustfmt::skip] // a table
static ATTRIBUTES: [Attribute; COUNT] = [
    of("authentic", 1.0, "node_power_supply_authentic", "Whether the supply is a genuine one."),
    of("calibrate", 1.0, "node_power_supply_calibrate", "Whether the battery is being calibrated."),
    of("capacity", 1.0, "node_power_supply_capacity", "Charge in percent of what the battery can hold."),
    of("capacity_alert_max", 1.0, "node_power_supply_capacity_alert_max", "Charge in percent above which there is an alert."),
    of("capacity_alert_min", 1.0, "node_power_supply_capacity_alert_min", "Charge in percent below which there is an alert."),
    of("cycle_count", 1.0, "node_power_supply_cyclecount", "Times the battery was charged."),
    of("online", 1.0, "node_power_supply_online", "Whether the supply is plugged in."),
    of("present", 1.0, "node_power_supply_present", "Whether the battery is there."),
    of("time_to_empty_now", 1.0, "node_power_supply_time_to_empty_seconds", "Time until the battery is empty."),
    of("time_to_full_now", 1.0, "node_power_supply_time_to_full_seconds", "Time until the battery is full."),
    of("current_boot", MICRO, "node_power_supply_current_boot", "Current at boot in amperes."),
    of("current_max", MICRO, "node_power_supply_current_max", "Highest current in amperes."),
    of("current_now", MICRO, "node_power_supply_current_ampere", "Current in amperes."),
    of("energy_empty", MICRO, "node_power_supply_energy_empty", "Energy of the empty battery in watt hours."),
    of("energy_empty_design", MICRO, "node_power_supply_energy_empty_design", "Energy of the empty battery as designed, in watt hours."),
    of("energy_full", MICRO, "node_power_supply_energy_full", "Energy of the full battery in watt hours."),
    of("energy_full_design", MICRO, "node_power_supply_energy_full_design", "Energy of the full battery as designed, in watt hours."),
    of("energy_now", MICRO, "node_power_supply_energy_watthour", "Energy in the battery in watt hours."),
    of("voltage_boot", MICRO, "node_power_supply_voltage_boot", "Voltage at boot in volts."),
    of("voltage_max", MICRO, "node_power_supply_voltage_max", "Highest voltage in volts."),
    of("voltage_max_design", MICRO, "node_power_supply_voltage_max_design", "Highest voltage as designed, in volts."),
    of("voltage_min", MICRO, "node_power_supply_voltage_min", "Lowest voltage in volts."),
    of("voltage_min_design", MICRO, "node_power_supply_voltage_min_design", "Lowest voltage as designed, in volts."),
    of("voltage_now", MICRO, "node_power_supply_voltage_volt", "Voltage in volts."),
    of("voltage_ocv", MICRO, "node_power_supply_voltage_ocv", "Voltage without load in volts."),
    of("charge_control_limit", MICRO, "node_power_supply_charge_control_limit", "The limit of charging that is set."),
    of("charge_control_limit_max", MICRO, "node_power_supply_charge_control_limit_max", "The highest limit of charging."),
    of("charge_counter", MICRO, "node_power_supply_charge_counter", "Charge counted, in ampere hours."),
    of("charge_empty", MICRO, "node_power_supply_charge_empty", "Charge of the empty battery in ampere hours."),
    of("charge_empty_design", MICRO, "node_power_supply_charge_empty_design", "Charge of the empty battery as designed, in ampere hours."),
    of("charge_full", MICRO, "node_power_supply_charge_full", "Charge of the full battery in ampere hours."),
    of("charge_full_design", MICRO, "node_power_supply_charge_full_design", "Charge of the full battery as designed, in ampere hours."),
    of("charge_now", MICRO, "node_power_supply_charge_ampere", "Charge in the battery in ampere hours."),
    of("charge_term_current", MICRO, "node_power_supply_charge_term_current", "Current at which charging ends, in amperes."),
    of("constant_charge_current", MICRO, "node_power_supply_constant_charge_current", "Current of constant charging in amperes."),
    of("constant_charge_current_max", MICRO, "node_power_supply_constant_charge_current_max", "Highest current of constant charging in amperes."),
    of("constant_charge_voltage", MICRO, "node_power_supply_constant_charge_voltage", "Voltage of constant charging in volts."),
    of("constant_charge_voltage_max", MICRO, "node_power_supply_constant_charge_voltage_max", "Highest voltage of constant charging in volts."),
    of("precharge_current", MICRO, "node_power_supply_precharge_current", "Current of charging an empty battery, in amperes."),
    of("input_current_limit", MICRO, "node_power_supply_input_current_limit", "Limit of the current that comes in, in amperes."),
    of("power_now", MICRO, "node_power_supply_power_watt", "Power in watts."),
    of("temp", TENTH, "node_power_supply_temp_celsius", "Temperature in degrees Celsius."),
    of("temp_alert_max", TENTH, "node_power_supply_temp_alert_max_celsius", "Temperature above which there is an alert."),
    of("temp_alert_min", TENTH, "node_power_supply_temp_alert_min_celsius", "Temperature below which there is an alert."),
    of("temp_ambient", TENTH, "node_power_supply_temp_ambient_celsius", "Temperature around the supply in degrees Celsius."),
    of("temp_ambient_max", TENTH, "node_power_supply_temp_ambient_max_celsius", "Temperature around the supply above which there is an alert."),
    of("temp_ambient_min", TENTH, "node_power_supply_temp_ambient_min_celsius", "Temperature around the supply below which there is an alert."),
    of("temp_max", TENTH, "node_power_supply_temp_max_celsius", "Highest temperature in degrees Celsius."),
    of("temp_min", TENTH, "node_power_supply_temp_min_celsius", "Lowest temperature in degrees Celsius."),
];
const INFO: Family = Family::gauge(
    "node_power_supply_info",
    &[
        "power_supply",
        "capacity_level",
        "charge_type",
        "health",
        "manufacturer",
        "model_name",
        "scope",
        "serial_number",
        "status",
        "technology",
        "type",
        "usb_type",
    ],
    "What the supply is, and how it is; always 1. What it does not say is left out.",
);
const TEXTS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "scope",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
];
const FAMILIES: [Family; COUNT + 1] = {
    let mut families = [INFO; COUNT + 1];
    let (mut rest, mut attributes): (&mut [Family], &[_]) = (&mut families, &ATTRIBUTES);
    while let ([family, families @ ..], [attribute, more @ ..]) = (rest, attributes) {
        *family = attribute.2;
        (rest, attributes) = (families, more);
    }
    families
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "powersupplyclass", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    ignored_supplies: Pattern,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { ignored_supplies } = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |root: &Arc<Root>| {
        let supplies = Readings::new(root.sysfs.join("class/power_supply"));
        Box::new(PowerSupplyClass { supplies, ignored: ignored_supplies.clone() })
    }))
}

struct PowerSupplyClass {
    supplies: Readings,
    ignored: Pattern,
}

impl Collector for PowerSupplyClass {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let ignored = &self.ignored;
        self.supplies.update(|name, path, found| {
            if !ignored.matches(name) {
                supply(name, path, found);
            }
        })?;
        self.supplies.emit(&FAMILIES, pass.buffer, pass.batch);
        Ok(())
    }
}

fn supply(name: &str, path: &Path, found: &mut Found) {
    let labels = Labels::new(&[("power_supply", name)]);
    for (place, Attribute(file, scale, _)) in ATTRIBUTES.iter().enumerate() {
        found.file(place, &labels, path.join(file), *scale);
    }
    let texts = TEXTS.map(|text| (text, Value::read(path.join(text))));
    let texts = [("power_supply", Value::Fixed(name.to_owned()))].into_iter().chain(texts);
    found.info_of_known(COUNT, texts.collect());
}
