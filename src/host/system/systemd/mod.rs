//! `systemd`: the units and their states, asked of systemd over D-Bus (org.freedesktop.systemd1(5)).
//!
//! Must not know what any unit is for.

mod families;
mod properties;

use crate::host::bus::{Bus, Property, call, get, property};
use crate::host::gathered::Gathered;
use crate::host::pattern::WholePattern;
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use families::{FAMILIES, Place};
use properties::{STATES, Unit, Wanted, add_states, asked};
use serde::Deserialize;
use std::sync::Arc;
use zbus::{Message, ObjectPath};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "systemd", families: &FAMILIES, parse: configure };

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PATH: &str = "/org/freedesktop/systemd1";
/// The stages of a start that systemd notes the time of, as `STAGETimestamp`.
const STAGES: [&str; 18] = [
    "Firmware",
    "Loader",
    "Kernel",
    "InitRD",
    "InitRDSecurityStart",
    "InitRDSecurityFinish",
    "InitRDGeneratorsStart",
    "InitRDGeneratorsFinish",
    "InitRDUnitsLoadStart",
    "InitRDUnitsLoadFinish",
    "Userspace",
    "SecurityStart",
    "SecurityFinish",
    "GeneratorsStart",
    "GeneratorsFinish",
    "UnitsLoadStart",
    "UnitsLoadFinish",
    "Finish",
];

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    unit_include: WholePattern,
    unit_exclude: WholePattern,
    enable_start_time_metrics: bool,
    enable_task_metrics: bool,
    enable_restarts_metrics: bool,
    ip_accounting: bool,
    systemd_exporter: bool,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let options = Options::deserialize(options)?;
    Ok(Arc::new(move |_: &Arc<Root>| {
        Box::new(Systemd {
            options: options.clone(),
            bus: Bus::default(),
            gathered: Gathered::default(),
        })
    }))
}

struct Systemd {
    options: Options,
    bus: Bus,
    gathered: Gathered,
}

impl Collector for Systemd {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        let units = self.manager(pass)?;
        self.units(&units, pass)?;
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

impl Systemd {
    /// The whole system, and the units that are wanted.
    fn manager(&mut self, pass: &Pass<'_>) -> Result<Vec<Unit>, Error> {
        let manager = |property: &str| get(SERVICE, PATH, MANAGER, property);
        let mut questions = vec![
            call(SERVICE, PATH, MANAGER, "ListUnits")?,
            manager("Version")?,
            manager("Virtualization")?,
            manager("SystemState")?,
        ];
        if self.options.systemd_exporter {
            for stage in STAGES {
                questions.push(manager(&format!("{stage}Timestamp"))?);
                questions.push(manager(&format!("{stage}TimestampMonotonic"))?);
            }
        }
        let mut answers = self.bus.ask(&questions, pass.deadline)?.into_iter();
        let units =
            answers.next().flatten().and_then(|answer| units(&answer)).ok_or_else(|| {
                Error::NoData("systemd does not tell its units over the system bus".to_owned())
            })?;
        let mut next = || answers.next().flatten().and_then(|answer| property(&answer));
        self.system(next(), next(), next());
        if self.options.systemd_exporter {
            for stage in STAGES {
                self.stage(stage, next(), next());
            }
        }
        self.summary(&units);
        Ok(units.into_iter().filter(|unit| self.is_wanted(unit)).collect())
    }

    fn system(
        &mut self,
        version: Option<Property>,
        virtualization: Option<Property>,
        state: Option<Property>,
    ) {
        if let Some(Property::Text(version)) = version {
            let labels = [("version", version.as_str())];
            self.gathered.add(Place::NodeVersion as usize, &labels, number_of(&version));
        }
        if let Some(Property::Text(kind)) = virtualization {
            let kind = if kind.is_empty() { "none" } else { &kind };
            let labels = [("virtualization_type", kind)];
            self.gathered.add(Place::NodeVirtualization as usize, &labels, 1.0);
        }
        if let Some(Property::Text(state)) = state {
            let is_running = f64::from(u8::from(state == "running"));
            self.gathered.add(Place::NodeRunning as usize, &[], is_running);
        }
    }

    fn stage(&mut self, stage: &str, time: Option<Property>, monotonic: Option<Property>) {
        let labels = [("stage", stage)];
        for (place, value) in [(Place::BootTime, time), (Place::BootMonotonic, monotonic)] {
            if let Some(Property::Number(microseconds)) = value {
                self.gathered.add(place as usize, &labels, microseconds as f64 / 1e6);
            }
        }
    }

