//! What an agent's state is, and why: a pure function of what is known about it.
//!
//! Must not know clocks, ledgers or processes.

use super::options::Health as Policy;
use std::time::Duration;

/// The states of an agent, from `agent_health_status{state}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs and has not reported yet.
    Starting,
    /// Nothing is wrong.
    Healthy,
    /// It works, but fails or dawdles more than it should.
    Degraded,
    /// It fails most of the time.
    Unhealthy,
    /// It lives and makes no progress.
    Stuck,
    /// It has died, or its supervisor has given it up.
    Lost,
    /// It has ended on purpose.
    Stopped,
}

impl State {
    /// All states, with their words.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Starting, "starting"),
        (Self::Healthy, "healthy"),
        (Self::Degraded, "degraded"),
        (Self::Unhealthy, "unhealthy"),
        (Self::Stuck, "stuck"),
        (Self::Lost, "lost"),
        (Self::Stopped, "stopped"),
    ];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }

    /// Whether somebody should look at it.
    #[must_use]
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Unhealthy | Self::Stuck | Self::Lost)
    }
}

/// Whether the agent is there.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence {
    /// It runs, for so long.
    Running(Duration),
    /// It has ended on purpose.
    Stopped,
    /// It is known from before, and nothing has been heard of it since the daemon started.
    Unseen,
    /// It has ended otherwise; in words.
    Lost(String),
}

/// What is known about an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Observations {
    /// Whether it is there.
    pub presence: Presence,
    /// Whether it has a ledger.
    pub reports: bool,
    /// How long ago it last showed life.
    pub heartbeat_age: Option<Duration>,
    /// How often it promised to.
    pub heartbeat_promised: Option<Duration>,
    /// Age of its oldest request in flight.
    pub oldest_request: Option<Duration>,
    /// Requests of the last minutes that say something about its health.
    pub judged: u64,
    /// Share of those that succeeded.
    pub success_rate: Option<f64>,
    /// 95th percentile of the last minutes' durations, in seconds.
    pub p95: Option<f64>,
}

/// The state that the observations amount to, and the reason in words.
#[must_use]
pub fn judge(seen: &Observations, policy: &Policy) -> (State, String) {
    let uptime = match &seen.presence {
        Presence::Stopped => return (State::Stopped, "ended on purpose".into()),
        Presence::Unseen => {
            return (State::Stopped, "not seen since the daemon started".into());
        }
        Presence::Lost(how) => return (State::Lost, how.clone()),
        Presence::Running(uptime) => *uptime,
    };
    if !seen.reports {
        return if uptime < policy.start_grace {
            (State::Starting, format!("running for {}, has not reported yet", seconds(uptime)))
        } else {
            (State::Healthy, "running, does not report".into())
        };
    }
    stuck(seen, policy)
        .or_else(|| failing(seen, policy))
        .or_else(|| slow(seen, policy))
        .unwrap_or_else(|| (State::Healthy, praise(seen)))
}

fn stuck(seen: &Observations, policy: &Policy) -> Option<(State, String)> {
    if let Some(age) = seen.oldest_request.filter(|age| *age > policy.stuck_after) {
        let (age, limit) = (seconds(age), seconds(policy.stuck_after));
        return Some((State::Stuck, format!("a request in flight for {age}, over {limit}")));
    }
    let promised = seen.heartbeat_promised?;
    let age = seen.heartbeat_age?;
    let limit = promised.saturating_mul(policy.heartbeats_missed.max(1));
    (age > limit).then(|| {
        let (age, promised) = (seconds(age), seconds(promised));
        (State::Stuck, format!("no heartbeat for {age}, promised every {promised}"))
    })
}

fn failing(seen: &Observations, policy: &Policy) -> Option<(State, String)> {
    let succeeded = seen.success_rate?;
    if seen.judged < policy.min_requests {
        return None;
    }
    let state = if succeeded <= 1.0 - policy.error_rate_unhealthy {
        State::Unhealthy
    } else if succeeded <= 1.0 - policy.error_rate_degraded {
        State::Degraded
    } else {
        return None;
    };
    let percent = (1.0 - succeeded) * 100.0;
    Some((state, format!("{percent:.1} % of the last {} requests failed", seen.judged)))
}

