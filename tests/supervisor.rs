//! Supervision of real processes. Every wait is for a condition, with a limit that a slow machine
//! does not reach.
#![allow(clippy::unwrap_used, clippy::panic)]

use musterd::supervisor::carrier::Carrier;
use musterd::supervisor::limits::Limits;
use musterd::supervisor::machine::Rest;
use musterd::supervisor::options::{Definition, Launch};
use musterd::supervisor::policy::{Policy, Reason, Restart};
use musterd::supervisor::report::{Report, Reports, What};
use musterd::supervisor::{Supervisor, UnknownAgent};
use std::future::pending;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(60);

/// Everything that any of these tests has logged.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct ToLog;

impl Write for ToLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log_lines(containing: &str) -> Vec<String> {
    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    log.lines().filter(|line| line.contains(containing)).map(str::to_owned).collect()
}

/// A run directory of its own, a supervisor and what it reports.
struct Scene {
    dir: PathBuf,
    supervisor: Supervisor,
    reports: UnboundedReceiver<Report>,
}

impl Scene {
    fn new() -> Self {
        static LOGGING: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        LOGGING
            .call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| ToLog).init());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("musterd-supervisor-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self::in_dir(dir)
    }

    fn in_dir(dir: PathBuf) -> Self {
        let (sender, reports) = Reports::channel();
        let run = dir.join("run");
        let socket = Path::new("/test/agent.sock");
        let supervisor = Supervisor::new(&run, socket, Carrier::Process, sender);
        Self { dir, supervisor, reports }
    }

    /// The daemon ends, and the next begins.
    async fn next_daemon(self) -> Self {
        self.supervisor.detach().await;
        Self::in_dir(self.dir)
    }

    async fn end(self) {
        self.supervisor.shutdown(pending()).await;
        std::fs::remove_dir_all(&self.dir).unwrap();
    }

    /// An agent that runs a shell script in the scene's directory.
    fn agent(&self, name: &str, script: &str) -> Definition {
        let milliseconds = Duration::from_millis;
        Definition {
            name: name.into(),
            launch: Launch {
                program: "sh".to_owned(),
                arguments: vec!["-c".to_owned(), script.to_owned()],
                directory: self.dir.clone(),
                environment: [("GREETING".to_owned(), "hello".to_owned())].into(),
                user: None,
                limits: Limits::default(),
            },
            policy: Policy {
                restart: Restart::OnFailure,
                backoff_initial: milliseconds(20),
                backoff_max: milliseconds(60),
                backoff_reset: LIMIT,
                start_limit: 0,
                start_interval: LIMIT,
                stop_grace: LIMIT,
            },
            autostart: true,
        }
    }

    /// The next report other than of dropped output.
    async fn next(&mut self) -> What {
        timeout(LIMIT, self.reports.recv()).await.unwrap().unwrap().what
    }

    async fn started(&mut self) -> u32 {
        match self.next().await {
            What::Started { pid, .. } => pid,
            other => panic!("wanted a start: {other:?}"),
        }
    }

    async fn exited(&mut self) -> (Reason, String, Option<Duration>) {
        match self.next().await {
            What::Exited { reason, detail, restarting_in } => (reason, detail, restarting_in),
            other => panic!("wanted an exit: {other:?}"),
        }
    }

    async fn state(&self, agent: &str, wanted: &str) {
        let statuses = self.supervisor.statuses();
        until(|| statuses.borrow().get(agent).is_some_and(|status| status.state == wanted)).await;
    }

    /// What a process has written to a file of the scene's directory.
    async fn file(&self, name: &str) -> String {
        let path = self.dir.join(name);
        let read = || std::fs::read_to_string(&path).unwrap_or_default();
        until(|| read().ends_with('\n')).await;
        read()
    }

    async fn pid_in(&self, name: &str) -> u32 {
        self.file(name).await.trim().parse().unwrap()
    }
}

async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, wait).await.expect("the condition holds in time");
}

/// Whether a process lives; one that nobody has waited for does not.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

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
async fn agents_outlive_the_daemon_and_are_found_by_the_next() {
    let mut scene = Scene::new();
    let script = "while :; do test -e go && echo still heard && rm go; sleep 0.02; done";
    let agent = scene.agent("survivor", script);
    scene.supervisor.apply(vec![agent.clone()]);
    let pid = scene.started().await;

    let mut scene = scene.next_daemon().await;
    std::fs::write(scene.dir.join("go"), "").unwrap();
    until(|| !scene.dir.join("go").exists()).await;
    assert!(lives(pid));
    scene.supervisor.apply(vec![agent.clone()]);
    assert_eq!(scene.next().await, What::Adopted { pid });
    until(|| log_lines("still heard").iter().any(|line| line.contains("agent=survivor"))).await;
    scene.state("survivor", "running").await;

    // A supervisor that is only dropped leaves them as well.
    drop(scene.supervisor);
    let mut scene = Scene::in_dir(scene.dir);
    scene.supervisor.apply(vec![agent]);
    assert_eq!(scene.next().await, What::Adopted { pid });
    scene.supervisor.restart("survivor").unwrap();
    assert_eq!(scene.exited().await.0, Reason::Stopped);
    assert_ne!(scene.started().await, pid);
    assert!(!lives(pid));
    scene.end().await;
}

