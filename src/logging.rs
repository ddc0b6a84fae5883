//! The log: to journald with fields when systemd has connected us to it, else to standard error.
//!
//! Must not know what is logged.

use crate::config::{Level, Log};
use std::os::unix::fs::MetadataExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Changes the level while the daemon runs.
pub struct Handle(reload::Handle<LevelFilter, Registry>);

impl Handle {
    /// Takes a new level.
    pub fn set(&self, options: Log) {
        // Fails only when the subscriber has gone, with the process.
        let _ = self.0.modify(|filter| *filter = level(options));
    }
}

/// Starts logging, for the rest of the process's life.
#[must_use]
pub fn start(options: Log) -> Handle {
    let (filter, handle) = reload::Layer::new(level(options));
    let journal = is_journal().then(tracing_journald::layer).and_then(Result::ok);
    let output: Box<dyn Layer<Registry> + Send + Sync> = match journal {
        Some(journal) => Box::new(journal.with_field_prefix(None).with_filter(filter)),
        None => Box::new(
            fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
                .with_target(false)
                .with_filter(filter),
        ),
    };
    // Fails only when logging was started before; then it goes on as it was.
    let _ = tracing_subscriber::registry().with(output).try_init();
    Handle(handle)
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
