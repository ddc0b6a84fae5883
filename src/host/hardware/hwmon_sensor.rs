//! For `hwmon`: what the name of a sensor's file says (Documentation/hwmon/sysfs-interface.rst):
//! which sensor it is of, how its metric is named, and what unit the number has.
//!
//! Must not know about chips.

/// Kinds of sensors.
const KINDS: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

/// A file of a sensor: `temp1_input`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File<'n> {
    kind: &'static str,
    number: u32,
    property: &'n str,
}

/// How a file is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    /// What follows `node_hwmon_`; for a counter, without the unit.
    pub(super) name: String,
    /// What the number is multiplied with; `None` for a switch, which is on if it says 1.
    pub(super) scale: Option<f64>,
    pub(super) is_counter: bool,
}

impl<'n> File<'n> {
    /// Takes a file's name apart: kind, number, property. `None` for what is no sensor's.
    pub(super) fn of(name: &'n str) -> Option<Self> {
        let digits = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
        let (kind, rest) = name.split_at_checked(digits)?;
        let kind = KINDS.into_iter().find(|known| *known == kind)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, rest) = rest.split_at_checked(end)?;
        let number = if number.is_empty() { 0 } else { number.parse().ok()? };
        let property = match rest {
            "" => "",
            _ => rest.strip_prefix('_').filter(|property| !property.is_empty())?,
        };
        Some(Self { kind, number, property })
    }

    /// The sensor: `temp1`.
    pub(super) fn sensor(&self) -> String {
        format!("{}{}", self.kind, self.number)
    }

    /// Whether it is the sensor's label, not a number.
    pub(super) fn is_label(&self) -> bool {
        self.property == "label"
    }

    /// Whether it is a frequency, which is shown under the sensor's label, if it has one.
    pub(super) fn is_frequency(&self) -> bool {
        self.kind == "freq" && self.property == "input"
    }

    /// How it is shown. `is_alone`: the sensor has no file whose name is the sensor's own, so that
    /// `input` needs no name beside it.
    pub(super) fn shown(&self, is_alone: bool) -> Shown {
        let Self { kind, property, .. } = *self;
        let gauge = |name: String, scale| Shown { name, scale: Some(scale), is_counter: false };
        match kind {
            "beep_enable" => {
                let name = "beep_enabled".to_owned();
                return Shown { name, scale: None, is_counter: false };
            }
            "vrm" => return gauge("voltage_regulator_version".to_owned(), 1.0),
            "update_interval" => return gauge("update_interval_seconds".to_owned(), 1e-3),
            _ => {}
        }
        let name = match property {
            "" => kind.to_owned(),
            "input" if is_alone => kind.to_owned(),
            _ => format!("{kind}_{}", clean(property)),
        };
        let with = |unit: &str, scale| gauge(format!("{name}_{unit}"), scale);
        match (kind, property) {
            (_, "fault" | "alarm") => gauge(name, 1.0),
            (_, "beep") => with("enabled", 1.0),
            ("in" | "cpu", _) => with("volts", 1e-3),
            ("temp", "type") => gauge(name, 1.0),
            ("temp", _) => with("celsius", 1e-3),
            ("curr", _) => with("amps", 1e-3),
            // The family of counters has the rest of the name.
            ("energy", _) => Shown { name, scale: Some(1e-6), is_counter: true },
            ("power", "accuracy") => gauge(name, 1e-6),
            ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
                with("seconds", 1e-3)
            }
            ("power", _) => with("watt", 1e-6),
            ("humidity", _) => gauge(name, 1e-6),
            ("fan", "input" | "min" | "max" | "target") => with("rpm", 1.0),
            ("freq", "input") => with("freq_mhz", 1e-6),
            _ => gauge(name, 1.0),
        }
    }
}

/// As the names of chips and metrics are cleaned: lower case, and `_` for what they cannot have.
pub(super) fn clean(name: &str) -> String {
    let lower = name.trim().to_lowercase();
    let replaced: String = lower
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() || c == ':' || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    replaced.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(file: &str) -> Option<(String, String, Option<f64>)> {
        let file = File::of(file)?;
        let Shown { name, scale, .. } = file.shown(true);
        Some((file.sensor(), name, scale))
    }

    #[test]
    fn files_are_taken_apart() {
        let of = |sensor: &str, name: &str, scale: f64| {
            Some((sensor.to_owned(), name.to_owned(), Some(scale)))
        };
        assert_eq!(shown("temp1_input"), of("temp1", "temp_celsius", 1e-3));
        assert_eq!(shown("temp1_crit_alarm"), of("temp1", "temp_crit_alarm_celsius", 1e-3));
        assert_eq!(shown("fan2_alarm"), of("fan2", "fan_alarm", 1.0));
        assert_eq!(shown("in0_beep"), of("in0", "in_beep_enabled", 1.0));
        assert_eq!(shown("pwm1"), of("pwm1", "pwm", 1.0));
        assert_eq!(shown("pwm1_auto_point1_pwm"), of("pwm1", "pwm_auto_point1_pwm", 1.0));
        assert_eq!(
            shown("beep_enable"),
            Some(("beep_enable0".to_owned(), "beep_enabled".to_owned(), None))
        );
        assert_eq!(shown("power1_average"), of("power1", "power_average_watt", 1e-6));
        assert_eq!(shown("energy3_input"), of("energy3", "energy", 1e-6));
        assert_eq!(File::of("pwm1_input").unwrap().shown(false).name, "pwm_input");
        for file in
            ["name", "temp", "temp1_", "temp1x", "bogus1_input", "99", "", "temp99999999999"]
        {
            let is_bare = file == "temp";
            assert_eq!(shown(file).is_some(), is_bare, "{file}");
        }
    }

    #[test]
    fn names_are_cleaned() {
        assert_eq!(clean("Core-0 (x)\n"), "core_0__x");
        assert_eq!(clean("_é_"), "");
    }
}
