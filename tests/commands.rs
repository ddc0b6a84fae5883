//! `musterd report` and `musterd status` beside a daemon, as their users meet them.
#![allow(clippy::unwrap_used)] // A test.

mod node;

use node::{Node, until};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn report(node: &Node, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
    command.arg("report").arg("--socket").arg(node.socket()).args(arguments).output().unwrap()
}

fn status(node: &Node, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
    command
        .args(["status", "--server", &node.address.to_string()])
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_report_is_counted_before_it_returns() {
    let node = Node::start("");
    let success = ["--agent", "backup", "--status", "success", "--seconds", "1.5"];
    assert_eq!(report(&node, &success).status.code(), Some(0));
    let error =
        ["--agent", "backup", "--status", "error", "--seconds", "2", "--category", "disk_full"];
    assert_eq!(report(&node, &error).status.code(), Some(0));
    let metrics = node.metrics();
    let value = |family: &str, part: &str| metrics.sum(family, &["agent=\"backup\"", part]);
    assert_eq!(value("agent_requests_total", "success"), Some(1.0));
    assert_eq!(value("agent_errors_total", "disk_full"), Some(1.0));
    assert_eq!(value("agent_request_duration_seconds_sum", ""), Some(3.5));
    until("it has ended on purpose", || {
        node.metrics().sum("agent_health_status", &["backup", "\"stopped\""]) == Some(1.0)
    });
}

#[test]
fn what_has_been_reported_counts_once_whenever_the_daemon_is_killed() {
    const REPORTS: u64 = 30;
    let mut node = Node::start("");
    let mut told = 0;
    for number in 0..REPORTS {
        let mut child = Command::new(env!("CARGO_BIN_EXE_musterd"))
            .args(["report", "--agent", "job", "--status", "success", "--seconds", "1"])
            .env("MUSTERD_SOCKET", node.socket())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(293 * number));
        node.kill();
        node.launch();
        told += u64::from(child.wait().unwrap().success());
    }
    let counted = || node.metrics().sum("agent_requests_total", &["agent=\"job\"", "success"]);
    until("the counters are whole", || counted().is_some());
    let counted = counted().unwrap() as u64;
    // One that has given up may have been heard.
    assert!(told > 0 && (told..=REPORTS).contains(&counted), "{counted} counted, {told} told");
}

