//! What an agent may declare: the rules for names, units and labels of `docs/ledger.md`.
//!
//! Must not know what others have declared, nor where a declaration stands.

use crate::metric;
use musterd_client::layout::{Kind, Shape};

/// A series as its ledger declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared<'a> {
    /// Full name.
    pub name: &'a str,
    /// What its values are.
    pub kind: Kind,
    /// Names and values of its labels.
    pub labels: Vec<(&'a str, &'a str)>,
    /// Help text; empty for none.
    pub help: &'a str,
    /// Unit; empty for none.
    pub unit: &'a str,
    /// The buckets of a histogram.
    pub shape: Option<Shape>,
}

/// No agent's name is one of these.
const RESERVED: [&str; 2] = ["up", "ALERTS"];
/// No agent's name begins with one of these: families of the daemon, of exporters whose place it takes,
/// and of Prometheus itself and its clients.
const RESERVED_PREFIXES: [&str; 12] = [
    "agent_",
    "musterd_",
    "node_",
    "namedprocess_",
    "process_",
    "systemd_",
    "container_",
    "go_",
    "scrape_",
    "prometheus_",
    "promhttp_",
    "ALERTS_",
];
/// Samples of other families end so.
const PARTS: [&str; 7] = ["_total", "_bucket", "_sum", "_count", "_created", "_gsum", "_gcount"];
const COUNTER: &str = "_total";

impl<'a> Declared<'a> {
    /// The kind of its family.
    #[must_use]
    pub fn family_kind(&self) -> metric::Kind {
        match self.kind {
            Kind::Counter | Kind::FractionCounter => metric::Kind::Counter,
            Kind::Gauge => metric::Kind::Gauge,
            Kind::Histogram => metric::Kind::Histogram,
        }
    }

    /// What no two families share: the name without the ending of a counter.
    #[must_use]
    pub fn stem(&self) -> &'a str {
        stem(self.name)
    }

    /// Whether the rules for an agent's own series are kept.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.has_valid_name() && self.has_valid_unit() && self.has_valid_labels()
    }

    /// Whether musterd keeps names like this for others.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.name)
            || RESERVED.contains(&self.stem())
            || RESERVED_PREFIXES.iter().any(|prefix| self.name.starts_with(prefix))
    }

    fn has_valid_name(&self) -> bool {
        let is_counter = self.family_kind() == metric::Kind::Counter;
        is_identifier(self.name)
            && self.name.ends_with(COUNTER) == is_counter
            && !self.stem().is_empty()
            && !PARTS.iter().any(|part| self.stem().ends_with(part))
    }

    fn has_valid_unit(&self) -> bool {
        let is_word = self.unit.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let before = self.stem().strip_suffix(self.unit);
        self.unit.is_empty()
            || is_word && before.is_some_and(|rest| rest.len() > 1 && rest.ends_with('_'))
    }

    fn has_valid_labels(&self) -> bool {
        self.labels.iter().enumerate().all(|(place, (label, _))| {
            let others = self.labels.iter().take(place);
            is_identifier(label)
                && !["agent", "le", "quantile"].contains(label)
                && !label.starts_with("__")
                && others.into_iter().all(|(other, _)| other != label)
        })
    }
}

/// A name without the ending of a counter.
#[must_use]
pub fn stem(name: &str) -> &str {
    name.strip_suffix(COUNTER).unwrap_or(name)
}

fn is_identifier(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent, host, instruments, process, sampler};

    fn declared(kind: Kind, name: &'static str) -> Declared<'static> {
        Declared { name, kind, labels: Vec::new(), help: "", unit: "", shape: None }
    }

    #[test]
    fn names_tell_their_kinds() {
        use Kind::{Counter, FractionCounter, Gauge, Histogram};
        for (kind, name, is_valid) in [
            (Counter, "bills_total", true),
            (FractionCounter, "_x1_total", true),
            (Gauge, "Queue_length", true),
            (Histogram, "wait_seconds", true),
            (Counter, "bills", false),
            (Gauge, "bills_total", false),
            (Histogram, "bills_total", false),
            (Counter, "_total", false),
            (Counter, "x_total_total", false),
            (Counter, "x_sum_total", false),
            (Gauge, "x_count", false),
            (Gauge, "x_bucket", false),
            (Gauge, "x_created", false),
            (Gauge, "1x", false),
            (Gauge, "", false),
            (Gauge, "a:b", false),
            (Gauge, "a-b", false),
            (Gauge, "ä", false),
        ] {
            assert_eq!(declared(kind, name).is_valid(), is_valid, "{kind:?} {name}");
        }
    }

    #[test]
    fn a_name_ends_in_its_unit() {
        for (name, unit, is_valid) in [
            ("sent_bytes_total", "bytes", true),
            ("sent_bytes_total", "", true),
            ("sent_bytes_total", "seconds", false),
            ("sentbytes_total", "bytes", false),
            ("bytes_total", "bytes", false),
            ("_bytes_total", "bytes", false),
            ("x_mega_bytes_total", "mega_bytes", true),
            ("x_Bytes_total", "Bytes", false),
            ("x__total", "_", false),
        ] {
            let declared = Declared { unit, ..declared(Kind::Counter, name) };
            assert_eq!(declared.is_valid(), is_valid, "{name} {unit}");
        }
    }

    #[test]
    fn labels_are_neither_ours_nor_prometheus_own() {
        for (labels, is_valid) in [
            (&[("a", "x"), ("b", "x")][..], true),
            (&[("_a", "")], true),
            (&[("a", "x"), ("a", "y")], false),
            (&[("agent", "x")], false),
            (&[("le", "x")], false),
            (&[("quantile", "x")], false),
            (&[("__name__", "x")], false),
            (&[("", "x")], false),
            (&[("a b", "x")], false),
        ] {
            let declared = Declared { labels: labels.to_vec(), ..declared(Kind::Gauge, "x") };
            assert_eq!(declared.is_valid(), is_valid, "{labels:?}");
        }
    }

    /// So that no agent can take a name that a scrape has, whatever else has been found by then.
    #[test]
    fn every_family_of_the_daemon_is_reserved() {
        let host = host::collectors().flat_map(|entry| entry.families.iter());
        let agents = agent::export::FAMILIES.iter().chain(process::AGENT_FAMILIES);
        let groups = process::FAMILIES.iter().chain(process::THREAD_FAMILIES);
        let rest = groups.chain(&sampler::FAMILIES).chain(instruments::FAMILIES);
        let all = host.chain(agents).chain(rest).chain(process::own::FAMILIES);
        for family in all {
            for ending in ["", "_bucket", "_sum", "_count", "_total", "_created", "_info"] {
                let name = format!("{}{ending}", family.name);
                let declared = Declared { name: &name, ..declared(Kind::Gauge, "") };
                assert!(declared.is_reserved(), "{name}");
            }
        }
        for name in ["up", "up_total", "ALERTS", "go_goroutines", "scrape_duration_seconds"] {
            assert!(declared(Kind::Gauge, name).is_reserved(), "{name}");
        }
        assert!(!declared(Kind::Gauge, "agents_waiting").is_reserved());
        assert!(!declared(Kind::Gauge, "upper").is_reserved());
    }
}
