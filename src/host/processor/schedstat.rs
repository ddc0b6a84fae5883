//! `schedstat`: how long tasks have run and waited per cpu, of `/proc/schedstat`
//! (Documentation/scheduler/sched-stats.rst in the kernel's sources).
//!
//! Must not know about single tasks.

use crate::host::parse::{integer, lines, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Batch, Family, Labels};
use std::sync::Arc;

const CPU: &[&str] = &["cpu"];
const NANOSECONDS: f64 = 1e9;

/// The seventh to ninth number of a cpu's line.
const FAMILIES: [Family; 3] = [
    Family::counter("node_schedstat_running_seconds_total", CPU, "Time in which tasks ran."),
    Family::counter(
        "node_schedstat_waiting_seconds_total",
        CPU,
        "Time in which tasks waited for the cpu.",
    ),
    Family::counter("node_schedstat_timeslices_total", CPU, "Time slices that were run."),
];
const DIVISORS: [f64; 3] = [NANOSECONDS, NANOSECONDS, 1.0];
const SKIPPED: usize = 6;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "schedstat", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(SchedStat { file: root.proc("schedstat"), cpus: Table::default() })
    }))
}

struct SchedStat {
    file: KernelFile,
    cpus: Table<Cpu>,
}

struct Cpu {
    labels: Labels,
    values: [u64; 3],
}

impl Collector for SchedStat {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        update(self.file.read(pass.buffer)?, &mut self.cpus)?;
        emit(&self.cpus, pass.batch);
        Ok(())
    }
}

/// Takes the lines `cpuN` and nine numbers or more; others are about the scheduler's domains.
fn update(text: &[u8], cpus: &mut Table<Cpu>) -> Result<(), Error> {
    cpus.begin();
    for line in lines(text) {
        let mut words = words(line);
        let Some(name) = words.next().and_then(|word| word.strip_prefix(b"cpu")) else { continue };
        let unreadable = || {
            Error::Parse(format!("schedstat: wanted `cpuN` and 9 numbers, found {}", quoted(line)))
        };
        let number = integer(name).ok_or_else(unreadable)?;
        let make = || Cpu { labels: Labels::new(&[("cpu", &number.to_string())]), values: [0; 3] };
        let Some(cpu) = cpus.meet(number.to_le_bytes().as_slice(), make) else { continue };
        let mut words = words.skip(SKIPPED);
        for value in &mut cpu.values {
            *value = words.next().and_then(integer).ok_or_else(unreadable)?;
        }
    }
    cpus.end();
    Ok(())
}

fn emit(cpus: &Table<Cpu>, batch: &mut Batch) {
    for (index, (family, divisor)) in FAMILIES.iter().zip(DIVISORS).enumerate() {
        batch.begin(family);
        for cpu in cpus.rows() {
            if let Some(value) = cpu.values.get(index) {
                batch.sample_with(&cpu.labels, *value as f64 / divisor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &[u8]) -> Result<Vec<[u64; 3]>, Error> {
        let mut cpus = Table::default();
        update(text, &mut cpus)?;
        Ok(cpus.rows().map(|cpu| cpu.values).collect())
    }

    #[test]
    fn cpus() {
        let text = b"version 15\ntimestamp 1\ncpu0 1 2 3 4 5 6 7 8 9\ndomain0 ff 1\ncpu1 0 0 0 0 0 0 10 11 12 13\n";
        assert_eq!(values(text).unwrap(), [[7, 8, 9], [10, 11, 12]]);
        assert!(values(b"").unwrap().is_empty());
    }

    #[test]
    fn rubbish() {
        for line in [&b"cpu0 1 2 3"[..], b"cpux 1 2 3 4 5 6 7 8 9", b"cpu0 1 2 3 4 5 6 7 8 \xff"] {
            assert!(values(line).is_err(), "{line:?}");
        }
    }
}
