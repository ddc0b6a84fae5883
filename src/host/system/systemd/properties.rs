//! What is asked about a unit, and what samples the answers are (org.freedesktop.systemd1(5)).
//!
//! Must not know how systemd is asked.

use super::families::Place;
use crate::host::bus::Property;
use crate::host::gathered::Gathered;

/// A unit, of the answer to `ListUnits`.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) load: String,
    pub(super) active: String,
    pub(super) path: String,
}

impl Unit {
    /// What kind of unit it is: `service`, `socket` and so on.
    pub(super) fn kind(&self) -> &str {
        self.name.rsplit_once('.').map_or("", |(_, kind)| kind)
    }
}

/// What is wanted besides the states, by the names of the options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) start_time: bool,
    pub(super) tasks: bool,
    pub(super) restarts: bool,
    pub(super) ip_accounting: bool,
    pub(super) systemd_exporter: bool,
}

/// What the value of a property is.
#[derive(Clone, Copy)]
enum As {
    /// A number; the largest there is stands for none.
    Number,
    /// Microseconds of the real-time clock.
    Time,
    /// The same, and 0 of a unit that is not active.
    StartTime,
    /// A kind of service or of file system: a label.
    Kind,
}

/// A family that a property becomes a sample of, and when.
struct Sample {
    place: Place,
    has_type: bool,
    is_wanted: fn(Wanted) -> bool,
    r#as: As,
}

/// A property that units of a kind have.
pub(super) struct Asked {
    kind: Option<&'static str>,
    interface: &'static str,
    pub(super) property: &'static str,
    samples: &'static [Sample],
}

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const SOCKET: &str = "org.freedesktop.systemd1.Socket";
const TIMER: &str = "org.freedesktop.systemd1.Timer";
const MOUNT: &str = "org.freedesktop.systemd1.Mount";

