//! For `peaks`: one look at the machine, and what has happened since the one before.
//!
//! Must not know what is kept of it.

use crate::host::memory::meminfo;
use crate::host::network::net;
use crate::host::parse::{integer, lines, words};
use crate::host::pattern::Pattern;
use crate::host::root::{KernelFile, Root};
use std::time::Instant;

/// What is measured, in the order of [`Values`].
pub(super) const COUNT: usize = 10;
pub(super) const CPU: usize = 0;
pub(super) const RUNNING: usize = 1;
/// Of cpu, io and memory, in this order.
pub(super) const PRESSURE: usize = 2;
pub(super) const MEMORY: usize = 5;
/// Reading and writing.
pub(super) const DISK: usize = 6;
/// Receiving and sending.
pub(super) const NETWORK: usize = 8;

/// One value of each; `None` for what could not be read, or has no value before it.
pub(super) type Values = [Option<f64>; COUNT];

/// Sectors of `/proc/diskstats` are of this size, whatever the disk's.
const SECTOR: u64 = 512;

/// Where it looks.
pub(super) struct Eye {
    stat: KernelFile,
    pressure: [KernelFile; 3],
    meminfo: KernelFile,
    diskstats: KernelFile,
    net_dev: KernelFile,
    disk_exclude: Pattern,
    network_exclude: Pattern,
    last: Option<(Instant, Counters)>,
}

/// What only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counters {
    /// Ticks of all cpus, and those that were not idle.
    cpu: Option<[u64; 2]>,
    /// Microseconds.
    pressure: [Option<u64>; 3],
    /// Bytes.
    disk: Option<[u64; 2]>,
    network: Option<[u64; 2]>,
}

impl Eye {
    pub(super) fn new(root: &Root, disk_exclude: Pattern, network_exclude: Pattern) -> Self {
        Self {
            stat: root.proc("stat").single(),
            pressure: ["cpu", "io", "memory"]
                .map(|resource| root.proc(format!("pressure/{resource}")).single()),
            meminfo: root.proc("meminfo").single(),
            diskstats: root.proc("diskstats"),
            net_dev: net::file(root, "dev").records(512),
            disk_exclude,
            network_exclude,
            last: None,
        }
    }

    /// Looks.
    pub(super) fn look(&mut self, buffer: &mut Vec<u8>) -> Values {
        let now = Instant::now();
        let mut counters = Counters::default();
        let mut values = Values::default();
        if let Some(text) = self.stat.read_if_there(buffer) {
            counters.cpu = cpu(text);
            values[RUNNING] = running(text);
        }
        for (counter, file) in counters.pressure.iter_mut().zip(&mut self.pressure) {
            *counter = file.read_if_there(buffer).and_then(stalled);
        }
        values[MEMORY] = self.meminfo.read_if_there(buffer).and_then(available);
        let exclude = &self.disk_exclude;
        counters.disk = self.diskstats.read_if_there(buffer).map(|text| disk(text, exclude));
        let exclude = &self.network_exclude;
        counters.network = self.net_dev.read_if_there(buffer).map(|text| network(text, exclude));
        if let Some((then, before)) = self.last.replace((now, counters)) {
            counters.since(&before, now.duration_since(then).as_secs_f64(), &mut values);
        }
        values
    }
}