/// Agents that come to each kind of rest, and how their last process has ended then.
async fn at_rest(rest: Rest) -> (Scene, Definition, &'static str) {
    let mut scene = Scene::new();
    let (script, detail) = match rest {
        Rest::Finished => ("echo >> runs; exit 0", "exit code 0"),
        Rest::Failed => ("echo >> runs; exit 3", "exit code 3"),
        Rest::Stopped => ("echo >> runs; exec sleep 1000", "signal 15"),
    };
    let mut agent = scene.agent("resting", script);
    agent.policy.start_limit = 1;
    scene.supervisor.apply(vec![agent.clone()]);
    scene.started().await;
    if rest == Rest::Stopped {
        scene.file("runs").await;
        scene.supervisor.stop("resting").unwrap();
    }
    scene.state("resting", &format!("{rest:?}").to_lowercase()).await;
    (scene, agent, detail)
}

const RESTS: [Rest; 3] = [Rest::Finished, Rest::Failed, Rest::Stopped];

#[tokio::test]
async fn what_is_down_on_purpose_stays_so_under_the_next_daemon() {
    for rest in RESTS {
        let (mut scene, agent, detail) = at_rest(rest).await;
        for _ in 0..2 {
            scene = scene.next_daemon().await;
            scene.supervisor.apply(vec![agent.clone()]);
            let What::Rests { rest: told, last } = scene.next().await else { panic!("{rest:?}") };
            assert_eq!((told, &*last.unwrap().1), (rest, detail));
            scene.state("resting", &format!("{rest:?}").to_lowercase()).await;
            let status = scene.supervisor.statuses().borrow().get("resting").unwrap().clone();
            assert_eq!(status.last_exit.unwrap().detail, detail);
            assert_eq!(std::fs::read_to_string(scene.dir.join("runs")).unwrap(), "\n");
        }
        // One that ends in order takes its children along, and the next starts all of them.
        scene.supervisor.shutdown(pending()).await;
        let mut scene = Scene::in_dir(scene.dir);
        scene.supervisor.apply(vec![agent]);
        scene.started().await;
        scene.end().await;
    }
}

#[tokio::test]
async fn a_rest_lasts_until_a_word_by_hand_a_change_or_another_boot() {
    let sleeps = vec!["-c".to_owned(), "exec sleep 1000".to_owned()];
    for rest in RESTS {
        // By hand; the daemon after that finds nothing that rests.
        let (scene, mut agent, _) = at_rest(rest).await;
        let mut scene = scene.next_daemon().await;
        scene.supervisor.apply(vec![agent.clone()]);
        assert!(matches!(scene.next().await, What::Rests { .. }));
        agent.launch.arguments = sleeps.clone();
        scene.supervisor.apply(vec![agent.clone()]);
        if rest == Rest::Stopped {
            scene.supervisor.start("resting").unwrap();
        }
        let pid = scene.started().await;
        let mut scene = scene.next_daemon().await;
        scene.supervisor.apply(vec![agent]);
        assert_eq!(scene.next().await, What::Adopted { pid });
        scene.end().await;

        // Another definition is found by the next daemon. It starts nothing that was stopped by hand.
        let (scene, mut agent, _) = at_rest(rest).await;
        let mut scene = scene.next_daemon().await;
        agent.launch.arguments = sleeps.clone();
        scene.supervisor.apply(vec![agent.clone()]);
        assert!(matches!(scene.next().await, What::Rests { .. }));
        if rest != Rest::Stopped {
            scene.started().await;
        }
        scene.end().await;

        // Another boot, and one that was taken out meanwhile.
        let (scene, agent, _) = at_rest(rest).await;
        let path = scene.dir.join("run/agents/resting.json");
        let record = std::fs::read_to_string(&path).unwrap();
        let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
        record["boot"] = "another".into();
        let mut scene = scene.next_daemon().await;
        std::fs::write(&path, record.to_string()).unwrap();
        scene.supervisor.apply(vec![agent]);
        scene.started().await;
        scene.end().await;
        let (scene, agent, _) = at_rest(rest).await;
        let mut scene = scene.next_daemon().await;
        scene.supervisor.apply(vec![]);
        until(|| !scene.dir.join("run/agents/resting.json").exists()).await;
        scene.supervisor.apply(vec![agent]);
        scene.started().await;
        scene.end().await;
    }
}