#[test]
fn a_command_is_a_request_and_its_end_is_passed_on() {
    let node = Node::start("");
    let run = |command: &[&str]| report(&node, &[&["--agent", "job", "--"], command].concat());
    let done = run(&["sh", "-c", "echo done"]);
    assert_eq!((done.status.code(), stdout(&done).as_str()), (Some(0), "done\n"));
    assert_eq!(run(&["sh", "-c", "exit 3"]).status.code(), Some(3));
    assert_eq!(run(&["sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    assert_eq!(run(&["/nonexistent"]).status.code(), Some(127));
    assert_eq!(run(&["/"]).status.code(), Some(126));
    let metrics = node.metrics();
    let value = |family: &str, part: &str| metrics.sum(family, &["agent=\"job\"", part]);
    assert_eq!(value("agent_requests_total", "success"), Some(1.0));
    assert_eq!(value("agent_requests_total", "\"error\""), Some(4.0));
    for (category, count) in [("exit_3", 1.0), ("signal_9", 1.0), ("not_run", 2.0)] {
        assert_eq!(value("agent_errors_total", category), Some(count), "{category}");
    }
}

#[test]
fn signals_are_passed_on_to_a_command() {
    let node = Node::start("");
    let ready = node.folder.0.join("ready");
    for (name, code) in [("TERM", 7), ("INT", 8), ("HUP", 9), ("QUIT", 10), ("USR1", 11)] {
        let script = format!(
            "trap 'exit {code}' {name}; touch {}; while :; do sleep 0.01; done",
            ready.display()
        );
        // What runs the tests may ignore some, and what is ignored stays so.
        let mut child = Command::new("env")
            .args(["--default-signal", env!("CARGO_BIN_EXE_musterd")])
            .args(["report", "--agent", "job", "--socket"])
            .arg(node.socket())
            .args(["--", "sh", "-c", &script])
            .spawn()
            .unwrap();
        until("the command runs", || ready.exists());
        node::send(child.id(), name);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
        std::fs::remove_file(&ready).unwrap();
    }
}

#[test]
fn a_command_runs_without_a_daemon_and_a_report_says_that_there_is_none() {
    let mut node = Node::start("");
    node.kill();
    let ran = report(&node, &["--agent", "job", "--", "sh", "-c", "exit 3"]);
    assert_eq!(ran.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("not reported"));
    // No socket at all: nothing will come of waiting.
    std::fs::remove_file(node.socket()).unwrap();
    let ran = report(&node, &["--agent", "job", "--", "sh", "-c", "exit 4"]);
    assert_eq!(ran.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("finds no socket"));
    std::os::unix::net::UnixListener::bind(node.socket()).unwrap();
    let told = report(&node, &["--agent", "job", "--status", "timeout", "--seconds", "1"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stderr).contains("is musterd running"));
    let asked = status(&node, &[]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&asked.stderr).contains("is musterd running there?"));
}

#[test]
fn what_cannot_be_said_changes_no_exit_status() {
    let folder = node::Folder::new();
    let socket = folder.0.join("none.sock");
    let exit = |arguments: &[&str]| {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
        command.args(arguments).env("MUSTERD_SOCKET", &socket).stderr(full);
        command.status().unwrap().code()
    };
    let run = |command: &[&str]| exit(&[&["report", "--agent", "job", "--"], command].concat());
    assert_eq!(run(&["sh", "-c", "exit 3"]), Some(3));
    assert_eq!(run(&["true"]), Some(0));
    assert_eq!(run(&["/nonexistent"]), Some(127));
    assert_eq!(exit(&["check-config", "/nonexistent"]), Some(1));
    assert_eq!(exit(&["status", "--server", "127.0.0.1:1"]), Some(1));
}

#[test]
fn a_signal_that_is_ignored_stays_so_for_a_reported_command() {
    let node = Node::start("");
    let program = env!("CARGO_BIN_EXE_musterd");
    let reported = "exec \"$0\" report --agent job -- sh -c 'kill -HUP $PPID; sleep 0.2; exit 7'";
    let ended = Command::new("sh")
        .args(["-c", &format!("trap '' HUP; {reported}"), program])
        .env("MUSTERD_SOCKET", node.socket())
        .status()
        .unwrap();
    assert_eq!(ended.code(), Some(7));
}

#[test]
fn status_shows_agents_and_whether_one_is_in_trouble() {
    let node = Node::start("");
    let shown = status(&node, &[]);
    assert_eq!((shown.status.code(), stdout(&shown).as_str()), (Some(0), "no agent is known\n"));
    report(&node, &["--agent", "job", "--status", "success", "--seconds", "1"]);
    let line = || stdout(&status(&node, &[])).lines().nth(1).unwrap_or_default().to_owned();
    until("it has ended", || line().starts_with("job    stopped "));
    assert!(line().ends_with("ended on purpose"), "{}", line());
    let json: serde_json::Value =
        serde_json::from_slice(&status(&node, &["--json"]).stdout).unwrap();
    assert_eq!(json["agents"][0]["requests"]["success"], 1);
    // Killed, the command's own child dies too late to be reported as anything but aborted.
    let killed = report(&node, &["--agent", "job", "--", "sh", "-c", "kill -9 $PPID"]);
    assert_eq!(killed.status.code(), None);
    until("it is lost", || line().starts_with("job    lost "));
    assert_eq!(status(&node, &[]).status.code(), Some(2));
}

#[test]
fn doctor_finds_what_is_wrong_and_says_what_to_do() {
    let mut node = Node::start("[host.collectors.cpu]\nenabled = true");
    let doctor = |node: &Node, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
        command.arg("doctor").arg("--config").arg(node.config()).args(more).output().unwrap()
    };
    let verdicts = |output: &Output| -> std::collections::BTreeMap<String, (String, String)> {
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let checks = json["checks"].as_array().unwrap().iter();
        checks
            .map(|one| (text(&one["check"]), (text(&one["verdict"]), text(&one["what"]))))
            .collect()
    };
    let well = doctor(&node, &["--json"]);
    let found = verdicts(&well);
    for check in ["configuration", "agent socket", "kernel: memfd", "collectors"] {
        assert_eq!(found[check].0, "pass", "{check}: {found:?}");
    }
    assert_ne!(found["daemon"].0, "fail", "{found:?}");

    node.kill();
    let down = doctor(&node, &[]);
    assert_eq!(down.status.code(), Some(2));
    let shown = stdout(&down);
    assert!(shown.contains("FAIL  daemon"), "{shown}");
    // By the unit, or by hand where there is no systemd.
    assert!(shown.contains("→ systemctl start musterd") || shown.contains("→ start it"), "{shown}");

    std::fs::write(node.config(), "colour = 'blue'").unwrap();
    let broken = verdicts(&doctor(&node, &["--json", "--prometheus", "127.0.0.1:1"]));
    assert_eq!(broken["configuration"].0, "fail");
    assert!(broken["configuration"].1.contains("musterd.toml:1:1"), "{broken:?}");
    assert_eq!(broken["prometheus"].0, "fail", "one that is named must be there");
}

#[test]
fn a_wrong_command_line_has_an_exit_status_of_its_own() {
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_musterd")).args(arguments).output().unwrap()
    };
    for (arguments, said) in [
        (&["status", "--bogus"][..], "unexpected argument '--bogus'"),
        (&["status", "--server", "here"], "wanted ADDRESS:PORT"),
        (&["demo", "--listen", "here:9"], "\"here:9\" is not an address"),
        (&["report", "--agent", "a", "--status", "error", "--seconds", "-1"], "at least 0"),
        (&[], "Usage: musterd"),
    ] {
        let program = run(arguments);
        let error = String::from_utf8(program.stderr).unwrap();
        assert!(error.contains(said), "{arguments:?}: {error}");
        assert_eq!(program.status.code(), Some(64), "{arguments:?}");
    }
    assert!(run(&["--version"]).status.success() && run(&["help", "status"]).status.success());
    for exporter in ["node-exporter", "process-exporter"] {
        let none = run(&["import", exporter]);
        assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("--file"));
    }
    let odd =
        ["report", "--agent", "a", "--status", "success", "--seconds", "1", "--category", "x"];
    assert!(String::from_utf8_lossy(&run(&odd).stderr).contains("neither"));
}

#[test]
fn a_watch_goes_on_while_the_daemon_is_away() {
    let mut node = Node::start("");
    let mut watch = Command::new(env!("CARGO_BIN_EXE_musterd"))
        .args(["status", "--watch", "--json", "--server", &node.address.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut faults = BufReader::new(watch.stderr.take().unwrap()).lines();
    assert_eq!(answers.next().unwrap().unwrap(), r#"{"agents":[]}"#);
    node.kill();
    let fault = faults.next().unwrap().unwrap();
    assert!(fault.contains("is musterd running there?"), "{fault}");
    node.launch();
    report(&node, &["--agent", "job", "--status", "success", "--seconds", "1"]);
    assert!(answers.any(|answer| answer.unwrap().contains("\"name\":\"job\"")));
    watch.kill().unwrap();
    watch.wait().unwrap();
}
