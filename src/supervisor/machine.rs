//! What supervision does, as one table: state and event in, state and actions out.
//!
//! Must not know what a process is, how one is started, or what time it is: time comes in as a
//! number, chance too. The tests beside it go through every pair of state and event.
//!
//! A process here is a leader and its group, all that it has started and that has not left the
//! group. When the leader exits by itself the rest of its group is ended as well, before anything
//! else is started: TERM, grace, KILL, as in a stop.

#[cfg(test)]
mod tests;

use super::policy::{Exit, Policy, Reason};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// How long processes that outlive their leader may survive KILL (in an uninterruptible wait, or
/// as another user's) before the agent is started again without them having gone.
pub const KILL_WAIT: Duration = Duration::from_secs(10);

/// Where an agent stays until something is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rest {
    /// It was asked to be down.
    Stopped,
    /// It was given up.
    Failed,
    /// It exited, and the policy does not restart it.
    Finished,
}

/// What was asked of an agent whose process is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// To stay down.
    Stop,
    /// To come back, at once.
    Restart,
}

/// What follows when a group has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// What was asked.
    Asked(Then),
    /// A start, not before this time.
    Backoff(Duration),
    /// Nothing: there were too many starts.
    GiveUp,
    /// Nothing: the policy does not restart after such an exit.
    Finish,
}

/// Where an agent is. All times are on the clock that `step` is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No process, and none wanted.
    Stopped,
    /// A process is being made; `then` is what was asked meanwhile.
    Starting {
        /// To be done as soon as it is made.
        then: Option<Then>,
    },
    /// The leader lives.
    Running {
        /// Since when.
        since: Duration,
    },
    /// The leader lives, and someone else has it end for a reason of theirs.
    Ending {
        /// Since when it has lived.
        since: Duration,
        /// When it is killed.
        kill_at: Duration,
    },
    /// The leader has been asked to end and lives.
    Stopping {
        /// When it is killed.
        kill_at: Duration,
        /// What follows.
        then: Then,
    },
    /// The leader has been killed and has not gone yet. No end is set: two leaders never are.
    Killing {
        /// What follows.
        then: Then,
    },
    /// The leader has gone, the rest of its group has been asked to.
    Clearing {
        /// When the rest is killed, or, once killed, no longer waited for.
        until: Duration,
        /// Whether the rest has been killed.
        killed: bool,
        /// What follows.
        next: Next,
    },
    /// No process; one will be started.
    Backoff {
        /// When.
        until: Duration,
    },
    /// No process: there were too many starts. A start by hand or a reload begins anew.
    Failed,
    /// No process: it exited, and the policy does not restart it.
    Finished,
}

impl Phase {
    /// A word for people and for the API.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting { .. } => "starting",
            Self::Running { .. } => "running",
            Self::Ending { .. } | Self::Stopping { .. } | Self::Killing { .. } => "stopping",
            Self::Clearing { .. } => "clearing",
            Self::Backoff { .. } => "backoff",
            Self::Failed => "failed",
            Self::Finished => "finished",
        }
    }

    /// Where it stays, or will stay once nothing is left of its process.
    #[must_use]
    pub const fn rest(self) -> Option<Rest> {
        match self {
            Self::Stopped
            | Self::Stopping { then: Then::Stop, .. }
            | Self::Killing { then: Then::Stop }
            | Self::Clearing { next: Next::Asked(Then::Stop), .. } => Some(Rest::Stopped),
            Self::Failed | Self::Clearing { next: Next::GiveUp, .. } => Some(Rest::Failed),
            Self::Finished | Self::Clearing { next: Next::Finish, .. } => Some(Rest::Finished),
            _ => None,
        }
    }

    /// Whether it stays where it is, and nothing is left of its process.
    #[must_use]
    pub const fn is_rest(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed | Self::Finished)
    }
}

/// What is remembered of earlier starts. An operator's start or restart forgets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The times of the last starts, oldest first: no more than the start limit.
    starts: VecDeque<Duration>,
    /// Restarts since the agent last stayed up long enough.
    failures: u32,
}

impl History {
    fn record(&mut self, policy: &Policy, now: Duration) {
        self.starts.push_back(now);
        while self.starts.len() > policy.start_limit as usize {
            self.starts.pop_front();
        }
    }

    fn allows_start(&self, policy: &Policy, at: Duration) -> bool {
        let limit = policy.start_limit as usize;
        let within = |start: &&Duration| at.saturating_sub(**start) < policy.start_interval;
        limit == 0 || self.starts.iter().filter(within).count() < limit
    }
}

/// Where an agent is and what led there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where it is.
    pub phase: Phase,
    /// What led there.
    pub history: History,
}

