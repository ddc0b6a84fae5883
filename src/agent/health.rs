//! What an agent's state is, and why: from what is known about it now, and from what it was before.
//!
//! Each check gets worse at once and better only with a margin and after a while, so that an agent
//! at a boundary does not go to and fro.
//!
//! Must not know clocks, ledgers or processes; time is told to it.

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
    /// How many there are.
    pub in_flight: u64,
    /// Requests of the last minutes that say something about its health.
    pub judged: u64,
    /// Share of those that succeeded.
    pub success_rate: Option<f64>,
    /// 95th percentile of the last minutes' durations, in seconds.
    pub p95: Option<f64>,
}

/// A state, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What it is.
    pub state: State,
    /// Why, in words.
    pub reason: String,
    /// Since when it is in that state.
    pub since: Duration,
}

/// An agent's health, with what must be remembered of it from one look to the next.
#[derive(Debug, Default)]
pub struct Health {
    judgement: Option<Judgement>,
    alarms: Alarms,
    /// How it was lost, until it is there again for long enough.
    lost: Option<String>,
}

/// One for each check.
#[derive(Debug, Default)]
struct Alarms {
    oldest_request: Alarm,
    heartbeat: Alarm,
    errors: Alarm,
    slowness: Alarm,
}

/// What a check has found, and how long it has been better since.
#[derive(Debug, Default)]
struct Alarm {
    level: Level,
    better_since: Option<Duration>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    #[default]
    Fine,
    Bad,
    Worse,
}

impl Health {
    /// What it was last found to be.
    #[must_use]
    pub fn judgement(&self) -> Option<&Judgement> {
        self.judgement.as_ref()
    }

    /// Its state, once it has been judged.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.judgement.as_ref().map(|judgement| judgement.state)
    }

    /// Judges it by what is known `now`, which is monotonic.
    pub fn judge(&mut self, seen: &Observations, policy: &Policy, now: Duration) -> &Judgement {
        let (state, reason) = match &seen.presence {
            Presence::Running(uptime) => self.judge_running(seen, *uptime, policy, now),
            ended => {
                self.alarms = Alarms::default();
                self.lost = None;
                match ended {
                    Presence::Lost(how) => {
                        self.lost = Some(how.clone());
                        (State::Lost, how.clone())
                    }
                    Presence::Unseen => {
                        (State::Stopped, "not seen since the daemon started".to_owned())
                    }
                    _ => (State::Stopped, "ended on purpose".to_owned()),
                }
            }
        };
        let before = self.judgement.take().filter(|before| before.state == state);
        let since = before.map_or(now, |before| before.since);
        self.judgement.insert(Judgement { state, reason, since })
    }

    fn judge_running(
        &mut self,
        seen: &Observations,
        uptime: Duration,
        policy: &Policy,
        now: Duration,
    ) -> (State, String) {
        if uptime >= policy.recover_after {
            self.lost = None;
        }
        if !seen.reports && uptime < policy.start_grace {
            let after =
                self.lost.as_ref().map_or_else(String::new, |how| format!("; before: {how}"));
            let text = format!("running for {}, has not reported yet{after}", seconds(uptime));
            return (State::Starting, text);
        }
        let mut found = self.alarms.check(seen, policy, now);
        // The worst first; all are told.
        found.sort_by_key(|(state, _)| match state {
            State::Stuck => 0,
            State::Unhealthy => 1,
            _ => 2,
        });
        if let Some((state, _)) = found.first() {
            let reasons: Vec<_> = found.iter().map(|(_, reason)| reason.as_str()).collect();
            return (*state, reasons.join("; "));
        }
        if let Some(how) = &self.lost {
            return (State::Starting, format!("back for {}; before: {how}", seconds(uptime)));
        }
        let praise =
            if seen.reports { praise(seen, policy) } else { "running, does not report".to_owned() };
        (State::Healthy, praise)
    }
}

impl Alarms {
    /// All that is wrong, in words.
    fn check(
        &mut self,
        seen: &Observations,
        policy: &Policy,
        now: Duration,
    ) -> Vec<(State, String)> {
        let checks = [
            self.check_oldest_request(seen, policy, now),
            self.check_heartbeat(seen, policy, now),
            self.check_errors(seen, policy, now),
            self.check_slowness(seen, policy, now),
        ];
        checks.into_iter().flatten().collect()
    }

    fn check_oldest_request(
        &mut self,
        seen: &Observations,
        policy: &Policy,
        now: Duration,
    ) -> Option<(State, String)> {
        let age = seen.oldest_request.unwrap_or_default();
        let limit = policy.stuck_after;
        let level = |factor| Level::bad_if(age > limit.mul_f64(factor));
        let stands = self.oldest_request.update(level, policy, policy.recover_after, now)?;
        let (age, limit) = (seconds(age), seconds(limit));
        let text = stands.word(
            || match seen.in_flight {
                0 | 1 => format!("a request in flight for {age}, over {limit}"),
                many => format!("{many} requests in flight, the oldest for {age}, over {limit}"),
            },
            || format!("a request was in flight for over {limit}"),
        );
        Some((State::Stuck, text))
    }

