//! An agent's process, as far as it has come, and what becomes of it next.
//!
//! Must not know what is done about it.

use super::course::{Course, End, NotStarted};
use super::process::Process;
use super::unit::{Left, Moved, Unit};
use crate::supervisor::machine::Signal;
use std::future::pending;
use std::io;
use tokio::task::JoinHandle;

/// What becomes of an agent, told to the task by its process.
pub(super) enum Happening {
    Spawned(Process),
    SpawnFailed(NotStarted),
    /// It lives, and systemd has it end: whether because it was asked to.
    Ending {
        asked: bool,
    },
    Ended(End<Process>),
    /// Nothing is left of it: whether someone has had systemd stop it.
    Emptied {
        asked: bool,
    },
    /// systemd has started it, or someone has had it do so.
    Appeared(Process),
    /// The same, without success.
    NotAppeared(NotStarted),
    /// It waited for its next start, and someone has had systemd stop it.
    CalledOff,
}

impl Happening {
    /// Whether someone else has had systemd stop it.
    pub(super) const fn is_asked(&self) -> bool {
        matches!(
            self,
            Self::Ending { asked: true }
                | Self::Ended(End::Asked(_))
                | Self::Emptied { asked: true }
                | Self::CalledOff
        )
    }
}

/// The process, as far as it has come.
pub(super) enum Child {
    None,
    /// In a task of its own, since loading a program from a dead mount can hang.
    Spawning(JoinHandle<Result<Process, NotStarted>>),
    Leader(Process),
    /// The leader has ended; the rest of its group may live.
    Group(Process),
}

impl Child {
    /// Waits for what happens next, to an agent that may be run by systemd, and how it has been left there.
    /// May be dropped and called again.
    pub(super) async fn next(&mut self, unit: Option<&Unit>, left: Left) -> Happening {
        match (self, unit) {
            (Self::None, None) => pending().await,
            (Self::None, Some(unit)) => match unit.moved(left).await {
                Moved::Appeared(process) => Happening::Appeared(Process::Unit(process)),
                Moved::NotAppeared(failure) => Happening::NotAppeared(failure),
                Moved::CalledOff => Happening::CalledOff,
            },
            (Self::Spawning(task), _) => match task.await {
                Ok(Ok(process)) => Happening::Spawned(process),
                Ok(Err(error)) => Happening::SpawnFailed(error),
                Err(error) => Happening::SpawnFailed(NotStarted::because(format!(
                    "the start was given up: {error}"
                ))),
            },
            (Self::Leader(process), _) => match process.course().await {
                Course::Ending { asked } => Happening::Ending { asked },
                Course::Over(end) => Happening::Ended(end),
            },
            (Self::Group(process), _) => Happening::Emptied { asked: process.emptied().await },
        }
    }

    /// Signals the leader, or what is left of its group.
    ///
    /// # Errors
    /// When none of them may be signalled.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match self {
            Self::Leader(process) => process.signal(signal),
            Self::Group(process) => process.signal_rest(signal),
            Self::None | Self::Spawning(_) => Ok(()),
        }
    }

    /// Which run of its unit the leader is, if systemd has made it.
    pub(super) fn run(&self) -> Option<u64> {
        match self {
            Self::Leader(process) => process.run(),
            _ => None,
        }
    }

    /// The leader's number, while that lives.
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Leader(process) => Some(process.pid()),
            _ => None,
        }
    }
}
