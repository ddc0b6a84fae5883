//! `softnet`: packets as each cpu takes them in from the devices, of `/proc/net/softnet_stat`
//! (softnet_seq_show() in the kernel's net/core/net-procfs.c: a line of hexadecimal columns per cpu).
//!
//! Must not know about devices.

use super::net;
use crate::host::parse::{hexadecimal, lines, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Batch, Family, Labels};
use std::sync::Arc;

const CPU: &[&str] = &["cpu"];
const FAMILIES: [Family; 7] = [
    Family::counter("node_softnet_processed_total", CPU, "Packets taken in."),
    Family::counter(
        "node_softnet_dropped_total",
        CPU,
        "Packets dropped because the backlog was full.",
    ),
    Family::counter(
        "node_softnet_times_squeezed_total",
        CPU,
        "Times the work was broken off with packets left.",
    ),
    Family::counter(
        "node_softnet_cpu_collision_total",
        CPU,
        "Times another cpu held the lock of a device.",
    ),
    Family::counter(
        "node_softnet_received_rps_total",
        CPU,
        "Times another cpu woke this one to take in packets.",
    ),
    Family::counter(
        "node_softnet_flow_limit_count_total",
        CPU,
        "Packets dropped by the flow limit.",
    ),
    Family::gauge("node_softnet_backlog_len", CPU, "Packets in the backlog."),
];
/// The column of each family. Older kernels have fewer: what they lack is 0.
const COLUMNS: [usize; 7] = [0, 1, 2, 8, 9, 10, 11];
/// The fewest columns that any kernel has written.
const FEWEST: usize = 9;
/// The column that numbers the cpu, in kernels that leave out cpus which are off.
const INDEX: usize = 12;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "softnet", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(SoftNet {
            file: net::file(root, "softnet_stat").records(256),
            cpus: Table::default(),
        })
    }))
}

struct SoftNet {
    file: KernelFile,
    cpus: Table<Cpu>,
}

struct Cpu {
    labels: Labels,
    values: [u64; 7],
}

impl Collector for SoftNet {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        update(self.file.read(pass.buffer)?, &mut self.cpus)?;
        emit(&self.cpus, pass.batch);
        Ok(())
    }
}

fn update(text: &[u8], cpus: &mut Table<Cpu>) -> Result<(), Error> {
    cpus.begin();
    for (number, line) in lines(text).enumerate() {
        let unreadable = || {
            Error::Parse(format!(
                "softnet_stat: wanted 9 hexadecimal columns or more, found {}",
                quoted(line)
            ))
        };
        let (mut values, mut index, mut count) = ([0; 7], number as u64, 0);
        for (column, word) in words(line).enumerate() {
            let value = hexadecimal(word).ok_or_else(unreadable)?;
            if let Some(place) = COLUMNS.iter().position(|&wanted| wanted == column)
                && let Some(slot) = values.get_mut(place)
            {
                *slot = value;
            }
            if column == INDEX {
                index = value;
            }
            count += 1;
        }
        if count < FEWEST {
            return Err(unreadable());
        }
        let labels = || Labels::new(&[("cpu", &index.to_string())]);
        if let Some(cpu) = cpus.meet(&index.to_le_bytes(), || Cpu { labels: labels(), values }) {
            cpu.values = values;
        }
    }
    cpus.end();
    Ok(())
}

fn emit(cpus: &Table<Cpu>, batch: &mut Batch) {
    for (index, family) in FAMILIES.iter().enumerate() {
        batch.begin(family);
        for cpu in cpus.rows() {
            if let Some(value) = cpu.values.get(index) {
                batch.sample_with(&cpu.labels, *value as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &[u8]) -> Result<Vec<(Labels, [u64; 7])>, Error> {
        let mut cpus = Table::default();
        update(text, &mut cpus)?;
        Ok(cpus.rows().map(|cpu| (cpu.labels.clone(), cpu.values)).collect())
    }

    #[test]
    fn old_and_new_kernels() {
        let old = values(b"0a 01 02 0 0 0 0 0 03\n").unwrap();
        assert_eq!(old, [(Labels::new(&[("cpu", "0")]), [10, 1, 2, 3, 0, 0, 0])]);
        let new = values(b"0a 01 02 0 0 0 0 0 03 04 05 06 07 00 00\n").unwrap();
        assert_eq!(new, [(Labels::new(&[("cpu", "7")]), [10, 1, 2, 3, 4, 5, 6])]);
    }

    #[test]
    fn rubbish() {
        for line in [&b"1 2 3"[..], b"1 2 3 4 5 6 7 8 g", b"11111111111111111 2 3 4 5 6 7 8 9"] {
            assert!(values(line).is_err(), "{line:?}");
        }
    }
}
