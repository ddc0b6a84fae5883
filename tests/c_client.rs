//! `docs/ledger.md` is enough: a client in C, written from that page alone (`clients/c/musterd.h`),
//! reports to a daemon of this build, and its counts are exact when either of them is killed.
//!
//! Skipped, saying so, where there is no C compiler.
#![allow(clippy::unwrap_used)] // A test.

mod node;

use node::{Node, until};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

const KILLS: u64 = 10;
const NAME: &str = "in-c";

/// Where in its file an agent notes what it has done.
const ABOUT: u64 = 0;
const BEGUN: u64 = 8;
const ENDED: u64 = 16;

/// The compiled agent; `None` where nothing compiles it.
fn compile(node: &Node) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = node.folder.0.join("agent");
    let compiled = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-I"])
        .arg(source.join("clients/c"))
        .arg(source.join("tests/c_client/agent.c"))
        .args(["-lm", "-o"])
        .arg(&program)
        .status();
    match compiled {
        Ok(status) => {
            assert!(status.success(), "the client in C does not compile");
            Some(program)
        }
        Err(error) => {
            eprintln!("skipped: no C compiler ({error})");
            None
        }
    }
}

/// A running agent, and the file with its own count.
struct Agent {
    child: Child,
    file: File,
}

impl Agent {
    fn start(node: &Node, program: &Path, number: u64) -> Self {
        let path = node.folder.0.join(format!("tally-{number}"));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(24).unwrap();
        let child = Command::new(program)
            .arg(NAME)
            .arg(node.socket())
            .arg(path)
            .arg(node.folder.0.join("stop"))
            .spawn()
            .unwrap();
        Self { child, file }
    }

    fn noted(&self, place: u64) -> u64 {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, place).unwrap();
        u64::from_ne_bytes(word)
    }

    fn stop(&mut self, node: &Node) {
        std::fs::write(node.folder.0.join("stop"), "").unwrap();
        assert!(self.child.wait().unwrap().success());
        until("the ledger is retired", || !agents(node).contains("\"connected\":true"));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agents(node: &Node) -> String {
    node.get("/api/v1/agents").unwrap().1
}

fn exported(node: &Node, family: &str, label: &str) -> u64 {
    node.metrics().sum(family, &["agent=\"in-c\"", label]).unwrap_or_default() as u64
}

#[test]
fn killing_the_daemon_loses_and_doubles_nothing() {
    let mut node = Node::start("");
    let Some(program) = compile(&node) else { return };
    let mut agent = Agent::start(&node, &program, 0);
    for _ in 0..KILLS {
        until("it is connected", || agents(&node).contains("\"connected\":true"));
        node.kill();
        let before = agent.noted(ENDED);
        until("it counts on without a daemon", || agent.noted(ENDED) > before);
        node.launch();
    }
    agent.stop(&node);
    let ended = agent.noted(ENDED);
    assert_eq!(exported(&node, "agent_requests_total", "status=\"success\""), ended - ended / 3);
    assert_eq!(exported(&node, "agent_requests_total", "status=\"error\""), ended / 3);
    assert_eq!(exported(&node, "agent_requests_total", "status=\"aborted\""), 0);
    assert_eq!(exported(&node, "agent_errors_total", "category=\"third\""), ended / 3);
    assert_eq!(exported(&node, "agent_request_duration_seconds_count", ""), ended);
    // Each takes 50 µs: none is above 5 ms but where the machine stands still.
    assert!(exported(&node, "agent_request_duration_seconds_bucket", "le=\"0.005\"") > ended / 2);
    let sum = node.metrics().sum("agent_request_duration_seconds_sum", &[NAME]).unwrap();
    assert!(sum >= ended as f64 * 50e-6, "{sum} s for {ended} requests");
}

#[test]
fn killing_the_agent_loses_and_doubles_nothing() {
    let node = Node::start("");
    let Some(program) = compile(&node) else { return };
    let (mut about, mut begun, mut ended) = (0, 0, 0);
    for number in 0..KILLS {
        let mut agent = Agent::start(&node, &program, number);
        until("it is at work", || agent.noted(ENDED) > 100 && agents(&node).contains("\"pid\""));
        // At a moment of its own each time, so that kills fall on different steps of a request.
        std::thread::sleep(Duration::from_micros(137 * number));
        agent.child.kill().unwrap();
        agent.child.wait().unwrap();
        until("its death is noticed", || !agents(&node).contains("\"pid\""));
        about += agent.noted(ABOUT);
        begun += agent.noted(BEGUN);
        ended += agent.noted(ENDED);
    }
    let of = |status: &str| exported(&node, "agent_requests_total", status);
    let finished = of("success") + of("error");
    let total = finished + of("aborted");
    // Killed between a step and its note, an agent leaves one request in doubt; there is no other.
    assert!((begun..=about).contains(&total), "{total} exported, {begun} to {about} begun");
    assert!((ended..=about).contains(&finished), "{finished} exported, {ended} ended");
    assert_eq!(exported(&node, "agent_request_duration_seconds_count", ""), finished);
    assert_eq!(exported(&node, "agent_errors_total", "category=\"third\""), of("error"));
}
