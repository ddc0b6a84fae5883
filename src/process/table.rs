//! The processes known from one scan to the next, and the settling of their accounts.
//!
//! Pure: told of each process that a scan meets, it knows which are the same as before (pid and
//! start time), which run another program than before, and to whose tree each belongs. Must not
//! know how processes are read.

use super::account::{Accounts, Counted, Reading};
use super::group::Groups;
use super::stat::Stat;
use std::collections::HashMap;

/// The top of an agent's process tree, with the index of the agent's account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Top {
    pub(super) account: usize,
    pub(super) pid: u32,
    /// Clock ticks from boot to its start, where they are known.
    pub(super) start_ticks: Option<u64>,
}

/// In which group a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// The rules are to be asked: the process is new, or may be another than before.
    #[default]
    Unknown,
    /// No rule takes it; its ancestors are still to be asked.
    NotByRule,
    /// In the group that a rule has named for it or for an ancestor.
    ByRule(usize),
    /// In the group of its command.
    ByCommand(usize),
    /// In none.
    Nowhere,
}

impl Place {
    fn group(self) -> Option<usize> {
        match self {
            Self::ByRule(group) | Self::ByCommand(group) => Some(group),
            Self::Unknown | Self::NotByRule | Self::Nowhere => None,
        }
    }
}

/// Where processes belong that no rule takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// To the group of the nearest ancestor that a rule takes, or where they were by that or by a rule before.
    pub(super) children: bool,
    /// Else to the group of their command; otherwise to none.
    pub(super) others: bool,
}

/// A process that a scan has met.
#[derive(Debug)]
pub(super) struct Known {
    /// The scan that met it last.
    met: u64,
    stat: Stat,
    pub(super) comm: Box<[u8]>,
    pub(super) place: Place,
    /// The group that it was in by a rule when it was last to be asked again.
    former: Option<usize>,
    counted_in_group: Counted,
    /// The agent in whose tree it was found; kept when it is re-parented.
    agent: Option<usize>,
    counted_for_agent: Counted,
    /// Whether `agent` is that of this scan.
    traced: bool,
    /// All that was read of it at this scan.
    pub(super) reading: Option<Reading>,
    /// Its limit of open files as it was read last.
    pub(super) fd_limit: Option<u64>,
}

impl Known {
    fn new(met: u64, comm: &[u8], stat: Stat) -> Self {
        Self {
            met,
            stat,
            comm: comm.into(),
            place: Place::Unknown,
            former: None,
            counted_in_group: Counted::default(),
            agent: None,
            counted_for_agent: Counted::default(),
            traced: false,
            reading: None,
            fd_limit: None,
        }
    }

    /// Has the rules asked again.
    pub(super) fn ask_again(&mut self) {
        if let Place::ByRule(group) = self.place {
            self.former = Some(group);
        }
        self.place = Place::Unknown;
    }
}

/// All known processes.
#[derive(Debug, Default)]
pub(super) struct Table {
    known: HashMap<u32, Known>,
    scan: u64,
    /// When the last scan that counted groups began, in clock ticks from boot.
    grouped_at: Option<u64>,
    /// A process and its ancestors, while they are traced.
    path: Vec<u32>,
}

impl Table {
    /// Begins a scan.
    pub(super) fn begin(&mut self) {
        self.scan += 1;
    }

    /// The number of the scan, from 1.
    pub(super) fn scan(&self) -> u64 {
        self.scan
    }

    /// Notes that the scan has met a process.
    pub(super) fn meet(&mut self, pid: u32, comm: &[u8], stat: Stat) -> &mut Known {
        let scan = self.scan;
        let known = self.known.entry(pid).or_insert_with(|| Known::new(scan, comm, stat));
        if known.stat.start_ticks != stat.start_ticks {
            *known = Known::new(scan, comm, stat);
        }
        if *known.comm != *comm {
            known.comm = comm.into();
            known.ask_again();
        }
        if known.stat.forked && !stat.forked {
            known.ask_again();
        }
        known.met = scan;
        known.stat = stat;
        known.traced = false;
        known.reading = None;
        known
    }

    /// Whether any process known from the scan before is in an agent's tree.
    pub(super) fn has_members(&self) -> bool {
        self.known.values().any(|known| known.agent.is_some())
    }

    /// Finds, for each of `pids`, the agent in whose tree it is: the nearest top among itself and
    /// its ancestors, or else the agent it belonged to before.
    pub(super) fn trace(&mut self, tops: &[Top], pids: &[u32]) {
        for top in tops {
            let same = |known: &&mut Known| {
                known.met == self.scan
                    && top.start_ticks.is_none_or(|ticks| ticks == known.stat.start_ticks)
            };
            if let Some(known) = self.known.get_mut(&top.pid).filter(same) {
                known.agent = Some(top.account);
                known.traced = true;
            }
        }
        for &pid in pids {
            self.trace_one(pid);
        }
    }

