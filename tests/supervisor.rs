//! Supervision of real processes: how they are started, started again, ended, and heard.
#![allow(clippy::unwrap_used, clippy::panic)]

mod scene;

use musterd::supervisor::carrier::Carrier;
use musterd::supervisor::policy::{Reason, Restart};
use musterd::supervisor::report::{Reports, What};
use musterd::supervisor::{Supervisor, UnknownAgent};
use scene::{LIMIT, Scene, lives, log_lines, until};
use std::future::pending;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn failures_are_restarted_with_backoff_until_the_limit() {
    let mut scene = Scene::new();
    let mut agent = scene.agent("failing", "exit 3");
    agent.policy.start_limit = 3;
    scene.supervisor.apply(vec![agent.clone()]);
    for (bound, again) in [(20, false), (40, true)] {
        assert!(matches!(scene.next().await, What::Started { again: a, .. } if a == again));
        let (reason, detail, wait) = scene.exited().await;
        assert_eq!((reason, &*detail), (Reason::Error, "exit code 3"));
        let bound = Duration::from_millis(bound);
        assert!(wait.is_some_and(|wait| wait >= bound / 2 && wait <= bound), "{wait:?}");
    }
    scene.started().await;
    assert_eq!(scene.exited().await.2, None);
    assert_eq!(scene.next().await, What::GaveUp { detail: "exit code 3".to_owned() });
    scene.state("failing", "failed").await;
    let status = scene.supervisor.statuses().borrow().get("failing").unwrap().clone();
    assert_eq!((status.restarts, status.pid), (2, None));
    assert_eq!(status.last_exit.unwrap().reason, Reason::Error);

    // Both a start by hand and a reload begin anew.
    scene.supervisor.start("failing").unwrap();
    scene.started().await;
    while !matches!(scene.next().await, What::GaveUp { .. }) {}
    scene.supervisor.apply(vec![agent]);
    scene.started().await;
    scene.end().await;
}

#[tokio::test]
async fn a_success_is_not_restarted_on_failure() {
    let mut scene = Scene::new();
    scene.supervisor.apply(vec![scene.agent("once", "exit 0")]);
    scene.started().await;
    assert_eq!(scene.exited().await, (Reason::Success, "exit code 0".to_owned(), None));
    scene.state("once", "finished").await;
    assert_eq!(scene.supervisor.start("twice"), Err(UnknownAgent("twice".to_owned())));
    scene.end().await;
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let mut scene = Scene::new();
    let mut agent = scene.agent("missing", "");
    agent.launch.program = "/nowhere/program".to_owned();
    agent.policy.restart = Restart::Never;
    scene.supervisor.apply(vec![agent.clone()]);
    let (reason, detail, _) = scene.exited().await;
    assert_eq!(reason, Reason::SpawnFailed);
    assert!(detail.contains("cannot run /nowhere/program"), "{detail}");
    assert!(detail.contains("No such file") && detail.contains("os error 2"), "{detail}");

    agent.launch.directory = "/nowhere/at/all".into();
    scene.supervisor.apply(vec![agent]);
    let (_, detail, _) = scene.exited().await;
    assert!(detail.contains("cannot enter /nowhere/at/all: No such file"), "{detail}");
    scene.end().await;
}

#[tokio::test]
async fn a_stop_ends_all_of_the_group_even_what_ignores_it() {
    let mut scene = Scene::new();
    let script = "trap '' TERM
        sh -c 'echo $$ > child; while :; do sleep 1; done' &
        while :; do sleep 1; done";
    let mut agent = scene.agent("stubborn", script);
    agent.policy.stop_grace = Duration::from_millis(100);
    scene.supervisor.apply(vec![agent]);
    let leader = scene.started().await;
    let child = scene.pid_in("child").await;
    scene.supervisor.stop("stubborn").unwrap();
    assert_eq!(scene.exited().await, (Reason::Stopped, "signal 9".to_owned(), None));
    assert_eq!(scene.next().await, What::Stopped);
    assert!(!lives(leader) && !lives(child));
    scene.end().await;
}

#[tokio::test]
async fn what_a_leader_leaves_behind_is_ended_before_the_next_start() {
    let mut scene = Scene::new();
    let script = "test -e child && exec sleep 1000
        sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 1; done' &
        while ! test -s child; do sleep 0.02; done
        exit 1";
    let mut agent = scene.agent("messy", script);
    agent.policy.stop_grace = Duration::from_millis(100);
    scene.supervisor.apply(vec![agent]);
    scene.started().await;
    assert_eq!(scene.exited().await.0, Reason::Error);
    let child = scene.pid_in("child").await;
    scene.started().await;
    assert!(!lives(child));
    scene.end().await;
}

