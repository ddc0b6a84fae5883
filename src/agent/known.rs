//! Series of agents that musterd knows, besides those of requests: errors, tokens, and calls of language
//! models and of tools, these with the meaning of the OpenTelemetry conventions for generative AI
//! (<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/>).
//!
//! Must not know any values.

use super::declaration::{Declared, stem};
use super::faults::Fault;
use crate::metric::{Family, Kind};
use musterd_client::layout::{self, CALL_BOUNDS, names};

/// A family that musterd knows.
#[derive(Debug)]
pub struct Known {
    /// As it is exported; the first label is `agent`.
    pub family: Family,
    /// Values of labels that can have these alone.
    closed: &'static [(&'static str, &'static [&'static str])],
    /// Classic bounds of a histogram.
    bounds: &'static [f64],
}

const OUTCOME: (&str, &[&str]) = ("outcome", &["success", "error", "timeout", "cancelled"]);

/// Failed requests.
pub const ERRORS: Family = Family::counter(
    names::ERRORS,
    &["agent", "category"],
    "Requests that failed or took too long, by the kind of fault.",
);
/// Tokens used.
pub const TOKENS: Family = Family::counter(
    names::TOKENS,
    &["agent", "model", "type"],
    "Tokens that models were sent (input) and have answered with (output).",
);
/// Calls of language models.
pub const LLM_DURATION: Family = Family::histogram(
    names::LLM_DURATION,
    &["agent", "model", "outcome"],
    "How long calls of language models took, by how they ended.",
);
/// The time until an answer begins.
pub const FIRST_TOKEN: Family = Family::histogram(
    names::FIRST_TOKEN,
    &["agent", "model"],
    "How long it took until models began to answer.",
);
/// Calls of tools.
pub const TOOL_DURATION: Family = Family::histogram(
    names::TOOL_DURATION,
    &["agent", "tool", "outcome"],
    "How long calls of tools took, by how they ended.",
);

/// Every one of them, in the order they are exported.
pub static KNOWN: [Known; 5] = [
    Known { family: ERRORS, closed: &[], bounds: &[] },
    Known { family: TOKENS, closed: &[("type", &["input", "output"])], bounds: &[] },
    Known { family: LLM_DURATION, closed: &[OUTCOME], bounds: &CALL_BOUNDS },
    Known { family: FIRST_TOKEN, closed: &[], bounds: &CALL_BOUNDS },
    Known { family: TOOL_DURATION, closed: &[OUTCOME], bounds: &CALL_BOUNDS },
];

