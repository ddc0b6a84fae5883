//! One source of samples as the sampler runs it: guarded against panics and errors, its troubles
//! logged when they change.
//!
//! Must not know: threads, formats, who asks.

use super::{Filter, PROCESSES, ProcessScan};
use crate::host::uevents::{Absence, Uevents};
use crate::host::{self, Collector, Pass};
use crate::process::AgentRoot;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is run.
pub(super) enum Work {
    Host(Box<dyn Collector>),
    Processes(Box<dyn ProcessScan>),
}

/// How the last run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Working,
    NoData,
    Failing,
    /// Its state cannot be trusted any more: it is not run again.
    Panicked,
}

/// A source and what is known of it.
pub(super) struct Source {
    name: &'static str,
    work: Work,
    condition: Condition,
    /// When it has had nothing to show, if that is so still.
    absence: Option<Absence>,
}

impl Source {
    pub(super) fn new(name: &'static str, work: Work) -> Self {
        Self { name, work, condition: Condition::Working, absence: None }
    }

    /// Runs it, unless it has panicked before, or has nothing to show yet. Whether it has given its samples; if not, none of
    /// them are left in the batch.
    pub(super) fn run(
        &mut self,
        pass: &mut Pass<'_>,
        filter: &Filter,
        agents: &[AgentRoot],
        uevents: &Uevents,
    ) -> bool {
        let is_absent = self.absence.is_some_and(|absence| uevents.is_still(absence));
        if self.condition == Condition::Panicked || is_absent {
            return self.condition == Condition::Working;
        }
        let (mark, before) = (pass.batch.mark(), pass.batch.len());
        // Safe to go on after a panic: the batch is rolled back, the source never run again.
        let result = catch_unwind(AssertUnwindSafe(|| match &mut self.work {
            Work::Host(collector) => collector.collect(pass),
            Work::Processes(scan) => scan.collect(pass, agents, filter.wants(PROCESSES)),
        }));
        let (condition, message) = match result {
            Ok(Ok(())) => (Condition::Working, String::new()),
            Ok(Err(host::Error::NoData(what))) => (Condition::NoData, what),
            Ok(Err(error)) => (Condition::Failing, error.to_string()),
            Err(panic) => (Condition::Panicked, text(panic.as_ref()).to_owned()),
        };
        if condition != Condition::Working {
            pass.batch.rollback(mark);
        }
        let has_answered = matches!(condition, Condition::Working | Condition::NoData);
        let is_empty = has_answered && pass.batch.len() == before;
        let lacks_device = is_empty && matches!(self.work, Work::Host(_));
        self.absence = if lacks_device { uevents.absence() } else { None };
        self.log(condition, &message);
        self.condition = condition;
        condition == Condition::Working
    }

    /// Says what has changed since the last pass, and nothing else: a scrape may come each second.
    fn log(&self, now: Condition, message: &str) {
        if now == self.condition {
            return;
        }
        let collector = self.name;
        match now {
            Condition::Working => tracing::info!(collector, "collector works again"),
            Condition::NoData => tracing::debug!(collector, "collector has no data: {message}"),
            Condition::Failing => tracing::warn!(collector, "collector fails: {message}"),
            Condition::Panicked => {
                tracing::error!(collector, "collector panicked and is disabled: {message}");
            }
        }
    }
}

fn text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown panic")
}