/// Of node_exporter: with the label `name`.
const fn node(place: Place, r#as: As, is_wanted: fn(Wanted) -> bool) -> Sample {
    Sample { place, has_type: false, is_wanted, r#as }
}

/// Of systemd_exporter: with the label `name`.
const fn plain(place: Place, r#as: As) -> Sample {
    Sample { place, has_type: false, is_wanted: |wanted| wanted.systemd_exporter, r#as }
}

/// Of systemd_exporter: with the labels `name` and `type`.
const fn typed(place: Place, r#as: As) -> Sample {
    Sample { place, has_type: true, is_wanted: |wanted| wanted.systemd_exporter, r#as }
}

/// Of systemd_exporter, and only if the traffic is asked for.
const fn traffic(place: Place) -> Sample {
    let is_wanted = |wanted: Wanted| wanted.systemd_exporter && wanted.ip_accounting;
    Sample { place, has_type: false, is_wanted, r#as: As::Number }
}

const fn unit(property: &'static str, samples: &'static [Sample]) -> Asked {
    Asked { kind: None, interface: UNIT, property, samples }
}

const fn of(
    kind: &'static str,
    interface: &'static str,
    property: &'static str,
    samples: &'static [Sample],
) -> Asked {
    Asked { kind: Some(kind), interface, property, samples }
}

/// Every property, and what it becomes.
#[rustfmt::skip]
const ASKED: &[Asked] = &[
    unit("ActiveEnterTimestamp", &[
        node(Place::NodeStartTime, As::StartTime, |wanted| wanted.start_time),
        typed(Place::ActiveEnter, As::Time),
        typed(Place::StartTime, As::StartTime),
    ]),
    unit("ActiveExitTimestamp", &[typed(Place::ActiveExit, As::Time)]),
    unit("InactiveEnterTimestamp", &[typed(Place::InactiveEnter, As::Time)]),
    unit("InactiveExitTimestamp", &[typed(Place::InactiveExit, As::Time)]),
    of("service", SERVICE, "Type", &[node(Place::NodeState, As::Kind, |_| true)]),
    of("mount", MOUNT, "Type", &[node(Place::NodeState, As::Kind, |_| true)]),
    of("service", SERVICE, "NRestarts", &[
        node(Place::NodeRestarts, As::Number, |wanted| wanted.restarts),
        plain(Place::Restarts, As::Number),
    ]),
    of("service", SERVICE, "TasksCurrent", &[
        node(Place::NodeTasks, As::Number, |wanted| wanted.tasks),
        plain(Place::Tasks, As::Number),
    ]),
    of("service", SERVICE, "TasksMax", &[
        node(Place::NodeTasksMax, As::Number, |wanted| wanted.tasks),
        typed(Place::TasksMax, As::Number),
    ]),
    of("service", SERVICE, "IPIngressBytes", &[traffic(Place::IngressBytes)]),
    of("service", SERVICE, "IPEgressBytes", &[traffic(Place::EgressBytes)]),
    of("service", SERVICE, "IPIngressPackets", &[traffic(Place::IngressPackets)]),
    of("service", SERVICE, "IPEgressPackets", &[traffic(Place::EgressPackets)]),
    of("socket", SOCKET, "NAccepted", &[
        node(Place::NodeAccepted, As::Number, |_| true),
        plain(Place::Accepted, As::Number),
    ]),
    of("socket", SOCKET, "NConnections", &[
        node(Place::NodeConnections, As::Number, |_| true),
        plain(Place::Connections, As::Number),
    ]),
    of("socket", SOCKET, "NRefused", &[
        node(Place::NodeRefused, As::Number, |_| true),
        plain(Place::Refused, As::Number),
    ]),
    of("timer", TIMER, "LastTriggerUSec", &[
        node(Place::NodeLastTrigger, As::Time, |_| true),
        plain(Place::LastTrigger, As::Time),
    ]),
];

/// The states that a unit can be shown in.
pub(super) const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];

/// What to ask about a unit.
pub(super) fn asked(unit: &Unit, wanted: Wanted) -> impl Iterator<Item = &'static Asked> {
    ASKED.iter().filter(move |asked| {
        asked.kind.is_none_or(|kind| kind == unit.kind())
            && asked.samples.iter().any(|sample| (sample.is_wanted)(wanted))
    })
}

impl Asked {
    /// The interface that the property belongs to.
    pub(super) fn interface(&self) -> &'static str {
        self.interface
    }

    /// Adds the samples that an answer is. A kind is not a sample, but given back.
    pub(super) fn add<'p>(
        &self,
        unit: &Unit,
        value: &'p Property,
        wanted: Wanted,
        gathered: &mut Gathered,
    ) -> Option<&'p str> {
        let mut kind = None;
        for sample in self.samples.iter().filter(|sample| (sample.is_wanted)(wanted)) {
            let value = match (sample.r#as, value) {
                (As::Kind, Property::Text(text)) => {
                    kind = Some(text.as_str());
                    continue;
                }
                (As::Number, Property::Number(number)) if *number != u64::MAX => *number as f64,
                (As::StartTime, Property::Number(_)) if unit.active != "active" => 0.0,
                (As::Time | As::StartTime, Property::Number(microseconds)) => {
                    *microseconds as f64 / 1e6
                }
                _ => continue,
            };
            // Only services have a time of start there; all of them have the other times.
            if sample.place == Place::StartTime && unit.kind() != "service" {
                continue;
            }
            let labels = [("name", unit.name.as_str()), ("type", unit.kind())];
            let count = if sample.has_type { 2 } else { 1 };
            gathered.add(sample.place as usize, labels.get(..count).unwrap_or(&labels), value);
        }
        kind
    }
}

