//! The daemon's own process: the standard `process_*` families that every client library has.
//!
//! Always from the real `/proc/self`, whatever root the configuration names. Must not know about
//! any other process.

use super::stat::{parse_boot_time, parse_stat};
use super::{RARELY, scan};
use crate::host::root::KernelFile;
use crate::host::{Error, Pass};
use crate::metric::Family;
use rustix::process::{Resource, getrlimit};

const CPU: Family = Family::counter(
    "process_cpu_seconds_total",
    &[],
    "Processor time that the daemon has used, in user and system mode.",
);
const OPEN_FDS: Family =
    Family::gauge("process_open_fds", &[], "File descriptors that the daemon has open.");
const MAX_FDS: Family = Family::gauge(
    "process_max_fds",
    &[],
    "File descriptors that the daemon may have open (its soft limit).",
);
const VIRTUAL: Family =
    Family::gauge("process_virtual_memory_bytes", &[], "Address space of the daemon.");
const VIRTUAL_MAX: Family = Family::gauge(
    "process_virtual_memory_max_bytes",
    &[],
    "Address space that the daemon may have (its soft limit).",
);
const RESIDENT: Family = Family::gauge(
    "process_resident_memory_bytes",
    &[],
    "Memory of the daemon that is held in RAM.",
);
const START_TIME: Family = Family::gauge(
    "process_start_time_seconds",
    &[],
    "When the daemon started, in seconds since the epoch.",
);

/// All families of the daemon's own process.
pub static FAMILIES: &[Family] =
    &[CPU, OPEN_FDS, MAX_FDS, VIRTUAL, VIRTUAL_MAX, RESIDENT, START_TIME];

/// The daemon's own process.
#[derive(Debug)]
pub struct Own {
    stat: KernelFile,
    boot_file: KernelFile,
    boot: Option<f64>,
    passes: u64,
    entries: Vec<u8>,
}

impl Default for Own {
    fn default() -> Self {
        Self::new()
    }
}

impl Own {
    /// Nothing is read yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stat: KernelFile::new("/proc/self/stat".into()),
            boot_file: KernelFile::new("/proc/stat".into()),
            boot: None,
            passes: 0,
            entries: Vec::new(),
        }
    }

    /// Emits the process's own values. A limit that is not set is 2^64, as the client libraries
    /// for other languages have it.
    ///
    /// # Errors
    /// That `/proc/self/stat` could not be read or understood.
    pub fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        if self.boot.is_none() || self.passes.is_multiple_of(RARELY) {
            let text = self.boot_file.read_if_there(pass.buffer);
            self.boot = text.and_then(parse_boot_time).map(|seconds| seconds as f64);
        }
        self.passes += 1;
        let text = self.stat.read(pass.buffer)?;
        let Some((_, stat)) = parse_stat(text) else {
            let text = String::from_utf8_lossy(text);
            return Err(Error::Parse(format!("/proc/self/stat: {text:?} is not a process's stat")));
        };
        let batch = &mut *pass.batch;
        let limit = |resource| getrlimit(resource).current.unwrap_or(u64::MAX) as f64;
        let [user, system] = stat.cpu_ticks;
        batch.value(&CPU, user.saturating_add(system) as f64 / ticks_per_second);
        if let Ok(count) = scan::own_fds(&mut self.entries) {
            batch.value(&OPEN_FDS, count as f64);
        }
        batch.value(&MAX_FDS, limit(Resource::Nofile));
        batch.value(&VIRTUAL, stat.virtual_bytes as f64);
        batch.value(&VIRTUAL_MAX, limit(Resource::As));
        let page = rustix::param::page_size() as f64;
        batch.value(&RESIDENT, stat.resident_pages as f64 * page);
        if let Some(boot) = self.boot {
            batch.value(&START_TIME, boot + stat.start_ticks as f64 / ticks_per_second);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Batch, Point};
    use std::time::{Instant, SystemTime};

    fn value(batch: &Batch, family: &Family) -> f64 {
        let found = batch.families().find(|it| it.name == family.name.as_bytes());
        match found.unwrap().samples().next().unwrap().point {
            Point::Number(number) => number,
            Point::Histogram(_) | Point::Summary(_) => panic!("{} is a number", family.name),
        }
    }

    #[test]
    fn the_start_moves_with_the_clock() {
        let path = std::env::temp_dir().join(format!("musterd-own-{}", std::process::id()));
        let set = |boot: u64| std::fs::write(&path, format!("cpu 1\nbtime {boot}\n")).unwrap();
        set(1_000_000_000);
        let mut own = Own { boot_file: KernelFile::new(path.clone()), ..Own::new() };
        let mut start = || {
            let (mut batch, mut buffer) = (Batch::new(), Vec::new());
            let deadline = Instant::now();
            own.collect(&mut Pass { batch: &mut batch, buffer: &mut buffer, deadline }).unwrap();
            value(&batch, &START_TIME)
        };
        let before = start();
        set(1_000_003_600);
        let after = (0..RARELY).map(|_| start()).last().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(after - before, 3600.0);
    }

    #[test]
    fn every_family_has_a_likely_value() {
        let (mut batch, mut buffer) = (Batch::new(), Vec::new());
        let mut pass = Pass { batch: &mut batch, buffer: &mut buffer, deadline: Instant::now() };
        Own::new().collect(&mut pass).unwrap();
        let value = |family: &Family| value(&batch, family);
        assert_eq!(batch.families().count(), FAMILIES.len());
        let listed = std::fs::read_dir("/proc/self/fd").unwrap().count() as f64;
        assert!((value(&OPEN_FDS) - listed).abs() < 20.0, "{}", value(&OPEN_FDS));
        assert!(value(&MAX_FDS) >= value(&OPEN_FDS));
        assert!(value(&VIRTUAL) > value(&RESIDENT) && value(&RESIDENT) > 100_000.0);
        assert!(value(&VIRTUAL_MAX) >= value(&VIRTUAL));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((0.0..3600.0).contains(&(now - value(&START_TIME))), "{}", value(&START_TIME));
    }
}
