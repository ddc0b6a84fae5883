//! What agents do within a request: calls of language models and of tools, with the meaning of the
//! OpenTelemetry conventions for generative AI
//! (<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/>).
//!
//! Must not know how long anything took.

use musterd_client::layout::names;
use serde::{Deserialize, Serialize};

/// How a call can have ended.
const OUTCOMES: [&str; 4] = ["success", "error", "timeout", "cancelled"];

/// What a histogram of an agent is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Of what kind.
    pub kind: CallKind,
    /// The model, or the tool.
    pub what: String,
    /// How it ended; empty for what has no end of its own.
    pub outcome: String,
}

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// A whole call of a language model.
    Model,
    /// The time until a model's answer begins.
    FirstToken,
    /// A call of a tool.
    Tool,
}

impl Call {
    /// What a record is of, by its name and labels, if it is one of these.
    #[must_use]
    pub fn of(name: &str, labels: &[(&str, &str)]) -> Option<Self> {
        let kind = CallKind::ALL.into_iter().find(|kind| kind.record() == name)?;
        let value = |wanted: &str| {
            labels.iter().find(|(label, _)| *label == wanted).map(|(_, value)| *value)
        };
        let what = value(kind.label())?.to_owned();
        let (count, outcome) = match kind {
            CallKind::FirstToken => (1, ""),
            _ => (2, value("outcome").filter(|outcome| OUTCOMES.contains(outcome))?),
        };
        (labels.len() == count).then(|| Self { kind, what, outcome: outcome.to_owned() })
    }

    /// The same of another model or tool.
    #[must_use]
    pub fn with(&self, what: &str) -> Self {
        Self { what: what.to_owned(), ..self.clone() }
    }
}

impl CallKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Model, Self::FirstToken, Self::Tool];

    /// The name of its records.
    #[must_use]
    pub const fn record(self) -> &'static str {
        match self {
            Self::Model => names::LLM_DURATION,
            Self::FirstToken => names::FIRST_TOKEN,
            Self::Tool => names::TOOL_DURATION,
        }
    }

    /// The label that says which model or tool.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Model | Self::FirstToken => "model",
            Self::Tool => "tool",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_known_by_its_name_and_its_labels() {
        let call = Call::of(names::LLM_DURATION, &[("outcome", "error"), ("model", "m")]).unwrap();
        assert_eq!(
            (call.kind, call.what.as_str(), call.outcome.as_str()),
            (CallKind::Model, "m", "error")
        );
        assert!(Call::of(names::TOOL_DURATION, &[("tool", "t"), ("outcome", "success")]).is_some());
        assert!(Call::of(names::FIRST_TOKEN, &[("model", "m")]).is_some());
        for (name, labels) in [
            (names::LLM_DURATION, &[("model", "m"), ("outcome", "odd")][..]),
            (names::LLM_DURATION, &[("model", "m")]),
            (names::TOOL_DURATION, &[("model", "m"), ("outcome", "error")]),
            (names::FIRST_TOKEN, &[("model", "m"), ("outcome", "error")]),
            (names::DURATION, &[]),
        ] {
            assert_eq!(Call::of(name, labels), None, "{name} {labels:?}");
        }
    }
}
