//! The families of process groups and of agents' process trees, and how accounts become samples.
//!
//! Must not know how accounts are filled.

use super::account::{Account, Holdings};
use crate::metric::{Batch, Family};

const GROUP: &[&str] = &["groupname"];
const AGENT: &[&str] = &["agent"];

const NUM_PROCS: Family = Family::gauge(
    "namedprocess_namegroup_num_procs",
    GROUP,
    "Processes that are in the group now.",
);
const CPU: Family = Family::counter(
    "namedprocess_namegroup_cpu_seconds_total",
    &["groupname", "mode"],
    "Processor time that the group's members, past and present, have used in each mode.",
);
const MEMORY: Family = Family::gauge(
    "namedprocess_namegroup_memory_bytes",
    &["groupname", "memtype"],
    "Memory of the group's members by type; pages that they share count for each of them, but in \
     proportional types for each in part.",
);
const NUM_THREADS: Family =
    Family::gauge("namedprocess_namegroup_num_threads", GROUP, "Threads of the group's members.");
const STATES: Family = Family::gauge(
    "namedprocess_namegroup_states",
    &["groupname", "state"],
    "Threads of the group's members by the state that they are in.",
);
const OPEN_FILEDESC: Family = Family::gauge(
    "namedprocess_namegroup_open_filedesc",
    GROUP,
    "File descriptors that the group's members have open.",
);
const WORST_FD_RATIO: Family = Family::gauge(
    "namedprocess_namegroup_worst_fd_ratio",
    GROUP,
    "Highest share of its limit of open files that any member of the group has in use.",
);
const READ_BYTES: Family = Family::counter(
    "namedprocess_namegroup_read_bytes_total",
    GROUP,
    "Bytes that the group's members have had read from storage.",
);
const WRITE_BYTES: Family = Family::counter(
    "namedprocess_namegroup_write_bytes_total",
    GROUP,
    "Bytes that the group's members have had written to storage.",
);
const OLDEST_START: Family = Family::gauge(
    "namedprocess_namegroup_oldest_start_time_seconds",
    GROUP,
    "When the oldest member of the group started, in seconds since the epoch.",
);
const MAJOR_FAULTS: Family = Family::counter(
    "namedprocess_namegroup_major_page_faults_total",
    GROUP,
    "Page faults of the group's members that had to wait for storage.",
);
const MINOR_FAULTS: Family = Family::counter(
    "namedprocess_namegroup_minor_page_faults_total",
    GROUP,
    "Page faults of the group's members that were met from memory.",
);
const CONTEXT_SWITCHES: Family = Family::counter(
    "namedprocess_namegroup_context_switches_total",
    &["ctxswitchtype", "groupname"],
    "Times that threads of the group's members gave up a processor or were put off it.",
);
const SCRAPE_ERRORS: Family = Family::counter(
    "namedprocess_scrape_errors",
    &[],
    "Scans that gave nothing because the processes could not be listed.",
);
const SCRAPE_PARTIAL_ERRORS: Family = Family::counter(
    "namedprocess_scrape_partial_errors",
    &[],
    "Readings of a process that lack a part, such as its bytes read and written.",
);
const SCRAPE_PROCREAD_ERRORS: Family = Family::counter(
    "namedprocess_scrape_procread_errors",
    &[],
    "Processes that were there and could not be read at all, at each scan.",
);
const OVERFLOW: Family = Family::counter(
    "musterd_process_overflow_total",
    &["limit"],
    "Times that a process was left out of its group (max_groups), a thread was not counted by its \
     name (max_thread_names), a process was not read (max_processes) or an agent's process tree was \
     not counted (agents), as there were too many.",
);

const AGENT_CPU: Family = Family::counter(
    "agent_process_cpu_seconds_total",
    &["agent", "mode"],
    "Processor time that the agent's process tree has used in each mode.",
);
const AGENT_RESIDENT: Family = Family::gauge(
    "agent_process_resident_memory_bytes",
    AGENT,
    "Memory of the agent's process tree that is held in RAM.",
);
const AGENT_VIRTUAL: Family = Family::gauge(
    "agent_process_virtual_memory_bytes",
    AGENT,
    "Address space of the agent's process tree.",
);
const AGENT_FDS: Family = Family::gauge(
    "agent_process_open_fds",
    AGENT,
    "File descriptors that the agent's process tree has open.",
);
const AGENT_THREADS: Family =
    Family::gauge("agent_process_threads", AGENT, "Threads of the agent's process tree.");
