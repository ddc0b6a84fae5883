use super::super::peer::Peer;
use super::super::protocol::Mode;
use super::super::sample::{self, Pen};
use super::*;
use crate::agent::offered::Offered;
use crate::agent::protocol::Hello;
use musterd_client::layout::{Shape, header};
use std::os::fd::OwnedFd;

fn options() -> Options {
    let text = crate::config::DEFAULTS;
    let table: toml::Table = toml::from_str(text).unwrap();
    let mut options: Options = table["agents"].clone().try_into().unwrap();
    options.max_agents = 3;
    options.max_ledgers_per_uid = 4;
    options
}

fn hello(agent: &str) -> Hello {
    Hello {
        agent: agent.into(),
        client: String::new(),
        version: "1".into(),
        framework: String::new(),
        heartbeat: None,
        mode: Mode::Ledger,
    }
}

fn peer(uid: u32, pid: u32) -> Peer {
    Peer { uid, gid: uid, pid: Some(pid), pidfd: None, began: None }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn connect(registry: &mut Registry, name: &str, pid: u32) -> (Key, OwnedFd, Pen) {
    let welcome = registry.connect(hello(name), &peer(0, pid), None, at(1)).unwrap();
    let file = welcome.file.unwrap();
    let pen = Pen::on(&file);
    (welcome.key, file, pen)
}

fn requests(registry: &mut Registry, name: &str) -> [u64; 5] {
    registry.refresh(at(9));
    registry.agents[name].current.requests
}

#[test]
fn totals_never_go_back_when_processes_come_and_go() {
    let mut registry = Registry::new(options());
    let (first, _, pen) = connect(&mut registry, "a", 1);
    pen.requests("success", 5);
    pen.begin(0, 77);
    let (second, _, other) = connect(&mut registry, "a", 2);
    other.requests("success", 3);
    assert_eq!(requests(&mut registry, "a"), [8, 0, 0, 0, 0]);
    registry.died(first);
    registry.died(first);
    assert_eq!(requests(&mut registry, "a"), [8, 0, 0, 0, 1]);
    assert_eq!(registry.agents["a"].state().unwrap(), State::Healthy);
    registry.died(second);
    assert_eq!(requests(&mut registry, "a"), [8, 0, 0, 0, 1]);
    assert_eq!(registry.agents["a"].state().unwrap(), State::Lost);
    let (_, _, pen) = connect(&mut registry, "a", 3);
    pen.requests("success", 1);
    assert_eq!(requests(&mut registry, "a"), [9, 0, 0, 0, 1]);
}

#[test]
fn a_ledger_is_added_without_a_look_at_the_others_whose_counts_stay_recent() {
    let mut registry = Registry::new(options());
    let (first, _, pen) = connect(&mut registry, "a", 1);
    let success = pen.requests("success", 5);
    registry.refresh(at(2));
    pen.0.store(success, 6);
    pen.requests("error", 2);
    connect(&mut registry, "a", 2);
    assert_eq!(registry.agents["a"].current.finished(), 5);
    assert_eq!(requests(&mut registry, "a"), [6, 2, 0, 0, 0]);
    assert_eq!(registry.agents["a"].window.judged(), 8);
    // Nor is what is retired before the next look taken for long past.
    pen.0.store(success, 8);
    registry.died(first);
    connect(&mut registry, "a", 3);
    assert_eq!(registry.agents["a"].window.judged(), 10);
}

#[test]
fn what_a_process_has_counted_long_before_the_daemon_came_is_not_recent() {
    let mut registry = Registry::new(options());
    registry.refresh(at(1000));
    let (_, _, other) = connect(&mut registry, "a", 1);
    other.requests("success", 20);
    registry.refresh(at(1000));
    let mut come = |began, failed| {
        let peer = Peer { began, ..peer(0, 2) };
        let welcome = registry.connect(hello("a"), &peer, None, at(1000)).unwrap();
        registry.refresh(at(1000));
        let pen = Pen::on(welcome.file.unwrap());
        let error = pen.requests("error", failed);
        registry.refresh(at(1001));
        let judged = registry.agents["a"].window.judged();
        pen.0.store(error, failed + 1);
        registry.refresh(at(1002));
        let later = registry.agents["a"].window.judged();
        registry.died(welcome.key);
        (judged, later)
    };
    assert_eq!(
        come(Some(at(1000 - 300)), 100),
        (20, 21),
        "what comes after the first look is recent"
    );
    assert_eq!(come(Some(at(1000 - 299)), 100), (121, 122), "all of it is of the last minutes");
    assert_eq!(come(None, 1), (123, 124));
    assert_eq!(registry.agents["a"].current.requests, [20, 204, 0, 0, 0]);
}

#[test]
fn a_ledger_that_stays_empty_for_long_brings_nothing_along() {
    let mut registry = Registry::new(options());
    let peer = Peer { began: Some(at(1)), ..peer(0, 1) };
    let welcome = registry.connect(hello("a"), &peer, None, at(1000)).unwrap();
    registry.refresh(at(1001));
    Pen::on(welcome.file.unwrap()).requests("error", 3);
    registry.refresh(at(1005));
    assert_eq!(registry.agents["a"].window.judged(), 3);
}

#[test]
fn a_ledger_brings_along_what_is_past_only_to_a_daemon_that_has_come_late() {
    let judged = |daemon, is_seen: bool| {
        let mut registry = Registry::new(options());
        registry.refresh(at(daemon));
        let peer = Peer { began: Some(at(1)), ..peer(0, 1) };
        let welcome = registry.connect(hello("a"), &peer, None, at(1000)).unwrap();
        Pen::on(welcome.file.unwrap()).requests("error", 3);
        if is_seen {
            registry.refresh(at(1000));
        }
        registry.died(welcome.key);
        registry.refresh(at(1000));
        assert_eq!(registry.agents["a"].current.requests, [0, 3, 0, 0, 0]);
        registry.agents["a"].window.judged()
    };
    assert_eq!([judged(911, true), judged(911, false)], [0, 0]);
    assert_eq!([judged(910, true), judged(910, false)], [3, 3]);
}

#[test]
fn an_agent_runs_for_as_long_as_its_oldest_process() {
    let mut registry = Registry::new(options());
    let mut come = |pid, began| {
        let peer = Peer { began, ..peer(0, pid) };
        registry.connect(hello("a"), &peer, None, at(100)).unwrap().key
    };
    let keys = [come(1, Some(at(60))), come(2, Some(at(30))), come(3, None)];
    assert_eq!(registry.agents["a"].presence(at(101)), Presence::Running(at(71)));
    keys.into_iter().for_each(|key| registry.died(key));
    connect(&mut registry, "a", 4);
    assert_eq!(registry.agents["a"].presence(at(101)), Presence::Running(at(100)));
}

/// Seconds of five processes, of which rounded sums differ by the order in which they come.
const SECONDS: [f64; 5] = [44.949, 65.159, 78.872, 9.386, 2.835];

/// The sums of an agent's durations, of a histogram and of a counter of fractions.
fn sums(registry: &mut Registry) -> Vec<String> {
    registry.refresh(at(9));
    let mut batch = crate::metric::Batch::new();
    crate::agent::export::fill(registry, at(9), &mut batch);
    let mut text = Vec::new();
    crate::exposition::encode(&batch, crate::exposition::Format::OpenMetrics, &mut text);
    let is_sum = |line: &&str| line.contains("_sum{") || line.starts_with("x_cost_total");
    String::from_utf8(text).unwrap().lines().filter(is_sum).map(str::to_owned).collect()
}

fn registry_with_sums() -> (Registry, Vec<(Key, OwnedFd)>) {
    let mut registry = Registry::new(Options { max_ledgers_per_uid: 9, ..options() });
    let shape = Shape { native_count: 0, bounds: vec![1.0], ..Shape::calls() };
    let records = [
        sample::durations(),
        sample::record(3, "x_wait_seconds", &[], Some(&shape)),
        sample::record(4, "x_cost_total", &[], None),
    ];
    let ledgers = (0..).zip(SECONDS).map(|(pid, seconds)| {
        let (key, file, pen) = connect(&mut registry, "a", pid);
        for record in &records {
            pen.0.store(pen.append(record), seconds.to_bits());
        }
        (key, file)
    });
    let ledgers = ledgers.collect();
    (registry, ledgers)
}

#[test]
fn sums_are_the_same_in_whatever_order_ledgers_end_and_come_back() {
    for first in 0..SECONDS.len() {
        for gone in 0..=SECONDS.len() {
            let (mut registry, mut ledgers) = registry_with_sums();
            let shown = sums(&mut registry);
            assert_eq!(shown.len(), 3);
            ledgers.rotate_left(first);
            for (key, _) in ledgers.drain(..gone) {
                registry.died(key);
                assert_eq!(sums(&mut registry), shown);
            }
            let mut next = Registry::new(Options { max_ledgers_per_uid: 9, ..options() });
            let text = registry.take_unsaved().unwrap();
            assert_eq!(next.restore(&text, at(2)).unwrap(), [""; 0]);
            for (pid, (_, file)) in (0..).zip(ledgers) {
                next.connect(
                    hello("a"),
                    &peer(0, pid),
                    Some(Offered::new(file, &peer(0, pid))),
                    at(3),
                )
                .unwrap();
            }
            assert_eq!(sums(&mut next), shown, "{first} first, {gone} gone");
        }
    }
}

#[test]
fn sums_that_were_kept_as_one_number_are_read() {
    let (mut registry, ledgers) = registry_with_sums();
    ledgers.into_iter().for_each(|(key, _)| registry.died(key));
    let shown = sums(&mut registry);
    let mut kept: serde_json::Value =
        serde_json::from_str(&registry.take_unsaved().unwrap()).unwrap();
    let agent = &mut kept["agents"]["a"];
    let places = [
        "/totals/durations/sum",
        "/series/0/series/0/value/histogram/sum",
        "/series/1/series/0/value/sum",
    ];
    for place in places {
        let sum = agent.pointer_mut(place).unwrap();
        *sum = sum[0].clone();
        assert!(sum.is_f64(), "{place}");
    }
    let mut next = next_daemon(&kept.to_string());
    assert_eq!(sums(&mut next), shown);
}

#[test]
fn a_ledger_that_its_process_has_forgotten_is_retired_when_there_is_a_newer_one() {
    let mut registry = Registry::new(options());
    let (first, _, pen) = connect(&mut registry, "a", 1);
    pen.requests("success", 5);
    registry.disconnected(first, true);
    registry.retire_if_forgotten(first);
    assert!(registry.is_current(first), "it may come back");
    let (of_another, _, _) = connect(&mut registry, "a", 2);
    registry.retire_if_forgotten(first);
    assert!(registry.is_current(first), "another process has nothing to do with it");
    let (second, _, other) = connect(&mut registry, "a", 1);
    other.requests("success", 2);
    registry.retire_if_forgotten(second);
    registry.retire_if_forgotten(of_another);
    registry.retire_if_forgotten(first);
    let current = [first, second, of_another].map(|key| registry.is_current(key));
    assert_eq!(current, [false, true, true]);
    assert_eq!(requests(&mut registry, "a"), [7, 0, 0, 0, 0]);
}

#[test]
fn a_promise_of_heartbeats_is_of_its_process_and_outlives_the_daemon() {
    let promising = || Hello { heartbeat: Some(at(10)), ..hello("a") };
    let silence = |registry: &Registry| registry.agents["a"].observations(at(100));
    let mut registry = Registry::new(options());
    let (_, _, pen) = connect(&mut registry, "a", 1);
    pen.0.store(header::HEARTBEAT, 99_000_000_000);
    assert_eq!(silence(&registry).heartbeat_promised, None);
    let hung = registry.connect(promising(), &peer(0, 2), None, at(5)).unwrap();
    // What another process does, or promises, changes nothing for the one that is silent.
    connect(&mut registry, "a", 3);
    let seen = silence(&registry);
    assert_eq!((seen.heartbeat_age, seen.heartbeat_promised), (Some(at(95)), Some(at(10))));
    // A second ledger of the same process shows no life of its own.
    let more = registry.connect(promising(), &peer(0, 2), None, at(90)).unwrap();
    assert_eq!(silence(&registry).heartbeat_age, Some(at(10)));

    let mut next = Registry::new(options());
    next.take_back(&hung.keepsake.unwrap().file, at(50)).unwrap();
    let seen = silence(&next);
    assert_eq!((seen.heartbeat_age, seen.heartbeat_promised), (Some(at(50)), Some(at(10))));
    registry.died(hung.key);
    registry.died(more.key);
    assert_eq!(silence(&registry).heartbeat_promised, None);
}

#[test]
fn a_process_that_calls_exec_again_and_again_is_not_refused() {
    let options = Options { max_ledgers_per_process: 2, ..options() };
    let mut registry = Registry::new(options);
    for _ in 0..5 {
        let (key, _, pen) = connect(&mut registry, "a", 1);
        pen.requests("success", 1);
        registry.disconnected(key, true);
    }
    assert_eq!(requests(&mut registry, "a"), [5, 0, 0, 0, 0]);
    let of_process = registry.agents["a"].live.len();
    assert!(of_process <= 2, "{of_process}");
}

#[test]
fn ledgers_that_were_not_delivered_count_for_nothing() {
    let options = Options { max_ledgers_per_process: 1, ..options() };
    let mut registry = Registry::new(options);
    for _ in 0..3 {
        let welcome = registry.connect(hello("a"), &peer(0, 1), None, at(1)).unwrap();
        registry.not_delivered(welcome.key);
    }
    let (_, _, pen) = connect(&mut registry, "a", 1);
    pen.requests("success", 1);
    assert_eq!(requests(&mut registry, "a"), [1, 0, 0, 0, 0]);
}

#[test]
fn a_ledger_comes_back_after_a_break_and_counts_once() {
    let mut registry = Registry::new(options());
    let (key, file, pen) = connect(&mut registry, "a", 1);
    pen.requests("success", 5);
    assert!(registry.disconnected(key, true), "the process goes on");
    assert_eq!(requests(&mut registry, "a"), [5, 0, 0, 0, 0]);
    let offer = || Some(Offered::new(file.try_clone().unwrap(), &peer(0, 1)));
    let again = registry.connect(hello("a"), &peer(0, 1), offer(), at(2)).unwrap();
    assert!(again.file.is_none() && again.answer.contains("resumed"));
    assert_eq!(requests(&mut registry, "a"), [5, 0, 0, 0, 0]);
    // The connection before it no longer speaks for the ledger.
    registry.died(key);
    assert_eq!(requests(&mut registry, "a"), [5, 0, 0, 0, 0]);
    assert_eq!(registry.agents["a"].live.len(), 1);

    // A daemon that knows nothing takes it on.
    let mut next = Registry::new(options());
    let welcome = next.connect(hello("a"), &peer(0, 1), offer(), at(2)).unwrap();
    assert!(welcome.answer.contains("resumed"));
    assert_eq!(requests(&mut next, "a"), [5, 0, 0, 0, 0]);
    // What happened before is not in the last five minutes.
    assert_eq!(next.agents["a"].window.success_rate(), None);
    next.died(welcome.key);
    // Retired: a child that kept the file gets one of its own.
    let welcome = next.connect(hello("a"), &peer(0, 9), offer(), at(3)).unwrap();
    assert!(welcome.file.is_some());
    assert_eq!(requests(&mut next, "a"), [5, 0, 0, 0, 0]);
    assert_eq!(next.faults()["not_resumed"], 1);
}

#[test]
fn another_process_does_not_speak_for_a_ledger_in_use() {
    let mut registry = Registry::new(options());
    let (_, file, _) = connect(&mut registry, "a", 1);
    for (name, pid) in [("a", 2), ("b", 1)] {
        let offer = Some(Offered::new(file.try_clone().unwrap(), &peer(0, 1)));
        let welcome = registry.connect(hello(name), &peer(0, pid), offer, at(2)).unwrap();
        assert!(welcome.file.is_some(), "{name} {pid}");
    }
}

#[test]
fn an_agent_that_says_goodbye_is_stopped_not_lost() {
    let mut registry = Registry::new(options());
    let (key, _, pen) = connect(&mut registry, "a", 1);
    pen.0.publish(header::CLOSED, 1);
    assert!(!registry.disconnected(key, true), "nothing is left to wait for");
    registry.refresh(at(9));
    assert_eq!(registry.agents["a"].state().unwrap(), State::Stopped);
    assert!(registry.agents["a"].live.is_empty());
}

#[test]
fn each_limit_refuses_with_its_reason() {
    let mut registry = Registry::new(options());
    let mut refused = |name: &str, uid| {
        registry.connect(hello(name), &peer(uid, 1), None, at(1)).err().map(|why| why.reason)
    };
    assert_eq!(refused("a", 0), None);
    assert_eq!(refused("a", 5), Some("name_taken"));
    assert_eq!(refused("b", 5), None);
    assert_eq!(refused("c", 5), None);
    assert_eq!(refused("d", 5), Some("too_many_agents"));
    for _ in 0..3 {
        assert_eq!(refused("a", 0), None);
    }
    assert_eq!(refused("a", 0), Some("too_many_ledgers"));
}

#[test]
fn totals_are_kept_from_run_to_run() {
    let mut registry = Registry::new(options());
    let (key, _, pen) = connect(&mut registry, "a", 1);
    pen.requests("error", 6);
    pen.begin(3, 1);
    registry.child_ended("s", "error", Presence::Lost("exit code 1".into()));
    registry.child_restarts("s");
    registry.died(key);
    let text = registry.take_unsaved().unwrap();
    assert_eq!(registry.take_unsaved(), None);
    let mut next = Registry::new(options());
    assert!(next.restore(&text, at(1)).unwrap().is_empty());
    assert_eq!(requests(&mut next, "a"), [0, 6, 0, 0, 1]);
    assert_eq!((next.agents["s"].restarts, next.agents["s"].exits["error"]), (1, 1));
    for rubbish in ["", "{", "{\"version\":2}", "{\"version\":3,\"agents\":{}}", "[]"] {
        assert!(Registry::new(options()).restore(rubbish, at(1)).is_err(), "{rubbish}");
    }
}

#[test]
fn after_a_restart_counters_are_whole_or_absent() {
    let mut registry = Registry::new(options());
    let (first, _, pen) = connect(&mut registry, "a", 1);
    pen.requests("success", 5);
    pen.0.store(pen.append(&sample::counter("agent_errors_total", &[("category", "net")])), 2);
    registry.died(first);
    let (_, file, pen) = connect(&mut registry, "a", 2);
    pen.requests("success", 7);
    let mut next = Registry::new(options());
    next.restore(&registry.take_unsaved().unwrap(), at(100)).unwrap();
    next.refresh(at(101));
    assert!(!next.agents["a"].is_whole(at(101)));
    // Another process of it has counted nothing of what is waited for.
    let (_, _, other) = connect(&mut next, "a", 3);
    other.requests("success", 1);
    next.refresh(at(101));
    assert!(!next.agents["a"].is_whole(at(101)));
    let described = |registry: &Registry, now| {
        let told = crate::agent::export::describe(registry, "a", &registry.agents["a"], now);
        (told["requests"]["success"].as_u64(), told["errors"]["net"].as_u64())
    };
    assert_eq!(described(&next, at(101)), (None, None));
    next.connect(hello("a"), &peer(0, 2), Some(Offered::new(file, &peer(0, 2))), at(102)).unwrap();
    assert_eq!(requests(&mut next, "a"), [13, 0, 0, 0, 0]);
    assert!(next.agents["a"].is_whole(at(102)));
    assert_eq!(described(&next, at(102)), (Some(13), Some(2)));
    // All of it happened before: nothing in the window.
    assert_eq!(next.agents["a"].window.success_rate(), Some(1.0));
    // One that never comes back is not waited for without end.
    let mut other = Registry::new(options());
    registry.keep_unsaved();
    other.restore(&registry.take_unsaved().unwrap(), at(100)).unwrap();
    assert!(other.agents["a"].is_whole(at(130)));
}

#[test]
fn one_bad_entry_costs_no_other_agent_its_totals() {
    let mut registry = Registry::new(options());
    for name in ["a", "b"] {
        let (key, _, pen) = connect(&mut registry, name, 1);
        pen.requests("success", 5);
        registry.died(key);
    }
    let text = registry.take_unsaved().unwrap().replacen("\"requests\":[5", "\"requests\":[-5", 1);
    let mut next = Registry::new(options());
    let unusable = next.restore(&text, at(1)).unwrap();
    assert!(unusable.len() == 1 && unusable[0].contains("\"a\""), "{unusable:?}");
    assert_eq!(requests(&mut next, "b"), [5, 0, 0, 0, 0]);
}

#[test]
fn a_supervised_agents_name_belongs_to_the_user_it_runs_as() {
    let mut registry = Registry::new(options());
    registry.supervise("s");
    registry.connect(hello("s"), &peer(66, 1), None, at(1)).unwrap();
    registry.child_started("s", 42, Some(7), at(1));
    assert!(registry.connect(hello("s"), &peer(7, 42), None, at(1)).is_ok());
    let why = registry.connect(hello("s"), &peer(66, 1), None, at(1)).unwrap_err();
    assert_eq!(why.reason, "name_taken");
}

#[test]
fn a_supervised_agent_is_told_of_by_its_supervisor() {
    let mut registry = Registry::new(options());
    registry.supervise("s");
    registry.child_started("s", 42, Some(0), at(1));
    assert_eq!(registry.refresh(at(2)).len(), 1);
    assert_eq!(registry.agents["s"].state().unwrap(), State::Starting);
    assert_eq!(registry.roots().first().map(|root| root.pid), Some(42));
    registry.refresh(at(60));
    assert_eq!(registry.agents["s"].state().unwrap(), State::Healthy);
    let (key, _, _) = connect(&mut registry, "s", 42);
    registry.child_ended("s", "error", Presence::Lost("exit code 3".into()));
    registry.died(key);
    registry.refresh(at(61));
    let judged = registry.agents["s"].judgement().unwrap();
    assert_eq!((judged.state, judged.reason.as_str()), (State::Lost, "exit code 3"));
}

/// What a daemon that is killed leaves: what it last wrote, and the ledgers that systemd keeps.
fn next_daemon(text: &str) -> Registry {
    let mut registry = Registry::new(options());
    registry.restore(text, at(1)).unwrap();
    registry
}

#[test]
fn a_kept_ledger_outlives_daemon_and_agent() {
    let mut registry = Registry::new(options());
    let welcome = registry.connect(hello("a"), &peer(0, 1), None, at(1)).unwrap();
    let (kept, pen) = (welcome.keepsake.unwrap().file, Pen::on(welcome.file.unwrap()));
    let text = registry.take_unsaved().unwrap();
    pen.requests("success", 7);
    pen.begin(0, 77);

    let mut next = next_daemon(&text);
    let key = next.take_back(&kept, at(1)).unwrap().unwrap();
    assert_eq!(requests(&mut next, "a"), [7, 0, 0, 0, 0]);
    assert!(next.agents["a"].is_whole(at(1)), "what was in use has come back");
    next.died(key);
    assert_eq!(requests(&mut next, "a"), [7, 0, 0, 0, 1]);
    assert!(next.agents["a"].is_whole(at(1)), "nothing more is waited for");

    // Killed before it has written that down.
    let mut next = next_daemon(&text);
    assert_eq!(next.take_back(&kept, at(1)), Ok(None), "retired already");
    assert_eq!(requests(&mut next, "a"), [7, 0, 0, 0, 1]);
    assert_eq!(next.saved(), [""; 0], "nothing has been written yet");
    let text = next.take_unsaved().unwrap();

    // Killed when that was written, before systemd was told that it need keep the file no longer.
    let mut next = next_daemon(&text);
    assert_eq!(next.take_back(&kept, at(1)), Ok(None), "its counts are known");
    assert_eq!(requests(&mut next, "a"), [7, 0, 0, 0, 1]);
    next.take_unsaved().unwrap();
    assert_eq!(next.saved().len(), 1);
    assert_eq!(next.saved(), [""; 0]);
}

#[test]
fn an_agent_comes_back_to_a_ledger_that_was_kept() {
    let mut registry = Registry::new(options());
    let welcome = registry.connect(hello("a"), &peer(0, 1), None, at(1)).unwrap();
    let (kept, file) = (welcome.keepsake.unwrap().file, welcome.file.unwrap());
    Pen::on(&file).requests("success", 5);
    let mut next = next_daemon(&registry.take_unsaved().unwrap());
    let key = next.take_back(&kept, at(1)).unwrap().unwrap();
    let again = next
        .connect(hello("a"), &peer(0, 1), Some(Offered::new(file, &peer(0, 1))), at(2))
        .unwrap();
    assert!(again.file.is_none() && again.keepsake.is_none(), "it is kept already");
    assert!(!next.is_current(key), "who waited for it need wait no longer");
    next.died(key);
    assert_eq!(requests(&mut next, "a"), [5, 0, 0, 0, 0]);
    next.died(again.key);
    assert_eq!(requests(&mut next, "a"), [5, 0, 0, 0, 0]);
}

#[test]
fn a_ledger_that_systemd_has_not_kept_is_given_to_it() {
    let mut registry = Registry::new(options());
    let (_, file, _) = connect(&mut registry, "a", 1);
    let offer = || Some(Offered::new(file.try_clone().unwrap(), &peer(0, 1)));
    let mut next = Registry::new(options());
    let welcome = next.connect(hello("a"), &peer(0, 1), offer(), at(2)).unwrap();
    assert_eq!(welcome.keepsake.unwrap().label.agent, "a");
    // What says that it is another's is used, as its bearer is known, but not kept.
    let mut next = Registry::new(options());
    let welcome = next.connect(hello("b"), &peer(0, 1), offer(), at(2)).unwrap();
    assert!(welcome.keepsake.is_none());
    let rubbish = rustix::fs::memfd_create("other", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    assert!(next.take_back(&rubbish, at(3)).unwrap_err().contains("whose"));
}

#[test]
fn an_agent_that_is_long_gone_is_not_shown_and_goes_on_counting_when_it_is_back() {
    let mut registry = Registry::new(Options { keep_gone: at(60), ..options() });
    let (key, _, pen) = connect(&mut registry, "a", 1);
    pen.requests("success", 5);
    registry.supervise("b");
    let shown = |registry: &mut Registry, now| {
        registry.refresh(at(now));
        registry.agents().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&mut registry, 100), ["a", "b"]);
    registry.died(key);
    assert_eq!(shown(&mut registry, 101), ["a", "b"]);
    assert_eq!(shown(&mut registry, 160), ["a", "b"]);
    assert_eq!(shown(&mut registry, 161), ["b"]);
    let (_, _, pen) = connect(&mut registry, "a", 2);
    pen.requests("success", 1);
    assert_eq!(shown(&mut registry, 162), ["a", "b"]);
    assert_eq!(registry.agents["a"].current.requests, [6, 0, 0, 0, 0]);
    // 0 shows all for ever.
    registry.set_options(Options { keep_gone: at(0), ..options() });
    assert_eq!(shown(&mut registry, 9999), ["a", "b"]);
}

#[test]
fn a_users_own_agents_of_long_ago_make_room_and_others_do_not() {
    let mut registry = Registry::new(Options { keep_gone: at(60), max_agents: 3, ..options() });
    for (name, uid) in [("a", 5), ("b", 5), ("c", 6)] {
        let welcome = registry.connect(hello(name), &peer(uid, 1), None, at(1)).unwrap();
        let pen = Pen::on(welcome.file.unwrap());
        pen.append(&sample::counter("own_total", &[]));
        registry.refresh(at(2));
        registry.died(welcome.key);
        registry.refresh(at(if name == "a" { 10 } else { 9 }));
    }
    let mut refused = |name: &str, uid, now| {
        registry.refresh(at(now));
        registry.connect(hello(name), &peer(uid, 1), None, at(now)).err().map(|why| why.reason)
    };
    assert_eq!(refused("d", 5, 20), Some("too_many_agents"), "none has been gone for long");
    assert_eq!(refused("d", 7, 200), Some("too_many_agents"), "they are others'");
    assert_eq!(refused("d", 5, 200), None);
    assert_eq!(registry.agents.keys().collect::<Vec<_>>(), ["a", "c", "d"]);
    assert_eq!(registry.catalog.weight(), 2);
}
