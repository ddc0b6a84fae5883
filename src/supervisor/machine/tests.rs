//! Every pair of state and event, against `table.txt`; and what holds along any path.

use super::*;
use crate::supervisor::policy::Restart;

const TABLE: &str = include_str!("table.txt");

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// The times of the table: a grace of 20 s and a wait of 4 s, at 1000 s.
const NOW: Duration = Duration::from_secs(1000);

fn policy(restart: Restart) -> Policy {
    Policy {
        restart,
        backoff_initial: seconds(4),
        backoff_max: seconds(30),
        backoff_reset: seconds(60),
        start_limit: 3,
        start_interval: seconds(100),
        stop_grace: seconds(20),
    }
}

/// An earlier start and a restart, to be seen to be kept or forgotten.
fn history() -> History {
    History { starts: [seconds(990)].into(), failures: 1 }
}

fn phases() -> Vec<Phase> {
    let (at, stop, restart) = (NOW, Then::Stop, Then::Restart);
    let nexts = [
        Next::Asked(stop),
        Next::Asked(restart),
        Next::Backoff(seconds(999)),
        Next::Backoff(seconds(1008)),
        Next::GiveUp,
        Next::Finish,
    ];
    let clearing = |killed| nexts.map(|next| Phase::Clearing { until: at, killed, next });
    let mut phases = vec![
        Phase::Stopped,
        Phase::Starting { then: None },
        Phase::Starting { then: Some(stop) },
        Phase::Starting { then: Some(restart) },
        Phase::Running { since: seconds(990) },
        Phase::Ending { since: seconds(990), kill_at: at },
        Phase::Stopping { kill_at: at, then: stop },
        Phase::Stopping { kill_at: at, then: restart },
        Phase::Killing { then: stop },
        Phase::Killing { then: restart },
    ];
    phases.extend(clearing(false));
    phases.extend(clearing(true));
    phases.extend([Phase::Backoff { until: at }, Phase::Failed, Phase::Finished]);
    phases
}

/// Each event, its name in the table, and when it happens.
fn events() -> [(&'static str, Event, Duration); 14] {
    [
        ("start", Event::Start, NOW),
        ("stop", Event::Stop, NOW),
        ("restart", Event::Restart, NOW),
        ("reload, changed", Event::Reload { changed: true }, NOW),
        ("reload, same", Event::Reload { changed: false }, NOW),
        ("spawned", Event::Spawned, NOW),
        ("spawn failed", Event::SpawnFailed, NOW),
        ("hindered", Event::Hindered, NOW),
        ("ending", Event::Ending { asked: false }, NOW),
        ("ending, asked", Event::Ending { asked: true }, NOW),
        ("exited", Event::Exited(Exit::Code(1)), NOW),
        ("emptied", Event::Emptied, NOW),
        ("timer, too early", Event::Timer, seconds(999)),
        ("timer, due", Event::Timer, NOW),
    ]
}

fn asked(then: Then) -> &'static str {
    match then {
        Then::Stop => "stop",
        Then::Restart => "restart",
    }
}

fn show_phase(phase: Phase) -> String {
    let next = |next| match next {
        Next::Asked(then) => asked(then).to_owned(),
        Next::Backoff(until) => format!("start at {}", until.as_secs()),
        Next::GiveUp => "give up".to_owned(),
        Next::Finish => "finish".to_owned(),
    };
    let word = phase.text();
    match phase {
        Phase::Stopped | Phase::Failed | Phase::Finished => word.to_owned(),
        Phase::Starting { then: None } => word.to_owned(),
        Phase::Starting { then: Some(then) } => format!("{word}, then {}", asked(then)),
        Phase::Running { since } => format!("{word} since {}", since.as_secs()),
        Phase::Ending { since, kill_at } => {
            format!("ending since {}, kill at {}", since.as_secs(), kill_at.as_secs())
        }
        Phase::Stopping { kill_at, then } => {
            format!("{word}, kill at {}, then {}", kill_at.as_secs(), asked(then))
        }
        Phase::Killing { then } => format!("killing, then {}", asked(then)),
        Phase::Clearing { until, killed: false, next: then } => {
            format!("{word}, kill at {}, then {}", until.as_secs(), next(then))
        }
        Phase::Clearing { until, killed: true, next: then } => {
            format!("{word}, killed, until {}, then {}", until.as_secs(), next(then))
        }
        Phase::Backoff { until } => format!("{word} until {}", until.as_secs()),
    }
}

