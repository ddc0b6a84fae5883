//! The daemon itself, and the Prometheus that is to scrape it, by what they answer.
//!
//! Must not know how either is run.

use super::finding::Finding;
use super::{fail, pass, systemd, warn};
use crate::http::client;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::SystemTime;

/// Where a Prometheus is looked for if none is named.
const USUAL_PROMETHEUS: &str = "127.0.0.1:9090";
/// How far the clocks of both may be apart, in seconds.
const CLOCKS_APART: f64 = 2.0;

/// The daemon, by where it listens.
#[derive(Debug)]
pub(super) struct Daemon {
    server: Option<SocketAddr>,
}

#[derive(Deserialize)]
struct Health {
    status: String,
    version: String,
    health_checks: BTreeMap<String, HealthCheck>,
}

#[derive(Deserialize)]
struct HealthCheck {
    status: String,
    message: String,
}

impl Daemon {
    /// The daemon that listens on one of these. Every address of the machine is reached by that of its
    /// own loopback.
    pub(super) fn at(listen: &[SocketAddr]) -> Self {
        let server = listen.first().copied().map(|mut server| {
            if server.ip().is_unspecified() {
                let loopback = match server {
                    SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                    SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
                };
                server.set_ip(loopback);
            }
            server
        });
        Self { server }
    }

    async fn get(&self, path: &str) -> Result<hyper::body::Bytes, String> {
        let server = self.server.ok_or("it listens on no address")?.to_string();
        let answer = client::get(&server, path).await;
        answer.map_err(|what| format!("http://{server}{path}: {what}"))
    }

    /// Whether it answers, and how it is.
    pub(super) async fn health(&self) -> Finding {
        let check = "daemon";
        let fix = if systemd::is_booted() {
            "systemctl start musterd; journalctl -u musterd says what keeps it from starting"
        } else {
            "start it: musterd run --config FILE; it says what keeps it from starting"
        };
        match self.get("/health").await {
            Err(what) => fail(check, what, fix),
            Ok(answer) => match serde_json::from_slice::<Health>(&answer) {
                Ok(health) => judge_health(&health),
                Err(_) => {
                    let what = "something else than musterd listens where it should";
                    fail(check, what, "see `ss -ltnp`; set another [http] listen, or end it")
                }
            },
        }
    }

    /// Which collectors worked at a scrape.
    pub(super) async fn collectors(&self) -> Option<BTreeMap<String, bool>> {
        let answer = self.get("/metrics").await.ok()?;
        Some(collector_successes(&String::from_utf8_lossy(&answer)))
    }
}

fn judge_health(health: &Health) -> Finding {
    let check = "daemon";
    let own = env!("CARGO_PKG_VERSION");
    if health.version != own {
        let what = format!("version {} runs, this is {own}", health.version);
        return warn(check, what, "systemctl restart musterd");
    }
    let bad: Vec<_> = health
        .health_checks
        .iter()
        .filter(|(_, part)| part.status != "healthy")
        .map(|(name, part)| format!("{name}: {}", part.message))
        .collect();
    if bad.is_empty() {
        return pass(check, format!("version {own} answers, the node is {}", health.status));
    }
    let what = format!("the node is {}: {}", health.status, bad.join("; "));
    warn(check, what, "`musterd status` shows the agents; thresholds are in [health]")
}

fn collector_successes(scrape: &str) -> BTreeMap<String, bool> {
    let prefix = "node_scrape_collector_success{collector=\"";
    let lines = scrape.lines().filter_map(|line| line.strip_prefix(prefix)?.split_once("\"} "));
    lines.map(|(name, value)| (name.to_owned(), value == "1")).collect()
}

/// What Prometheus says of a target, as far as it matters here: `GET /api/v1/targets` of its HTTP API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    scrape_url: String,
    health: String,
    #[serde(default)]
    last_error: String,
}

#[derive(Deserialize)]
struct Answer<Data> {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<Target>,
}

/// An answer to the query `time()`: a scalar, the moment and the value.
#[derive(Deserialize)]
struct Scalar {
    result: (f64, String),
}

