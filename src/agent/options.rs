//! The options of `[agents]`, as `config/musterd.toml` explains them.

use crate::units;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes that a ledger may have: the least takes an agent's own series, the most is far more than
/// any should need.
pub const LEDGER_SIZES: std::ops::RangeInclusive<usize> = 16 << 10..=64 << 20;

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
    /// Users who may report; empty: all who can open the socket.
    pub allow_uids: Vec<u32>,
    /// Connections at one time.
    pub max_connections: usize,
    /// Names of agents that are kept.
    pub max_agents: usize,
    /// Ledgers in use by one user at one time.
    pub max_ledgers_per_uid: usize,
    /// Series in one ledger.
    pub max_series: usize,
    /// Bytes of a ledger, within [`LEDGER_SIZES`].
    #[serde(deserialize_with = "units::size")]
    pub ledger_size: usize,
    /// How long a client may take to say who it is.
    #[serde(with = "units::duration")]
    pub hello_timeout: Duration,
    /// How long agents that have gone are shown; 0: for ever.
    #[serde(with = "units::duration")]
    pub keep_gone: Duration,
    /// When an agent is what.
    pub health: Health,
    /// How agents are started and stopped.
    pub supervision: crate::supervisor::options::Defaults,
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
}
