//! The families of groups' threads, by thread name, and how their accounts become samples.
//!
//! Must not know how accounts are filled.

use super::account::Account;
use super::families::{Units, cpu, first, second, switches};
use super::threads::Threads;
use crate::metric::{Batch, Family};

const THREAD: &[&str] = &["groupname", "threadname"];

const COUNT: Family = Family::gauge(
    "namedprocess_namegroup_thread_count",
    THREAD,
    "Threads of this name that the group's members have now.",
);
const CPU: Family = Family::counter(
    "namedprocess_namegroup_thread_cpu_seconds_total",
    &["groupname", "mode", "threadname"],
    "Processor time that threads of this name, past and present, have used in each mode.",
);
const IO: Family = Family::counter(
    "namedprocess_namegroup_thread_io_bytes_total",
    &["groupname", "iomode", "threadname"],
    "Bytes that threads of this name have had read from and written to storage.",
);
const MAJOR_FAULTS: Family = Family::counter(
    "namedprocess_namegroup_thread_major_page_faults_total",
    THREAD,
    "Page faults of threads of this name that had to wait for storage.",
);
const MINOR_FAULTS: Family = Family::counter(
    "namedprocess_namegroup_thread_minor_page_faults_total",
    THREAD,
    "Page faults of threads of this name that were met from memory.",
);
const SWITCHES: Family = Family::counter(
    "namedprocess_namegroup_thread_context_switches_total",
    &["ctxswitchtype", "groupname", "threadname"],
    "Times that threads of this name gave up a processor or were put off it.",
);
const WCHAN: Family = Family::gauge(
    "namedprocess_namegroup_threads_wchan",
    &["groupname", "wchan"],
    "Threads of the group's members by the function of the kernel that they wait in.",
);
/// The families of groups' threads.
pub static THREAD_FAMILIES: &[Family] =
    &[COUNT, CPU, IO, MAJOR_FAULTS, MINOR_FAULTS, SWITCHES, WCHAN];

/// Each group with each of its names of threads.
fn each(groups: &[Account]) -> impl Iterator<Item = (&str, &Account)> {
    groups
        .iter()
        .flat_map(|group| group.threads.list().iter().map(|thread| (group.name.as_str(), thread)))
}

/// A family with one sample a name.
fn one(batch: &mut Batch, family: &Family, groups: &[Account], value: fn(&Account) -> f64) {
    batch.begin(family);
    for (group, thread) in each(groups) {
        batch.sample(&[("groupname", group), ("threadname", &thread.name)], value(thread));
    }
}

/// A family with two samples a name, which the label `kind` tells apart.
fn two(
    batch: &mut Batch,
    family: &Family,
    kind: &str,
    groups: &[Account],
    values: impl Fn(&Account) -> [(&'static str, Option<f64>); 2],
) {
    batch.begin(family);
    for (group, thread) in each(groups) {
        for (which, value) in values(thread) {
            if let Some(value) = value {
                let labels = [("groupname", group), (kind, which), ("threadname", &thread.name)];
                batch.sample(&labels, value);
            }
        }
    }
}

/// Emits them.
pub(super) fn emit(batch: &mut Batch, groups: &[Account], threads: &Threads, units: &Units) {
    one(batch, &COUNT, groups, |thread| thread.held.processes as f64);
    two(batch, &CPU, "mode", groups, |thread| cpu(thread, units));
    two(batch, &IO, "iomode", groups, |Account { used, .. }| {
        [("read", used.io.map(first)), ("write", used.io.map(second))]
    });
    one(batch, &MAJOR_FAULTS, groups, |thread| second(thread.used.faults));
    one(batch, &MINOR_FAULTS, groups, |thread| first(thread.used.faults));
    two(batch, &SWITCHES, "ctxswitchtype", groups, switches);
    batch.begin(&WCHAN);
    for (group, function, count) in threads.waiting() {
        if let Some(group) = groups.get(group) {
            batch.sample(&[("groupname", &group.name), ("wchan", function)], count as f64);
        }
    }
}
