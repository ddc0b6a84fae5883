//! Processes: groups of them by name, in process-exporter's families, and the whole process tree
//! of each agent.
//!
//! In reading order: `stat` parses what the kernel writes about a process, `scan` reads it,
//! `table` knows processes from scan to scan, `account` makes counters that never go backwards;
//! `rule` takes processes for groups, `name` names these, `identity` is what both ask of a process,
//! `group` holds them, `threads` what their threads have used; `families` and `thread_families` emit;
//! [`own`] is the daemon's own `process_*`.
//!
//! This room must not know what an agent is beyond its name and first process, nor about formats.

mod account;
mod families;
mod group;
mod identity;
mod name;
pub mod own;
mod rule;
mod scan;
mod stat;
mod table;
mod thread_families;
mod threads;

#[cfg(test)]
mod scenarios;

use crate::host::root::{KernelFile, Root};
use crate::host::{Error, Pass};
use account::Accounts;
pub use families::{AGENT_FAMILIES, FAMILIES};
use families::{Overflow, Troubles, Units};
use group::Groups;
use identity::Identity;
pub use rule::Rule;
use rustix::time::{ClockId, clock_gettime};
use scan::{Extent, Proc, Scanner, is_gone};
use serde::Deserialize;
use std::sync::Arc;
use table::{Place, Rest, Table, Top};
pub use thread_families::THREAD_FAMILIES;
use threads::{Thread, Threads};

/// Every this many scans, what hardly ever changes is read again: limits of open files and what rules ask
/// for, each process's at a scan of its own, and the boot time, which moves when the clock is set.
const RARELY: u64 = 64;
/// As many agents' process trees are counted as this; agents are given by name from outside.
const MAX_AGENTS: usize = 4096;

/// The section `[processes]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Whether process groups are exported. Agents' process trees are in any case.
    pub enabled: bool,
    /// How many groups there may be. Processes that find no place are counted in the group
    /// `other`.
    pub max_groups: usize,
    /// How many processes are read at each scan: those with the lowest pids. As many threads are
    /// read, for the context switches of processes that have several, and for `threads`.
    pub max_processes: usize,
    /// Rules that name a process's group, tried in order.
    pub groups: Vec<Rule>,
    /// Whether a process that no rule takes is in the group of the nearest ancestor that one takes.
    pub children: bool,
    /// Whether a process that is in no group yet is in that with the name of its command; else it
    /// is in none.
    pub others: bool,
    /// Whether what a group's threads have used is exported by their names.
    pub threads: bool,
    /// How many names of threads there may be, in all groups together. Threads that find no place are
    /// counted under the name `other`.
    pub max_thread_names: usize,
    /// Whether memory is exported in which each page is divided by the processes that share it.
    pub proportional_memory: bool,
}

/// The first process of an agent, whose descendants are counted with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRoot {
    /// The agent's name. Several processes may have the same; their trees are counted together.
    pub name: String,
    /// The process.
    pub pid: u32,
    /// Its start, in clock ticks from boot (field 22 of `/proc/<pid>/stat`), where it is known:
    /// then no other process that comes to have the same pid is taken for it.
    pub start_time: Option<u64>,
}

/// The processes of the machine, known from scan to scan.
#[derive(Debug)]
pub struct Processes {
    options: Options,
    scanner: Scanner,
    table: Table,
    groups: Groups,
    threads: Threads,
    /// The threads that a scan has met.
    met: Vec<Thread>,
    agents: Accounts,
    boot: KernelFile,
    units: Units,
    troubles: Troubles,
    overflow: Overflow,
    pids: Vec<u32>,
    tops: Vec<Top>,
    /// Whether it has been said that some is kept from this user.
    told_denied: bool,
}

/// What a scan reads of a process that it meets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Who it is and whose child.
    Kinship,
    /// What is counted for an agent.
    Usage,
    /// All that is counted, and its group.
    Group,
}

impl Processes {
    /// Knows no process yet; nothing is read.
    #[must_use]
    pub fn new(root: &Arc<Root>, options: Options) -> Self {
        Self {
            scanner: Scanner::new(root.procfs.clone()),
            table: Table::default(),
            groups: Groups::new(options.groups.clone(), options.max_groups),
            threads: Threads::new(options.max_thread_names),
            met: Vec::new(),
            agents: Accounts::default(),
            boot: root.proc("stat"),
            units: Units {
                ticks: rustix::param::clock_ticks_per_second() as f64,
                page: rustix::param::page_size() as f64,
                boot: None,
            },
            troubles: Troubles::default(),
            overflow: Overflow::default(),
            pids: Vec::new(),
            tops: Vec::new(),
            told_denied: false,
            options,
        }
    }

    /// Scans the processes and emits the trees of `agents`, and the groups if `groups` is set and
    /// the options enable them. Without either, nothing is scanned.
    ///
    /// An agent that is not given any more keeps its counters, and its processes that live on stay
    /// its own.
    ///
    /// # Errors
    /// That the processes could not be listed.
    pub fn collect(
        &mut self,
        pass: &mut Pass<'_>,
        agents: &[AgentRoot],
        groups: bool,
    ) -> Result<(), Error> {
        let groups = groups && self.options.enabled;
        self.note_tops(agents);
        if groups || !self.tops.is_empty() || self.table.has_members() {
            let scanned = self.scan(groups, pass.buffer);
            self.troubles.scans += u64::from(scanned.is_err());
            scanned?;
        } else {
            self.agents.begin();
        }
        if groups {
            let groups = self.groups.accounts.list();
            families::emit_groups(
                pass.batch,
                groups,
                &self.units,
                self.options.proportional_memory,
            );
            if self.options.threads {
                thread_families::emit(pass.batch, groups, &self.threads, &self.units);
            }
            families::emit_troubles(pass.batch, &self.troubles);
        }
        families::emit_agents(pass.batch, self.agents.list(), &self.units);
        self.overflow.groups = self.groups.overflowed;
        self.overflow.thread_names = self.threads.overflowed;
        families::emit_overflow(pass.batch, &self.overflow);
        Ok(())
    }