fn show_action(action: &Action) -> String {
    match action {
        Action::Spawn => "SPAWN".to_owned(),
        Action::SignalGroup(Signal::Term) => "TERM".to_owned(),
        Action::SignalGroup(Signal::Kill) => "KILL".to_owned(),
        Action::CallOff => "call off".to_owned(),
        Action::Started => "tell started".to_owned(),
        Action::Exited { reason, restarting_in: None } => format!("tell {}", reason.text()),
        Action::Exited { reason, restarting_in: Some(wait) } => {
            format!("tell {} and back in {}", reason.text(), wait.as_secs())
        }
        Action::Abandoned => "tell abandoned".to_owned(),
        Action::Stopped => "tell stopped".to_owned(),
        Action::GaveUp => "tell gave up".to_owned(),
    }
}

fn show_outcome(before: &State, after: &State, actions: &[Action]) -> String {
    if before == after && actions.is_empty() {
        return "=".to_owned();
    }
    let mut text = show_phase(after.phase);
    if after.history.failures == 0 {
        text += ", all forgotten";
    }
    let shown: Vec<_> = actions.iter().map(show_action).collect();
    if !shown.is_empty() {
        text += &format!(" | {}", shown.join(", "));
    }
    text
}

#[test]
fn every_pair_has_the_outcome_that_the_table_states() {
    let policy = policy(Restart::Always);
    let mut table = String::new();
    for phase in phases() {
        table += &format!("\n{}\n", show_phase(phase));
        for (name, event, now) in events() {
            let before = State { phase, history: history() };
            let (after, actions) = step(&policy, before.clone(), event, now, 1.0);
            let outcome = show_outcome(&before, &after, &actions);
            table += &format!("    {name:<17} {outcome}\n");
        }
    }
    let (_, stated) = TABLE.split_once("\n\n").unwrap();
    let mut state = "";
    for (stated, seen) in stated.lines().zip(table.trim_start().lines()) {
        state = if stated.starts_with(' ') { state } else { stated };
        assert_eq!(stated, seen, "in the state {state:?}");
    }
    assert_eq!(stated.lines().count(), table.trim_start().lines().count());
}

fn after_exit_with(restart: Restart, exit: Exit) -> Next {
    let running = State { phase: Phase::Running { since: NOW }, history: History::default() };
    let (state, _) = step(&policy(restart), running, Event::Exited(exit), NOW, 1.0);
    match state.phase {
        Phase::Clearing { next, .. } => next,
        phase => panic!("{phase:?}"),
    }
}

#[test]
fn the_policy_decides_which_exits_are_followed_by_a_start() {
    let back = Next::Backoff(NOW + seconds(4));
    let exits = [Exit::Code(0), Exit::Code(3), Exit::Signal(9), Exit::Unknown];
    let expected = [
        (Restart::Always, [back, back, back, back]),
        (Restart::OnFailure, [Next::Finish, back, back, back]),
        (Restart::Never, [Next::Finish; 4]),
    ];
    for (restart, nexts) in expected {
        assert_eq!(exits.map(|exit| after_exit_with(restart, exit)), nexts, "{restart:?}");
    }
}

#[test]
fn the_wait_doubles_up_to_the_cap_and_half_of_it_is_chance() {
    let policy = policy(Restart::Always);
    let waits = |jitter| [0, 1, 2, 3, 40, u32::MAX].map(|n| policy.backoff(n, jitter).as_secs());
    assert_eq!(waits(1.0), [4, 8, 16, 30, 30, 30]);
    assert_eq!(waits(0.0), [2, 4, 8, 15, 15, 15]);
    assert_eq!(waits(9.0), waits(1.0));
}

#[test]
fn the_wait_begins_anew_after_a_long_run() {
    let running = |since| State { phase: Phase::Running { since }, history: history() };
    let exited = Event::Exited(Exit::Code(1));
    let failures = |since| {
        let (state, _) = step(&policy(Restart::Always), running(since), exited, NOW, 1.0);
        state.history.failures
    };
    assert_eq!(failures(NOW - seconds(59)), 2);
    assert_eq!(failures(NOW - seconds(60)), 1);
}

