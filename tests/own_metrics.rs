//! Metrics that an agent declares itself, from its memory to the scrape, and through the deaths of either
//! side.
//!
//! The agent is a process of its own: this test's program, run again as [`as_agent`].
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod node;

use musterd_client::Agent;
use musterd_client::layout::Shape;
use node::{Folder, Node, until};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Not a test unless it is told to be an agent: then it reports, and waits to be killed.
#[test]
fn as_agent() {
    let Ok(folder) = std::env::var("OWN_FOLDER") else { return };
    let many: usize = std::env::var("OWN_MANY").unwrap().parse().unwrap();
    let agent = Agent::builder("shop").socket(Path::new(&folder).join("agent.sock")).start();
    let sent = agent.counter("shop_sent_bytes_total").help("Bytes \"sent\".").unit("bytes");
    let sent = sent.label("to", "a\\b").start();
    let cost = agent.sum("shop_cost_euros_total").unit("euros").start();
    let depth = agent.gauge("shop_depth").label("queue", "mail").start();
    let unset = agent.gauge("shop_unset").start();
    let wait = agent.histogram("shop_wait_seconds").unit("seconds");
    let wait = wait.shape(Shape::classic(&[0.5, 1.0])).start();
    sent.add(500);
    agent.counter("shop_sent_bytes_total").label("to", "a\\b").start().add(12);
    cost.add(0.25);
    cost.add(f64::NAN);
    cost.add(-1.0);
    depth.set(2.0);
    depth.add(-3.5);
    unset.set(f64::NAN);
    for value in [0.25, 0.75, 4.0, -1.0, f64::NAN] {
        wait.observe(value);
    }
    // Before there are too many for one more.
    let done = agent.counter("shop_done_total").start();
    for index in 0..many {
        let series = agent.counter("shop_many_total").label("index", &format!("{index:0100}"));
        series.start().add(1);
    }
    agent.begin().error("late");
    done.add(1);
    std::thread::sleep(Duration::from_secs(600));
}

