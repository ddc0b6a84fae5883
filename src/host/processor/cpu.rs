//! `cpu`: what each cpu spent its time on, of `/proc/stat` (proc_stat(5)), with what
//! [`super::cpu_online`], [`super::cpu_topology`] and [`super::cpu_info`] know of them.
//!
//! Must not know about the other lines of that file.

use super::FREQUENCY;
use super::cpu_info::{self, Info};
use super::cpu_online::{self, Online};
use super::cpu_topology::{self, Topology};
use crate::host::parse::{integer, lines, quoted, words};
use crate::host::pattern::Pattern;
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Batch, Family, Labels};
use std::sync::Arc;

const SECONDS: Family =
    Family::counter("node_cpu_seconds_total", &["cpu", "mode"], "What a cpu spent its time on.");
const GUEST_SECONDS: Family = Family::counter(
    "node_cpu_guest_seconds_total",
    &["cpu", "mode"],
    "Time a cpu spent in guests (virtual machines). Also counted in its user and nice time.",
);

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry {
    name: "cpu",
    families: &[
        SECONDS,
        GUEST_SECONDS,
        cpu_online::ONLINE,
        cpu_topology::CORE_THROTTLES,
        cpu_topology::PACKAGE_THROTTLES,
        cpu_topology::ISOLATED,
        cpu_info::INFO,
        FREQUENCY,
        cpu_info::FLAG,
        cpu_info::BUG,
    ],
    parse: configure,
};

/// The columns of a line, in the kernel's order.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
/// The columns after those.
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const IDLE: usize = 3;
const COLUMNS: usize = MODES.len() + GUEST_MODES.len();

/// The unit of the columns: the kernel's USER_HZ, which is 100 on every architecture it shows
/// these files on.
const TICKS_PER_SECOND: f64 = 100.0;
/// When idle time falls back by this much, the cpu was off and has begun to count anew.
const RESTART: u64 = 300;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    guest: bool,
    info: bool,
    flags_include: Pattern,
    bugs_include: Pattern,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let options: Options = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |root: &Arc<Root>| {
        let Options { guest, info, flags_include, bugs_include } = &options;
        // Who asks for flags or bugs asks for the information they are part of.
        let info = *info || flags_include.is_set() || bugs_include.is_set();
        Box::new(Cpu {
            stat: root.proc("stat").single(),
            guest: *guest,
            cpus: Table::default(),
            online: Online::new(root),
            topology: Topology::new(root),
            info: info.then(|| Info::new(root, flags_include.clone(), bugs_include.clone())),
        })
    }))
}

struct Cpu {
    stat: KernelFile,
    guest: bool,
    cpus: Table<Times>,
    online: Online,
    topology: Topology,
    info: Option<Info>,
}

/// One cpu's times, in ticks, and its label sets.
struct Times {
    ticks: [u64; COLUMNS],
    modes: [Labels; MODES.len()],
    guest_modes: [Labels; GUEST_MODES.len()],
}

impl Times {
    fn new(cpu: &str) -> Self {
        let labels = |mode| Labels::new(&[("cpu", cpu), ("mode", mode)]);
        Self { ticks: [0; COLUMNS], modes: MODES.map(labels), guest_modes: GUEST_MODES.map(labels) }
    }

    /// Takes a new reading. The kernel lets single columns fall back a little (iowait and idle
    /// are estimates): those hold their value until they are overtaken. Only a cpu whose idle
    /// time falls back far has begun anew.
    fn advance(&mut self, reading: [u64; COLUMNS]) {
        let idle = |ticks: &[u64; COLUMNS]| ticks.get(IDLE).copied().unwrap_or_default();
        if idle(&self.ticks).saturating_sub(idle(&reading)) >= RESTART {
            self.ticks = reading;
            return;
        }
        for (held, read) in self.ticks.iter_mut().zip(reading) {
            *held = read.max(*held);
        }
    }
}

impl Collector for Cpu {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let changed = update(self.stat.read(pass.buffer)?, &mut self.cpus)?;
        emit(&self.cpus, self.guest, pass.batch);
        self.online.emit(changed, pass);
        if changed {
            self.topology.discover();
        }
        self.topology.emit(pass)?;
        if let Some(info) = &mut self.info {
            info.emit(pass)?;
        }
        Ok(())
    }
}