/// Whether a Prometheus can be reached, scrapes the daemon, and has the same time.
pub(super) async fn prometheus(server: Option<&str>, daemon: &Daemon) -> Vec<Finding> {
    let check = "prometheus";
    let address = server.unwrap_or(USUAL_PROMETHEUS);
    let answer = client::get(address, "/api/v1/targets?state=active").await;
    let targets = answer.and_then(|answer| {
        serde_json::from_slice::<Answer<Targets>>(&answer).map_err(|_| "no Prometheus".to_owned())
    });
    let targets = match targets {
        Ok(answer) => answer.data.active_targets,
        Err(what) if server.is_some() => {
            let fix = "name its address and port with --prometheus";
            return vec![fail(check, format!("http://{address}: {what}"), fix)];
        }
        Err(_) => {
            let what = format!("none at {address}: whether the daemon is scraped is not known");
            return vec![warn(check, what, "name its address and port with --prometheus")];
        }
    };
    let mut findings = vec![judge_targets(address, &targets, daemon.server)];
    if let Ok(answer) = client::get(address, "/api/v1/query?query=time()").await
        && let Ok(answer) = serde_json::from_slice::<Answer<Scalar>>(&answer)
        && let Ok(theirs) = answer.data.result.1.parse::<f64>()
        && let Ok(ours) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)
    {
        findings.push(judge_clocks(ours.as_secs_f64(), theirs));
    }
    findings
}

fn judge_targets(address: &str, targets: &[Target], daemon: Option<SocketAddr>) -> Finding {
    let check = "prometheus";
    let port = daemon.map_or(0, |server| server.port());
    let place = format!(":{port}/metrics");
    let Some(target) = targets.iter().find(|target| target.scrape_url.contains(&place)) else {
        let what = format!("{address} has {} targets, none on port {port}", targets.len());
        let fix = "add this node to a scrape job; see /usr/share/musterd/monitoring/prometheus";
        return fail(check, what, fix);
    };
    let url = &target.scrape_url;
    match target.health.as_str() {
        "up" => pass(check, format!("{address} scrapes {url}")),
        "unknown" => {
            warn(check, format!("{address} has not scraped {url} yet"), "wait for one interval")
        }
        _ => {
            let what = format!("{address} cannot scrape {url}: {}", target.last_error);
            fail(check, what, "see that [http] listen can be reached from there")
        }
    }
}

fn judge_clocks(ours: f64, theirs: f64) -> Finding {
    let (check, apart) = ("clock of prometheus", (ours - theirs).abs());
    if apart > CLOCKS_APART {
        let what = format!("{apart:.1} s from this machine's");
        return warn(check, what, "see that both are kept right (chrony, systemd-timesyncd)");
    }
    pass(check, "as this machine's")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn target(url: &str, health: &str) -> Target {
        let last_error = "connection refused".to_owned();
        Target { scrape_url: url.to_owned(), health: health.to_owned(), last_error }
    }

    #[test]
    fn a_daemon_on_all_addresses_is_asked_on_loopback() {
        let at = |listen: &str| Daemon::at(&[listen.parse().unwrap()]).server.unwrap().to_string();
        assert_eq!(at("0.0.0.0:9089"), "127.0.0.1:9089");
        assert_eq!(at("[::]:9089"), "[::1]:9089");
        assert_eq!(at("10.0.0.7:80"), "10.0.0.7:80");
        assert!(Daemon::at(&[]).server.is_none());
    }

    #[test]
    fn targets_are_judged() {
        let daemon = "127.0.0.1:9089".parse().ok();
        let own = "http://node1:9089/metrics";
        for (targets, verdict) in [
            (vec![], Verdict::Fail),
            (vec![target("http://node1:9100/metrics", "up")], Verdict::Fail),
            (vec![target(own, "up")], Verdict::Pass),
            (vec![target(own, "unknown")], Verdict::Warn),
            (vec![target(own, "down")], Verdict::Fail),
        ] {
            assert_eq!(judge_targets("p:9090", &targets, daemon).verdict, verdict);
        }
    }

    #[test]
    fn health_and_clocks_are_judged() {
        let text = format!(
            r#"{{"status":"degraded","version":"{}","uptime_seconds":1,
            "health_checks":{{"disk":{{"status":"degraded","message":"97 % in use"}}}}}}"#,
            env!("CARGO_PKG_VERSION")
        );
        let mut health: Health = serde_json::from_str(&text).unwrap();
        assert_eq!(judge_health(&health).what, "the node is degraded: disk: 97 % in use");
        health.version = "0.0.1".to_owned();
        assert!(judge_health(&health).what.starts_with("version 0.0.1 runs"));
        assert_eq!(judge_clocks(10.0, 11.0).verdict, Verdict::Pass);
        assert_eq!(judge_clocks(20.0, 11.0).verdict, Verdict::Warn);
    }

    #[test]
    fn successes_are_read_of_a_scrape() {
        let scrape = "node_scrape_collector_success{collector=\"cpu\"} 1\nother 2\n\
                      node_scrape_collector_success{collector=\"zfs\"} 0\n";
        let wanted = BTreeMap::from([("cpu".to_owned(), true), ("zfs".to_owned(), false)]);
        assert_eq!(collector_successes(scrape), wanted);
    }
}
