//! `stat`: the kernel's overall counters, of `/proc/stat` (proc_stat(5)).
//!
//! Must not know about cpu times, which the collector `cpu` takes from the same file.

use crate::host::parse::{integer, lines, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Family, Labels};
use std::sync::Arc;

const INTERRUPTS: Family =
    Family::counter("node_intr_total", &[], "Interrupts that have been served.");
const CONTEXT_SWITCHES: Family =
    Family::counter("node_context_switches_total", &[], "Context switches.");
const FORKS: Family = Family::counter("node_forks_total", &[], "Processes that have been started.");
const BOOT_TIME: Family =
    Family::gauge("node_boot_time_seconds", &[], "When the system was booted, in Unix time.");
const RUNNING: Family =
    Family::gauge("node_procs_running", &[], "Tasks that are running or could be.");
const BLOCKED: Family = Family::gauge("node_procs_blocked", &[], "Tasks that wait for I/O.");
const SOFTIRQS: Family =
    Family::counter("node_softirqs_total", &["vector"], "Soft interrupts that have been served.");

/// Lines of one number: the word before it, and what it is exposed as.
const LINES: [(&[u8], Family); 6] = [
    (b"intr", INTERRUPTS),
    (b"ctxt", CONTEXT_SWITCHES),
    (b"btime", BOOT_TIME),
    (b"processes", FORKS),
    (b"procs_running", RUNNING),
    (b"procs_blocked", BLOCKED),
];

/// The kernel's soft interrupts, in the order of its line `softirq` (linux/interrupt.h).
const VECTORS: [&str; 10] = [
    "hi",
    "timer",
    "net_tx",
    "net_rx",
    "block",
    "block_iopoll",
    "tasklet",
    "sched",
    "hrtimer",
    "rcu",
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry {
    name: "stat",
    families: &[INTERRUPTS, CONTEXT_SWITCHES, FORKS, BOOT_TIME, RUNNING, BLOCKED, SOFTIRQS],
    parse: configure,
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    softirq: bool,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { softirq } = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |root: &Arc<Root>| {
        let vectors = VECTORS.map(|vector| Labels::new(&[("vector", vector)]));
        Box::new(Stat { file: root.proc("stat").single(), softirq, vectors })
    }))
}

struct Stat {
    file: KernelFile,
    softirq: bool,
    vectors: [Labels; VECTORS.len()],
}

impl Collector for Stat {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let totals = parse(self.file.read(pass.buffer)?)?;
        for ((_, family), value) in LINES.iter().zip(totals.lines) {
            pass.batch.value(family, value as f64);
        }
        if self.softirq {
            pass.batch.begin(&SOFTIRQS);
            for (labels, value) in self.vectors.iter().zip(totals.vectors) {
                pass.batch.sample_with(labels, value as f64);
            }
        }
        Ok(())
    }
}

/// What is taken from the file, in the order of the tables; 0 where the kernel does not count it.
#[derive(Debug, Default, PartialEq)]
struct Totals {
    lines: [u64; LINES.len()],
    vectors: [u64; VECTORS.len()],
}

fn parse(text: &[u8]) -> Result<Totals, Error> {
    let mut totals = Totals::default();
    for line in lines(text) {
        let unreadable =
            || Error::Parse(format!("stat: wanted a name and a number, found {}", quoted(line)));
        let mut words = words(line);
        let name = words.next().ok_or_else(unreadable)?;
        if name == b"softirq" {
            // The first number is the sum of the others.
            for (slot, word) in totals.vectors.iter_mut().zip(words.skip(1)) {
                *slot = integer(word).ok_or_else(unreadable)?;
            }
            continue;
        }
        for ((wanted, _), slot) in LINES.iter().zip(&mut totals.lines) {
            if *wanted == name {
                *slot = words.next().and_then(integer).ok_or_else(unreadable)?;
                break;
            }
        }
    }
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_not_there_are_zero() {
        let text = b"cpu  1 2\nintr 9 1 2 3\nbtime 100\nprocs_blocked 1\nsoftirq 6 1 2 3\n";
        let totals = parse(text).unwrap();
        assert_eq!(totals.lines, [9, 0, 100, 0, 0, 1]);
        assert_eq!(totals.vectors, [1, 2, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parse(b"").unwrap(), Totals::default());
    }

    #[test]
    fn rubbish() {
        for text in [&b"intr"[..], b"ctxt x", b"softirq 1 y", b"btime 99999999999999999999", b" \n"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
