//! From the supervisor's reports to the registry of agents: the same events in the other room's
//! words.
//!
//! Must not decide anything.

use crate::agent::health::Presence;
use crate::agent::registry::Registry;
use crate::clock;
use crate::supervisor::options::Definition;
use crate::supervisor::policy::Reason;
use crate::supervisor::report::{Report, What};

/// Tells the registry which agents are supervised from now on.
pub fn announce(definitions: &[Definition], registry: &mut Registry) {
    for definition in definitions {
        registry.supervise(&definition.name);
    }
}

/// Tells the registry what has happened to an agent's process.
pub fn note(report: &Report, registry: &mut Registry) {
    let agent = &*report.agent;
    let now = clock::monotonic();
    match &report.what {
        What::Started { pid, again } => {
            tracing::info!(agent, pid, "agent {agent} started as process {pid}");
            if *again {
                registry.child_restarts(agent);
            }
            registry.child_started(agent, *pid, now);
        }
        What::Adopted { pid } => {
            tracing::info!(agent, pid, "agent {agent} goes on as process {pid}");
            registry.child_started(agent, *pid, now);
        }
        What::Exited { reason, detail, restarting_in } => {
            let on_purpose = matches!(reason, Reason::Stopped | Reason::Success);
            match restarting_in {
                Some(wait) => tracing::warn!(
                    agent,
                    reason = reason.text(),
                    "agent {agent} ended: {detail}; it is started again in {wait:.1?}"
                ),
                None => {
                    tracing::info!(agent, reason = reason.text(), "agent {agent} ended: {detail}")
                }
            }
            let how = if on_purpose && restarting_in.is_none() {
                Presence::Stopped
            } else {
                Presence::Lost(detail.clone())
            };
            registry.child_ended(agent, reason.text(), how);
        }
        What::GaveUp => {
            tracing::error!(
                agent,
                "agent {agent} is given up: started too often in too short a time"
            );
        }
        What::Stopped => tracing::info!(agent, "agent {agent} is stopped"),
        What::OutputDropped { lines } => {
            tracing::warn!(agent, lines, "{lines} lines of agent {agent}'s output were left out");
        }
    }
}