const AGENT_PROCESSES: Family =
    Family::gauge("agent_processes", AGENT, "Processes of the agent: its own and its descendants.");
const AGENT_READ: Family = Family::counter(
    "agent_process_read_bytes_total",
    AGENT,
    "Bytes that the agent's process tree has had read from storage.",
);
const AGENT_WRITTEN: Family = Family::counter(
    "agent_process_written_bytes_total",
    AGENT,
    "Bytes that the agent's process tree has had written to storage.",
);
const AGENT_OLDEST_START: Family = Family::gauge(
    "agent_process_oldest_start_time_seconds",
    AGENT,
    "When the oldest process of the agent's tree started, in seconds since the epoch.",
);

/// The families of process groups and of the scan itself.
pub static FAMILIES: &[Family] = &[
    NUM_PROCS,
    CPU,
    MEMORY,
    NUM_THREADS,
    STATES,
    OPEN_FILEDESC,
    WORST_FD_RATIO,
    READ_BYTES,
    WRITE_BYTES,
    OLDEST_START,
    MAJOR_FAULTS,
    MINOR_FAULTS,
    CONTEXT_SWITCHES,
    SCRAPE_ERRORS,
    SCRAPE_PARTIAL_ERRORS,
    SCRAPE_PROCREAD_ERRORS,
    OVERFLOW,
];

/// The families of agents' process trees.
pub static AGENT_FAMILIES: &[Family] = &[
    AGENT_CPU,
    AGENT_RESIDENT,
    AGENT_VIRTUAL,
    AGENT_FDS,
    AGENT_THREADS,
    AGENT_PROCESSES,
    AGENT_READ,
    AGENT_WRITTEN,
    AGENT_OLDEST_START,
];

/// What went wrong in all scans so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Troubles {
    /// Scans that failed.
    pub(super) scans: u64,
    /// Readings of a process that lack a part.
    pub(super) partial: u64,
    /// Processes that could not be read, at each scan.
    pub(super) unread: u64,
}

/// Refusals for want of a place in all scans so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overflow {
    pub(super) groups: u64,
    pub(super) thread_names: u64,
    pub(super) processes: u64,
    pub(super) agents: u64,
}

/// The kernel's units in ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    /// Clock ticks of a second.
    pub(super) ticks: f64,
    /// Bytes of a page.
    pub(super) page: f64,
    /// Boot, in seconds since the epoch, where it is known.
    pub(super) boot: Option<f64>,
}

impl Units {
    fn resident(&self, held: &Holdings) -> f64 {
        held.resident_pages as f64 * self.page
    }

    fn oldest_start(&self, held: &Holdings) -> Option<f64> {
        Some(self.boot? + held.oldest_start? as f64 / self.ticks)
    }
}

/// What is absent because it could not be read, unless there is no one to read it of.
fn or_zero_if_empty(held: &Holdings, value: Option<f64>) -> Option<f64> {
    value.or((held.processes == 0).then_some(0.0))
}

fn open_fds(held: &Holdings) -> Option<f64> {
    or_zero_if_empty(held, held.open_fds.map(|count| count as f64))
}

/// A family with one sample an account.
fn one(
    batch: &mut Batch,
    family: &Family,
    accounts: &[Account],
    value: impl Fn(&Account) -> Option<f64>,
) {
    let label = family.labels.first().copied().unwrap_or_default();
    batch.begin(family);
    for account in accounts {
        if let Some(value) = value(account) {
            batch.sample(&[(label, &account.name)], value);
        }
    }
}