fn slow(seen: &Observations, policy: &Policy) -> Option<(State, String)> {
    let limit = policy.slow_p95.as_secs_f64();
    let p95 = seen.p95.filter(|p95| limit > 0.0 && *p95 > limit)?;
    Some((State::Degraded, format!("p95 {p95:.3} s, over {limit} s")))
}

fn praise(seen: &Observations) -> String {
    match seen.success_rate {
        Some(rate) => {
            let percent = rate * 100.0;
            format!("{percent:.1} % of the last {} requests succeeded", seen.judged)
        }
        None => "no request ended in the last 5 minutes".into(),
    }
}

fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} s", duration.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            start_grace: Duration::from_secs(30),
            stuck_after: Duration::from_secs(300),
            heartbeats_missed: 3,
            error_rate_degraded: 0.1,
            error_rate_unhealthy: 0.5,
            min_requests: 10,
            slow_p95: Duration::from_secs(2),
        }
    }

    fn running() -> Observations {
        Observations {
            presence: Presence::Running(Duration::from_secs(60)),
            reports: true,
            heartbeat_age: Some(Duration::from_secs(1)),
            heartbeat_promised: None,
            oldest_request: None,
            judged: 100,
            success_rate: Some(0.99),
            p95: Some(0.5),
        }
    }

    fn assert_state(seen: &Observations, state: State, words: &str) {
        let (judged, reason) = judge(seen, &policy());
        assert_eq!(judged, state, "{reason}");
        assert!(reason.contains(words), "{reason}");
    }

    #[test]
    fn each_state_has_its_cause() {
        assert_state(&running(), State::Healthy, "99.0 % of the last 100");
        assert_state(
            &Observations { success_rate: None, ..running() },
            State::Healthy,
            "no request ended",
        );
        let young = Presence::Running(Duration::from_secs(3));
        assert_state(
            &Observations { presence: young, reports: false, ..running() },
            State::Starting,
            "running for 3.0 s",
        );
        assert_state(
            &Observations { reports: false, ..running() },
            State::Healthy,
            "does not report",
        );
        assert_state(
            &Observations { success_rate: Some(0.9), ..running() },
            State::Degraded,
            "10.0 % of the last 100 requests failed",
        );
        assert_state(
            &Observations { success_rate: Some(0.5), ..running() },
            State::Unhealthy,
            "50.0 %",
        );
        assert_state(&Observations { p95: Some(2.5), ..running() }, State::Degraded, "p95 2.5");
        let long = Some(Duration::from_secs(301));
        assert_state(
            &Observations { oldest_request: long, success_rate: Some(0.0), ..running() },
            State::Stuck,
            "in flight for 301 s",
        );
        let lost = Presence::Lost("killed by signal 9".into());
        assert_state(&Observations { presence: lost, ..running() }, State::Lost, "signal 9");
        assert_state(
            &Observations { presence: Presence::Stopped, ..running() },
            State::Stopped,
            "on purpose",
        );
    }

    #[test]
    fn silence_is_a_fault_only_where_a_heartbeat_was_promised() {
        let silent = Observations { heartbeat_age: Some(Duration::from_secs(99)), ..running() };
        assert_state(&silent, State::Healthy, "succeeded");
        let promised = Some(Duration::from_secs(10));
        assert_state(
            &Observations { heartbeat_promised: promised, ..silent },
            State::Stuck,
            "no heartbeat for 99 s, promised every 10 s",
        );
    }

    #[test]
    fn few_requests_say_nothing() {
        let few = Observations { judged: 9, success_rate: Some(0.0), ..running() };
        assert_state(&few, State::Healthy, "0.0 % of the last 9");
    }
}
