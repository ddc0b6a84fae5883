//! The log: to journald with fields when systemd has connected us to it, else to standard error. Who logs never
//! waits for either.
//!
//! Must not know what is logged.

mod journal;
mod queue;

use crate::config::{Level, Log};
use journal::Journal;
use queue::Queue;
use std::cell::Cell;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Changes the level while the daemon runs. When it is dropped, the last lines are waited for.
pub struct Handle {
    filter: reload::Handle<LevelFilter, Registry>,
    queue: Option<Queue>,
}

impl Handle {
    /// Takes a new level.
    pub fn set(&self, options: Log) {
        // Fails only when the subscriber has gone, with the process.
        let _ = self.filter.modify(|filter| *filter = level(options));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.flush();
        }
    }
}

/// Starts logging, for the rest of the process's life.
#[must_use]
pub fn start(options: Log) -> Handle {
    let (filter, handle) = reload::Layer::new(level(options));
    let journal = is_journal().then(journal::sender).and_then(Result::ok);
    let (queue, is_journal) = match journal {
        Some(send) => (Queue::start(send), true),
        None => (Queue::start(|line| io::stderr().write_all(line)), false),
    };
    let queue = queue.ok();
    let output: Option<Box<dyn Layer<Registry> + Send + Sync>> = queue.clone().map(|queue| {
        if is_journal {
            return Journal::new(queue).with_filter(filter).boxed();
        }
        fmt::layer()
            .with_writer(move || Line(queue.clone()))
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .with_target(false)
            .with_filter(filter)
            .boxed()
    });
    // Fails only when logging was started before; then it goes on as it was.
    let _ = tracing_subscriber::registry().with(output).try_init();
    Handle { filter: handle, queue }
}

/// Takes a line of standard error, which is written to it whole.
struct Line(Queue);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets a few lines of a kind through in each period, so that whoever can cause them from outside
/// cannot fill the log.
#[derive(Debug)]
pub struct Quota {
    lines: u32,
    period: Duration,
    begun: Cell<Option<Instant>>,
    used: Cell<u32>,
    left_out: Cell<u64>,
}

impl Quota {
    /// So many lines in each period.
    #[must_use]
    pub fn new(lines: u32, period: Duration) -> Self {
        let (begun, used, left_out) = (Cell::new(None), Cell::new(0), Cell::new(0));
        Self { lines, period, begun, used, left_out }
    }

    /// Whether a line may be written now: if so, how many were left out since the last one.
    #[must_use]
    pub fn take(&self, now: Instant) -> Option<u64> {
        if self.begun.get().is_none_or(|begun| now.duration_since(begun) >= self.period) {
            self.begun.set(Some(now));
            self.used.set(0);
        }
        if self.used.get() >= self.lines {
            self.left_out.set(self.left_out.get() + 1);
            return None;
        }
        self.used.set(self.used.get() + 1);
        Some(self.left_out.take())
    }
}

fn level(options: Log) -> LevelFilter {
    match options.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// Whether standard error is the journal: systemd says which device and inode that has
/// (systemd.exec(5), `JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Some((device, inode)) = stream.split_once(':') else { return false };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stderr| device.parse() == Ok(stderr.dev()) && inode.parse() == Ok(stderr.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_lets_a_few_lines_through_and_counts_the_rest() {
        let quota = Quota::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| quota.take(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(2), at(9)], [Some(0), Some(0), None, None]);
        assert_eq!([at(10), at(11), at(12)], [Some(2), Some(0), None]);
        assert_eq!(at(30), Some(1));
    }
}
