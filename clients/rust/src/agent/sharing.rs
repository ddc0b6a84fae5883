//! One reporter for all objects of one agent in a process: a daemon grants a process only a few ledgers of
//! one name.
//!
//! Must not know what a reporter does.

use super::reporter::Reporter;
use crate::connection::Settings;
use crate::turn::OwnTurn;
use std::sync::{Arc, Weak};

static REPORTERS: OwnTurn<Vec<(Settings, Weak<Reporter>)>> = OwnTurn::new();

/// The reporter with these settings, which is started if this process has none.
pub(super) fn reporter(settings: Settings) -> Arc<Reporter> {
    let start = |settings| Arc::new(Reporter::start(settings, Vec::new()));
    let Some(mut reporters) = REPORTERS.take() else { return start(settings) };
    let known = reporters.iter().find(|(of, _)| *of == settings);
    if let Some(known) = known.and_then(|(_, reporter)| reporter.upgrade()) {
        return known;
    }
    let new = start(settings.clone());
    reporters.retain(|(of, reporter)| *of != settings && reporter.strong_count() > 0);
    reporters.push((settings, Arc::downgrade(&new)));
    new
}
