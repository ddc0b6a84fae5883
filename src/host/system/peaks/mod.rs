//! `peaks`: what happens between scrapes. A thread of its own looks at the machine at short
//! intervals; histograms count all that it has seen, and maxima hold for a while, so that a burst of
//! two seconds is visible at a scrape interval of a minute. A reload that leaves its options alone leaves the thread
//! alone as well.
//!
//! Must not know who asks, or how often.

mod record;
mod tick;

use crate::host::pattern::Pattern;
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::Family;
use crate::units;
use record::Record;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{Builder as Threads, JoinHandle};
use std::time::{Duration, Instant};
use tick::{COUNT, CPU, DISK, Eye, MEMORY, NETWORK, PRESSURE, RUNNING};

const RESOURCE: &[&str] = &["resource"];
const OPERATION: &[&str] = &["operation"];
const DIRECTION: &[&str] = &["direction"];

/// A family of histograms, the one of its extremes, and the places of their values with their labels.
struct Shown {
    histogram: Family,
    extreme: Family,
    choose: fn(f64, f64) -> f64,
    values: &'static [(usize, &'static [(&'static str, &'static str)])],
}

static SHOWN: [Shown; 6] = [
    Shown {
        histogram: Family::histogram(
            "musterd_peak_cpu_busy_ratio",
            &[],
            "Share of cpu time that was not idle, at each look.",
        ),
        extreme: Family::gauge(
            "musterd_peak_cpu_busy_ratio_max",
            &[],
            "The largest share of cpu time that was not idle, of late.",
        ),
        choose: f64::max,
        values: &[(CPU, &[])],
    },
    Shown {
        histogram: Family::histogram(
            "musterd_peak_running_threads",
            &[],
            "Threads that ran or waited for a cpu, at each look.",
        ),
        extreme: Family::gauge(
            "musterd_peak_running_threads_max",
            &[],
            "The most threads that ran or waited for a cpu, of late.",
        ),
        choose: f64::max,
        values: &[(RUNNING, &[])],
    },
    Shown {
        histogram: Family::histogram(
            "musterd_peak_pressure_ratio",
            RESOURCE,
            "Share of the time that some threads waited for the resource, at each look.",
        ),
        extreme: Family::gauge(
            "musterd_peak_pressure_ratio_max",
            RESOURCE,
            "The largest share of the time that some threads waited for the resource, of late.",
        ),
        choose: f64::max,
        values: &[
            (PRESSURE, &[("resource", "cpu")]),
            (PRESSURE + 1, &[("resource", "io")]),
            (PRESSURE + 2, &[("resource", "memory")]),
        ],
    },
    Shown {
        histogram: Family::histogram(
            "musterd_peak_memory_available_bytes",
            &[],
            "Memory that was available to new programs, at each look.",
        ),
        extreme: Family::gauge(
            "musterd_peak_memory_available_bytes_min",
            &[],
            "The least memory that was available to new programs, of late.",
        ),
        choose: f64::min,
        values: &[(MEMORY, &[])],
    },
    Shown {
        histogram: Family::histogram(
            "musterd_peak_disk_bytes_per_second",
            OPERATION,
            "Rate of reading and writing, all disks together, at each look.",
        ),
        extreme: Family::gauge(
            "musterd_peak_disk_bytes_per_second_max",
            OPERATION,
            "The largest rate of reading and writing, all disks together, of late.",
        ),
        choose: f64::max,
        values: &[(DISK, &[("operation", "read")]), (DISK + 1, &[("operation", "write")])],
    },
    Shown {
        histogram: Family::histogram(
            "musterd_peak_network_bytes_per_second",
            DIRECTION,
            "Rate of receiving and sending, all network devices together, at each look.",
        ),
        extreme: Family::gauge(
            "musterd_peak_network_bytes_per_second_max",
            DIRECTION,
            "The largest rate of receiving and sending, all network devices together, of late.",
        ),
        choose: f64::max,
        values: &[
            (NETWORK, &[("direction", "receive")]),
            (NETWORK + 1, &[("direction", "transmit")]),
        ],
    },
];
static FAMILIES: [Family; 12] = {
    let [a, b, c, d, e, f] = &SHOWN;
    [
        a.histogram,
        a.extreme,
        b.histogram,
        b.extreme,
        c.histogram,
        c.extreme,
        d.histogram,
        d.extreme,
        e.histogram,
        e.extreme,
        f.histogram,
        f.extreme,
    ]
};

const RATIO: &[f64] = &[0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];
const THREADS: &[f64] = &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Powers of four, from 64 KiB to 64 GiB.
const BYTES: &[f64] = &[
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
    17_179_869_184.0,
    68_719_476_736.0,
];
/// In the order of what is seen.
const BOUNDS: [&[f64]; COUNT] =
    [RATIO, THREADS, RATIO, RATIO, RATIO, BYTES, BYTES, BYTES, BYTES, BYTES];