impl State {
    /// Before the first event.
    #[must_use]
    pub fn new() -> Self {
        Self::fresh(Phase::Stopped)
    }

    /// With a process that an earlier daemon has started.
    #[must_use]
    pub fn adopted(now: Duration) -> Self {
        Self::fresh(Phase::Running { since: now })
    }

    /// Where an earlier daemon has left it to stay.
    #[must_use]
    pub fn resting(rest: Rest) -> Self {
        Self::fresh(match rest {
            Rest::Stopped => Phase::Stopped,
            Rest::Failed => Phase::Failed,
            Rest::Finished => Phase::Finished,
        })
    }

    /// With a start that someone else has had made, and of which it is not known yet how it went.
    #[must_use]
    pub fn starting(policy: &Policy, now: Duration) -> Self {
        let mut state = Self::fresh(Phase::Starting { then: None });
        state.history.record(policy, now);
        state
    }

    /// With a process that has been asked to end before this daemon began.
    #[must_use]
    pub fn stopping(policy: &Policy, then: Then, now: Duration) -> Self {
        Self::fresh(Phase::Stopping { kill_at: now.saturating_add(policy.stop_grace), then })
    }

    /// With what has outlived a leader whose end an earlier daemon has told: the rest of its group is to end
    /// within the grace of a stop, and what follows is what that daemon had in mind.
    #[must_use]
    pub fn clearing(policy: &Policy, rest: Option<Rest>, now: Duration) -> Self {
        let next = match rest {
            Some(Rest::Stopped) => Next::Asked(Then::Stop),
            Some(Rest::Failed) => Next::GiveUp,
            Some(Rest::Finished) => Next::Finish,
            None => Next::Backoff(now),
        };
        let until = now.saturating_add(policy.stop_grace);
        Self::fresh(Phase::Clearing { until, killed: false, next })
    }

    /// When [`Event::Timer`] is due, if time alone changes anything.
    #[must_use]
    pub const fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Ending { kill_at: at, .. }
            | Phase::Stopping { kill_at: at, .. }
            | Phase::Clearing { until: at, .. }
            | Phase::Backoff { until: at } => Some(at),
            _ => None,
        }
    }

    fn fresh(phase: Phase) -> Self {
        Self { phase, history: History::default() }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// What happens to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operator, or the daemon's own start, wants it up.
    Start,
    /// An operator wants it down.
    Stop,
    /// An operator wants a new process; an agent that is down is started.
    Restart,
    /// The configuration was read anew.
    Reload {
        /// Whether what the process is made from has changed.
        changed: bool,
    },
    /// The process is made.
    Spawned,
    /// The process could not be made.
    SpawnFailed,
    /// The process could not be made, and nothing about the agent is to blame.
    Hindered,
    /// Someone else has the leader end.
    Ending {
        /// Whether that is someone's word, and no fault that has been found.
        asked: bool,
    },
    /// The leader has gone.
    Exited(Exit),
    /// The whole group has gone.
    Emptied,
    /// [`State::deadline`] has come.
    Timer,
}

/// Which signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Please end.
    Term,
    /// End.
    Kill,
}

/// What is to be done, or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a process; [`Event::Spawned`], [`Event::SpawnFailed`] or
    /// [`Event::Hindered`] follows.
    Spawn,
    /// Signal the whole group.
    SignalGroup(Signal),
    /// See to it that nothing else starts the agent again.
    CallOff,
    /// Tell that the agent runs.
    Started,
    /// Tell that it does not.
    Exited {
        /// Why.
        reason: Reason,
        /// How long until it is started again, if it will be.
        restarting_in: Option<Duration>,
    },
    /// Tell that members of its group could not be ended and are no longer waited for.
    Abandoned,
    /// Tell that it is down because it was asked to be.
    Stopped,
    /// Tell that it will not be started again: there were too many starts.
    GaveUp,
}

/// Actions in the order they are to be taken.
pub type Actions = Vec<Action>;

