//! What a daemon finds of the one before it: agents that run, that have ended, or that are down on purpose.
#![allow(clippy::unwrap_used, clippy::panic)]

mod scene;

use musterd::supervisor::machine::Rest;
use musterd::supervisor::options::Definition;
use musterd::supervisor::policy::{Reason, Restart};
use musterd::supervisor::report::What;
use scene::{Scene, lives, log_lines, until};
use std::future::pending;
use std::time::{Duration, Instant};

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
async fn a_stop_goes_on_under_the_next_daemon() {
    let mut scene = Scene::new();
    let mut agent = scene
        .agent("stubborn", "trap 'echo >> terms' TERM; echo > ready; while :; do sleep 0.02; done");
    scene.supervisor.apply(vec![agent.clone()]);
    let pid = scene.started().await;
    scene.file("ready").await;
    scene.supervisor.stop("stubborn").unwrap();
    scene.file("terms").await;
    let mut scene = scene.next_daemon().await;
    assert!(lives(pid));
    agent.policy.stop_grace = Duration::from_millis(500);
    scene.supervisor.apply(vec![agent]);
    assert_eq!(scene.next().await, What::Adopted { pid });
    let (reason, detail, _) = scene.exited().await;
    assert_eq!((reason, &*detail), (Reason::Stopped, "signal 9"));
    assert_eq!(scene.next().await, What::Stopped);
    assert!(scene.file("terms").await.len() > 1, "it has been asked again, in case it was not yet");
    scene.end().await;

    // One that has ended in time, but unseen.
    let mut scene = Scene::new();
    let agent =
        scene.agent("obedient", "trap 'exit 0' TERM; echo > ready; while :; do sleep 0.02; done");
    scene.supervisor.apply(vec![agent.clone()]);
    let pid = scene.started().await;
    scene.file("ready").await;
    let record = scene.dir.join("run/agents/obedient.json");
    let running = std::fs::read_to_string(&record).unwrap();
    scene.supervisor.stop("obedient").unwrap();
    until(|| !lives(pid)).await;
    scene.state("obedient", "stopped").await;
    let stopped: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&record).unwrap()).unwrap();
    let mut scene = scene.next_daemon().await;
    let mut stopping: serde_json::Value = serde_json::from_str(&running).unwrap();
    stopping["rest"] = stopped["rest"].clone();
    std::fs::write(&record, stopping.to_string()).unwrap();
    scene.supervisor.apply(vec![agent]);
    let (reason, _, wait) = scene.exited().await;
    assert_eq!((reason, wait), (Reason::Stopped, None));
    assert_eq!(scene.next().await, What::Stopped);
    scene.end().await;
}

#[tokio::test]
async fn an_end_and_where_it_leads_are_noted_at_once() {
    for _ in 0..20 {
        let mut scene = Scene::new();
        scene.supervisor.apply(vec![scene.agent("done", "exit 0")]);
        let path = scene.dir.join("run/agents/done.json");
        // Read as fast as can be, for the moment between two writes, should there be two.
        let noted = std::thread::spawn(move || {
            let end = Instant::now() + scene::LIMIT;
            while Instant::now() < end {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let record: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                if record["ended"] == true {
                    return record["rest"].clone();
                }
            }
            panic!("its end is not noted");
        });
        scene.started().await;
        assert_eq!(scene.exited().await.0, Reason::Success);
        let rest = noted.join().unwrap();
        assert_eq!(rest["rest"], "finished");
        assert_eq!(rest["last_exit"]["reason"], "success", "{rest}");
        scene.end().await;
    }
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
    // What the other daemon has not noted is noted now.
    let record = std::fs::read_to_string(scene.dir.join("run/agents/stepchild.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert!(record["pid"] == pid && record["session"].is_i64() && record["boot"].is_string());
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
