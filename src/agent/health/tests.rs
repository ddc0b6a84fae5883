use super::*;

fn policy() -> Policy {
    Policy {
        start_grace: Duration::from_secs(30),
        stuck_after: Duration::from_secs(300),
        heartbeats_missed: 3,
        error_rate_degraded: 0.1,
        error_rate_unhealthy: 0.5,
        min_requests: 10,
        slow_p95: Duration::from_secs(2),
        recover_below: 0.8,
        recover_after: Duration::from_secs(30),
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn running() -> Observations {
    Observations {
        presence: Presence::Running(Duration::from_secs(60)),
        reports: true,
        heartbeat_age: Some(Duration::from_secs(1)),
        heartbeat_promised: None,
        oldest_request: None,
        in_flight: 0,
        judged: 100,
        success_rate: Some(0.99),
        p95: Some(0.5),
    }
}

fn assert_state(seen: &Observations, state: State, words: &str) {
    let mut health = Health::default();
    let judged = health.judge(seen, &policy(), at(0));
    assert_eq!(judged.state, state, "{}", judged.reason);
    assert!(judged.reason.contains(words), "{}", judged.reason);
}

#[test]
fn each_state_has_its_cause() {
    assert_state(&running(), State::Healthy, "99.0 % of the last 100");
    assert_state(
        &Observations { success_rate: None, ..running() },
        State::Healthy,
        "no request ended",
    );
    let young = Presence::Running(Duration::from_secs(3));
    assert_state(
        &Observations { presence: young, reports: false, ..running() },
        State::Starting,
        "running for 3.0 s",
    );
    assert_state(&Observations { reports: false, ..running() }, State::Healthy, "does not report");
    assert_state(
        &Observations { success_rate: Some(0.9), ..running() },
        State::Degraded,
        "10.0 % of the last 100 requests failed",
    );
    assert_state(
        &Observations { success_rate: Some(0.5), ..running() },
        State::Unhealthy,
        "50.0 %",
    );
    assert_state(&Observations { p95: Some(2.5), ..running() }, State::Degraded, "p95 2.5");
    let long = Some(Duration::from_secs(301));
    assert_state(
        &Observations { oldest_request: long, success_rate: Some(0.0), ..running() },
        State::Stuck,
        "in flight for 5m 1s, over 5m",
    );
    let lost = Presence::Lost("killed by signal 9".into());
    assert_state(&Observations { presence: lost, ..running() }, State::Lost, "signal 9");
    assert_state(
        &Observations { presence: Presence::Stopped, ..running() },
        State::Stopped,
        "on purpose",
    );
}

#[test]
fn silence_is_a_fault_only_where_a_heartbeat_was_promised() {
    let silent = Observations { heartbeat_age: Some(Duration::from_secs(99)), ..running() };
    assert_state(&silent, State::Healthy, "succeeded");
    let promised = Some(Duration::from_secs(10));
    assert_state(
        &Observations { heartbeat_promised: promised, ..silent },
        State::Stuck,
        "no heartbeat for 99 s, promised every 10 s",
    );
}

#[test]
fn few_requests_say_nothing() {
    let few = Observations { judged: 9, success_rate: Some(0.0), ..running() };
    assert_state(&few, State::Healthy, "0.0 % of the last 9 requests succeeded; fewer than 10");
}

/// The state after each of the observations, one a second.
fn states(seen: impl IntoIterator<Item = Observations>) -> Vec<State> {
    let (mut health, policy) = (Health::default(), policy());
    let seen = seen.into_iter().enumerate();
    seen.map(|(second, seen)| health.judge(&seen, &policy, at(second as u64)).state).collect()
}

fn changes(states: &[State]) -> usize {
    states.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[test]
fn worse_is_said_at_once_and_better_after_a_while_with_a_margin() {
    let failing = |share: f64| Observations { success_rate: Some(1.0 - share), ..running() };
    let (mut health, policy) = (Health::default(), policy());
    for (second, share, state, words) in [
        (0, 0.01, State::Healthy, "99.0 %"),
        (1, 0.6, State::Unhealthy, "60.0 % of the last 100 requests failed, limit 50.0 %"),
        (2, 0.45, State::Unhealthy, "was over the limit of 50.0 %; not better enough yet"),
        (3, 0.3, State::Unhealthy, "better if it stays so for 30 s"),
        (23, 0.3, State::Unhealthy, "better if it stays so for 10 s"),
        (24, 0.41, State::Unhealthy, "not better enough"),
        (25, 0.3, State::Unhealthy, "better if it stays so for 30 s"),
        (55, 0.3, State::Degraded, "30.0 % of the last 100 requests failed, limit 10.0 %"),
        (56, 0.0, State::Degraded, "better if"),
        (86, 0.0, State::Healthy, "100.0 %"),
    ] {
        let judged = health.judge(&failing(share), &policy, at(second));
        assert_eq!(judged.state, state, "{second} {}", judged.reason);
        assert!(judged.reason.contains(words), "{second} {}", judged.reason);
    }
    assert_eq!(health.judgement().unwrap().since, at(86));
}

#[test]
fn nothing_flaps_at_a_boundary() {
    // Each check goes to and fro over its threshold: once bad, it stays bad.
    let wobble =
        |of: &dyn Fn(bool) -> Observations| states((0..600).map(|second| of(second / 3 % 2 == 0)));
    let long = |over| if over { 301 } else { 299 };
    let checks: [&dyn Fn(bool) -> Observations; 4] = [
        &|over| Observations { oldest_request: Some(at(long(over))), ..running() },
        &|over| Observations { success_rate: Some(if over { 0.89 } else { 0.91 }), ..running() },
        &|over| Observations { p95: Some(if over { 2.1 } else { 1.9 }), ..running() },
        &|over| Observations {
            success_rate: Some(0.5),
            judged: if over { 10 } else { 9 },
            ..running()
        },
    ];
    for (number, check) in checks.into_iter().enumerate() {
        let states = wobble(check);
        assert_eq!(changes(&states), 0, "check {number}");
        assert_ne!(states[0], State::Healthy, "check {number}");
    }
}

#[test]
fn a_heartbeat_that_always_comes_too_late_is_one_alarm() {
    for every in [32, 35, 40] {
        let states = states((0..600).map(|second| Observations {
            heartbeat_age: Some(at(second % every)),
            heartbeat_promised: Some(at(10)),
            ..running()
        }));
        assert_eq!((changes(&states), states[599]), (1, State::Stuck), "{every}");
    }
}

#[test]
fn whatever_is_seen_better_takes_its_time() {
    let mut state = 1_u64;
    let mut chance = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % limit
    };
    let rank = |state| {
        [State::Healthy, State::Degraded, State::Unhealthy, State::Stuck]
            .iter()
            .position(|known| *known == state)
            .unwrap()
    };
    for _ in 0..200 {
        let calm = 1 + chance(40);
        let mut seen = running();
        let states = states((0..400).map(|_| {
            if chance(calm) == 0 {
                seen = Observations {
                    oldest_request: Some(at(chance(400))),
                    success_rate: Some(chance(101) as f64 / 100.0),
                    judged: chance(20),
                    p95: Some(chance(30) as f64 / 10.0),
                    ..running()
                };
            }
            seen.clone()
        }));
        let mut worse = 0;
        for (second, pair) in states.windows(2).enumerate() {
            if rank(pair[1]) < rank(pair[0]) {
                assert!(second + 1 - worse >= 30, "better after {} s", second + 1 - worse);
            } else if rank(pair[1]) > rank(pair[0]) {
                worse = second + 1;
            }
        }
    }
}

#[test]
fn an_agent_that_was_lost_is_watched_for_a_while() {
    let (mut health, policy) = (Health::default(), policy());
    let lost = Presence::Lost("killed by signal 9".into());
    let back = |uptime| Observations { presence: Presence::Running(at(uptime)), ..running() };
    assert_eq!(health.judge(&back(60), &policy, at(0)).state, State::Healthy);
    assert_eq!(
        health.judge(&Observations { presence: lost, ..running() }, &policy, at(1)).state,
        State::Lost
    );
    let judged = health.judge(&back(5), &policy, at(7)).clone();
    assert_eq!(judged.state, State::Starting);
    assert_eq!(judged.reason, "back for 5.0 s; before: killed by signal 9");
    assert_eq!(health.judge(&back(30), &policy, at(32)).state, State::Healthy);
    // One that was stopped on purpose is not.
    health.judge(&Observations { presence: Presence::Stopped, ..running() }, &policy, at(33));
    assert_eq!(health.judge(&back(1), &policy, at(35)).state, State::Healthy);
}

#[test]
fn all_that_is_wrong_is_told_the_worst_first() {
    let seen = Observations {
        oldest_request: Some(at(400)),
        in_flight: 3,
        success_rate: Some(0.2),
        p95: Some(3.0),
        ..running()
    };
    assert_state(
        &seen,
        State::Stuck,
        "3 requests in flight, the oldest for 6m 40s, over 5m; 80.0 % of the last 100 requests failed, \
         limit 50.0 %; p95 3.000 s, over 2 s",
    );
}
