//! No event lost, none counted twice, wherever the daemon or an agent is killed.
//!
//! Each agent is a process of its own: this test's program, run again as [`as_agent`]. It keeps
//! count of its own in a file, before and after each step, so that what it has done is known to the
//! request even when it is killed. `MUSTERD_KILLS` sets how often something is killed (20).
#![allow(clippy::unwrap_used)] // A test.

mod node;

use musterd_client::Agent;
use node::{Folder, Node, until};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const AGENTS: usize = 8;

/// Where in its file an agent notes what it has done.
const ABOUT: u64 = 0;
const BEGUN: u64 = 8;
const ENDED: u64 = 16;
/// 1 once it has a ledger of the daemon's: what is killed before takes its counts along.
const REPORTS: u64 = 24;

fn kills() -> usize {
    std::env::var("MUSTERD_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20)
}

/// Not a test unless it is told to be an agent: then it reports until it is told to stop.
#[test]
fn as_agent() {
    let Ok(name) = std::env::var("TALLY_NAME") else { return };
    let folder = std::env::var("TALLY_FOLDER").unwrap();
    let tally = File::options().write(true).open(std::env::var("TALLY_FILE").unwrap()).unwrap();
    let note = |place: u64, count: u64| tally.write_all_at(&count.to_le_bytes(), place).unwrap();
    let agent = Agent::builder(name).socket(Path::new(&folder).join("agent.sock")).start();
    let stop = Path::new(&folder).join("stop");
    let mut count = 0;
    while !stop.exists() {
        count += 1;
        note(ABOUT, count);
        let request = agent.begin();
        note(BEGUN, count);
        let busy = Instant::now();
        while busy.elapsed() < Duration::from_micros(50) {
            std::hint::spin_loop();
        }
        if count % 3 == 0 {
            request.error("third")
        } else {
            request.success()
        }
        note(ENDED, count);
        if count % 16 == 0 {
            note(REPORTS, agent.is_connected().into());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// One agent process, and the file with its own count.
struct Tally {
    child: Child,
    file: File,
}

impl Tally {
    fn start(folder: &Folder, name: &str, number: usize) -> Self {
        let path = folder.0.join(format!("tally-{number}"));
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.set_len(32).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["as_agent", "--exact"])
            .env("TALLY_NAME", name)
            .env("TALLY_FOLDER", &folder.0)
            .env("TALLY_FILE", path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, file }
    }

    fn noted(&self, place: u64) -> u64 {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, place).unwrap();
        u64::from_le_bytes(word)
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn connected(node: &Node) -> usize {
    let (_, body) = node.get("/api/v1/agents").unwrap();
    body.matches("\"connected\":true").count()
}

fn stop_all(node: &Node, tallies: &mut [Tally]) {
    std::fs::write(node.folder.0.join("stop"), "").unwrap();
    for tally in tallies {
        assert!(tally.child.wait().unwrap().success());
    }
    until("every ledger is retired", || connected(node) == 0);
}

#[test]
fn killing_the_daemon_loses_and_doubles_nothing() {
    let mut node = Node::start("");
    let mut tallies: Vec<_> = (0..AGENTS)
        .map(|number| Tally::start(&node.folder, &format!("agent-{number}"), number))
        .collect();
    until("all are connected", || connected(&node) == AGENTS);
    let mut before = 0.0;
    for _ in 0..kills() {
        node.kill();
        node.launch();
        until("all have come back", || connected(&node) == AGENTS);
        let now = node.metrics().sum("agent_requests_total", &[]).unwrap();
        assert!(now >= before, "{now} after {before}");
        before = now;
    }
    stop_all(&node, &mut tallies);
    let metrics = node.metrics();
    let mut sum = 0;
    for (number, tally) in tallies.iter().enumerate() {
        let label = format!("agent=\"agent-{number}\"");
        let ended = tally.noted(ENDED);
        let exported = |family: &str| metrics.sum(family, &[&label]).unwrap() as u64;
        assert_eq!(exported("agent_requests_total"), ended, "{label}");
        assert_eq!(exported("agent_request_duration_seconds_count"), ended, "{label}");
        assert_eq!(
            metrics.sum("agent_errors_total", &[&label, "third"]).unwrap() as u64,
            ended / 3
        );
        sum += ended;
    }
    println!(
        "{} kills of the daemon, {AGENTS} agents, {sum} requests: none lost or doubled",
        kills()
    );
}

#[test]
fn killing_agents_loses_and_doubles_nothing() {
    let node = Node::start("");
    let start = |number: usize| Tally::start(&node.folder, "agent", number);
    let mut live: Vec<_> = (0..AGENTS).map(start).collect();
    let mut dead = Vec::new();
    for kill in 0..kills() {
        let mut victim = live.remove(0);
        until("it is at work", || victim.noted(ENDED) > 200 && victim.noted(REPORTS) == 1);
        // At a moment of its own each time, so that kills fall on every step of a request.
        std::thread::sleep(Duration::from_micros(137 * (kill as u64 % 31)));
        victim.kill();
        dead.push(victim);
        live.push(start(AGENTS + kill));
    }
    until("the last have connected", || connected(&node) == AGENTS);
    stop_all(&node, &mut live);
    until("every death is noticed", || {
        let (_, body) = node.get("/api/v1/agents").unwrap();
        !body.contains("\"pid\"")
    });
    let metrics = node.metrics();
    let exported = |status: &str| {
        let label = format!("status=\"{status}\"");
        metrics.sum("agent_requests_total", &[&label]).unwrap() as u64
    };
    let all = || live.iter().chain(&dead);
    let noted = |place: u64| all().map(|tally| tally.noted(place)).sum::<u64>();
    let (about, begun, ended) = (noted(ABOUT), noted(BEGUN), noted(ENDED));
    let finished = exported("success") + exported("error");
    let total = finished + exported("aborted");
    println!(
        "{} kills of agents, {begun} requests begun, {ended} ended, {} aborted; exported {total}",
        kills(),
        exported("aborted"),
    );
    // A process killed between the count it is about to reach and the count reached leaves one
    // request in doubt; there is no other.
    assert!((begun..=about).contains(&total), "{total} exported, {begun} to {about} begun");
    assert!((ended..=about).contains(&finished), "{finished} exported, {ended} ended");
    assert_eq!(exported("timeout") + exported("cancelled"), 0);
    let observed = metrics.sum("agent_request_duration_seconds_count", &[]).unwrap() as u64;
    assert_eq!(observed, finished);
}
