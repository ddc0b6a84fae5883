//! Threads of groups: those of one name in one group share an account of their own.
//!
//! Pure. Must not know how threads are read, nor how a process comes into its group.

use super::account::{Account, Accounts, Counted, Reading};
use super::group::OVERFLOW;
use std::collections::{BTreeMap, HashMap};

/// A thread as it was read at one scan.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    /// The process that it is of.
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) name: String,
    /// What is its own: of what its process has as a whole, nothing is in it.
    pub(super) reading: Reading,
    /// The kernel's function that it waits in, if it waits and that can be seen.
    pub(super) waits_in: Option<String>,
}

#[derive(Debug)]
struct Known {
    met: u64,
    start_ticks: u64,
    counted: Counted,
}

/// What is known of threads from scan to scan.
#[derive(Debug)]
pub(super) struct Threads {
    limit: usize,
    known: HashMap<u32, Known>,
    /// How many threads wait in each function of the kernel, by the index of their group.
    waiting: BTreeMap<(usize, String), u64>,
    names: usize,
    /// How often a thread was counted under the name `other` for want of a place.
    pub(super) overflowed: u64,
}

impl Threads {
    /// Knows none. There will be accounts for as many names as `limit`, in all groups together.
    pub(super) fn new(limit: usize) -> Self {
        let (known, waiting) = (HashMap::new(), BTreeMap::new());
        Self { limit, known, waiting, names: 0, overflowed: 0 }
    }

    /// Counts the threads that a scan has met, each in the group that `group_of` its process is.
    /// `last` is when the scan before began, in clock ticks from boot.
    pub(super) fn count(
        &mut self,
        threads: &[Thread],
        scan: u64,
        last: Option<u64>,
        groups: &mut Accounts,
        group_of: impl Fn(u32) -> Option<usize>,
    ) {
        self.waiting.clear();
        for thread in threads {
            let Some(index) = group_of(thread.pid) else { continue };
            let Some(group) = groups.get_mut(index) else { continue };
            let Some(account) = self.account(group, &thread.name) else { continue };
            let start_ticks = thread.reading.stat.start_ticks;
            let unknown = || Known { met: scan, start_ticks, counted: Counted::default() };
            let known = self.known.entry(thread.tid).or_insert_with(unknown);
            if known.start_ticks != start_ticks {
                *known = unknown();
            }
            known.met = scan;
            let new = last.is_none_or(|last| start_ticks >= last);
            account.count(&thread.reading, &mut known.counted, new);
            if let Some(function) = &thread.waits_in {
                *self.waiting.entry((index, function.clone())).or_default() += 1;
            }
        }
        self.known.retain(|_, known| known.met == scan);
    }

    /// The account of a name in a group.
    fn account<'g>(&mut self, group: &'g mut Account, name: &str) -> Option<&'g mut Account> {
        let before = group.threads.list().len();
        let limit = if self.names < self.limit { usize::MAX } else { before };
        let found = group.threads.find_or_open(name, limit);
        self.names += group.threads.list().len() - before;
        let index = found.or_else(|| {
            self.overflowed += 1;
            group.threads.find_or_open(OVERFLOW, usize::MAX)
        })?;
        group.threads.get_mut(index)
    }

    /// How many threads wait in which function of the kernel, by the index of their group.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (usize, &str, u64)> {
        self.waiting.iter().map(|((group, function), count)| (*group, function.as_str(), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::stat::{Stat, State};
    use super::*;

    /// Thread, start, name, processor ticks; all of one process.
    fn thread((tid, start_ticks, name, ticks): (u32, u64, &str, u64)) -> Thread {
        let stat = Stat {
            state: State::Sleeping,
            parent: 1,
            forked: false,
            faults: [ticks, 0],
            cpu_ticks: [ticks, 0],
            threads: 1,
            start_ticks,
            virtual_bytes: 0,
            resident_pages: 0,
        };
        Thread {
            pid: 7,
            tid,
            name: name.to_owned(),
            reading: Reading::of(stat),
            waits_in: Some("do_wait".to_owned()),
        }
    }

    struct World {
        threads: Threads,
        groups: Accounts,
        scan: u64,
    }

    impl World {
        fn new(limit: usize) -> Self {
            let mut groups = Accounts::default();
            groups.find_or_open("g", 1);
            Self { threads: Threads::new(limit), groups, scan: 0 }
        }

        /// Name, number of threads and ticks of each account, after a scan at `100 * scan`.
        fn scan(&mut self, met: &[(u32, u64, &str, u64)]) -> Vec<(&str, u64, u64)> {
            let last = (self.scan > 0).then_some(100 * self.scan);
            self.scan += 1;
            self.groups.begin();
            let met: Vec<_> = met.iter().copied().map(thread).collect();
            self.threads.count(&met, self.scan, last, &mut self.groups, |_| Some(0));
            let accounts = self.groups.list()[0].threads.list();
            let brief = |it: &'_ Account| (it.held.processes, it.used.cpu_ticks[0]);
            accounts.iter().map(|it| (it.name.as_str(), brief(it).0, brief(it).1)).collect()
        }
    }

    #[test]
    fn threads_of_one_name_are_one_whatever_becomes_of_them() {
        let mut world = World::new(10);
        let seen = world.scan(&[(7, 5, "main", 3), (8, 6, "pool", 10), (9, 6, "pool", 20)]);
        assert_eq!(seen, [("main", 1, 3), ("pool", 2, 30)]);
        // One has ended, one is new, and one has come to be known by another name.
        let seen = world.scan(&[(7, 5, "boss", 4), (9, 6, "pool", 21), (10, 150, "pool", 2)]);
        assert_eq!(seen, [("main", 0, 3), ("pool", 2, 33), ("boss", 1, 1)]);
        // The same number, another thread.
        let seen = world.scan(&[(10, 250, "pool", 1)]);
        assert_eq!(seen, [("main", 0, 3), ("pool", 1, 34), ("boss", 0, 1)]);
        assert_eq!(world.threads.waiting().collect::<Vec<_>>(), [(0, "do_wait", 1)]);
    }

    #[test]
    fn names_beyond_the_limit_are_one_and_counted() {
        let mut world = World::new(1);
        let seen = world.scan(&[(7, 5, "a", 1), (8, 5, "b", 2), (9, 5, "c", 4)]);
        assert_eq!(seen, [("a", 1, 1), ("other", 2, 6)]);
        assert_eq!(world.threads.overflowed, 2);
    }
}
