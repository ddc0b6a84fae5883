//! A metric family as it is declared: once, in a table beside the code that fills it.

/// What kind of series a family holds, in Prometheus's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows, until its source starts anew.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Counted buckets with a sum.
    Histogram,
    /// Quantiles with a sum and a count, as the source has made them up.
    Summary,
    /// Neither promised: the source does not say whether the number grows (`/proc/vmstat`, SNMP).
    Untyped,
}

impl Kind {
    /// The word after `# TYPE name ` in the text format 0.0.4.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }
}

/// One metric family. Exposition, `docs/metrics.md` and the checks of rules and dashboards are all
/// made from these declarations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Full name, unit and `_total` included. A `*` stands for a part that the source names itself
    /// (`node_memory_*_bytes`); such a family is begun with [`super::Batch::begin_named`].
    pub name: &'static str,
    /// Its kind; the source may not change it.
    pub kind: Kind,
    /// One sentence, with a full stop, that says what is counted.
    pub help: &'static str,
    /// The label names of its series, in the order they are given. For documentation and checks.
    pub labels: &'static [&'static str],
}

impl Family {
    /// A counter.
    #[must_use]
    pub const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Counter, help, labels }
    }

    /// A gauge.
    #[must_use]
    pub const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Gauge, help, labels }
    }

    /// A histogram.
    #[must_use]
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Histogram, help, labels }
    }

    /// A family whose source does not say whether it grows.
    #[must_use]
    pub const fn untyped(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Untyped, help, labels }
    }
}
