//! An agent's process, whichever of the two ways has made it.
//!
//! Must not know when or why a process is made or ended.

use super::course::{Course, End};
use super::{exec, unit};
use crate::supervisor::machine::Signal;
use std::io;

/// A leader, and what it has started.
pub(super) enum Process {
    /// Made by this daemon or an earlier one.
    Own(exec::Process),
    /// Made by systemd.
    Unit(unit::Process),
}

impl Process {
    /// Which run of its unit it is, if systemd has made it.
    pub(super) fn run(&self) -> Option<u64> {
        match self {
            Self::Own(_) => None,
            Self::Unit(process) => Some(process.run()),
        }
    }

    /// The leader's number.
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Own(process) => process.pid(),
            Self::Unit(process) => process.pid(),
        }
    }

    /// When the leader was started, in clock ticks since boot; 0 once it has gone.
    pub(super) fn start_time(&self) -> u64 {
        match self {
            Self::Own(process) => process.start_time(),
            Self::Unit(process) => process.start_time(),
        }
    }

    /// The session of its group; `None` where nobody needs it.
    pub(super) fn session(&self) -> Option<i32> {
        match self {
            Self::Own(process) => Some(process.session()),
            Self::Unit(_) => None,
        }
    }

    /// Waits for the leader to end, or for someone else to begin to end it. May be dropped and called again.
    pub(super) async fn course(&mut self) -> Course<Self> {
        match self {
            Self::Own(process) => Course::Over(End::Itself(process.exited().await)),
            Self::Unit(process) => process.course().await.map(Self::Unit),
        }
    }

    /// Waits for the rest to end, once the leader has. May be dropped and called again. Whether systemd has been
    /// asked to end it.
    pub(super) async fn emptied(&self) -> bool {
        match self {
            Self::Own(process) => {
                process.emptied().await;
                false
            }
            Self::Unit(process) => process.emptied().await,
        }
    }

    /// Signals the leader and all that it has started. Those that have gone are no error.
    ///
    /// # Errors
    /// When none of them may be signalled.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match self {
            Self::Own(process) => process.signal(signal),
            Self::Unit(process) => {
                process.signal(signal);
                Ok(())
            }
        }
    }

    /// Signals what is left once the leader has ended.
    ///
    /// # Errors
    /// As for [`Process::signal`].
    pub(super) fn signal_rest(&self, signal: Signal) -> io::Result<()> {
        match self {
            Self::Own(process) => process.signal(signal),
            Self::Unit(process) => {
                // systemd has sent TERM when the leader ended.
                if signal == Signal::Kill {
                    process.kill_rest();
                }
                Ok(())
            }
        }
    }

    /// Lets the kernel forget a leader that was this daemon's child.
    pub(super) fn reap(self) {
        match self {
            Self::Own(process) => process.reap(),
            Self::Unit(_) => {}
        }
    }
}