#[tokio::test]
async fn output_reaches_the_log_under_the_agents_name() {
    let mut scene = Scene::new();
    let script = "echo to output; echo to error >&2; printf 'no \\377 end'";
    scene.supervisor.apply(vec![scene.agent("speaker", script)]);
    scene.started().await;
    for text in ["to output", "to error", "no \u{fffd} end"] {
        until(|| log_lines(text).iter().any(|line| line.contains("agent=speaker"))).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn an_output_that_has_been_removed_is_made_anew_for_the_next_process() {
    let mut scene = Scene::new();
    scene.supervisor.apply(vec![scene.agent("rewired", "echo run of $$; exec sleep 1000")]);
    let said = |pid: u32| !log_lines(&format!("run of {pid} agent=rewired")).is_empty();
    let first = scene.started().await;
    until(|| said(first)).await;
    let output = scene.dir.join("run/agents/rewired.out");
    std::fs::remove_file(&output).unwrap();
    scene.supervisor.restart("rewired").unwrap();
    assert_eq!(scene.exited().await.0, Reason::Stopped);
    let second = scene.started().await;
    until(|| said(second)).await;
    // It is there for the next daemon as well.
    assert!(output.exists());
    scene.end().await;
    assert!(!output.exists());
}

#[tokio::test]
async fn the_last_words_of_a_stopped_agent_are_logged() {
    let mut scene = Scene::new();
    let script =
        "trap 'seq -f last-%g 300; exit' TERM; echo ready > ready; while :; do sleep 0.02; done";
    scene.supervisor.apply(vec![scene.agent("last", script)]);
    scene.started().await;
    scene.file("ready").await;
    scene.end().await;
    assert_eq!(log_lines(" last-").len(), 300);
}

#[tokio::test]
async fn a_flood_of_output_is_dropped_and_counted() {
    let mut scene = Scene::new();
    scene.supervisor.apply(vec![scene.agent("flood", "exec seq -f flood-%g 50000")]);
    let mut dropped = 0;
    while dropped == 0 {
        if let What::OutputDropped { lines } = scene.next().await {
            dropped += lines;
        }
    }
    scene.end().await;
    assert!(log_lines("lines dropped: more than 1000").iter().any(|l| l.contains("agent=flood")));
    assert!(log_lines(" flood-").len() < 50_000);
}

#[tokio::test]
async fn an_agent_finds_its_name_and_the_socket_and_little_else() {
    let mut scene = Scene::new();
    scene.supervisor.apply(vec![scene.agent("curious", "env > new; mv new env; cat")]);
    scene.started().await;
    assert_eq!(scene.exited().await.0, Reason::Success);
    let text = scene.file("env").await;
    for line in ["MUSTERD_SOCKET=/test/agent.sock", "MUSTERD_AGENT=curious", "GREETING=hello"] {
        assert!(text.lines().any(|seen| seen == line), "{text}");
    }
    assert!(text.contains("PATH=") && !text.contains("CARGO"), "{text}");
    scene.end().await;
}

#[tokio::test]
async fn only_root_runs_agents_as_others() {
    let mut scene = Scene::new();
    let mut agent = scene.agent("nobody", "id -u; id -G; exit 0");
    agent.launch.directory = "/".into();
    let is_root = rustix::process::geteuid().is_root();
    agent.launch.user = Some(if is_root { "nobody" } else { "root" }.to_owned());
    agent.policy.restart = Restart::Never;
    scene.supervisor.apply(vec![agent]);
    if is_root {
        scene.started().await;
        assert_eq!(scene.exited().await.0, Reason::Success);
        scene.end().await;
        let said = log_lines("agent=nobody").join("\n");
        // Its number and its only group.
        assert_eq!(said.matches(" agent: 65534 agent=nobody").count(), 2, "{said}");
    } else {
        let (reason, detail, _) = scene.exited().await;
        assert_eq!(reason, Reason::SpawnFailed);
        assert!(detail.contains("the daemon is not run by root"), "{detail}");
        scene.end().await;
    }
}

#[tokio::test]
async fn a_reload_touches_only_what_has_changed() {
    let mut scene = Scene::new();
    let mut agent = scene.agent("reloaded", "exec sleep 1000");
    scene.supervisor.apply(vec![agent.clone()]);
    let first = scene.started().await;

    // The same process under another policy; then another process.
    agent.policy.restart = Restart::Always;
    scene.supervisor.apply(vec![agent.clone()]);
    agent.launch.environment.clear();
    scene.supervisor.apply(vec![agent.clone()]);
    assert_eq!(scene.exited().await.0, Reason::Stopped);
    let second = scene.started().await;
    assert!(!lives(first) && lives(second));

    // Taken out and put back before it has ended: one at a time all the same.
    scene.supervisor.apply(vec![]);
    scene.supervisor.apply(vec![agent.clone()]);
    assert_eq!(scene.exited().await.0, Reason::Stopped);
    assert_eq!(scene.next().await, What::Stopped);
    assert!(!lives(second));
    scene.started().await;

    // An agent that was stopped by hand stays down.
    scene.supervisor.stop("reloaded").unwrap();
    while scene.next().await != What::Stopped {}
    scene.supervisor.apply(vec![agent]);
    scene.supervisor.apply(vec![scene.agent("other", "exec sleep 1000")]);
    scene.started().await;
    scene.state("other", "running").await;
    until(|| scene.supervisor.statuses().borrow().len() == 1).await;
    scene.end().await;
}

#[tokio::test]
async fn an_agent_that_is_taken_out_again_before_its_turn_is_not_started() {
    let mut scene = Scene::new();
    let script = "trap '' TERM; echo > ready; while :; do sleep 0.02; done";
    let mut agent = scene.agent("fickle", script);
    agent.policy.stop_grace = Duration::from_millis(200);
    scene.supervisor.apply(vec![agent.clone()]);
    scene.started().await;
    scene.file("ready").await;
    scene.supervisor.apply(vec![]);
    scene.supervisor.apply(vec![agent]);
    scene.supervisor.apply(vec![]);
    assert_eq!(scene.exited().await.0, Reason::Stopped);
    assert_eq!(scene.next().await, What::Stopped);
    scene.supervisor.shutdown(pending()).await;
    assert_eq!(scene.reports.recv().await, None, "it was started once more");
    std::fs::remove_dir_all(&scene.dir).unwrap();
}

#[tokio::test]
async fn a_shutdown_stops_all_at_once() {
    let mut scene = Scene::new();
    let script = "trap '' TERM; echo > $MUSTERD_AGENT; while :; do sleep 1; done";
    let agents: Vec<_> = ["one", "two", "three"]
        .map(|name| {
            let mut agent = scene.agent(name, script);
            agent.policy.stop_grace = Duration::from_millis(100);
            agent
        })
        .into();
    scene.supervisor.apply(agents);
    let mut pids = Vec::new();
    for name in ["one", "two", "three"] {
        pids.push(scene.started().await);
        scene.file(name).await;
    }
    scene.supervisor.shutdown(pending()).await;
    assert!(pids.iter().all(|pid| !lives(*pid)));
    let left: Vec<_> = std::fs::read_dir(scene.dir.join("run/agents")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    std::fs::remove_dir_all(&scene.dir).unwrap();
}

#[tokio::test]
async fn a_shutdown_that_is_hurried_kills() {
    let mut scene = Scene::new();
    scene
        .supervisor
        .apply(vec![scene.agent("slow", "trap '' TERM; echo > ready; while :; do sleep 1; done")]);
    let pid = scene.started().await;
    scene.file("ready").await;
    // Far from its grace.
    assert!(scene.supervisor.longest_stop() > LIMIT);
    timeout(LIMIT / 2, scene.supervisor.shutdown(async {})).await.unwrap();
    assert!(!lives(pid));
    std::fs::remove_dir_all(&scene.dir).unwrap();
}

#[tokio::test]
async fn without_a_run_directory_agents_run_and_speak_all_the_same() {
    let mut scene = Scene::new();
    let file = scene.dir.join("file");
    std::fs::write(&file, "").unwrap();
    let (sender, reports) = Reports::channel();
    let socket = Path::new("/test/agent.sock");
    scene.supervisor = Supervisor::new(&file, socket, Carrier::Process, sender);
    scene.reports = reports;
    scene.supervisor.apply(vec![scene.agent("piped", "echo through a pipe; exec sleep 1000")]);
    scene.started().await;
    until(|| log_lines("through a pipe").iter().any(|line| line.contains("agent=piped"))).await;
    assert!(!log_lines("agents will not outlive the daemon").is_empty());
    scene.end().await;
}