fn start(folder: &Folder, many: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["as_agent", "--exact"])
        .env("OWN_FOLDER", &folder.0)
        .env("OWN_MANY", many.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn kill(mut agent: Child) {
    agent.kill().unwrap();
    agent.wait().unwrap();
}

fn sum(node: &Node, family: &str) -> Option<f64> {
    node.metrics().sum(family, &["agent=\"shop\""])
}

fn until_done(node: &Node, times: f64) {
    until("the agent has reported", || sum(node, "shop_done_total") == Some(times));
}

fn until_gone(node: &Node) {
    until("its death is noticed", || !node.get("/api/v1/agents").unwrap().1.contains("\"pid\""));
}

#[test]
fn what_an_agent_declares_survives_both_sides() {
    let mut node = Node::start("");
    let agent = start(&node.folder, 0);
    until_done(&node, 1.0);
    let text = node.metrics().0;
    for part in [
        "# HELP shop_sent_bytes_total Bytes \"sent\".\n# TYPE shop_sent_bytes_total counter\n",
        "shop_sent_bytes_total{agent=\"shop\",to=\"a\\\\b\"} 512\n",
        "# TYPE shop_cost_euros_total counter\nshop_cost_euros_total{agent=\"shop\"} 0.25\n",
        "# TYPE shop_depth gauge\nshop_depth{agent=\"shop\",queue=\"mail\"} -1.5\n",
        "# TYPE shop_wait_seconds histogram\n",
        "shop_wait_seconds_bucket{agent=\"shop\",le=\"0.5\"} 1\n",
        "shop_wait_seconds_bucket{agent=\"shop\",le=\"1\"} 2\n",
        "shop_wait_seconds_bucket{agent=\"shop\",le=\"+Inf\"} 3\n",
        "shop_wait_seconds_sum{agent=\"shop\"} 5\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("shop_unset"), "{text}");

    // The daemon is killed: the agent comes back with its ledger.
    node.kill();
    node.launch();
    until_done(&node, 1.0);
    assert_eq!(sum(&node, "shop_sent_bytes_total"), Some(512.0));
    assert_eq!(sum(&node, "shop_depth"), Some(-1.5));

    // The agent is killed: counters stay, the gauge goes.
    kill(agent);
    until_gone(&node);
    assert_eq!(sum(&node, "shop_sent_bytes_total"), Some(512.0));
    assert_eq!(sum(&node, "shop_wait_seconds_count"), Some(3.0));
    assert_eq!(sum(&node, "shop_depth"), None);

    // And the daemon once more, after it has written what it keeps; then the agent goes on.
    until("totals are kept", || {
        let kept = std::fs::read_to_string(node.folder.0.join("state/agents.json"));
        kept.is_ok_and(|kept| kept.contains("shop_sent_bytes_total"))
    });
    node.kill();
    node.launch();
    assert_eq!(sum(&node, "shop_sent_bytes_total"), Some(512.0));
    assert_eq!(sum(&node, "shop_cost_euros_total"), Some(0.25));
    let agent = start(&node.folder, 0);
    until_done(&node, 2.0);
    assert_eq!(sum(&node, "shop_sent_bytes_total"), Some(1024.0));
    assert_eq!(sum(&node, "shop_depth"), Some(-1.5));
    kill(agent);
}

#[test]
fn a_full_ledger_is_followed_by_another() {
    let mut node = Node::start("agents.max_ledgers_per_process = 2");
    // A record of these has 184 bytes: a ledger has room for some 1,400.
    let agent = start(&node.folder, 2000);
    until_done(&node, 1.0);
    let many = || sum(&node, "shop_many_total");
    let overflow = || node.metrics().sum("shop_many_total", &["index=\"overflow\""]);
    until("both ledgers have come", || many() == Some(2000.0));
    assert!(overflow().is_some_and(|count| count > 900.0), "over max_series: {:?}", overflow());
    let (_, body) = node.get("/api/v1/agents").unwrap();
    assert_eq!(body.matches("\"pid\"").count(), 2, "{body}");
    assert!(body.contains("\"shop_many_total\":\"over_limit\""), "{body}");
    assert_eq!(sum(&node, "agent_errors_total"), Some(1.0));
    node.kill();
    node.launch();
    until_done(&node, 1.0);
    until("both have come back", || sum(&node, "shop_many_total") == Some(2000.0));
    kill(agent);
    until_gone(&node);
    assert_eq!(sum(&node, "shop_many_total"), Some(2000.0));
}

#[test]
fn a_small_ledger_takes_what_it_has_room_for() {
    // The agent is there first, and has counted more than the ledgers that come can hold in one.
    let node = Node::start("agents.ledger_size = '16KiB'\nagents.max_ledgers_per_process = 4");
    let agent = start(&node.folder, 180);
    until_done(&node, 1.0);
    until("all ledgers have come", || sum(&node, "shop_many_total") == Some(180.0));
    assert_eq!(sum(&node, "shop_sent_bytes_total"), Some(512.0));
    assert_eq!(sum(&node, "agent_errors_total"), Some(1.0));
    assert!(node.get("/api/v1/agents").unwrap().1.matches("\"pid\"").count() > 2);
    kill(agent);
    until_gone(&node);
    assert_eq!(sum(&node, "shop_many_total"), Some(180.0));
}

#[test]
fn a_quota_is_a_refusal_that_is_told() {
    let node = Node::start("agents.max_ledgers_per_process = 1");
    let agent = start(&node.folder, 2000);
    until("the refusal is counted in the ledger", || {
        node.metrics().sum("musterd_ledger_faults_total", &["no_room"]).unwrap_or(0.0) > 400.0
    });
    let refused = node.metrics().sum("musterd_refused_total", &["too_many_ledgers"]);
    assert!(refused.is_some_and(|refused| refused >= 1.0));
    kill(agent);
}
