//! The log: to journald with fields when systemd has connected us to it, else to standard error. Who logs never
//! waits for either.
//!
//! Must not know what is logged.

mod journal;
mod queue;

use crate::config::{Level, Log};
use journal::Journal;
use queue::Queue;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
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