/// Holds a declaration against the rules that do not depend on what others have declared. The family, if it
/// is one that musterd knows.
///
/// # Errors
/// What is wrong with it.
pub fn check(declared: &Declared<'_>) -> Result<Option<&'static Known>, Fault> {
    let known = KNOWN.iter().find(|known| stem(known.family.name) == declared.stem());
    if let Some(known) = known {
        let is_it = known.family.name == declared.name && known.admits(declared);
        return match is_it {
            false => Err(Fault::Unknown),
            // Counts cannot be put into other buckets, and taking the bounds that both have would leave fewer for good.
            true if !known.has_bounds_of(declared) => Err(Fault::Conflict),
            true => Ok(Some(known)),
        };
    }
    if declared.is_reserved() {
        return Err(Fault::Unknown);
    }
    if declared.is_valid() { Ok(None) } else { Err(Fault::Invalid) }
}

impl Known {
    /// Whether a declaration of this name is what it has to be.
    #[must_use]
    pub fn admits(&self, declared: &Declared<'_>) -> bool {
        let is_kind = match self.family.kind {
            Kind::Counter => declared.kind == layout::Kind::Counter,
            _ => declared.kind == layout::Kind::Histogram,
        };
        let wanted = self.family.labels.get(1..).unwrap_or_default();
        let find = |wanted| declared.labels.iter().find(|(label, _)| *label == wanted);
        // A label that is empty is one that is not there, and kept as such.
        let has_all = wanted.iter().all(|wanted| {
            let value = find(*wanted).map_or("", |(_, value)| value);
            self.values_of(wanted).is_none_or(|values| values.contains(&value))
        });
        let found = wanted.iter().filter(|wanted| find(**wanted).is_some()).count();
        is_kind && has_all && declared.labels.len() == found
    }

    fn has_bounds_of(&self, declared: &Declared<'_>) -> bool {
        declared.shape.as_ref().is_none_or(|shape| shape.bounds == self.bounds)
    }

    /// The values that a label can have, if it is not free.
    #[must_use]
    pub fn values_of(&self, label: &str) -> Option<&'static [&'static str]> {
        self.closed.iter().find(|(closed, _)| *closed == label).map(|(_, values)| *values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use musterd_client::layout::Shape;

    #[test]
    fn a_record_is_known_by_its_name_and_its_labels() {
        use layout::Kind::{Counter, FractionCounter, Histogram};
        let admits = |kind, name: &str, labels: &[(&'static str, &'static str)]| {
            let known = KNOWN.iter().find(|known| known.family.name == name).unwrap();
            let shape = (kind == Histogram).then(Shape::calls);
            let labels = labels.to_vec();
            known.admits(&Declared { name, kind, labels, help: "", unit: "", shape })
        };
        assert!(admits(Histogram, names::LLM_DURATION, &[("outcome", "error"), ("model", "m")]));
        assert!(admits(Histogram, names::TOOL_DURATION, &[("tool", "t"), ("outcome", "success")]));
        assert!(admits(Histogram, names::FIRST_TOKEN, &[("model", "m")]));
        assert!(admits(Counter, names::TOKENS, &[("type", "input"), ("model", "")]));
        assert!(admits(Counter, names::TOKENS, &[("type", "input")]));
        assert!(admits(Counter, names::ERRORS, &[("category", "net")]));
        assert!(admits(Counter, names::ERRORS, &[]));
        for (kind, name, labels) in [
            (Histogram, names::LLM_DURATION, &[("model", "m"), ("outcome", "odd")][..]),
            (Histogram, names::LLM_DURATION, &[("model", "m")]),
            (Histogram, names::TOOL_DURATION, &[("model", "m"), ("outcome", "error")]),
            (Histogram, names::FIRST_TOKEN, &[("model", "m"), ("outcome", "error")]),
            (Histogram, names::FIRST_TOKEN, &[("model", "m"), ("model", "n")]),
            (Counter, names::FIRST_TOKEN, &[("model", "m")]),
            (FractionCounter, names::ERRORS, &[("category", "net")]),
            (Counter, names::TOKENS, &[("type", "input"), ("type", "input")]),
            (Counter, names::TOKENS, &[("model", "m")]),
            (Counter, names::ERRORS, &[("category", "net"), ("model", "m")]),
        ] {
            assert!(!admits(kind, name, labels), "{name} {labels:?}");
        }
    }

    #[test]
    fn histograms_have_the_bounds_that_are_built_in() {
        let check = |name, shape| {
            let labels = vec![("model", "m")];
            let declared =
                Declared { name, kind: layout::Kind::Histogram, labels, help: "", unit: "", shape };
            super::check(&declared).map(|known| known.is_some())
        };
        assert_eq!(check(names::FIRST_TOKEN, Some(Shape::calls())), Ok(true));
        let finer = Shape { schema: 4, ..Shape::calls() };
        assert_eq!(check(names::FIRST_TOKEN, Some(finer)), Ok(true));
        for bounds in [vec![], vec![1.0], vec![0.01, 0.02]] {
            let shape = Some(Shape { bounds, ..Shape::calls() });
            assert_eq!(check(names::FIRST_TOKEN, shape), Err(Fault::Conflict));
        }
    }
}