/// Decides. `now` and all times in `state` are on one monotonic clock; `jitter` is a number
/// between 0 and 1 that chance has chosen.
///
/// An event that cannot happen in a state, or asks for what is so already, changes nothing.
#[must_use]
pub fn step(
    policy: &Policy,
    state: State,
    event: Event,
    now: Duration,
    jitter: f64,
) -> (State, Actions) {
    use Event as E;
    use Phase as P;
    let State { phase, history } = state;
    let event = match event {
        E::Reload { changed } if reload_restarts(phase, changed) => E::Restart,
        other => other,
    };
    let becomes = |phase: Phase| State { phase, history: history.clone() };
    let asked = |phase: Phase| State::fresh(phase);
    let kill_at = now.saturating_add(policy.stop_grace);

    match (phase, event) {
        // No process.
        (P::Stopped | P::Backoff { .. } | P::Failed | P::Finished, E::Start | E::Restart) => {
            spawn(policy, History::default(), now, vec![])
        }
        (P::Backoff { .. } | P::Failed | P::Finished, E::Stop) => {
            (becomes(P::Stopped), vec![Action::CallOff, Action::Stopped])
        }
        (P::Backoff { until }, E::Timer) if now >= until => spawn(policy, history, now, vec![]),

        // A process is being made.
        (P::Starting { .. }, E::Stop) => (becomes(P::Starting { then: Some(Then::Stop) }), vec![]),
        (P::Starting { .. }, E::Restart) => {
            (asked(P::Starting { then: Some(Then::Restart) }), vec![])
        }
        (P::Starting { then: Some(Then::Stop) }, E::Start) => {
            (asked(P::Starting { then: None }), vec![])
        }
        (P::Starting { then: None }, E::Spawned) => {
            (becomes(P::Running { since: now }), vec![Action::Started])
        }
        (P::Starting { then: Some(then) }, E::Spawned) => (
            becomes(P::Stopping { kill_at, then }),
            vec![Action::Started, Action::SignalGroup(Signal::Term)],
        ),
        (P::Starting { then: Some(then) }, E::SpawnFailed | E::Hindered) => {
            let told = exited(Reason::SpawnFailed, Next::Asked(then), now);
            proceed(policy, history, Next::Asked(then), now, vec![told])
        }
        (P::Starting { then: None }, E::SpawnFailed) => {
            let (next, history) =
                after_exit(policy, history, Reason::SpawnFailed, Duration::ZERO, now, jitter);
            proceed(policy, history, next, now, vec![exited(Reason::SpawnFailed, next, now)])
        }

        (P::Starting { then: None }, E::Hindered) => {
            let (next, history) = after_hindrance(policy, history, now, jitter);
            proceed(policy, history, next, now, vec![exited(Reason::SpawnFailed, next, now)])
        }

        // The leader lives.
        (P::Running { .. }, E::Stop) => (
            becomes(P::Stopping { kill_at, then: Then::Stop }),
            vec![Action::SignalGroup(Signal::Term)],
        ),
        (P::Running { .. }, E::Restart) => (
            asked(P::Stopping { kill_at, then: Then::Restart }),
            vec![Action::SignalGroup(Signal::Term)],
        ),
        (P::Running { since }, E::Ending { asked: false }) => {
            (becomes(P::Ending { since, kill_at }), vec![])
        }
        (P::Running { .. }, E::Ending { asked: true }) => {
            (becomes(P::Stopping { kill_at, then: Then::Stop }), vec![])
        }
        (P::Ending { kill_at, .. }, E::Ending { asked: true }) => {
            (becomes(P::Stopping { kill_at, then: Then::Stop }), vec![])
        }
        (P::Ending { kill_at, .. }, E::Stop) => (
            becomes(P::Stopping { kill_at, then: Then::Stop }),
            vec![Action::SignalGroup(Signal::Term)],
        ),
        (P::Ending { kill_at, .. }, E::Restart) => (
            asked(P::Stopping { kill_at, then: Then::Restart }),
            vec![Action::SignalGroup(Signal::Term)],
        ),
        (P::Ending { since, kill_at }, E::Timer) if now >= kill_at => {
            (becomes(P::Running { since }), vec![Action::SignalGroup(Signal::Kill)])
        }
        (P::Running { since } | P::Ending { since, .. }, E::Exited(exit)) => {
            let (reason, up) = (Reason::from(exit), now.saturating_sub(since));
            let (next, history) = after_exit(policy, history, reason, up, now, jitter);
            let phase = P::Clearing { until: kill_at, killed: false, next };
            (
                State { phase, history },
                vec![exited(reason, next, now), Action::SignalGroup(Signal::Term)],
            )
        }
        (P::Stopping { kill_at, .. }, E::Stop) => {
            (becomes(P::Stopping { kill_at, then: Then::Stop }), vec![])
        }
        (P::Stopping { kill_at, .. }, E::Start | E::Restart) => {
            (asked(P::Stopping { kill_at, then: Then::Restart }), vec![])
        }
        (P::Stopping { kill_at, then }, E::Timer) if now >= kill_at => {
            (becomes(P::Killing { then }), vec![Action::SignalGroup(Signal::Kill)])
        }
        (P::Stopping { kill_at, then }, E::Exited(_)) => {
            let next = Next::Asked(then);
            let phase = P::Clearing { until: kill_at, killed: false, next };
            (becomes(phase), vec![exited(Reason::Stopped, next, now)])
        }
        (P::Killing { .. }, E::Stop) => (becomes(P::Killing { then: Then::Stop }), vec![]),
        (P::Killing { .. }, E::Start | E::Restart) => {
            (asked(P::Killing { then: Then::Restart }), vec![])
        }
        (P::Killing { then }, E::Exited(_)) => {
            let (until, next) = (now.saturating_add(KILL_WAIT), Next::Asked(then));
            let phase = P::Clearing { until, killed: true, next };
            (becomes(phase), vec![exited(Reason::Stopped, next, now)])
        }

        // The leader has gone, others of its group have not.
        (P::Clearing { until, killed, .. }, E::Stop) => {
            let next = Next::Asked(Then::Stop);
            (becomes(P::Clearing { until, killed, next }), vec![Action::CallOff])
        }
        (P::Clearing { until, killed, .. }, E::Start | E::Restart) => {
            let next = Next::Asked(Then::Restart);
            (asked(P::Clearing { until, killed, next }), vec![])
        }
        (P::Clearing { next, .. }, E::Emptied) => proceed(policy, history, next, now, vec![]),
        (P::Clearing { until, killed: false, next }, E::Timer) if now >= until => {
            let until = now.saturating_add(KILL_WAIT);
            let phase = P::Clearing { until, killed: true, next };
            (becomes(phase), vec![Action::SignalGroup(Signal::Kill)])
        }
        (P::Clearing { until, killed: true, next }, E::Timer) if now >= until => {
            proceed(policy, history, next, now, vec![Action::Abandoned])
        }

        (phase, _) => (State { phase, history }, vec![]),
    }
}

