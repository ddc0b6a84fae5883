//! The host: what a collector is, and the list of them.
//!
//! A collector is one file in the folder of its subject: its families, a pure parse of what the
//! kernel says, and its emit.
//! This room must not know about HTTP, formats or agents; it fills a [`Batch`] and nothing else.

pub mod root;
pub mod uevents;
pub mod vitals;

mod bus;
mod class;
mod directory;
mod gathered;
mod hardware;
mod kept;
mod keyed;
mod looked;
mod memory;
mod network;
#[cfg(test)]
mod one_pass;
mod parse;
mod pattern;
mod processor;
mod readings;
mod storage;
mod system;
mod table;

use crate::metric::{Batch, Family};
use root::Root;
use serde::{Deserialize, Deserializer};
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Why a collector gave nothing this time. The text names the path, the offending text and what
/// was wanted.
#[derive(Debug)]
pub enum Error {
    /// The kernel has nothing of the kind (no such file, no such device). Not worth a log line
    /// more than once, nor another look before the kernel has announced anything new, or a minute
    /// has passed.
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

/// Whether something was there, for collectors that look for files by a pattern: that there are none is no
/// fault there, and succeeds as in node_exporter.
fn if_there<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(Error::NoData(_)) => Ok(None),
        found => found.map(Some),
    }
}

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
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// Every collector, in the order in which they are run and shown. To add one: its file, and its
/// line in the list of its folder.
pub fn collectors() -> impl Iterator<Item = &'static Entry> {
    let folders = [
        processor::COLLECTORS,
        memory::COLLECTORS,
        storage::COLLECTORS,
        network::COLLECTORS,
        hardware::COLLECTORS,
        system::COLLECTORS,
    ];
    folders.into_iter().flatten()
}

/// One collector as it is configured.
pub struct Plan {
    /// Its name in the list.
    pub name: &'static str,
    /// Whether it takes part in a pass that asks for no collector by name.
    pub enabled: bool,
    /// Its options, as they are written.
    pub options: toml::Table,
    /// Makes it.
    pub builder: Builder,
}

/// Has those of `plans` that are as before make their collectors as `former` ones do: a collector that looks by
/// itself, and runs, then goes on.
pub fn keep_builders(former: &[Plan], plans: &mut [Plan]) {
    for plan in plans {
        let same = |other: &&Plan| (other.name, &other.options) == (plan.name, &plan.options);
        if let Some(same) = former.iter().find(same) {
            plan.builder = Arc::clone(&same.builder);
        }
    }
}

/// Reads the table `[host.collectors]`: for each collector of the list, in the list's order, its
/// table with `enabled` and all of its options.
///
/// # Errors
/// A name that no collector has, a collector without a table, and whatever is wrong with a
/// collector's options: a key too many, a key too few, a value of the wrong kind. Each error
/// carries the place in the text that the table was parsed from.
pub fn plan(table: Spanned<DeTable<'_>>) -> Result<Vec<Plan>, toml::de::Error> {
    let place = table.span();
    let mut table = table.into_inner();
    for name in table.keys() {
        if !collectors().any(|entry| entry.name == name.get_ref().as_ref()) {
            let known: Vec<_> = collectors().map(|entry| entry.name).collect();
            let what =
                format!("no collector `{}`, wanted one of {}", name.get_ref(), known.join(", "));
            return Err(error_at(name.span(), what));
        }
    }
    let plan_one = |entry: &Entry| {
        let (_, options) = table.remove_entry(entry.name).ok_or_else(|| {
            error_at(place.clone(), format!("no table for the collector `{}`", entry.name))
        })?;
        let place = options.span();
        let DeValue::Table(mut options) = options.into_inner() else {
            return Err(error_at(place, format!("`{}` is not a table", entry.name)));
        };
        let Some((_, enabled)) = options.remove_entry("enabled") else {
            return Err(error_at(place, "missing field `enabled`".to_owned()));
        };
        let enabled = bool::deserialize(ValueDeserializer::from(enabled))?;
        let options = || toml::Deserializer::from(Spanned::new(place.clone(), options.clone()));
        let builder = (entry.parse)(options()).map_err(|error| {
            let place = error.span().unwrap_or_else(|| place.clone());
            with_enabled(error.message()).map_or(error, |what| error_at(place, what))
        })?;
        let options = toml::Table::deserialize(options())?;
        Ok(Plan { name: entry.name, enabled, options, builder })
    };
    collectors().map(plan_one).collect()
}

