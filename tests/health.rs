//! Agents in trouble, as whoever watches them is told of it.
#![allow(clippy::unwrap_used)] // A test.

mod node;

use musterd_client::{Agent, Status};
use node::{Node, until};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

fn agent(node: &Node, name: &str) -> Agent {
    Agent::builder(name).socket(node.socket()).start()
}

/// One agent, of `/api/v1/agents`.
fn described(node: &Node, name: &str) -> serde_json::Value {
    let (_, body) = node.get("/api/v1/agents").unwrap();
    let mut answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let agents = answer.get_mut("agents").and_then(serde_json::Value::as_array_mut).unwrap();
    agents
        .iter_mut()
        .find(|agent| agent["name"] == name)
        .map(|agent| agent.take())
        .unwrap_or_default()
}

/// Waits for a state, whose reason is to begin with these words.
fn until_it_is(node: &Node, name: &str, state: &str, words: &str) {
    until(&format!("{name} is {state}: {words}"), || {
        let agent = described(node, name);
        let word = |key| agent.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        word("state") == state && word("reason").starts_with(words)
    });
}

#[test]
fn what_is_wrong_is_told_everywhere_and_logged_once() {
    let node = Node::start(
        "[agents.health]\nmin_requests = 5\nrecover_after = '200ms'\n\
         [agents.health.per_agent.'slow-*']\nslow_p95 = '1s'\n\
         [agents.health.per_agent.hangs]\nstuck_after = '300ms'",
    );
    let (failing, slow, patient) =
        (agent(&node, "failing"), agent(&node, "slow-1"), agent(&node, "patient"));
    for _ in 0..10 {
        failing.record(Status::Error, Duration::from_millis(5), Some("network"));
        slow.record(Status::Success, Duration::from_secs(3), None);
        patient.record(Status::Success, Duration::from_secs(3), None);
    }
    until_it_is(&node, "failing", "unhealthy", "100.0 % of the last 10 requests failed");
    until_it_is(&node, "slow-1", "degraded", "p95 2.951 s, over 1 s");
    until_it_is(&node, "patient", "healthy", "100.0 % of the last 10 requests succeeded");
    let hanging = agent(&node, "hangs");
    let request = hanging.begin();
    until_it_is(&node, "hangs", "stuck", "a request in flight for ");

    let (_, health) = node.get("/health").unwrap();
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    assert_eq!(health["agents"]["failing"]["state"], "unhealthy");
    assert!(health["agents"]["slow-1"]["reason"].as_str().unwrap().contains("over 1 s"));
    let metrics = node.metrics();
    for (name, state) in [("failing", "unhealthy"), ("slow-1", "degraded"), ("hangs", "stuck")] {
        let [agent, state] = [format!("agent=\"{name}\""), format!("state=\"{state}\"")];
        assert_eq!(metrics.sum("agent_health_status", &[&agent]), Some(1.0), "a state at a time");
        assert_eq!(metrics.sum("agent_health_status", &[&agent, &state]), Some(1.0));
    }

    request.success();
    until_it_is(
        &node,
        "hangs",
        "healthy",
        "100.0 % of the last 1 requests succeeded; fewer than 5",
    );
    for _ in 0..20 {
        node.get("/health").unwrap();
    }
    // A thread of its own writes the log.
    node.until_logged("agent hangs is healthy, was stuck: ");
    let log = node.log();
    let times = |text: &str| log.matches(text).count();
    assert_eq!(times("agent failing is unhealthy"), 1, "{log}");
    assert_eq!(times("agent hangs is stuck, was healthy: a request in flight for"), 1, "{log}");
    assert_eq!(times("agent hangs is healthy, was stuck: "), 1, "{log}");
}

#[test]
fn an_agent_that_was_lost_is_starting_until_it_has_stayed() {
    let node = Node::start("[agents.health]\nrecover_after = '500ms'");
    // Ends without a word, once it is known: its child kills it.
    let mut lost = Command::new(env!("CARGO_BIN_EXE_musterd"))
        .args(["report", "--agent", "frail", "--socket"])
        .arg(node.socket())
        .args(["--", "sh", "-c", "read line; kill -9 $PPID"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    until("it is known", || !described(&node, "frail").is_null());
    lost.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(lost.wait().unwrap().code(), None);
    until_it_is(&node, "frail", "lost", "its process ended without a word (process ");
    let back = agent(&node, "frail");
    until_it_is(&node, "frail", "starting", "back for ");
    assert!(described(&node, "frail")["state_seconds"].as_f64().is_some());
    until_it_is(&node, "frail", "healthy", "");
    drop(back);
    until_it_is(&node, "frail", "stopped", "ended on purpose");
}

#[test]
fn clients_keep_durations_in_the_resolution_that_the_daemon_wants() {
    let node = Node::start("agents.duration_schema = 5");
    let early = agent(&node, "exact");
    for _ in 0..100 {
        early.record(Status::Success, Duration::from_millis(1234), None);
    }
    // The first durations may have been counted before the daemon was there, more coarsely.
    until("it is connected", || early.is_connected());
    for _ in 0..9900 {
        early.record(Status::Success, Duration::from_millis(1234), None);
    }
    let described = described(&node, "exact");
    assert_eq!(described["requests"]["success"], 10_000);
    assert!((described["duration_quantiles_error"].as_f64().unwrap() - 0.0108).abs() < 1e-4);
    let median = described["duration_quantiles_seconds"]["0.5"].as_f64().unwrap();
    assert!((median / 1.234 - 1.0).abs() < 0.011, "{median}");
    let metrics = node.metrics();
    let count = metrics.sum("agent_request_duration_seconds_count", &["agent=\"exact\""]);
    assert_eq!(count, Some(10_000.0));
}

#[test]
fn a_change_of_resolution_loses_no_duration() {
    let mut node = Node::start("");
    let old = agent(&node, "worker");
    until("it is connected", || old.is_connected());
    for _ in 0..10 {
        old.record(Status::Success, Duration::from_secs(1), None);
    }
    node.kill();
    node.configure("agents.duration_schema = 5");
    node.launch();
    // Described otherwise, it has a ledger of its own.
    let new = Agent::builder("worker").socket(node.socket()).version("2").start();
    for _ in 0..10 {
        new.record(Status::Success, Duration::from_secs(1), None);
    }
    until("both are there", || old.is_connected() && new.is_connected());
    let count = || node.metrics().sum("agent_request_duration_seconds_count", &["worker"]);
    until("all durations are counted", || count() == Some(20.0));
    assert_eq!(described(&node, "worker")["ledgers"].as_array().unwrap().len(), 2);
    drop((old, new));
    until("it has ended", || described(&node, "worker")["state"] == "stopped");
    assert_eq!(count(), Some(20.0));
    let faults = node.metrics().sum("musterd_ledger_faults_total", &[]);
    assert!(faults.is_none_or(|faults| faults == 0.0), "{faults:?}");
}
