//! How agents are kept running, and the words for how they end.
//!
//! Must not know what state an agent is in: that is the machine's.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// When an agent that has exited is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// After every exit.
    Always,
    /// After every exit but one with code 0. An exit whose status cannot be learnt counts as a
    /// failure: a needless start does less harm than a missing agent.
    OnFailure,
    /// After no exit.
    Never,
}

/// How an agent is kept running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// When it is started again.
    pub restart: Restart,
    /// Wait before the first restart.
    pub backoff_initial: Duration,
    /// Longest wait before a restart.
    pub backoff_max: Duration,
    /// Time up after which the wait begins anew at its initial length.
    pub backoff_reset: Duration,
    /// Starts within `start_interval` after which the agent is given up; 0 for no limit.
    pub start_limit: u32,
    /// The time over which starts are counted.
    pub start_interval: Duration,
    /// Time between TERM and KILL.
    pub stop_grace: Duration,
}

impl Policy {
    /// Whether it is started again after an exit for this reason.
    #[must_use]
    pub fn restarts_after(&self, reason: Reason) -> bool {
        match self.restart {
            Restart::Always => true,
            Restart::OnFailure => reason != Reason::Success,
            Restart::Never => false,
        }
    }

    /// The wait before the restart that follows `failures` others: doubled for each, at most the
    /// cap, and then between half of that and the whole, as `jitter` (0 to 1) has it.
    #[must_use]
    pub fn backoff(&self, failures: u32, jitter: f64) -> Duration {
        let doubled = self.backoff_initial.saturating_mul(2_u32.saturating_pow(failures));
        doubled.min(self.backoff_max).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
    }
}

/// How a leader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// At fault in systemd's eyes, whatever the leader said at its end.
    Failed {
        /// systemd's word for it.
        word: &'static str,
        /// What ended the leader, if that was a signal.
        signal: Option<i32>,
    },
    /// It was another process's child, whose status only its parent learns.
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Failed { word, signal: Some(signal) } => {
                write!(f, "signal {signal}, says systemd: {word}")
            }
            Self::Failed { word, signal: None } => write!(f, "at fault, says systemd: {word}"),
            Self::Unknown => f.write_str("exit status unknown"),
        }
    }
}

/// Why there is no process any more: the label `reason` of `agent_exits_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It exited with code 0.
    Success,
    /// It exited with another code, or systemd has found it at fault.
    Error,
    /// A signal ended it that we did not send.
    Signal,
    /// It could not be started.
    SpawnFailed,
    /// It was asked to stop, however it then ended.
    Stopped,
    /// It exited and its status cannot be learnt.
    Unknown,
}

impl Reason {
    /// All of them, for whoever keeps a count of each.
    pub const ALL: [Self; 6] =
        [Self::Success, Self::Error, Self::Signal, Self::SpawnFailed, Self::Stopped, Self::Unknown];

    /// The label's value.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Signal => "signal",
            Self::SpawnFailed => "spawn_failed",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Exit> for Reason {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(0) => Self::Success,
            Exit::Code(_) | Exit::Failed { signal: None, .. } => Self::Error,
            Exit::Signal(_) | Exit::Failed { signal: Some(_), .. } => Self::Signal,
            Exit::Unknown => Self::Unknown,
        }
    }
}
