//! What supervision tells: the reports, and the published state of each agent.
//!
//! Must not know who listens.

use super::machine::{Phase, Rest};
use super::policy::Reason;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Something that happened to an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// To which.
    pub agent: Arc<str>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A process was made.
    Started {
        /// Its number, which is its group's as well.
        pid: u32,
        /// Whether an earlier process of this agent has run under this daemon.
        again: bool,
    },
    /// A process that an earlier daemon made was found alive.
    Adopted {
        /// Its number, which is its group's as well.
        pid: u32,
    },
    /// An earlier daemon has left it to stay down, and it does.
    Rests {
        /// Where.
        rest: Rest,
        /// How its last process ended, if it has had one.
        last: Option<(Reason, String)>,
    },
    /// The process has gone, or could not be made.
    Exited {
        /// Why.
        reason: Reason,
        /// The same in words: exit code, signal, or what went wrong with which path.
        detail: String,
        /// How long until the next is made, if one will be.
        restarting_in: Option<Duration>,
    },
    /// There were too many starts; there will be no other until one is asked for.
    GaveUp {
        /// How the last process ended, or why it could not be made.
        detail: String,
    },
    /// It is down because that was asked for.
    Stopped,
    /// Lines of its output were left out of the log.
    OutputDropped {
        /// How many.
        lines: u64,
    },
}

/// Where reports go. They are few: each exit is followed by a wait, each dropped line by the rest
/// of its second. So the channel needs no bound, and no agent waits for who listens.
#[derive(Clone, Debug)]
pub struct Reports(UnboundedSender<Report>);

impl Reports {
    /// A channel.
    #[must_use]
    pub fn channel() -> (Self, UnboundedReceiver<Report>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    pub(super) fn send(&self, report: Report) {
        // Nobody listens any more: the daemon is ending.
        let _ = self.0.send(report);
    }
}

/// The published state of all agents, by name.
pub type Statuses = BTreeMap<Arc<str>, Status>;

/// The state of one agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// In a word: `stopped`, `starting`, `running`, `stopping`, `clearing` (the process has gone,
    /// what it started has not yet), `backoff`, `failed` or `finished`.
    pub state: &'static str,
    /// The process, while there is one.
    pub pid: Option<u32>,
    /// Starts after the first one, since the daemon's own start.
    pub restarts: u64,
    /// How the last process ended.
    pub last_exit: Option<LastExit>,
}

impl Default for Status {
    fn default() -> Self {
        Self { state: Phase::Stopped.text(), pid: None, restarts: 0, last_exit: None }
    }
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// Why.
    pub reason: Reason,
    /// The same in words.
    pub detail: String,
    /// When.
    #[serde(with = "unix_seconds")]
    pub at: SystemTime,
}

mod unix_seconds {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    pub(super) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let since = Duration::from_secs(u64::deserialize(from)?);
        Ok(UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH))
    }
}