/// What is said of a key that no option has, with the one that has been taken before: every collector has it.
fn with_enabled(message: &str) -> Option<String> {
    message.starts_with("unknown field").then(|| {
        match message.strip_suffix("there are no fields") {
            Some(start) => format!("{start}expected `enabled`"),
            None => format!("{message}, or `enabled`"),
        }
    })
}

fn error_at(place: Range<usize>, what: String) -> toml::de::Error {
    // Only the library can give an error its place: it does so when a value refuses to be read.
    struct Refusal(String);
    impl serde::de::Visitor<'_> for Refusal {
        type Value = Infallible;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("nothing")
        }

        fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Infallible, E> {
            Err(E::custom(self.0))
        }
    }
    let value = ValueDeserializer::from(Spanned::new(place, DeValue::Boolean(true)));
    match value.deserialize_any(Refusal(what)) {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: &str = include_str!("../../config/musterd.toml");

    fn tables(text: &str) -> Spanned<DeTable<'_>> {
        let mut table = DeTable::parse(text).unwrap().into_inner();
        for name in ["host", "collectors"] {
            let value = table.remove(name).unwrap().into_inner();
            let DeValue::Table(inner) = value else { panic!("{name} is no table") };
            table = inner;
        }
        Spanned::new(0..text.len(), table)
    }

    fn refusal(text: &str) -> (String, String) {
        let error = plan(tables(text)).err().unwrap();
        let place = error.span().and_then(|place| text.get(place)).unwrap_or_default();
        (error.message().to_owned(), place.to_owned())
    }

    #[test]
    fn the_defaults_configure_every_collector() {
        let plans = plan(tables(DEFAULTS)).unwrap();
        let names: Vec<_> = plans.iter().map(|plan| plan.name).collect();
        let wanted: Vec<_> = collectors().map(|entry| entry.name).collect();
        assert_eq!(names, wanted);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let (message, place) = refusal(&DEFAULTS.replace("collectors.uname]", "collectors.unam]"));
        assert!(message.starts_with("no collector `unam`, wanted one of cpu, "), "{message}");
        assert_eq!(place, "unam");
        let (message, place) = refusal(&DEFAULTS.replace("softirq = false", "softirq = 7"));
        assert!(message.contains("expected a boolean"), "{message}");
        assert_eq!(place, "7");
        let (message, _) = refusal(&DEFAULTS.replace("softirq = false", ""));
        assert!(message.contains("missing field `softirq`"), "{message}");
        let (message, place) = refusal(&DEFAULTS.replace("softirq = false", "softirqs = false"));
        assert!(message.contains("unknown field `softirqs`"), "{message}");
        assert!(message.ends_with("`softirq`, or `enabled`"), "{message}");
        assert_eq!(place, "softirqs");
        let (message, _) =
            refusal(&DEFAULTS.replace("collectors.uname]", "collectors.uname]\nx = 1"));
        assert_eq!(message, "unknown field `x`, expected `enabled`");
        let (message, _) =
            refusal(&DEFAULTS.replace("bugs_include = \"\"", "bugs_include = \"(\""));
        assert!(message.starts_with("`(` is not a regular expression: "), "{message}");
        let (message, _) =
            refusal(&DEFAULTS.replace("mount_timeout = \"5s\"", "mount_timeout = \"x\""));
        assert!(message.starts_with("\"x\" is not a length of time"), "{message}");
        let (message, _) = refusal("host.collectors.cpu = 3\n");
        assert_eq!(message, "`cpu` is not a table");
        let (message, _) = refusal("[host.collectors]\n");
        assert_eq!(message, "no table for the collector `cpu`");
    }

    #[test]
    fn families_are_declared_once() {
        let families = || collectors().flat_map(|entry| entry.families);
        for family in families() {
            let all: Vec<_> = families().filter(|other| other.name == family.name).collect();
            assert!(all.iter().all(|other| *other == family), "{} is two families", family.name);
            // Whoever comes second leaves it out.
            let may_be_twice = family.name == "node_cpu_frequency_hertz";
            assert!(all.len() == 1 || may_be_twice, "{} is declared twice", family.name);
        }
    }
}