impl Counters {
    fn since(&self, before: &Self, seconds: f64, values: &mut Values) {
        let grown = |now: Option<u64>, before: Option<u64>| Some(now?.checked_sub(before?)? as f64);
        let part = |pair: Option<[u64; 2]>, index: usize| pair?.get(index).copied();
        let both = |now, before| [0, 1].map(|index| grown(part(now, index), part(before, index)));
        if seconds <= 0.0 {
            return;
        }
        if let [Some(all), Some(busy)] = both(self.cpu, before.cpu)
            && all > 0.0
        {
            values[CPU] = Some(busy / all);
        }
        for (index, (now, before)) in self.pressure.into_iter().zip(before.pressure).enumerate() {
            let share = grown(now, before).map(|micros| (micros / 1e6 / seconds).min(1.0));
            if let Some(value) = values.get_mut(PRESSURE + index) {
                *value = share;
            }
        }
        let rates =
            [(DISK, both(self.disk, before.disk)), (NETWORK, both(self.network, before.network))];
        for (place, rates) in rates {
            for (index, rate) in rates.into_iter().enumerate() {
                if let Some(value) = values.get_mut(place + index) {
                    *value = rate.map(|bytes| bytes / seconds);
                }
            }
        }
    }
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. The columns
/// behind them are counted in user and nice already.
fn cpu(text: &[u8]) -> Option<[u64; 2]> {
    let line = lines(text).next()?.strip_prefix(b"cpu ")?;
    let (mut all, mut busy) = (0u64, 0u64);
    for (index, word) in words(line).take(8).enumerate() {
        let ticks = integer(word)?;
        all = all.checked_add(ticks)?;
        if index != 3 && index != 4 {
            busy = busy.checked_add(ticks)?;
        }
    }
    Some([all, busy])
}

/// Threads that run or wait for a cpu. The daemon's own is one of them.
fn running(text: &[u8]) -> Option<f64> {
    let line = lines(text).find_map(|line| line.strip_prefix(b"procs_running "))?;
    integer(line.trim_ascii()).map(|count| count.saturating_sub(1) as f64)
}

/// The total of the line `some`, in microseconds.
fn stalled(text: &[u8]) -> Option<u64> {
    let line = lines(text).find_map(|line| line.strip_prefix(b"some "))?;
    words(line).find_map(|word| integer(word.strip_prefix(b"total=")?))
}

fn available(text: &[u8]) -> Option<f64> {
    let line = lines(text).find(|line| line.starts_with(b"MemAvailable:"))?;
    meminfo::parse(line).ok().map(|field| field.value)
}

/// Bytes read and written, of the disks that are counted.
fn disk(text: &[u8], exclude: &Pattern) -> [u64; 2] {
    sums(lines(text).filter_map(|line| {
        let mut words = words(line).skip(2);
        let name = words.next()?;
        let read = integer(words.nth(2)?)?;
        let written = integer(words.nth(3)?)?;
        (!exclude.matches(std::str::from_utf8(name).ok()?))
            .then_some([read, written].map(|sectors| sectors.saturating_mul(SECTOR)))
    }))
}

/// Bytes received and sent, of the network devices that are counted.
fn network(text: &[u8], exclude: &Pattern) -> [u64; 2] {
    sums(lines(text).skip(2).filter_map(|line| {
        let colon = line.iter().rposition(|byte| *byte == b':')?;
        let (name, numbers) = line.split_at_checked(colon)?;
        let mut words = words(numbers.get(1..)?);
        let (received, sent) = (integer(words.next()?)?, integer(words.nth(7)?)?);
        let name = std::str::from_utf8(name.trim_ascii()).ok()?;
        (!exclude.matches(name)).then_some([received, sent])
    }))
}

fn sums(pairs: impl Iterator<Item = [u64; 2]>) -> [u64; 2] {
    pairs
        .fold([0, 0], |[one, two], [more, too]| [one.saturating_add(more), two.saturating_add(too)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn texts_are_read() {
        let stat = b"cpu  10 1 4 80 5 1 1 0 9 9\ncpu0 1\nprocs_running 4\n";
        assert_eq!((cpu(stat), running(stat)), (Some([102, 17]), Some(3.0)));
        assert_eq!(stalled(b"some avg10=0.00 total=77\nfull total=1\n"), Some(77));
        assert_eq!(available(b"MemFree: 1 kB\nMemAvailable: 2 kB\n"), Some(2048.0));
        let disks = b" 8 0 sda 1 2 30 4 5 6 70 8\n 8 1 sda1 1 2 30 4 5 6 70 8\n 7 0 loop0 1\n";
        assert_eq!(disk(disks, &pattern(r"^sd[a-z]+\d")), [30 * 512, 70 * 512]);
        let devices = b"a\nb\n  lo: 9 0 0 0 0 0 0 0 9 0\neth0:5 0 0 0 0 0 0 0 6 0\n";
        assert_eq!(network(devices, &pattern("^lo$")), [5, 6]);
        for text in [&b""[..], b"\n", b"cpu", b"cpu x", b"some total=x", b"MemAvailable:", b": 1"] {
            let nothing = (cpu(text), running(text), stalled(text), available(text));
            assert_eq!(nothing, (None, None, None, None));
            assert_eq!((disk(text, &pattern("")), network(text, &pattern(""))), ([0, 0], [0, 0]));
        }
    }

    #[test]
    fn rates_are_of_what_has_grown() {
        let before = Counters {
            cpu: Some([100, 50]),
            pressure: [Some(0), None, Some(5_000_000)],
            disk: Some([0, 10]),
            network: None,
        };
        let now = Counters {
            cpu: Some([200, 125]),
            pressure: [Some(500_000), Some(1), Some(1)],
            disk: Some([4096, 10]),
            network: Some([1, 1]),
        };
        let mut values = Values::default();
        now.since(&before, 2.0, &mut values);
        let wanted =
            [Some(0.75), None, Some(0.25), None, None, None, Some(2048.0), Some(0.0), None, None];
        assert_eq!(values, wanted);
    }
}
