//! The answer of `/health`: its types, and how the parts make up the whole.
//!
//! Must not know: how anything is measured or judged.

use hyper::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// How something is. The order is from good to bad, so that the worst is the maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    #[default]
    Healthy,
    /// It works, and somebody should look at it.
    Degraded,
    /// It does not do what it is there for.
    Unhealthy,
}

impl Status {
    /// The status of the answer: 200 for what works, 503 for what does not.
    #[must_use]
    pub const fn code(self) -> StatusCode {
        match self {
            Self::Healthy | Self::Degraded => StatusCode::OK,
            Self::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// One check, by its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How it is.
    pub status: Status,
    /// Why, in a sentence.
    pub message: String,
}

/// An agent, as its health was last determined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// Its state, in a word.
    pub state: String,
    /// Why it is in that state.
    pub reason: String,
}

/// The machine at a glance. What could not be measured is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SystemMetrics {
    /// Memory that is not available to a new program, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_usage_percent: Option<f64>,
    /// Time that the CPUs were not idle, 0 to 100 over all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_usage_percent: Option<f64>,
    /// Space of the root file system that is in use, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_usage_percent: Option<f64>,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The worst of the checks.
    status: Status,
    /// When it was made, RFC 3339 in UTC.
    timestamp: String,
    uptime_seconds: f64,
    version: &'static str,
    system_metrics: SystemMetrics,
    health_checks: BTreeMap<String, Check>,
    agents: BTreeMap<String, Agent>,
}

impl Report {
    /// Puts a report together. Its status is the worst of the checks'.
    #[must_use]
    pub fn new(
        now: SystemTime,
        uptime: Duration,
        system_metrics: SystemMetrics,
        health_checks: BTreeMap<String, Check>,
        agents: BTreeMap<String, Agent>,
    ) -> Self {
        Self {
            status: health_checks.values().map(|check| check.status).max().unwrap_or_default(),
            timestamp: humantime::format_rfc3339_millis(now).to_string(),
            uptime_seconds: uptime.as_secs_f64(),
            version: env!("CARGO_PKG_VERSION"),
            system_metrics,
            health_checks,
            agents,
        }
    }

    /// The worst of the checks.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(statuses: &[Status]) -> Report {
        let check = |status| Check { status, message: "so it is".to_owned() };
        let checks = statuses.iter().enumerate().map(|(n, &s)| (format!("check{n}"), check(s)));
        let agent = Agent { state: "up".to_owned(), reason: "it beats".to_owned() };
        Report::new(
            SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
            Duration::from_millis(1500),
            SystemMetrics { cpu_usage_percent: Some(12.5), ..SystemMetrics::default() },
            checks.collect(),
            BTreeMap::from([("solver".to_owned(), agent)]),
        )
    }

    #[test]
    fn the_worst_check_decides() {
        use Status::{Degraded, Healthy, Unhealthy};
        for (checks, worst, code) in [
            (&[][..], Healthy, 200),
            (&[Healthy, Healthy], Healthy, 200),
            (&[Healthy, Degraded, Healthy], Degraded, 200),
            (&[Unhealthy, Degraded], Unhealthy, 503),
        ] {
            assert_eq!(report(checks).status(), worst);
            assert_eq!(worst.code().as_u16(), code);
        }
    }

    #[test]
    fn the_names_are_as_promised() {
        let json = serde_json::to_value(report(&[Status::Degraded])).unwrap();
        let wanted = serde_json::json!({
            "status": "degraded",
            "timestamp": "2023-11-14T22:13:20.250Z",
            "uptime_seconds": 1.5,
            "version": env!("CARGO_PKG_VERSION"),
            "system_metrics": { "cpu_usage_percent": 12.5 },
            "health_checks": { "check0": { "status": "degraded", "message": "so it is" } },
            "agents": { "solver": { "state": "up", "reason": "it beats" } },
        });
        assert_eq!(json, wanted);
    }
}