/// A family with a sample for each kind of a thing and account; `who` and `kind` are its labels.
fn several<const N: usize>(
    batch: &mut Batch,
    family: &Family,
    [who, kind]: [&str; 2],
    accounts: &[Account],
    values: impl Fn(&Account) -> [(&'static str, Option<f64>); N],
) {
    batch.begin(family);
    for account in accounts {
        for (name, value) in values(account) {
            if let Some(value) = value {
                batch.sample(&[(who, &account.name), (kind, name)], value);
            }
        }
    }
}

pub(super) fn cpu(account: &Account, units: &Units) -> [(&'static str, Option<f64>); 2] {
    let [user, system] = account.used.cpu_ticks.map(|ticks| Some(ticks as f64 / units.ticks));
    [("user", user), ("system", system)]
}

pub(super) fn switches(account: &Account) -> [(&'static str, Option<f64>); 2] {
    let switches = account.used.switches;
    [("voluntary", switches.map(first)), ("nonvoluntary", switches.map(second))]
}

pub(super) fn first([value, _]: [u64; 2]) -> f64 {
    value as f64
}

pub(super) fn second([_, value]: [u64; 2]) -> f64 {
    value as f64
}

/// Emits the groups; with `proportional` the parts of shared memory, too.
pub(super) fn emit_groups(
    batch: &mut Batch,
    groups: &[Account],
    units: &Units,
    proportional: bool,
) {
    one(batch, &NUM_PROCS, groups, |group| Some(group.held.processes as f64));
    several(batch, &CPU, ["groupname", "mode"], groups, |group| cpu(group, units));
    several(batch, &MEMORY, ["groupname", "memtype"], groups, |Account { held, .. }| {
        let swapped = held.swapped_bytes.map(|bytes| bytes as f64);
        let part = |of: fn([u64; 2]) -> f64| {
            let measured = or_zero_if_empty(held, held.proportional.map(of));
            if proportional { measured } else { None }
        };
        [
            ("resident", Some(units.resident(held))),
            ("virtual", Some(held.virtual_bytes as f64)),
            ("swapped", or_zero_if_empty(held, swapped)),
            ("proportionalResident", part(first)),
            ("proportionalSwapped", part(second)),
        ]
    });
    one(batch, &NUM_THREADS, groups, |group| Some(group.held.threads as f64));
    several(batch, &STATES, ["groupname", "state"], groups, |Account { held, .. }| {
        let states = &held.states;
        [
            ("Running", states.running),
            ("Sleeping", states.sleeping),
            ("Waiting", states.waiting),
            ("Zombie", states.zombie),
            ("Other", states.other),
        ]
        .map(|(state, count)| (state, Some(count as f64)))
    });
    one(batch, &OPEN_FILEDESC, groups, |group| open_fds(&group.held));
    one(batch, &WORST_FD_RATIO, groups, |Account { held, .. }| {
        or_zero_if_empty(held, held.worst_fd_ratio)
    });
    one(batch, &READ_BYTES, groups, |group| group.used.io.map(first));
    one(batch, &WRITE_BYTES, groups, |group| group.used.io.map(second));
    one(batch, &OLDEST_START, groups, |group| units.oldest_start(&group.held));
    one(batch, &MAJOR_FAULTS, groups, |group| Some(second(group.used.faults)));
    one(batch, &MINOR_FAULTS, groups, |group| Some(first(group.used.faults)));
    several(batch, &CONTEXT_SWITCHES, ["groupname", "ctxswitchtype"], groups, switches);
}

/// Emits what went wrong while groups were counted.
pub(super) fn emit_troubles(batch: &mut Batch, troubles: &Troubles) {
    batch.value(&SCRAPE_ERRORS, troubles.scans as f64);
    batch.value(&SCRAPE_PARTIAL_ERRORS, troubles.partial as f64);
    batch.value(&SCRAPE_PROCREAD_ERRORS, troubles.unread as f64);
}

/// Emits what found no place.
pub(super) fn emit_overflow(batch: &mut Batch, overflow: &Overflow) {
    batch.begin(&OVERFLOW);
    batch.sample(&[("limit", "max_groups")], overflow.groups as f64);
    batch.sample(&[("limit", "max_thread_names")], overflow.thread_names as f64);
    batch.sample(&[("limit", "max_processes")], overflow.processes as f64);
    batch.sample(&[("limit", "agents")], overflow.agents as f64);
}

/// Emits the agents' process trees.
pub(super) fn emit_agents(batch: &mut Batch, agents: &[Account], units: &Units) {
    several(batch, &AGENT_CPU, ["agent", "mode"], agents, |agent| cpu(agent, units));
    one(batch, &AGENT_RESIDENT, agents, |agent| Some(units.resident(&agent.held)));
    one(batch, &AGENT_VIRTUAL, agents, |agent| Some(agent.held.virtual_bytes as f64));
    one(batch, &AGENT_FDS, agents, |agent| open_fds(&agent.held));
    one(batch, &AGENT_THREADS, agents, |agent| Some(agent.held.threads as f64));
    one(batch, &AGENT_PROCESSES, agents, |agent| Some(agent.held.processes as f64));
    one(batch, &AGENT_READ, agents, |agent| agent.used.io.map(first));
    one(batch, &AGENT_WRITTEN, agents, |agent| agent.used.io.map(second));
    one(batch, &AGENT_OLDEST_START, agents, |agent| units.oldest_start(&agent.held));
}