/// The collector's line in the list.
pub(in crate::host) const ENTRY: Entry =
    Entry { name: "peaks", families: &FAMILIES, parse: configure };

#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(with = "units::duration")]
    interval: Duration,
    #[serde(with = "units::duration")]
    window: Duration,
    disk_exclude: Pattern,
    network_exclude: Pattern,
}

/// No shorter than a look is worth, and no more looks than are worth their memory.
const SHORTEST: Duration = Duration::from_millis(100);
const MOST: u128 = 10_000;

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let options: Options = serde::Deserialize::deserialize(options)?;
    let (interval, window) = (options.interval, options.window);
    let looks = window.as_millis() / interval.as_millis().max(1);
    if interval < SHORTEST || !(1..=MOST).contains(&looks) {
        let what = "peaks: wanted an interval of 100ms or more, and a window of 1 to 10000 of them";
        return Err(serde::de::Error::custom(what));
    }
    let length = usize::try_from(looks).unwrap_or(1);
    let running: Mutex<Option<(Arc<Root>, Weak<Looks>)>> = Mutex::default();
    Ok(Arc::new(move |root: &Arc<Root>| {
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        let former = running.as_ref().filter(|(theirs, _)| theirs == root);
        let former = former.and_then(|(_, looks)| looks.upgrade()).filter(|looks| looks.go_on());
        let looks = former.unwrap_or_else(|| {
            let eye = Eye::new(root, options.disk_exclude.clone(), options.network_exclude.clone());
            Arc::new(Looks::start(eye, interval, length))
        });
        *running = Some((Arc::clone(root), Arc::downgrade(&looks)));
        Box::new(Peaks(looks))
    }))
}

/// What is shown of the looks, which go on as long as anyone shows them.
struct Peaks(Arc<Looks>);

/// The thread that looks, and what it has seen.
struct Looks {
    record: Arc<Mutex<Record>>,
    thread: std::io::Result<JoinHandle<()>>,
}

impl Looks {
    fn start(mut eye: Eye, interval: Duration, length: usize) -> Self {
        let record = Arc::new(Mutex::new(Record::new(BOUNDS, length)));
        let theirs = Arc::downgrade(&record);
        let thread = Threads::new().name("peaks".to_owned()).spawn(move || {
            let mut buffer = Vec::new();
            let mut next = Instant::now();
            // Nobody wants to know any more when the collector has gone.
            while let Some(record) = theirs.upgrade() {
                let values = eye.look(&mut buffer);
                lock(&record).take(values);
                drop(record);
                let now = Instant::now();
                next = (next + interval).max(now);
                std::thread::park_timeout(next - now);
            }
        });
        Self { record, thread }
    }

    fn go_on(&self) -> bool {
        self.thread.as_ref().is_ok_and(|thread| !thread.is_finished())
    }
}

/// A thread that panicked has left nothing half done here.
fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Looks {
    fn drop(&mut self) {
        // Given up first, so that the thread, once awake, finds it gone.
        self.record = Arc::new(Mutex::new(Record::new(BOUNDS, 1)));
        if let Ok(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Collector for Peaks {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let looks = &self.0;
        let thread = looks.thread.as_ref().map_err(|error| {
            Error::Parse(format!("the thread that looks could not be started: {error}"))
        })?;
        if thread.is_finished() {
            return Err(Error::Parse("the thread that looks has ended".to_owned()));
        }
        let record = lock(&looks.record);
        for shown in &SHOWN {
            pass.batch.begin(&shown.histogram);
            for (place, labels) in shown.values {
                record.emit(*place, labels, pass.batch);
            }
            pass.batch.begin(&shown.extreme);
            for (place, labels) in shown.values {
                if let Some(value) = record.extreme(*place, shown.choose) {
                    pass.batch.sample(labels, value);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Batch;

    #[test]
    fn a_look_is_shown_and_the_thread_ends() {
        let [procfs, sysfs, rootfs, udev_data] = ["/proc", "/sys", "/", "/run"].map(Into::into);
        let root = Root { procfs, sysfs, rootfs, udev_data };
        let none = || Pattern::try_from(String::new()).unwrap();
        let eye = Eye::new(&root, none(), none());
        let mut peaks = Peaks(Arc::new(Looks::start(eye, Duration::from_millis(5), 9)));
        let (mut batch, begun) = (Batch::new(), Instant::now());
        while !batch.has("musterd_peak_cpu_busy_ratio")
            || batch.families().count() < FAMILIES.len() - 2
        {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(5));
            batch.clear();
            let (buffer, deadline) = (&mut Vec::new(), Instant::now());
            peaks.collect(&mut Pass { batch: &mut batch, buffer, deadline }).unwrap();
        }
        let mut looks = Arc::into_inner(peaks.0).unwrap();
        let ended = Err(std::io::ErrorKind::Other.into());
        let thread = std::mem::replace(&mut looks.thread, ended).unwrap();
        let handle = thread.thread().clone();
        drop(looks);
        handle.unpark();
        thread.join().unwrap();
    }
}
