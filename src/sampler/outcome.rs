//! How the sources came out of a pass, and what the sampler says about it.
//!
//! Must not know: threads, what the sources give.

use super::{PROCESSES, Slot};
use crate::metric::{Batch, Family, Labels};
use std::time::Duration;

const SUCCESS: Family = Family::gauge(
    "node_scrape_collector_success",
    &["collector"],
    "Whether the collector has given its samples in this scrape: 1 if so, 0 if it failed or was late.",
);
const DURATION: Family = Family::gauge(
    "node_scrape_collector_duration_seconds",
    &["collector"],
    "How long the collector has taken in this scrape.",
);
const BUILD_INFO: Family = Family::gauge(
    "node_exporter_build_info",
    &["branch", "goarch", "goos", "goversion", "revision", "tags", "version"],
    "Always 1, for rules and dashboards that find hosts by it: version is that of the node_exporter whose families \
     these are, revision that of musterd, which gives them.",
);
/// What the sampler says about the sources.
pub const FAMILIES: [Family; 3] = [SUCCESS, DURATION, BUILD_INFO];

/// The node_exporter whose collectors, names and labels the host's families follow.
const NODE_EXPORTER: &str = "1.12.1";

/// The labels of [`BUILD_INFO`]. What says nothing of a program that is not written in Go has the words
/// that node_exporter itself has where it knows no better, so that no label is missing.
pub(super) fn build_labels() -> Labels {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Labels::new(&[
        ("branch", "musterd"),
        ("goarch", architecture),
        ("goos", std::env::consts::OS),
        ("goversion", "unknown"),
        ("revision", env!("CARGO_PKG_VERSION")),
        ("tags", "unknown"),
        ("version", NODE_EXPORTER),
    ])
}

/// How a source came out of a pass.
pub(super) struct Outcome {
    /// The place of its slot.
    pub(super) slot: usize,
    /// Whether it has given its samples.
    pub(super) success: bool,
    /// How long it took, if it was run.
    pub(super) duration: Option<Duration>,
}

/// Adds the sampler's own families to the batch; those of the host only where one of its collectors was asked for.
pub(super) fn emit(outcomes: &[Outcome], slots: &[Slot], build: &Labels, batch: &mut Batch) {
    let named = |outcome: &Outcome| slots.get(outcome.slot);
    batch.begin(&SUCCESS);
    for outcome in outcomes {
        if let Some(slot) = named(outcome) {
            batch.sample_with(&slot.labels, f64::from(u8::from(outcome.success)));
        }
    }
    batch.begin(&DURATION);
    for outcome in outcomes {
        if let (Some(slot), Some(duration)) = (named(outcome), outcome.duration) {
            batch.sample_with(&slot.labels, duration.as_secs_f64());
        }
    }
    if outcomes.iter().filter_map(named).any(|slot| slot.name != PROCESSES) {
        batch.begin(&BUILD_INFO);
        batch.sample_with(build, 1.0);
    }
}
