//! Accounts: what a group of processes, or an agent's tree, has used in all and holds now.
//!
//! The one place where a process's own counters become counters that never go backwards and never
//! jump: only the growth since a process was last counted is added, and what was added stays when
//! the process exits. Pure; must not know how processes are found or what an account stands for.

use super::stat::{Pair, Stat, State};
use std::collections::HashMap;

/// The counters of a process, or a sum of them. What could not be read is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Clock ticks in user and in system mode.
    pub(super) cpu_ticks: Pair,
    /// Minor and major page faults.
    pub(super) faults: Pair,
    /// Voluntary and involuntary context switches.
    pub(super) switches: Option<Pair>,
    /// Bytes read from and written to storage.
    pub(super) io: Option<Pair>,
}

impl Counters {
    /// Where every process starts.
    const START: Self =
        Self { cpu_ticks: [0; 2], faults: [0; 2], switches: Some([0; 2]), io: Some([0; 2]) };

    fn since(self, before: Self) -> Self {
        Self {
            cpu_ticks: growth(self.cpu_ticks, before.cpu_ticks),
            faults: growth(self.faults, before.faults),
            switches: self.switches.map(|now| growth(now, before.switches.unwrap_or(now))),
            io: self.io.map(|now| growth(now, before.io.unwrap_or(now))),
        }
    }

    fn add(&mut self, more: Self) {
        self.cpu_ticks = sum(self.cpu_ticks, more.cpu_ticks);
        self.faults = sum(self.faults, more.faults);
        self.switches = add_known(self.switches, more.switches, sum);
        self.io = add_known(self.io, more.io, sum);
    }
}

fn growth(now: Pair, before: Pair) -> Pair {
    let ([a, b], [c, d]) = (now, before);
    [a.saturating_sub(c), b.saturating_sub(d)]
}

/// The sums of each.
pub(super) fn sum(left: Pair, right: Pair) -> Pair {
    let ([a, b], [c, d]) = (left, right);
    [a.saturating_add(c), b.saturating_add(d)]
}

/// The sum of what is known; `None` only where neither is.
fn add_known<T>(left: Option<T>, right: Option<T>, add: fn(T, T) -> T) -> Option<T> {
    match (left, right) {
        (Some(left), Some(right)) => Some(add(left, right)),
        (left, right) => left.or(right),
    }
}

/// How many threads are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct States {
    pub(super) running: u64,
    pub(super) sleeping: u64,
    pub(super) waiting: u64,
    pub(super) zombie: u64,
    pub(super) other: u64,
}

impl States {
    /// Of one thread.
    pub(super) fn of(state: State) -> Self {
        let mut states = Self::default();
        states.add(state);
        states
    }

    /// One thread more.
    pub(super) fn add(&mut self, state: State) {
        *match state {
            State::Running => &mut self.running,
            State::Sleeping => &mut self.sleeping,
            State::Waiting => &mut self.waiting,
            State::Zombie => &mut self.zombie,
            State::Other => &mut self.other,
        } += 1;
    }

    fn add_all(&mut self, more: Self) {
        self.running += more.running;
        self.sleeping += more.sleeping;
        self.waiting += more.waiting;
        self.zombie += more.zombie;
        self.other += more.other;
    }
}

/// One process as it was read at one scan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) stat: Stat,
    /// Of all threads that were read; else of the main thread.
    pub(super) states: States,
    pub(super) swapped_bytes: Option<u64>,
    /// Voluntary and involuntary context switches of all threads.
    pub(super) switches: Option<Pair>,
    /// Bytes read from and written to storage.
    pub(super) io: Option<Pair>,
    pub(super) open_fds: Option<u64>,
    pub(super) fd_limit: Option<u64>,
    /// Bytes in memory and swapped out, of which each page is divided by those who share it.
    pub(super) proportional: Option<Pair>,
}

impl Reading {
    /// With nothing but what `stat` has.
    pub(super) fn of(stat: Stat) -> Self {
        Self {
            stat,
            states: States::of(stat.state),
            swapped_bytes: None,
            switches: None,
            io: None,
            open_fds: None,
            fd_limit: None,
            proportional: None,
        }
    }

