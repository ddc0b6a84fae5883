//! What becomes of an agent's leader, whichever way it was made.
//!
//! Must not know what a process is, nor what is done about its end.

use crate::supervisor::policy::Exit;

/// What ended a leader, of processes of one kind.
pub(super) enum End<P> {
    /// Its own doing, a fault, a signal from somewhere.
    Itself(Exit),
    /// It was asked to stop: by the table or, where systemd runs it, by anyone who may ask that.
    Asked(Exit),
    /// Someone had systemd start it anew; this one runs now, or has run since.
    Replaced(P),
    /// Someone had systemd start it anew, and that has failed.
    NotReplaced(NotStarted),
}

/// What becomes of a leader.
pub(super) enum Course<P> {
    /// It lives, and systemd has it end: whether because it was asked to.
    Ending { asked: bool },
    /// It has ended.
    Over(End<P>),
}

impl<P> Course<P> {
    /// The same of processes of another kind.
    pub(super) fn map<Q>(self, to: impl FnOnce(P) -> Q) -> Course<Q> {
        match self {
            Self::Ending { asked } => Course::Ending { asked },
            Self::Over(end) => Course::Over(match end {
                End::Itself(exit) => End::Itself(exit),
                End::Asked(exit) => End::Asked(exit),
                End::Replaced(process) => End::Replaced(to(process)),
                End::NotReplaced(failure) => End::NotReplaced(failure),
            }),
        }
    }
}

/// Why there is no leader.
#[derive(Debug)]
pub(super) struct NotStarted {
    /// What was wrong with what.
    pub(super) why: String,
    /// Which run of the unit has failed, if it came so far.
    pub(super) run: Option<u64>,
    /// Whether systemd would try again some time.
    pub(super) waits: bool,
    /// Whether that lies with the configuration as a whole, or with the bus.
    pub(super) hindered: bool,
}

impl NotStarted {
    /// It did not come so far.
    pub(super) const fn because(why: String) -> Self {
        Self { why, run: None, waits: false, hindered: false }
    }
}