#[test]
fn starts_are_limited_within_the_interval_alone() {
    let policy = policy(Restart::Always);
    let starts = |times: &[u64]| History {
        starts: times.iter().copied().map(seconds).collect(),
        failures: 0,
    };
    assert!(!starts(&[901, 950, 999]).allows_start(&policy, NOW));
    assert!(starts(&[900, 950, 999]).allows_start(&policy, NOW));
    assert!(starts(&[950, 999]).allows_start(&policy, NOW));
    let unlimited = Policy { start_limit: 0, ..policy };
    assert!(starts(&[998, 999, 999]).allows_start(&unlimited, NOW));
}

#[test]
fn what_hinders_all_agents_gives_none_of_them_up() {
    for restart in [Restart::Always, Restart::OnFailure, Restart::Never] {
        let policy = policy(restart);
        let (mut state, _) = step(&policy, State::new(), Event::Start, NOW, 1.0);
        let mut now = NOW;
        for _ in 0..20 {
            (state, _) = step(&policy, state, Event::Hindered, now, 0.0);
            let Phase::Backoff { until } = state.phase else { panic!("{state:?}") };
            assert_eq!(until - now, seconds(15), "half of the longest wait, and by chance more");
            now = until;
            (state, _) = step(&policy, state, Event::Timer, now, 0.0);
        }
        assert_eq!(state.history.starts.len(), 1);
    }
}

/// Numbers by xorshift: the same at every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn event(&mut self) -> Event {
        match self.below(14) {
            0 => Event::Start,
            1 => Event::Stop,
            2 => Event::Restart,
            3 => Event::Reload { changed: self.below(2) == 0 },
            4 | 5 => Event::Spawned,
            6 => Event::SpawnFailed,
            7 | 8 => Event::Exited(Exit::Code(1)),
            9 => Event::Emptied,
            10 => Event::Hindered,
            11 => Event::Ending { asked: self.below(2) == 0 },
            _ => Event::Timer,
        }
    }
}

#[test]
fn whatever_happens_the_invariants_hold() {
    for seed in 1..=2000 {
        let mut chance = Chance(seed * 0x9e37_79b9);
        let policy = policy([Restart::Always, Restart::OnFailure][usize::from(seed % 2 == 0)]);
        let mut state = State::new();
        let mut now = Duration::ZERO;
        // Whether a process has been asked for that has not been said to have gone.
        let mut alive = false;
        let mut down = true;
        let mut by_itself: Vec<Duration> = Vec::new();
        for _ in 0..200 {
            now += Duration::from_millis(chance.below(8000));
            let event = chance.event();
            let before = state.clone();
            let jitter = chance.below(1001) as f64 / 1000.0;
            let (after, actions) = step(&policy, state, event, now, jitter);
            let told = format!("seed {seed}: {before:?} and {event:?}: {after:?}, {actions:?}");

            match event {
                Event::Start | Event::Restart => (down, by_itself) = (false, Vec::new()),
                Event::Stop => down = true,
                Event::Ending { asked: true } => {
                    down |= matches!(before.phase, Phase::Running { .. } | Phase::Ending { .. });
                }
                Event::Reload { .. } => by_itself.clear(),
                Event::Exited(_) | Event::SpawnFailed => alive = false,
                Event::Hindered => {
                    alive = false;
                    if matches!(before.phase, Phase::Starting { .. }) {
                        by_itself.pop();
                    }
                }
                _ => {}
            }
            for action in &actions {
                match action {
                    Action::Spawn => {
                        assert!(!alive, "two at a time: {told}");
                        assert!(!down, "up against the operator: {told}");
                        alive = true;
                        by_itself.retain(|start| now - *start < policy.start_interval);
                        by_itself.push(now);
                        assert!(by_itself.len() <= 3, "too many starts: {told}");
                    }
                    Action::Exited { restarting_in: Some(wait), .. } if !wait.is_zero() => {
                        assert!(*wait >= policy.backoff_initial / 2, "too soon: {told}");
                        assert!(*wait <= policy.backoff_max, "too late: {told}");
                    }
                    _ => {}
                }
            }
            if let Phase::Backoff { until } = after.phase {
                assert!(until <= now + policy.backoff_max, "too late: {told}");
            }
            assert!(after.history.starts.len() <= 3, "history grows: {told}");
            state = after;
        }
    }
}
