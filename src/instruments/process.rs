//! The standard `process_*` families about this process, from its own `/proc/self` (never the
//! configured root: the daemon's pid there may be another process's) and getrlimit(2).
//!
//! Must not know: any other process.

use crate::metric::{Batch, Family};
use rustix::process::{Resource, getrlimit};
use std::fs;

const CPU: Family =
    Family::counter("process_cpu_seconds_total", &[], "CPU time of this process, user and system.");
const RESIDENT: Family =
    Family::gauge("process_resident_memory_bytes", &[], "Memory of this process that is in RAM.");
const VIRTUAL: Family =
    Family::gauge("process_virtual_memory_bytes", &[], "Size of this process's address space.");
const THREADS: Family = Family::gauge("process_threads", &[], "Threads of this process.");
const START: Family = Family::gauge(
    "process_start_time_seconds",
    &[],
    "When this process was started, in seconds since 1970.",
);
const OPEN_FDS: Family =
    Family::gauge("process_open_fds", &[], "File descriptors this process has open.");
const MAX_FDS: Family =
    Family::gauge("process_max_fds", &[], "File descriptors this process may have open at once.");

/// All of them.
pub(super) const FAMILIES: [Family; 7] =
    [CPU, RESIDENT, VIRTUAL, THREADS, START, OPEN_FDS, MAX_FDS];

/// The fields of `/proc/<pid>/stat` (proc_pid_stat(5)) that are wanted.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// utime + stime, in clock ticks.
    cpu_ticks: u64,
    threads: u64,
    /// In clock ticks since boot.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

/// Reads `/proc/<pid>/stat`. The command's name stands in parentheses and may hold anything, so
/// that the fields are counted from the last one that closes: the first after it is field 3.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_ticks: field(14)?.checked_add(field(15)?)?,
        threads: field(20)?,
        start_ticks: field(22)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    })
}

/// The kernel's boot time, in seconds since 1970: `btime` of `/proc/stat` (proc_stat(5)).
fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// When this process was started, in seconds since 1970. To be asked once: the kernel's boot time
/// moves with the clock.
pub(super) fn start_time() -> Option<f64> {
    let stat = parse(&fs::read_to_string("/proc/self/stat").ok()?)?;
    let boot = boot_time(&fs::read_to_string("/proc/stat").ok()?)?;
    Some(boot as f64 + stat.start_ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Emits what can be read; what cannot is absent.
pub(super) fn fill(start: Option<f64>, batch: &mut Batch) {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    if let Some(stat) = stat.as_deref().and_then(parse) {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        batch.value(&CPU, stat.cpu_ticks as f64 / ticks);
        batch.value(&RESIDENT, stat.resident_pages as f64 * rustix::param::page_size() as f64);
        batch.value(&VIRTUAL, stat.virtual_bytes as f64);
        batch.value(&THREADS, stat.threads as f64);
    }
    if let Some(start) = start {
        batch.value(&START, start);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the open folder itself.
        batch.value(&OPEN_FDS, entries.count().saturating_sub(1) as f64);
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        batch.value(&MAX_FDS, limit as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_may_hold_anything() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 30 12 0 0 20 0 5 0 4711 8192 33 1844";
        let wanted = Stat {
            cpu_ticks: 42,
            threads: 5,
            start_ticks: 4711,
            virtual_bytes: 8192,
            resident_pages: 33,
        };
        assert_eq!(parse(text), Some(wanted));
    }

    #[test]
    fn rubbish_is_absent() {
        let huge = format!("1 (x) S {}", "99999999999999999999 ".repeat(30));
        let overflow = format!("1 (x) S {}", "18446744073709551615 ".repeat(30));
        for text in ["", "7 (a", ")", "7 (a) S 1 2 3", &huge, &overflow] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(boot_time("cpu 1\nbtime 1700000000\nprocesses 3\n"), Some(1_700_000_000));
        assert_eq!(boot_time("btime \n"), None);
        assert_eq!(boot_time("btim"), None);
    }

    #[test]
    fn this_process_is_measured() {
        let mut batch = Batch::new();
        fill(start_time(), &mut batch);
        assert_eq!(batch.families().count(), FAMILIES.len());
    }
}