    fn note_tops(&mut self, agents: &[AgentRoot]) {
        self.tops.clear();
        for agent in agents {
            match self.agents.find_or_open(&agent.name, MAX_AGENTS) {
                Some(account) => {
                    self.tops.push(Top { account, pid: agent.pid, start_ticks: agent.start_time })
                }
                None => self.overflow.agents += 1,
            }
        }
    }

    fn scan(&mut self, groups: bool, buffer: &mut Vec<u8>) -> Result<(), Error> {
        let began = self.ticks_since_boot();
        self.met.clear();
        self.table.begin();
        if self.units.boot.is_none() || self.table.scan().is_multiple_of(RARELY) {
            let text = self.boot.read_if_there(buffer);
            self.units.boot = text.and_then(stat::parse_boot_time).map(|seconds| seconds as f64);
        }
        let mut pids = std::mem::take(&mut self.pids);
        let scanned = self.scan_all(&mut pids, groups, buffer);
        self.pids = pids;
        scanned?;
        self.table.count_agents(&mut self.agents);
        if groups {
            let Options { children, others, .. } = self.options;
            self.table.settle(&self.pids, Rest { children, others }, &mut self.groups);
            let last = self.table.count_groups(&mut self.groups.accounts, began);
            let (scan, table) = (self.table.scan(), &self.table);
            let group_of = |pid| table.group_of(pid);
            self.threads.count(&self.met, scan, last, &mut self.groups.accounts, group_of);
        }
        self.table.end();
        self.tell_denied();
        Ok(())
    }

    /// Says once what the daemon's user is not let read.
    fn tell_denied(&mut self) {
        if self.scanner.is_denied && !std::mem::replace(&mut self.told_denied, true) {
            tracing::info!(
                "bytes read and written, memory in parts (before Linux 6.2 open files, too) of other \
                 users' processes are left out: they take CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, \
                 which musterd.service has not by default"
            );
        }
    }

    fn scan_all(
        &mut self,
        pids: &mut Vec<u32>,
        groups: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let proc = self.scanner.list(self.options.max_processes, pids)?;
        let surplus = pids.len().saturating_sub(self.options.max_processes);
        self.overflow.processes += surplus as u64;
        pids.truncate(self.options.max_processes);
        let depth = if groups { Depth::Group } else { Depth::Kinship };
        for &pid in &*pids {
            self.visit(&proc, pid, depth, buffer);
        }
        self.table.trace(&self.tops, pids);
        for &pid in &*pids {
            if self.table.is_unread_member(pid) {
                self.visit(&proc, pid, Depth::Usage, buffer);
            }
        }
        Ok(())
    }

    /// Reads one process. One that has exited is passed over; one that cannot be read is counted.
    fn visit(&mut self, proc: &Proc, pid: u32, depth: Depth, buffer: &mut Vec<u8>) {
        if let Err(error) = self.read(proc, pid, depth, buffer) {
            self.troubles.unread += u64::from(!is_gone(error));
        }
    }

    fn read(
        &mut self,
        proc: &Proc,
        pid: u32,
        depth: Depth,
        buffer: &mut Vec<u8>,
    ) -> rustix::io::Result<()> {
        let folder = proc.folder(pid)?;
        let text = folder.read(c"stat", buffer)?;
        let (comm, stat) = stat::parse_stat(text).ok_or(rustix::io::Errno::BADMSG)?;
        let scan = self.table.scan();
        let known = self.table.meet(pid, comm, stat);
        let in_group = depth == Depth::Group;
        let is_due = (scan + u64::from(pid)).is_multiple_of(RARELY);
        if is_due && self.groups.has_rules() {
            known.ask_again();
        }
        if in_group && known.place == Place::Unknown {
            let found = self.groups.by_rule(&Identity::new(pid, &known.comm, &folder));
            known.place = match found {
                Some(group) => Place::ByRule(group),
                None if self.options.children || self.options.others => Place::NotByRule,
                None => Place::Nowhere,
            };
        }
        if depth == Depth::Kinship || in_group && known.place == Place::Nowhere {
            return Ok(());
        }
        let Options { threads, proportional_memory: proportional, .. } = self.options;
        let extent = in_group
            .then(|| Extent { threads: threads.then_some((pid, &mut self.met)), proportional });
        let mut reading = self.scanner.read_rest(&folder, stat, extent, buffer)?;
        let partial = reading.io.is_none() || reading.open_fds.is_none();
        let lacks = reading.switches.is_none() || proportional && reading.proportional.is_none();
        let partial = partial || in_group && lacks;
        self.troubles.partial += u64::from(partial);
        if in_group {
            if known.fd_limit.is_none() || is_due {
                known.fd_limit = folder.read(c"limits", buffer).ok().and_then(stat::parse_fd_limit);
            }
            reading.fd_limit = known.fd_limit;
        }
        known.reading = Some(reading);
        Ok(())
    }

    fn ticks_since_boot(&self) -> u64 {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = now.tv_sec as f64 + now.tv_nsec as f64 / 1e9;
        (seconds * self.units.ticks) as u64
    }
}