/// Brings the table to what `/proc/stat` says. Says whether cpus have come or gone.
fn update(text: &[u8], cpus: &mut Table<Times>) -> Result<bool, Error> {
    cpus.begin();
    // The lines of the cpus are the first; the one without a number is their sum.
    for line in lines(text).take_while(|line| line.starts_with(b"cpu")) {
        let (cpu, reading) = parse(line)?;
        if cpu.is_empty() {
            continue;
        }
        if let Some(times) = cpus.meet(cpu, || Times::new(&String::from_utf8_lossy(cpu))) {
            times.advance(reading);
        }
    }
    Ok(cpus.end())
}

/// Reads a line `cpu3 1 2 3 …`: the cpu's number, and its columns. Old kernels have fewer.
fn parse(line: &[u8]) -> Result<(&[u8], [u64; COLUMNS]), Error> {
    let unreadable =
        || Error::Parse(format!("stat: wanted a cpu and its times, found {}", quoted(line)));
    let mut words = words(line);
    let cpu = words.next().and_then(|word| word.strip_prefix(b"cpu")).ok_or_else(unreadable)?;
    if !cpu.iter().all(u8::is_ascii_digit) {
        return Err(unreadable());
    }
    let mut ticks = [0; COLUMNS];
    for (index, slot) in ticks.iter_mut().enumerate() {
        match words.next() {
            Some(word) => *slot = integer(word).ok_or_else(unreadable)?,
            None if index <= IDLE => return Err(unreadable()),
            None => break,
        }
    }
    Ok((cpu, ticks))
}

fn emit(cpus: &Table<Times>, guest: bool, batch: &mut Batch) {
    batch.begin(&SECONDS);
    for times in cpus.rows() {
        for (labels, ticks) in times.modes.iter().zip(times.ticks) {
            batch.sample_with(labels, ticks as f64 / TICKS_PER_SECOND);
        }
    }
    if guest {
        batch.begin(&GUEST_SECONDS);
        for times in cpus.rows() {
            let ticks = times.ticks.iter().skip(MODES.len());
            for (labels, ticks) in times.guest_modes.iter().zip(ticks) {
                batch.sample_with(labels, *ticks as f64 / TICKS_PER_SECOND);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(cpus: &Table<Times>) -> Vec<[u64; COLUMNS]> {
        cpus.rows().map(|times| times.ticks).collect()
    }

    #[test]
    fn the_sum_is_left_out_and_old_lines_are_short() {
        let mut cpus = Table::default();
        let text = b"cpu  9 9 9 9\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu2 1 2 3 4\nintr 5\ncpu3 1 1 1 1\n";
        assert!(update(text, &mut cpus).unwrap());
        let wanted = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [1, 2, 3, 4, 0, 0, 0, 0, 0, 0]];
        assert_eq!(ticks(&cpus), wanted);
        assert!(!update(text, &mut cpus).unwrap());
    }

    #[test]
    fn counters_hold_when_the_kernel_falls_back() {
        let mut cpus = Table::default();
        update(b"cpu0 10 10 10 1000 50", &mut cpus).unwrap();
        update(b"cpu0 11 9 10 990 40", &mut cpus).unwrap();
        assert_eq!(ticks(&cpus)[0][..5], [11, 10, 10, 1000, 50]);
        update(b"cpu0 12 11 10 1001 60", &mut cpus).unwrap();
        assert_eq!(ticks(&cpus)[0][..5], [12, 11, 10, 1001, 60]);
    }

    #[test]
    fn a_cpu_that_was_off_counts_anew() {
        let mut cpus = Table::default();
        update(b"cpu0 10 10 10 1000 50", &mut cpus).unwrap();
        update(b"cpu0 1 0 0 20 0", &mut cpus).unwrap();
        assert_eq!(ticks(&cpus)[0][..5], [1, 0, 0, 20, 0]);
        update(b"cpu0 1 0 0 20 0\ncpu1 500 0 0 100 0", &mut cpus).unwrap();
        assert!(update(b"cpu0 1 0 0 20 0", &mut cpus).unwrap());
        update(b"cpu0 1 0 0 20 0\ncpu1 3 0 0 90 0", &mut cpus).unwrap();
        assert_eq!(ticks(&cpus)[1][..5], [3, 0, 0, 90, 0]);
    }

    #[test]
    fn rubbish() {
        let mut cpus = Table::default();
        assert!(!update(b"", &mut cpus).unwrap());
        for text in
            [&b"cpu0 1 2"[..], b"cpu0 1 2 3 x", b"cpux 1 2 3 4", b"cpu0 99999999999999999999 2 3 4"]
        {
            assert!(update(text, &mut cpus).is_err(), "{text:?}");
        }
    }
}
