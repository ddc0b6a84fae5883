//! Three numbers about the machine for `/health`: how much of its memory, cpu time and disk is
//! in use.
//!
//! Must not know about health: which numbers are bad is decided elsewhere.

use super::memory::meminfo;
use super::parse::{integer, lines, words};
use super::root::{KernelFile, Root};
use super::storage::prober::{Answer, Prober, Question, Usage, statfs};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the root file system may take to answer.
const PATIENCE: Duration = Duration::from_millis(100);
/// A share of cpu time needs this much time to be a share of.
const SHORTEST: Duration = Duration::from_secs(1);

/// What is in use of the machine, in percent. What cannot be measured is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct SystemMetrics {
    /// Memory that is not available to new programs (1 - MemAvailable / MemTotal).
    pub memory_usage_percent: Option<f64>,
    /// Cpu time, of all cpus together, that was not idle: since the reading before, and since
    /// boot for the first.
    pub cpu_usage_percent: Option<f64>,
    /// Space in use on the root file system, of that which users could use (as df(1) has it).
    pub disk_usage_percent: Option<f64>,
}

/// Measures.
pub struct Vitals {
    root: Arc<Root>,
    meminfo: KernelFile,
    stat: KernelFile,
    prober: Prober,
    buffer: Vec<u8>,
    last: CpuTime,
    measured: Option<(Instant, Option<f64>)>,
}

impl Vitals {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(root: &Arc<Root>) -> Self {
        Self {
            root: Arc::clone(root),
            meminfo: root.proc("meminfo"),
            stat: root.proc("stat"),
            prober: Prober::new(Arc::new(statfs)),
            buffer: Vec::new(),
            last: CpuTime::default(),
            measured: None,
        }
    }

    /// Measures. Asked twice within a second, it gives the same share of cpu time again.
    ///
    /// A root file system that hangs is waited for once, for a tenth of a second, and is absent.
    pub fn read(&mut self) -> SystemMetrics {
        SystemMetrics {
            memory_usage_percent: self.meminfo.read_if_there(&mut self.buffer).and_then(memory),
            cpu_usage_percent: self.cpu(Instant::now()),
            disk_usage_percent: self.disk(),
        }
    }

    fn cpu(&mut self, now: Instant) -> Option<f64> {
        if let Some((_, share)) = self.measured.filter(|(at, _)| now.duration_since(*at) < SHORTEST)
        {
            return share;
        }
        let time = self.stat.read_if_there(&mut self.buffer).and_then(cpu_time)?;
        let share = time.busy_share_since(self.last);
        self.last = time;
        self.measured = Some((now, share));
        share
    }

    fn disk(&mut self) -> Option<f64> {
        let root = Question { path: self.root.rootfs.as_path().into(), is_local: false };
        let mut answers = Vec::new();
        self.prober.ask(&[root], PATIENCE, Instant::now() + 2 * PATIENCE, &mut answers);
        match answers.first() {
            Some(Answer::Usage(usage)) => disk(*usage),
            _ => None,
        }
    }
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part.min(whole) as f64 / whole as f64 * 100.0)
}

/// Of `/proc/meminfo`. Kernels before 3.14 do not know what is available.
fn memory(text: &[u8]) -> Option<f64> {
    let (mut total, mut available) = (None, None);
    for field in lines(text).filter_map(|line| meminfo::parse(line).ok()) {
        match field.name {
            b"MemTotal" => total = Some(field.value as u64),
            b"MemAvailable" => available = Some(field.value as u64),
            _ => {}
        }
    }
    percent(total?.saturating_sub(available?), total?)
}

/// Used space of that which is used or available to users.
fn disk(usage: Usage) -> Option<f64> {
    let used = usage.size - usage.free;
    let whole = used + usage.available;
    (whole > 0.0).then(|| used / whole * 100.0)
}

/// Cpu time since boot, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct CpuTime {
    busy: u64,
    all: u64,
}

impl CpuTime {
    fn busy_share_since(self, before: Self) -> Option<f64> {
        percent(self.busy.saturating_sub(before.busy), self.all.saturating_sub(before.all))
    }
}

/// Of the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. The
/// columns after those are counted in user and nice already.
fn cpu_time(text: &[u8]) -> Option<CpuTime> {
    let mut words = words(lines(text).next()?);
    words.next().filter(|word| *word == b"cpu")?;
    let (mut busy, mut all) = (0u64, 0u64);
    for (index, word) in words.take(8).enumerate() {
        let ticks = integer(word)?;
        all = all.checked_add(ticks)?;
        if index != 3 && index != 4 {
            busy = busy.checked_add(ticks)?;
        }
    }
    Some(CpuTime { busy, all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        assert_eq!(memory(b"MemTotal: 200 kB\nMemFree: 1 kB\nMemAvailable: 150 kB\n"), Some(25.0));
        assert_eq!(memory(b"MemTotal: 200 kB\n"), None);
        let usage = Usage { size: 100.0, free: 50.0, available: 30.0, ..Usage::default() };
        assert_eq!(disk(usage), Some(62.5));
        assert_eq!(disk(Usage::default()), None);
        let before = cpu_time(b"cpu  10 0 10 80 0 0 0 0 9 9\n").unwrap();
        let after = cpu_time(b"cpu  20 5 10 150 15 0 0 0 9 9\n").unwrap();
        assert_eq!(before.busy_share_since(CpuTime::default()), Some(20.0));
        assert_eq!(after.busy_share_since(before), Some(15.0));
        assert_eq!(after.busy_share_since(after), None);
        for rubbish in [&b""[..], b"cpu0 1 2", b"cpu x", b"cpu 18446744073709551615 1"] {
            assert_eq!(cpu_time(rubbish), None);
        }
    }

    #[test]
    fn this_machine() {
        let root = Arc::new(Root {
            procfs: "/proc".into(),
            sysfs: "/sys".into(),
            rootfs: "/".into(),
            udev_data: "/run/udev/data".into(),
        });
        let mut vitals = Vitals::new(&root);
        let first = vitals.read();
        for share in [first.memory_usage_percent, first.cpu_usage_percent, first.disk_usage_percent]
        {
            assert!((0.0..=100.0).contains(&share.unwrap()), "{first:?}");
        }
        assert_eq!(vitals.read().cpu_usage_percent, first.cpu_usage_percent);
    }
}