/// Adds the states of a unit, whose kind of service or of file system is known by now.
pub(super) fn add_states(unit: &Unit, kind: &str, wanted: Wanted, gathered: &mut Gathered) {
    let name = ("name", unit.name.as_str());
    for state in STATES {
        let value = f64::from(u8::from(unit.active == state));
        let labels = [name, ("state", state), ("type", kind)];
        gathered.add(Place::NodeState as usize, &labels, value);
        if wanted.systemd_exporter {
            let labels = [name, ("type", unit.kind()), ("state", state)];
            gathered.add(Place::State as usize, &labels, value);
        }
    }
    if wanted.systemd_exporter && !kind.is_empty() {
        let (mount, service) = if unit.kind() == "mount" { (kind, "") } else { ("", kind) };
        let labels =
            [name, ("type", unit.kind()), ("mount_type", mount), ("service_type", service)];
        gathered.add(Place::Info as usize, &labels, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Format, encode};
    use crate::host::system::systemd::families::FAMILIES;
    use crate::metric::Batch;

    const NONE: Wanted = Wanted {
        start_time: false,
        tasks: false,
        restarts: false,
        ip_accounting: false,
        systemd_exporter: false,
    };

    fn unit(name: &str, active: &str) -> Unit {
        Unit {
            name: name.to_owned(),
            load: "loaded".to_owned(),
            active: active.to_owned(),
            path: "/".to_owned(),
        }
    }

    fn properties(name: &str, wanted: Wanted) -> Vec<&'static str> {
        asked(&unit(name, "active"), wanted).map(|asked| asked.property).collect()
    }

    fn shown(gathered: &mut Gathered) -> String {
        let mut batch = Batch::new();
        gathered.emit(&FAMILIES, &mut batch);
        let mut text = Vec::new();
        encode(&batch, Format::Text, &mut text);
        String::from_utf8(text)
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    #[test]
    fn only_what_is_wanted_is_asked() {
        assert_eq!(properties("a.service", NONE), ["Type"]);
        assert_eq!(properties("a.target", NONE), [""; 0]);
        assert_eq!(properties("a.socket", NONE), ["NAccepted", "NConnections", "NRefused"]);
        let wanted = Wanted { restarts: true, start_time: true, ..NONE };
        assert_eq!(properties("a.service", wanted), ["ActiveEnterTimestamp", "Type", "NRestarts"]);
        let wanted = Wanted { systemd_exporter: true, ip_accounting: true, ..NONE };
        assert_eq!(properties("a.service", wanted).len(), 12);
    }

    #[test]
    fn a_time_of_start_is_that_of_an_active_unit() {
        let wanted = Wanted { start_time: true, ..NONE };
        let mut gathered = Gathered::default();
        for unit in [unit("a.service", "active"), unit("b.service", "failed")] {
            for asked in asked(&unit, wanted) {
                asked.add(&unit, &Property::Number(1_500_000), wanted, &mut gathered);
            }
        }
        assert_eq!(
            shown(&mut gathered),
            "node_systemd_unit_start_time_seconds{name=\"a.service\"} 1.5\n\
             node_systemd_unit_start_time_seconds{name=\"b.service\"} 0\n"
        );
    }

    #[test]
    fn what_has_no_limit_and_what_is_no_number_is_absent() {
        let wanted = Wanted { tasks: true, ..NONE };
        let unit = unit("a.service", "active");
        let mut gathered = Gathered::default();
        for value in [Property::Number(u64::MAX), Property::Text("x".to_owned())] {
            for asked in asked(&unit, wanted).filter(|asked| asked.property.starts_with("Tasks")) {
                asked.add(&unit, &value, wanted, &mut gathered);
            }
        }
        assert_eq!(shown(&mut gathered), "");
    }

    #[test]
    fn a_unit_is_in_one_state_and_is_told_of_once() {
        let wanted = Wanted { systemd_exporter: true, ..NONE };
        let mut gathered = Gathered::default();
        add_states(&unit("a.mount", "inactive"), "tmpfs", wanted, &mut gathered);
        let shown = shown(&mut gathered);
        assert!(shown.contains(
            "node_systemd_unit_state{name=\"a.mount\",state=\"inactive\",type=\"tmpfs\"} 1\n"
        ));
        assert!(shown.contains(
            "systemd_unit_info{name=\"a.mount\",type=\"mount\",mount_type=\"tmpfs\",service_type=\"\"} 1\n"
        ));
        assert_eq!(shown.matches(" 1\n").count(), 3, "{shown}");
    }
}