    fn counters(&self) -> Counters {
        Counters {
            cpu_ticks: self.stat.cpu_ticks,
            faults: self.stat.faults,
            switches: self.switches,
            io: self.io,
        }
    }
}

/// What the members hold at this scan. What could be read of no member is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Holdings {
    pub(super) processes: u64,
    pub(super) threads: u64,
    pub(super) states: States,
    pub(super) resident_pages: u64,
    pub(super) virtual_bytes: u64,
    pub(super) swapped_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    /// The highest share of its limit of open files that any member has used.
    pub(super) worst_fd_ratio: Option<f64>,
    /// Bytes in memory and swapped out, of which each page is divided by those who share it.
    pub(super) proportional: Option<Pair>,
    /// Clock ticks from boot to the start of the oldest member.
    pub(super) oldest_start: Option<u64>,
}

impl Holdings {
    fn add(&mut self, process: &Reading) {
        let stat = &process.stat;
        self.processes += 1;
        self.threads = self.threads.saturating_add(stat.threads);
        self.states.add_all(process.states);
        self.resident_pages = self.resident_pages.saturating_add(stat.resident_pages);
        self.virtual_bytes = self.virtual_bytes.saturating_add(stat.virtual_bytes);
        self.swapped_bytes =
            add_known(self.swapped_bytes, process.swapped_bytes, u64::saturating_add);
        self.open_fds = add_known(self.open_fds, process.open_fds, u64::saturating_add);
        let ratio = match (process.open_fds, process.fd_limit) {
            (Some(open), Some(limit)) if limit > 0 => Some(open as f64 / limit as f64),
            _ => None,
        };
        self.worst_fd_ratio = add_known(self.worst_fd_ratio, ratio, f64::max);
        self.proportional = add_known(self.proportional, process.proportional, sum);
        self.oldest_start = add_known(self.oldest_start, Some(stat.start_ticks), u64::min);
    }
}

/// One group's or agent's account.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) used: Counters,
    pub(super) held: Holdings,
    /// Of its members' threads, by their names, where threads are counted.
    pub(super) threads: Accounts,
}

/// How much of a process has been counted, wherever that went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted(Option<Counters>);

impl Account {
    /// Counts a member: what it holds, and what it has used since it was last counted.
    ///
    /// One that was never counted before is counted `from_start`, or else from now on. A counter
    /// that becomes readable later counts from then on.
    pub(super) fn count(&mut self, process: &Reading, counted: &mut Counted, from_start: bool) {
        let now = process.counters();
        let before = counted.0.unwrap_or(if from_start { Counters::START } else { now });
        self.used.add(now.since(before));
        counted.0 = Some(Counters {
            switches: now.switches.or(counted.0.and_then(|last| last.switches)),
            io: now.io.or(counted.0.and_then(|last| last.io)),
            ..now
        });
        self.held.add(process);
    }
}

/// Accounts by name. They are never closed, so that no counter goes backwards; their number is
/// bounded instead.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    list: Vec<Account>,
    by_name: HashMap<String, usize>,
}

impl Accounts {
    /// All of them, in the order they were opened.
    pub(super) fn list(&self) -> &[Account] {
        &self.list
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Account> {
        self.list.get_mut(index)
    }

    /// The index of the account of this name, opened if there are fewer than `limit`.
    pub(super) fn find_or_open(&mut self, name: &str, limit: usize) -> Option<usize> {
        if let Some(&index) = self.by_name.get(name) {
            return Some(index);
        }
        let index = self.list.len();
        if index >= limit {
            return None;
        }
        let (used, held, threads) = Default::default();
        let account = Account { name: name.to_owned(), used, held, threads };
        self.by_name.insert(account.name.clone(), index);
        self.list.push(account);
        Some(index)
    }

    /// Forgets what members held: before they are counted anew.
    pub(super) fn begin(&mut self) {
        for account in &mut self.list {
            account.held = Holdings::default();
            account.threads.begin();
        }
    }
}
