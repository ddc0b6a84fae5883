//! The host: what a collector is, and the one list of them.
//!
//! A collector is one file: its families, a pure parse of what the kernel says, and its emit.
//! This room must not know about HTTP, formats or agents; it fills a [`Batch`] and nothing else.

pub mod root;

use crate::metric::{Batch, Family};
use root::Root;
use std::sync::Arc;
use std::time::Instant;

/// Why a collector gave nothing this time. The text names the path, the offending text and what
/// was wanted.
#[derive(Debug)]
pub enum Error {
    /// The kernel has nothing of the kind (no such file, no such device). Not worth a log line
    /// more than once.
    NoData(String),
    /// A file could not be read.
    Read {
        /// Which file.
        path: std::path::PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A file's text was not in the format that the kernel documents.
    Parse(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoData(what) => write!(f, "no data: {what}"),
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Parse(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// What a collector is given at each pass.
pub struct Pass<'a> {
    /// Where its samples go. What a failed collector has written is taken back by the caller.
    pub batch: &'a mut Batch,
    /// A buffer to read files into, shared by all collectors so that its memory is paid once.
    pub buffer: &'a mut Vec<u8>,
    /// When this pass must be over. Whatever can wait for a device asks before it waits.
    pub deadline: Instant,
}

/// One source of host metrics. It keeps its files open and its label sets rendered from pass to
/// pass.
pub trait Collector: Send {
    /// Samples and emits.
    ///
    /// # Errors
    /// What could not be read or understood; everything it has emitted is then left out.
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error>;
}

/// Makes a collector that reads below a root. Made from checked options, so it cannot fail.
pub type Builder = Arc<dyn Fn(&Arc<Root>) -> Box<dyn Collector> + Send + Sync>;

/// A line of the list of collectors.
pub struct Entry {
    /// The name in `[host.collectors.<name>]`, `?collect[]=` and the label `collector`.
    pub name: &'static str,
    /// All families it can emit.
    pub families: &'static [Family],
    /// Reads its options (all of them but `enabled`, which every collector has).
    pub parse: fn(toml::Deserializer<'_>) -> Result<Builder, toml::de::Error>,
}

/// For a collector without options: refuses any key.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// Every collector. To add one: its file, and its line here.
pub static COLLECTORS: &[Entry] = &[];