    fn check_heartbeat(
        &mut self,
        seen: &Observations,
        policy: &Policy,
        now: Duration,
    ) -> Option<(State, String)> {
        let promised = seen.heartbeat_promised.unwrap_or_default();
        let age = seen.heartbeat_age.filter(|_| !promised.is_zero()).unwrap_or_default();
        let missed = policy.heartbeats_missed.max(1);
        let limit = promised.saturating_mul(missed);
        // A single one is no recovery: as many must come in time as were missed, and one more.
        let hold = policy.recover_after.max(promised.saturating_mul(missed.saturating_add(1)));
        let stands = self.heartbeat.update(|_| Level::bad_if(age > limit), policy, hold, now)?;
        let (age, promised) = (seconds(age), seconds(promised));
        let text = stands.word(
            || format!("no heartbeat for {age}, promised every {promised}"),
            || format!("heartbeats were missing, promised every {promised}"),
        );
        Some((State::Stuck, text))
    }

    fn check_errors(
        &mut self,
        seen: &Observations,
        policy: &Policy,
        now: Duration,
    ) -> Option<(State, String)> {
        let succeeded = seen.success_rate.unwrap_or(1.0);
        let fails = |share: f64| succeeded < 1.0 && succeeded <= 1.0 - share;
        let level = |factor| {
            if !is_enough(seen.judged, policy.min_requests, factor) {
                Level::Fine
            } else if fails(policy.error_rate_unhealthy * factor) {
                Level::Worse
            } else {
                Level::bad_if(fails(policy.error_rate_degraded * factor))
            }
        };
        let stands = self.errors.update(level, policy, policy.recover_after, now)?;
        let (state, limit) = match stands.level {
            Level::Worse => (State::Unhealthy, policy.error_rate_unhealthy),
            _ => (State::Degraded, policy.error_rate_degraded),
        };
        let percent = 100.0 * (1.0 - succeeded);
        let failed = format!("{percent:.1} % of the last {} requests failed", seen.judged);
        let limit = 100.0 * limit;
        let text = stands.word(
            || format!("{failed}, limit {limit:.1} %"),
            || format!("{failed}, was over the limit of {limit:.1} %"),
        );
        Some((state, text))
    }

    fn check_slowness(
        &mut self,
        seen: &Observations,
        policy: &Policy,
        now: Duration,
    ) -> Option<(State, String)> {
        let limit = policy.slow_p95.as_secs_f64();
        let p95 = seen.p95.unwrap_or_default();
        let level = |factor| {
            let is_enough = is_enough(seen.judged, policy.min_requests, factor);
            Level::bad_if(limit > 0.0 && is_enough && p95 > limit * factor)
        };
        let stands = self.slowness.update(level, policy, policy.recover_after, now)?;
        let text = stands.word(
            || format!("p95 {p95:.3} s, over {limit} s"),
            || format!("p95 {p95:.3} s, was over {limit} s"),
        );
        Some((State::Degraded, text))
    }
}

/// An alarm that is on.
struct Stands {
    level: Level,
    /// It would not go on now, but is not off yet; how long it is to be better still, once it is.
    held: Option<Option<Duration>>,
}

impl Stands {
    fn word(&self, now: impl Fn() -> String, before: impl Fn() -> String) -> String {
        match self.held {
            None => now(),
            Some(None) => format!("{}; not better enough yet", before()),
            Some(Some(left)) => {
                format!("{}; better if it stays so for {}", before(), seconds(left))
            }
        }
    }
}

impl Alarm {
    /// Takes in how bad it is, which `level` tells for thresholds multiplied by a factor: with 1 to
    /// get worse, with that of the policy to get better.
    fn update(
        &mut self,
        level: impl Fn(f64) -> Level,
        policy: &Policy,
        hold: Duration,
        now: Duration,
    ) -> Option<Stands> {
        let (raised, kept) = (level(1.0), level(policy.recover_below));
        if raised >= self.level {
            *self = Self { level: raised, better_since: None };
        } else if kept >= self.level {
            self.better_since = None;
        } else if now.saturating_sub(*self.better_since.get_or_insert(now)) >= hold {
            *self = Self { level: kept, better_since: None };
        }
        let left = self.better_since.map(|since| hold.saturating_sub(now.saturating_sub(since)));
        let held = (raised < self.level).then_some(left);
        (self.level != Level::Fine).then_some(Stands { level: self.level, held })
    }
}

impl Level {
    const fn bad_if(condition: bool) -> Self {
        if condition { Self::Bad } else { Self::Fine }
    }
}

/// Whether so many requests say something about how many fail or how long they take.
#[allow(clippy::cast_precision_loss)] // Where it is lost, there are enough.
fn is_enough(requests: u64, wanted: u64, factor: f64) -> bool {
    requests > 0 && requests as f64 >= wanted as f64 * factor
}

fn praise(seen: &Observations, policy: &Policy) -> String {
    let Some(rate) = seen.success_rate else {
        return "no request ended in the last 5 minutes".to_owned();
    };
    let text = format!("{:.1} % of the last {} requests succeeded", 100.0 * rate, seen.judged);
    if is_enough(seen.judged, policy.min_requests, 1.0) {
        return text;
    }
    format!("{text}; fewer than {} are not judged", policy.min_requests)
}

fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        ..10 => format!("{:.1} s", duration.as_secs_f64()),
        few @ ..120 => format!("{few} s"),
        many => humantime::format_duration(Duration::from_secs(many)).to_string(),
    }
}

#[cfg(test)]
mod tests;
