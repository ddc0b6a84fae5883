//! The options of `[agents]`, as `config/musterd.toml` explains them.

use super::allow::Rule;
use super::series::Limits;
use crate::units;
use musterd_client::layout::LABEL_VALUE_LIMIT;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes that a ledger may have: the least takes an agent's own series, the most is far more than
/// any should need.
pub const LEDGER_SIZES: std::ops::RangeInclusive<usize> = 16 << 10..=64 << 20;

/// Bytes that a limit of label values may allow: the most is what a record can have.
pub const LABEL_LENGTHS: std::ops::RangeInclusive<usize> = 16..=LABEL_VALUE_LIMIT;

/// Who may report, how much, and what is made of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Path of the socket.
    pub socket: PathBuf,
    /// Its permissions, in octal.
    #[serde(deserialize_with = "units::mode")]
    pub socket_mode: u32,
    /// Its group; empty: that of the daemon.
    pub socket_group: String,
    /// Who may report; no rule: all who can open the socket.
    pub allow: Vec<Rule>,
    /// Connections at one time.
    pub max_connections: usize,
    /// Names of agents that are kept.
    pub max_agents: usize,
    /// Ledgers in use by one user at one time.
    pub max_ledgers_per_uid: usize,
    /// Ledgers in use by one process for one agent at one time.
    pub max_ledgers_per_process: usize,
    /// Bytes of all ledgers in use.
    #[serde(deserialize_with = "units::size")]
    pub max_ledger_memory: usize,
    /// Series of one agent, those that are kept of ledgers that have been retired included.
    pub max_series: usize,
    /// Series of all agents together.
    pub max_total_series: usize,
    /// Names of agents' own metrics, over all agents.
    pub max_families: usize,
    /// Bytes of a label value, within [`LABEL_LENGTHS`].
    pub max_label_length: usize,
    /// Bytes of a ledger, within [`LEDGER_SIZES`].
    #[serde(deserialize_with = "units::size")]
    pub ledger_size: usize,
    /// How long a client may take to say who it is.
    #[serde(with = "units::duration")]
    pub hello_timeout: Duration,
    /// How long agents that have gone are shown; 0: for ever.
    #[serde(with = "units::duration")]
    pub keep_gone: Duration,
    /// Resolution of the durations that clients keep, within
    /// [`DURATION_SCHEMAS`](musterd_client::layout::DURATION_SCHEMAS).
    pub duration_schema: i32,
    /// When an agent is what.
    pub health: Health,
    /// The same for some agents, from `[agents.health.per_agent]`; filled in by the configuration.
    #[serde(skip)]
    pub health_per_agent: Vec<HealthOf>,
    /// How agents are started and stopped.
    pub supervision: crate::supervisor::options::Defaults,
}

impl Options {
    /// How many series an agent may have, and how long its labels may be.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            series: self.max_series,
            total_series: self.max_total_series,
            label_length: self.max_label_length,
            families: self.max_families,
        }
    }

    /// Records that are looked at in one ledger: some may be of series that are refused.
    #[must_use]
    pub fn max_records(&self) -> usize {
        self.max_series.saturating_mul(2)
    }
}

/// Thresholds of an agent's health.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// How long an agent may run before it is expected to report.
    #[serde(with = "units::duration")]
    pub start_grace: Duration,
    /// A request in flight for longer than this: stuck.
    #[serde(with = "units::duration")]
    pub stuck_after: Duration,
    /// Promised heartbeats that may be missed before the agent is stuck.
    pub heartbeats_missed: u32,
    /// Share of failed requests that makes an agent degraded.
    pub error_rate_degraded: f64,
    /// Share of failed requests that makes an agent unhealthy.
    pub error_rate_unhealthy: f64,
    /// Fewer finished requests than this say nothing about an error rate.
    pub min_requests: u64,
    /// 95th percentile of durations that makes an agent degraded; 0: none does.
    #[serde(with = "units::duration")]
    pub slow_p95: Duration,
    /// Share of a threshold under which what was over it is better, more than 0 and at most 1.
    pub recover_below: f64,
    /// How long it must be better before the agent is; how long one that was lost must be there again.
    #[serde(with = "units::duration")]
    pub recover_after: Duration,
}

/// Thresholds of the agents whose names match.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthOf {
    /// A name, with `*`, `?` and `[…]` as in a shell.
    pub agents: glob::Pattern,
    /// What holds for them.
    pub health: Health,
}

impl Options {
    /// What holds for an agent: of the patterns that match its name, the one that says most of it.
    #[must_use]
    pub fn health_of(&self, agent: &str) -> &Health {
        let matching = self.health_per_agent.iter().filter(|own| own.agents.matches(agent));
        let closest = matching.max_by_key(|own| own.closeness());
        closest.map_or(&self.health, |own| &own.health)
    }
}

impl HealthOf {
    /// A whole name before any pattern, then the pattern with the most letters of its own.
    fn closeness(&self) -> (bool, usize) {
        let is_wild = |letter: &char| ['*', '?', '['].contains(letter);
        let text = self.agents.as_str();
        (!text.contains(|letter| is_wild(&letter)), text.chars().filter(|c| !is_wild(c)).count())
    }
}

impl Health {
    /// Looks for values that make no sense.
    ///
    /// # Errors
    /// The first key that has one, then the one that makes it so, if that is another's; and what was wanted.
    pub fn check(&self) -> Result<(), (Vec<&'static str>, String)> {
        let shares = [
            ("error_rate_degraded", self.error_rate_degraded),
            ("error_rate_unhealthy", self.error_rate_unhealthy),
            ("recover_below", self.recover_below),
        ];
        if self.stuck_after.is_zero() {
            return Err((vec!["stuck_after"], "is 0, wanted a length of time".to_owned()));
        }
        if let Some((key, share)) = shares.iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err((vec![*key], format!("is {share}, wanted 0 to 1")));
        }
        if self.recover_below == 0.0 {
            let text = "is 0, wanted more than 0 and at most 1".to_owned();
            return Err((vec!["recover_below"], text));
        }
        let (degraded, unhealthy) = (self.error_rate_degraded, self.error_rate_unhealthy);
        if unhealthy < degraded {
            let text = format!("is {unhealthy}, wanted at least error_rate_degraded, {degraded}");
            return Err((vec!["error_rate_unhealthy", "error_rate_degraded"], text));
        }
        Ok(())
    }
}