    fn trace_one(&mut self, pid: u32) {
        let scan = self.scan;
        let (mut at, mut child_start) = (pid, u64::MAX);
        let mut inherited = loop {
            // A parent is older than its child, or it is another process with the pid of one.
            let older =
                |known: &&mut Known| known.met == scan && known.stat.start_ticks <= child_start;
            let Some(known) = self.known.get_mut(&at).filter(older) else { break None };
            if known.traced {
                break known.agent;
            }
            // Marked on the way up, so that a ring of parents, were there ever one, has an end.
            known.traced = true;
            child_start = known.stat.start_ticks;
            self.path.push(at);
            at = known.stat.parent;
        };
        while let Some(pid) = self.path.pop() {
            if let Some(known) = self.known.get_mut(&pid) {
                known.agent = inherited.or(known.agent);
                inherited = known.agent;
            }
        }
    }

    /// Finds a place for each of `pids` that no rule takes.
    pub(super) fn settle(&mut self, pids: &[u32], rest: Rest, groups: &mut Groups) {
        for &pid in pids {
            if self.known.get(&pid).is_none_or(|known| known.place != Place::NotByRule) {
                continue;
            }
            let inherited = if rest.children { self.inherited(pid) } else { None };
            let Some(known) = self.known.get_mut(&pid) else { continue };
            known.place = match inherited.or(known.former.filter(|_| rest.children)) {
                Some(group) => Place::ByRule(group),
                None if rest.others => {
                    let group = groups.by_name(&String::from_utf8_lossy(&known.comm));
                    group.map_or(Place::Nowhere, Place::ByCommand)
                }
                None => Place::Nowhere,
            };
        }
    }

    /// The group of the nearest ancestor that has one by a rule: one that is in the group of its
    /// command, or in none, hands nothing on.
    fn inherited(&self, pid: u32) -> Option<usize> {
        let mut known = self.known.get(&pid)?;
        // No line of ancestors is longer, so that a ring of parents, were there ever one, has an end.
        for _ in 0..self.known.len() {
            match known.place {
                Place::ByRule(group) => return Some(group),
                Place::NotByRule => {}
                Place::Unknown | Place::ByCommand(_) | Place::Nowhere => return None,
            }
            let parent = self.known.get(&known.stat.parent)?;
            // A parent is older than its child, or it is another process with the pid of one.
            if parent.met != self.scan || parent.stat.start_ticks > known.stat.start_ticks {
                return None;
            }
            known = parent;
        }
        None
    }

    /// Whether a process is in an agent's tree, and this scan has met it without reading it.
    pub(super) fn is_unread_member(&self, pid: u32) -> bool {
        self.known.get(&pid).is_some_and(|known| known.agent.is_some() && known.reading.is_none())
    }

    /// Counts every process that was read at this scan for its agent.
    pub(super) fn count_agents(&mut self, agents: &mut Accounts) {
        agents.begin();
        for known in self.known.values_mut().filter(|known| known.met == self.scan) {
            let account = known.agent.and_then(|index| agents.get_mut(index));
            if let (Some(account), Some(reading)) = (account, &known.reading) {
                // All that an agent's process ever used, it used for the agent.
                account.count(reading, &mut known.counted_for_agent, true);
            }
        }
    }

    /// The group of a process that this scan has met.
    pub(super) fn group_of(&self, pid: u32) -> Option<usize> {
        self.known.get(&pid)?.place.group()
    }

    /// Counts every process that was read at this scan in its group. `began` is when the scan
    /// began, in clock ticks from boot; gives when the one before began that counted groups.
    pub(super) fn count_groups(&mut self, groups: &mut Accounts, began: u64) -> Option<u64> {
        groups.begin();
        for known in self.known.values_mut().filter(|known| known.met == self.scan) {
            let account = known.place.group().and_then(|index| groups.get_mut(index));
            if let (Some(account), Some(reading)) = (account, &known.reading) {
                // One that was there at the scan before, and yet not counted (there were too many,
                // or it could not be read), would make its group's counters jump.
                let new = self.grouped_at.is_none_or(|last| known.stat.start_ticks >= last);
                account.count(reading, &mut known.counted_in_group, new);
            }
        }
        self.grouped_at.replace(began)
    }

    /// Ends a scan: forgets the processes that it has not met.
    pub(super) fn end(&mut self) {
        self.known.retain(|_, known| known.met == self.scan);
    }
}