#[tokio::test]
async fn one_that_is_never_restarted_is_not_by_the_next_daemon() {
    let mut scene = Scene::new();
    let mut agent = scene.agent("never", "exec sleep 1000");
    agent.policy.restart = Restart::Never;
    scene.supervisor.apply(vec![agent.clone()]);
    let pid = scene.started().await;
    let mut scene = scene.next_daemon().await;
    let number = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(number, rustix::process::Signal::KILL).unwrap();
    until(|| !lives(pid)).await;
    scene.supervisor.apply(vec![agent]);
    let (reason, detail, wait) = scene.exited().await;
    assert_eq!((reason, wait), (Reason::Unknown, None));
    assert_eq!(detail, "exit status unknown, while no daemon ran");
    scene.state("never", "finished").await;
    scene.end().await;
}

#[tokio::test]
async fn what_a_leader_leaves_behind_is_ended_by_the_next_daemon() {
    // Whether the leader ends under the first daemon or after it, and whether another start is to follow.
    for (sees_end, restart) in
        [(true, Restart::Always), (true, Restart::Never), (false, Restart::Never)]
    {
        let mut scene = Scene::new();
        let script = "test -e child && exec sleep 1000
            sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 1; done' &
            while ! test -s child || ! test -e go; do sleep 0.02; done
            exit 1";
        let mut agent = scene.agent("messy", script);
        agent.policy.restart = restart;
        let go = scene.dir.join("go");
        scene.supervisor.apply(vec![agent.clone()]);
        let leader = scene.started().await;
        let child = scene.pid_in("child").await;
        if sees_end {
            std::fs::write(&go, "").unwrap();
            assert_eq!(scene.exited().await.0, Reason::Error);
            scene.state("messy", "clearing").await;
        }
        let mut scene = scene.next_daemon().await;
        std::fs::write(&go, "").unwrap();
        until(|| !lives(leader)).await;
        assert!(lives(child));
        agent.policy.stop_grace = Duration::from_millis(100);
        scene.supervisor.apply(vec![agent]);
        if !sees_end {
            assert_eq!(scene.exited().await.0, Reason::Unknown);
        }
        if restart == Restart::Always {
            scene.started().await;
        } else {
            scene.state("messy", "finished").await;
        }
        assert!(!lives(child), "{restart:?}");
        scene.end().await;
    }
}

/// A process that is not this one's child, as a killed daemon leaves it; in a record of its own.
async fn left_by_another(scene: &Scene, agent: &Definition) -> u32 {
    let script = "setsid sh -c 'echo $$ > left; exec sleep 1000' &";
    let status = std::process::Command::new("sh")
        .args(["-c", script])
        .current_dir(&scene.dir)
        .status()
        .unwrap();
    assert!(status.success());
    let pid = scene.pid_in("left").await;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let start_time: u64 = fields.split(' ').nth(19).unwrap().parse().unwrap();
    let record = serde_json::json!({
        "pid": pid, "start_time": start_time, "launch": agent.launch,
    });
    let path = scene.dir.join(format!("run/agents/{}.json", agent.name));
    std::fs::write(path, record.to_string()).unwrap();
    pid
}

#[tokio::test]
async fn another_daemons_process_is_watched_though_its_status_is_not_known() {
    let mut scene = Scene::new();
    let agent = scene.agent("stepchild", "exec sleep 1000");
    let pid = left_by_another(&scene, &agent).await;
    scene.supervisor.apply(vec![agent]);
    assert_eq!(scene.next().await, What::Adopted { pid });
    let number = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(number, rustix::process::Signal::KILL).unwrap();
    let (reason, _, wait) = scene.exited().await;
    assert_eq!(reason, Reason::Unknown);
    assert!(wait.is_some());
    scene.started().await;
    scene.end().await;
}

#[tokio::test]
async fn what_an_earlier_daemon_left_and_nobody_defines_is_stopped() {
    let mut scene = Scene::new();
    let agent = scene.agent("orphan", "exec sleep 1000");
    let pid = left_by_another(&scene, &agent).await;
    scene.supervisor.apply(vec![]);
    assert_eq!(scene.next().await, What::Adopted { pid });
    assert_eq!(scene.exited().await.0, Reason::Stopped);
    assert_eq!(scene.next().await, What::Stopped);
    assert!(!lives(pid));
    scene.end().await;
}

#[tokio::test]
async fn a_record_of_a_process_that_has_gone_is_no_process() {
    let mut scene = Scene::new();
    let agent = scene.agent("stale", "exec sleep 1000");
    let path = scene.dir.join("run/agents/stale.json");
    let own = std::process::id();
    // A number that another has now, one that nobody can have, and rubbish.
    for record in [
        serde_json::json!({ "pid": own, "start_time": 1, "launch": agent.launch }).to_string(),
        serde_json::json!({ "pid": u32::MAX, "start_time": 1, "launch": agent.launch }).to_string(),
        "{".to_owned(),
    ] {
        std::fs::write(&path, record).unwrap();
        scene.supervisor.apply(vec![agent.clone()]);
        scene.started().await;
        scene.supervisor.apply(vec![]);
        assert_eq!(scene.exited().await.0, Reason::Stopped);
        assert_eq!(scene.next().await, What::Stopped);
    }
    scene.end().await;
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
