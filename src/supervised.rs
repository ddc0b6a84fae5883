//! From the supervisor's reports to the registry of agents: the same events in the other room's
//! words.
//!
//! Must not decide anything.

use crate::agent::health::Presence;
use crate::agent::registry::Registry;
use crate::clock;
use crate::proc_stat;
use crate::supervisor::machine::Rest;
use crate::supervisor::options::Definition;
use crate::supervisor::policy::Reason;
use crate::supervisor::report::{Report, What};
use std::os::unix::fs::MetadataExt;

/// Tells the registry which agents are supervised from now on.
pub fn announce(definitions: &[Definition], registry: &mut Registry) {
    for definition in definitions {
        registry.supervise(&definition.name);
    }
}

/// The user that a process runs as; `None` once it has gone.
fn user_of(pid: u32) -> Option<u32> {
    std::fs::metadata(format!("/proc/{pid}")).ok().map(|found| found.uid())
}

/// What an end without a next start leaves.
fn after_last(reason: Reason, detail: &str) -> Presence {
    match reason {
        Reason::Stopped | Reason::Success => Presence::Stopped,
        _ => Presence::Lost(detail.to_owned()),
    }
}

fn given_up(detail: &str) -> Presence {
    Presence::Lost(format!("given up: {detail}"))
}

/// Tells the registry what has happened to an agent's process.
pub fn note(report: &Report, registry: &mut Registry) {
    let agent = &*report.agent;
    let now = clock::monotonic();
    match &report.what {
        What::Started { pid, again } => {
            if *again {
                registry.child_restarts(agent);
            }
            registry.child_started(agent, *pid, user_of(*pid), now);
        }
        What::Adopted { pid } => {
            let begun = proc_stat::began(*pid).unwrap_or(now);
            registry.child_started(agent, *pid, user_of(*pid), begun);
        }
        What::Exited { reason, detail, restarting_in } => {
            let how = match restarting_in {
                None => after_last(*reason, detail),
                Some(_) if *reason == Reason::Stopped => Presence::Stopped,
                Some(_) => Presence::Lost(detail.clone()),
            };
            registry.child_ended(agent, reason.text(), how);
        }
        What::Rests { rest: Rest::Stopped, .. } | What::Rests { last: None, .. } => {
            registry.child_rests(agent, Presence::Stopped);
        }
        What::Rests { rest: Rest::Finished, last: Some((reason, detail)) } => {
            registry.child_rests(agent, after_last(*reason, detail));
        }
        What::Rests { rest: Rest::Failed, last: Some((_, detail)) } => {
            registry.child_rests(agent, given_up(detail));
        }
        // It may have been down already, and waiting for its next start.
        What::Stopped => registry.child_rests(agent, Presence::Stopped),
        What::GaveUp { detail } => registry.child_rests(agent, given_up(detail)),
        // The supervisor has logged them.
        What::OutputDropped { .. } => {}
    }
}