    /// How many units there are in each state, whether they are shown or not.
    fn summary(&mut self, units: &[Unit]) {
        let mut states: Vec<&str> = STATES.to_vec();
        states.extend(units.iter().map(|unit| unit.active.as_str()));
        states.sort_unstable();
        states.dedup();
        for state in states {
            let count = units.iter().filter(|unit| unit.active == state).count();
            self.gathered.add(Place::NodeUnits as usize, &[("state", state)], count as f64);
        }
    }

    fn is_wanted(&self, unit: &Unit) -> bool {
        let options = &self.options;
        unit.load == "loaded"
            && options.unit_include.matches(&unit.name)
            && !options.unit_exclude.matches(&unit.name)
    }

    fn units(&mut self, units: &[Unit], pass: &Pass<'_>) -> Result<(), Error> {
        let wanted = self.options.wanted();
        let mut questions = Vec::new();
        for unit in units {
            for asked in asked(unit, wanted) {
                questions.push(get(SERVICE, &unit.path, asked.interface(), asked.property)?);
            }
        }
        let mut answers = self.bus.ask(&questions, pass.deadline)?.into_iter();
        for unit in units {
            let mut kind = String::new();
            for asked in asked(unit, wanted) {
                // A unit may have been unloaded by now.
                let answer = answers.next().flatten();
                let Some(value) = answer.and_then(|answer| property(&answer)) else { continue };
                if let Some(found) = asked.add(unit, &value, wanted, &mut self.gathered) {
                    found.clone_into(&mut kind);
                }
            }
            add_states(unit, &kind, wanted, &mut self.gathered);
        }
        Ok(())
    }
}

impl Options {
    fn wanted(&self) -> Wanted {
        Wanted {
            start_time: self.enable_start_time_metrics,
            tasks: self.enable_task_metrics,
            restarts: self.enable_restarts_metrics,
            ip_accounting: self.ip_accounting,
            systemd_exporter: self.systemd_exporter,
        }
    }
}

/// Reads the answer to `ListUnits`: name, description, load state, active state, sub-state, unit that
/// it follows, path, and its job's number, type and path.
fn units(answer: &Message) -> Option<Vec<Unit>> {
    type Row<'a> = (
        &'a str,
        &'a str,
        &'a str,
        &'a str,
        &'a str,
        &'a str,
        ObjectPath<'a>,
        u32,
        &'a str,
        ObjectPath<'a>,
    );
    let body = answer.body();
    let rows: Vec<Row<'_>> = body.deserialize().ok()?;
    let unit = |(name, _, load, active, _, _, path, ..): Row<'_>| Unit {
        name: name.to_owned(),
        load: load.to_owned(),
        active: active.to_owned(),
        path: path.as_str().to_owned(),
    };
    Some(rows.into_iter().map(unit).collect())
}

/// The number in a version such as `252.30-1~deb12u2`: at least three digits, and what comes behind a
/// dot. 0 if there is none.
fn number_of(version: &str) -> f64 {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut rest = version;
    while let Some(start) = rest.find(|character: char| character.is_ascii_digit()) {
        let number = rest.get(start..).unwrap_or_default();
        let whole = digits(number);
        let behind = number.get(whole..).unwrap_or_default();
        if whole >= 3 {
            let fraction = behind.strip_prefix('.').map_or(0, digits);
            let length = if fraction == 0 { whole } else { whole + 1 + fraction };
            return number.get(..length).and_then(|text| text.parse().ok()).unwrap_or_default();
        }
        rest = behind;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_a_number() {
        assert_eq!(number_of("252.30-1~deb12u2"), 252.30);
        assert_eq!(number_of("257 (257-9.el10)"), 257.0);
        assert_eq!(number_of("v256.4-1-arch"), 256.4);
        assert_eq!(number_of("el9 239."), 239.0);
        assert_eq!(number_of("12"), 0.0);
        assert_eq!(number_of(""), 0.0);
    }

    #[test]
    fn units_are_read_and_rubbish_is_not() {
        let path = ObjectPath::try_from("/org/freedesktop/systemd1/unit/a_2eservice").unwrap();
        let none = ObjectPath::try_from("/").unwrap();
        let row = ("a.service", "A", "loaded", "active", "running", "", path, 0_u32, "", none);
        let call = call(SERVICE, PATH, MANAGER, "ListUnits").unwrap();
        let answer = Message::method_return(&call.header()).build(&vec![row]).unwrap();
        let found = units(&answer).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].kind()), ("a.service", "service"));
        assert_eq!(found[0].path, "/org/freedesktop/systemd1/unit/a_2eservice");
        let rubbish = Message::method_return(&call.header()).build(&"x").unwrap();
        assert!(units(&rubbish).is_none());
    }
}