/// Whether a reload is a restart: not for an agent that was asked to be down; for one that is up
/// or will be, if what it is made from has changed; for one that was given up, always.
fn reload_restarts(phase: Phase, changed: bool) -> bool {
    match phase {
        Phase::Stopped
        | Phase::Starting { then: Some(Then::Stop) }
        | Phase::Stopping { then: Then::Stop, .. }
        | Phase::Killing { then: Then::Stop }
        | Phase::Clearing { next: Next::Asked(Then::Stop), .. } => false,
        Phase::Failed | Phase::Clearing { next: Next::GiveUp, .. } => true,
        _ => changed,
    }
}

fn spawn(
    policy: &Policy,
    mut history: History,
    now: Duration,
    mut actions: Actions,
) -> (State, Actions) {
    history.record(policy, now);
    actions.push(Action::Spawn);
    (State { phase: Phase::Starting { then: None }, history }, actions)
}

/// What the policy says after an exit that nobody asked for, of a process that was `up` so long.
fn after_exit(
    policy: &Policy,
    mut history: History,
    reason: Reason,
    up: Duration,
    now: Duration,
    jitter: f64,
) -> (Next, History) {
    if !policy.restarts_after(reason) {
        return (Next::Finish, history);
    }
    if up >= policy.backoff_reset {
        history.failures = 0;
    }
    let until = now.saturating_add(policy.backoff(history.failures, jitter));
    history.failures = history.failures.saturating_add(1);
    let allowed = history.allows_start(policy, until);
    (if allowed { Next::Backoff(until) } else { Next::GiveUp }, history)
}

/// When nothing could be started: such a start does not count, and is tried again without end at the slowest
/// pace, whatever the policy says of agents that have run.
fn after_hindrance(
    policy: &Policy,
    mut history: History,
    now: Duration,
    jitter: f64,
) -> (Next, History) {
    history.starts.pop_back();
    let until = now.saturating_add(policy.backoff(u32::MAX, jitter));
    (Next::Backoff(until), history)
}

fn exited(reason: Reason, next: Next, now: Duration) -> Action {
    let restarting_in = match next {
        Next::Asked(Then::Restart) => Some(Duration::ZERO),
        Next::Backoff(until) => Some(until.saturating_sub(now)),
        Next::Asked(Then::Stop) | Next::GiveUp | Next::Finish => None,
    };
    Action::Exited { reason, restarting_in }
}

/// No process is left: goes on to what follows.
fn proceed(
    policy: &Policy,
    history: History,
    next: Next,
    now: Duration,
    mut actions: Actions,
) -> (State, Actions) {
    let phase = match next {
        Next::Asked(Then::Restart) => return spawn(policy, history, now, actions),
        Next::Backoff(until) if now >= until => return spawn(policy, history, now, actions),
        Next::Backoff(until) => Phase::Backoff { until },
        Next::Asked(Then::Stop) => {
            actions.push(Action::Stopped);
            Phase::Stopped
        }
        Next::GiveUp => {
            actions.push(Action::GaveUp);
            Phase::Failed
        }
        Next::Finish => Phase::Finished,
    };
    (State { phase, history }, actions)
}
