//! The configuration: its types, how files are put over the defaults, and what is wrong with one.
//!
//! `config/musterd.toml` is embedded and is the defaults: a key that a file leaves out has the
//! value that stands there, and nowhere else in the program. Everything is checked here, before
//! anything is bound or started.
//!
//! Must not know what the values do.

use crate::agent::options::HealthOf;
use crate::host::root::Root;
use crate::supervisor::options::{self, AgentEntry, Definition};
use crate::{agent, host, http, process, units};
use musterd_client::layout::DURATION_SCHEMAS;
use serde::Deserialize;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The shipped file, which is also the defaults.
pub const DEFAULTS: &str = include_str!("../config/musterd.toml");

/// A file larger than this is not a configuration.
const FILE_LIMIT: u64 = 1 << 20;

/// Everything that can be set.
pub struct Config {
    /// `[http]`
    pub http: http::Options,
    /// `[paths]`: where kernel files are.
    pub root: Root,
    /// `[paths]`: files of this boot.
    pub run_dir: PathBuf,
    /// `[paths]`: what is kept.
    pub state_dir: PathBuf,
    /// `[host] deadline`: of a whole scrape.
    pub deadline: Duration,
    /// `[host.collectors]`
    pub collectors: Vec<host::Plan>,
    /// `[paths]`, `[host]` and `[processes]` as they are written: what sampling depends on.
    pub sampling: String,
    /// `[paths]` and `[processes]` as they are written: what the process scan depends on.
    pub scanning: String,
    /// `[processes]`
    pub processes: process::Options,
    /// `[agents]`
    pub agents: agent::options::Options,
    /// `[[agent]]`, with their defaults filled in.
    pub definitions: Vec<Definition>,
    /// `[health]`
    pub health: Health,
    /// `[log]`
    pub log: Log,
}

/// Thresholds of the node's own health checks, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Memory in use that makes the node degraded.
    pub memory_degraded: f64,
    /// Memory in use that makes the node unhealthy.
    pub memory_unhealthy: f64,
    /// Use of the root file system that makes the node degraded.
    pub disk_degraded: f64,
    /// Use of the root file system that makes the node unhealthy.
    pub disk_unhealthy: f64,
    /// Processors' use that makes the node degraded.
    pub cpu_degraded: f64,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: Level,
}

/// Levels of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // Their names say all.
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// A file as it is written, `[host.collectors]` aside.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    http: http::Options,
    paths: Paths,
    host: Host,
    processes: process::Options,
    agents: agent::options::Options,
    #[serde(default)]
    agent: Vec<Spanned<AgentEntry>>,
    health: Health,
    log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paths {
    procfs: PathBuf,
    sysfs: PathBuf,
    rootfs: PathBuf,
    udev_data: PathBuf,
    run: PathBuf,
    state: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    #[serde(with = "units::duration")]
    deadline: Duration,
}

/// What is wrong with a configuration, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    /// The file.
    pub file: String,
    /// Line and column, from 1; where the fault has a place.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what was wanted.
    pub text: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.text),
            None => write!(f, "{}: {}", self.file, self.text),
        }
    }
}

impl std::error::Error for Error {}

/// Reads a file, and those of `conf.d` beside it in the order of their names, over the defaults.
/// Without a path: the defaults alone.
///
/// # Errors
/// The first thing that is wrong, with file, line and column.
pub fn load(path: Option<&Path>) -> Result<Config, Error> {
    let mut files = Vec::new();
    for file in path.map(self::files).transpose()?.unwrap_or_default() {
        files.push((file.display().to_string(), read(&file)?));
    }
    let texts: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    parse(&texts)
}

/// The files that [`load`] reads: the one named, and those of `conf.d` beside it.
///
/// # Errors
/// The folder cannot be listed.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = vec![path.to_owned()];
    files.extend(parts(path)?);
    Ok(files)
}

/// As [`load`], from texts with their names.
///
/// # Errors
/// The first thing that is wrong, with name, line and column.
pub fn parse(files: &[(&str, &str)]) -> Result<Config, Error> {
    // Each by itself first: a span says where in a text, but not in which.
    for (name, text) in files {
        let located = |error: &toml::de::Error| locate(name, text, error);
        let mut merged = defaults()?;
        merge(merged.get_mut(), DeTable::parse(text).map_err(|e| located(&e))?.into_inner());
        resolve(merged).map_err(|fault| match fault {
            Fault::Toml(error) => located(&error),
            Fault::At(start, text_of) => Error {
                file: (*name).to_owned(),
                place: Some(position(text, start)),
                text: text_of,
            },
        })?;
    }
    let mut merged = defaults()?;
    for (name, text) in files {
        let table = DeTable::parse(text).map_err(|error| locate(name, text, &error))?;
        merge(merged.get_mut(), table.into_inner());
    }
    let whole = files.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" with ");
    resolve(merged).map_err(|fault| Error {
        file: if whole.is_empty() { "built-in defaults".to_owned() } else { whole },
        place: None,
        text: match fault {
            Fault::Toml(error) => error.message().to_owned(),
            Fault::At(_, text) => text,
        },
    })
}

enum Fault {
    Toml(toml::de::Error),
    At(usize, String),
}

fn defaults() -> Result<Spanned<DeTable<'static>>, Error> {
    DeTable::parse(DEFAULTS).map_err(|error| locate("built-in defaults", DEFAULTS, &error))
}

/// Puts `over` on top: tables key by key, `[[agent]]` entries after those that are there, anything
/// else in place of what was there.
fn merge<'a>(base: &mut DeTable<'a>, over: DeTable<'a>) {
    for (key, value) in over {
        let name: &str = key.get_ref();
        let appends = name == "agent";
        match (base.get_mut(name).map(Spanned::get_mut), value.into_inner_with_span()) {
            (Some(DeValue::Table(below)), (_, DeValue::Table(above))) => merge(below, above),
            (Some(DeValue::Array(below)), (_, DeValue::Array(above))) if appends => {
                for entry in above {
                    below.push(entry);
                }
            }
            (_, (span, value)) => {
                // The key goes too, so that a span in a message is that of the file read last.
                base.remove(name);
                base.insert(key, Spanned::new(span, value));
            }
        }
    }
}

trait IntoInnerWithSpan<T> {
    fn into_inner_with_span(self) -> (std::ops::Range<usize>, T);
}

impl<T> IntoInnerWithSpan<T> for Spanned<T> {
    fn into_inner_with_span(self) -> (std::ops::Range<usize>, T) {
        (self.span(), self.into_inner())
    }
}

fn resolve(mut merged: Spanned<DeTable<'_>>) -> Result<Config, Fault> {
    let written = merged.get_ref().clone();
    let sampling = write_sections(&written, &["paths", "host", "processes"]);
    let scanning = write_sections(&written, &["paths", "processes"]);
    let collectors = take(merged.get_mut(), &["host", "collectors"]);
    let collectors = match collectors {
        Some(table) => host::plan(table).map_err(Fault::Toml)?,
        None => Vec::new(),
    };
    let per_agent = take(merged.get_mut(), &["agents", "health", "per_agent"]);
    let health = take(&mut merged.get_ref().clone(), &["agents", "health"]);
    let mut file = File::deserialize(toml::Deserializer::from(merged)).map_err(Fault::Toml)?;
    check(&file).map_err(|(key, text)| Fault::At(place_of(&written, &key), text))?;
    if let Some((per_agent, health)) = per_agent.zip(health) {
        file.agents.health_per_agent = resolve_health(per_agent, &health)?;
    }
    let definitions = resolve_agents(file.agent, &file.agents)?;
    let Paths { procfs, sysfs, rootfs, udev_data, run, state } = file.paths;
    Ok(Config {
        http: file.http,
        root: Root { procfs, sysfs, rootfs, udev_data },
        run_dir: run,
        state_dir: state,
        deadline: file.host.deadline,
        collectors,
        sampling,
        scanning,
        processes: file.processes,
        agents: file.agents,
        definitions,
        health: file.health,
        log: file.log,
    })
}

/// What types alone cannot say: the key whose value makes no sense, and what was wanted.
fn check(file: &File) -> Result<(), (String, String)> {
    let counts = [
        ("http.max_connections", file.http.max_connections),
        ("http.max_scrapes", file.http.max_scrapes),
        ("agents.max_connections", file.agents.max_connections),
        ("agents.max_agents", file.agents.max_agents),
        ("agents.max_ledgers_per_uid", file.agents.max_ledgers_per_uid),
        ("agents.max_ledgers_per_process", file.agents.max_ledgers_per_process),
        ("agents.max_series", file.agents.max_series),
        ("agents.max_total_series", file.agents.max_total_series),
        ("agents.max_families", file.agents.max_families),
    ];
    let times = [
        ("http.header_timeout", file.http.header_timeout),
        ("http.write_timeout", file.http.write_timeout),
        ("http.idle_timeout", file.http.idle_timeout),
        ("host.deadline", file.host.deadline),
        ("agents.hello_timeout", file.agents.hello_timeout),
    ];
    let shares = [
        ("health.memory_degraded", file.health.memory_degraded),
        ("health.memory_unhealthy", file.health.memory_unhealthy),
        ("health.disk_degraded", file.health.disk_degraded),
        ("health.disk_unhealthy", file.health.disk_unhealthy),
        ("health.cpu_degraded", file.health.cpu_degraded),
    ];
    if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(((*key).to_owned(), format!("{key} is 0, wanted at least 1")));
    }
    if let Some((key, _)) = times.iter().find(|(_, time)| time.is_zero()) {
        return Err(((*key).to_owned(), format!("{key} is 0, wanted a length of time")));
    }
    if let Some((key, share)) = shares.iter().find(|(_, share)| !(0.0..=100.0).contains(share)) {
        return Err(((*key).to_owned(), format!("{key} is {share}, wanted 0 to 100")));
    }
    if let Err((key, text)) = file.agents.health.check() {
        let key = format!("agents.health.{key}");
        return Err((key.clone(), format!("{key} {text}")));
    }
    let size = file.agents.ledger_size;
    if !agent::options::LEDGER_SIZES.contains(&size) {
        let (least, most) =
            (agent::options::LEDGER_SIZES.start(), agent::options::LEDGER_SIZES.end());
        let text = format!("agents.ledger_size is {size} bytes, wanted {least} to {most}");
        return Err(("agents.ledger_size".to_owned(), text));
    }
    let schema = file.agents.duration_schema;
    if !DURATION_SCHEMAS.contains(&schema) {
        let (least, most) = (DURATION_SCHEMAS.start(), DURATION_SCHEMAS.end());
        let text = format!("agents.duration_schema is {schema}, wanted {least} to {most}");
        return Err(("agents.duration_schema".to_owned(), text));
    }
    if file.agents.max_ledger_memory < size {
        let memory = file.agents.max_ledger_memory;
        let text = format!(
            "agents.max_ledger_memory is {memory} bytes, wanted at least one ledger's {size}"
        );
        return Err(("agents.max_ledger_memory".to_owned(), text));
    }
    let length = file.agents.max_label_length;
    if !agent::options::LABEL_LENGTHS.contains(&length) {
        let text = format!("agents.max_label_length is {length}, wanted 16 to 256");
        return Err(("agents.max_label_length".to_owned(), text));
    }
    Ok(())
}

/// Where the value of a dotted key is written.
fn place_of(table: &DeTable<'_>, key: &str) -> usize {
    let (first, rest) = key.split_once('.').map_or((key, None), |(key, rest)| (key, Some(rest)));
    match (table.get(first), rest) {
        (Some(value), Some(rest)) => match value.get_ref() {
            DeValue::Table(below) => place_of(below, rest),
            _ => value.span().start,
        },
        (Some(value), None) => value.span().start,
        (None, _) => 0,
    }
}

fn write_sections(file: &DeTable<'_>, names: &[&str]) -> String {
    let mut text = String::new();
    for value in names.iter().filter_map(|name| file.get(*name)) {
        write_plain(value.get_ref(), &mut text);
    }
    text
}

/// A value without its place in the file, so that a line that has moved is no change.
fn write_plain(value: &DeValue<'_>, out: &mut String) {
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                out.push_str(key.get_ref());
                out.push('=');
                write_plain(value.get_ref(), out);
            }
        }
        DeValue::Array(values) => {
            for value in values {
                write_plain(value.get_ref(), out);
            }
        }
        other => *out += &format!("{other:?}"),
    }
    out.push(';');
}

/// Takes a table out.
fn take<'a>(from: &mut DeTable<'a>, path: &[&str]) -> Option<Spanned<DeTable<'a>>> {
    let (last, path) = path.split_last()?;
    let mut table = from;
    for name in path {
        let DeValue::Table(below) = table.get_mut(*name)?.get_mut() else { return None };
        table = below;
    }
    if !matches!(table.get(*last)?.get_ref(), DeValue::Table(_)) {
        // What it is instead is for the types to refuse.
        return None;
    }
    match table.remove(*last)?.into_inner_with_span() {
        (span, DeValue::Table(table)) => Some(Spanned::new(span, table)),
        _ => None,
    }
}

/// Each agent's own health over what holds for all.
fn resolve_health(
    per_agent: Spanned<DeTable<'_>>,
    all: &Spanned<DeTable<'_>>,
) -> Result<Vec<HealthOf>, Fault> {
    let mut found = Vec::new();
    for (key, own) in per_agent.into_inner() {
        let (place, name) = (key.span().start, key.into_inner());
        let is_known = |c: char| c.is_ascii_alphanumeric() || "_.-*?[]!".contains(c);
        let agents = glob::Pattern::new(&name).ok().filter(|_| name.chars().all(is_known));
        let agents = agents.ok_or_else(|| {
            Fault::At(place, format!("{name:?} is no name of an agent, nor a pattern for one"))
        })?;
        let (span, DeValue::Table(own)) = own.into_inner_with_span() else {
            let text = format!("{name:?} is no table, wanted keys of [agents.health]");
            return Err(Fault::At(place, text));
        };
        let mut table = all.get_ref().clone();
        merge(&mut table, own.clone());
        let table = toml::Deserializer::from(Spanned::new(span, table));
        let health = agent::options::Health::deserialize(table).map_err(Fault::Toml)?;
        health.check().map_err(|(key, text)| {
            let place = own.get(key).map_or(place, |value| value.span().start);
            Fault::At(place, format!("agents.health.per_agent.{name:?}.{key} {text}"))
        })?;
        found.push(HealthOf { agents, health });
    }
    Ok(found)
}

/// One entry at a time, so that a fault has a place.
fn resolve_agents(
    entries: Vec<Spanned<AgentEntry>>,
    agents: &agent::options::Options,
) -> Result<Vec<Definition>, Fault> {
    let mut definitions: Vec<Definition> = Vec::new();
    for entry in entries {
        let start = entry.span().start;
        let resolved = options::resolve(&[entry.into_inner()], &agents.supervision)
            .map_err(|text| Fault::At(start, text))?;
        for definition in resolved {
            if definitions.iter().any(|other| other.name == definition.name) {
                let text = format!("a second [[agent]] named {:?}", definition.name);
                return Err(Fault::At(start, text));
            }
            definitions.push(definition);
        }
    }
    Ok(definitions)
}

fn locate(file: &str, text: &str, error: &toml::de::Error) -> Error {
    Error {
        file: file.to_owned(),
        place: error.span().map(|span| position(text, span.start)),
        text: error.message().to_owned(),
    }
}

/// Line and column, from 1, of a byte in a text. Columns are characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn read(path: &Path) -> Result<String, Error> {
    let refuse = |text: String| Error { file: path.display().to_string(), place: None, text };
    let size = fs::metadata(path).map_err(|error| refuse(error.to_string()))?.len();
    if size > FILE_LIMIT {
        return Err(refuse(format!("{size} bytes, at most {FILE_LIMIT}")));
    }
    fs::read_to_string(path).map_err(|error| refuse(error.to_string()))
}

/// The `*.toml` files of `conf.d` beside the main file, by name.
fn parts(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = path.with_file_name("conf.d");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let file = folder.display().to_string();
            return Err(Error { file, place: None, text: error.to_string() });
        }
    };
    let mut parts: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    parts.sort();
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        parse(&[("a.toml", text)]).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn the_shipped_file_is_the_defaults_and_has_every_collector() {
        let defaults = parse(&[]).unwrap();
        let written = parse(&[("musterd.toml", DEFAULTS)]).unwrap();
        assert_eq!(defaults.sampling, written.sampling);
        assert_eq!(defaults.agents, written.agents);
        let planned: Vec<_> = defaults.collectors.iter().map(|plan| plan.name).collect();
        assert!(host::collectors().all(|entry| planned.contains(&entry.name)));
        assert!(defaults.definitions.is_empty());
    }

    #[test]
    fn a_fault_is_named_with_its_place() {
        for (text, wanted) in [
            (
                "[http]\nlisten = []\nmax_conections = 5",
                "a.toml:3:1: unknown field `max_conections`",
            ),
            ("[http\n", "a.toml:1:6: unclosed table"),
            ("[host.collectors.cpuu]\nenabled = true", "a.toml:1:18: no collector `cpuu`"),
            ("[host.collectors.diskstats]\ndevice_exclude = '(('", "a.toml:2:18: `((` is not"),
            ("[host.collectors.cpu]\ncolour = 1", "a.toml:2:1: unknown field `colour`"),
            ("[host]\ndeadline = 'soon'", "a.toml:2:12: \"soon\" is not a length of time"),
            ("[agents]\nledger_size = 'lots'", "a.toml:2:15: \"lots\" is not a size"),
            ("[agents]\nledger_size = '1B'", "a.toml:2:15: agents.ledger_size is 1 bytes"),
            ("[agents]\nsocket_mode = '0999'", "a.toml:2:15: \"0999\" is not a mode"),
            ("\n[http]\nmax_scrapes = 0", "a.toml:3:15: http.max_scrapes is 0"),
            ("[http]\nmax_connections = 0", "a.toml:2:19: http.max_connections is 0"),
            ("[http]\nidle_timeout = '0s'", "a.toml:2:16: http.idle_timeout is 0"),
            ("[health]\ncpu_degraded = 101", "a.toml:2:16: health.cpu_degraded is 101"),
            (
                "[agents]\nduration_schema = 9",
                "a.toml:2:19: agents.duration_schema is 9, wanted 0 to 5",
            ),
            (
                "[agents.health]\nrecover_below = 0.0",
                "a.toml:2:17: agents.health.recover_below is 0, wanted more",
            ),
            (
                "[agents.health]\nerror_rate_unhealthy = 0.01",
                "a.toml:2:24: agents.health.error_rate_unhealthy is 0.01, wanted at least",
            ),
            (
                "[agents.health.per_agent.'a b']\nmin_requests = 1",
                "a.toml:1:26: \"a b\" is no name",
            ),
            ("[agents.health.per_agent]\na = 1", "a.toml:2:1: \"a\" is no table"),
            ("[agents.health]\nper_agent = 1", "a.toml:2:1: unknown field `per_agent`"),
            ("[agents.health.per_agent.'a-*']\nslow = '1s'", "a.toml:2:1: unknown field `slow`"),
            ("[agents.health.per_agent.a]\nslow_p95 = 1", "a.toml:2:12: invalid type: integer `1`"),
            (
                "[agents.health.per_agent.\"a.b\"]\nstuck_after = '0s'",
                "a.toml:2:15: agents.health.per_agent.\"a.b\".stuck_after is 0",
            ),
            ("[log]\nlevel = 'loud'", "a.toml:2:9: unknown variant `loud`"),
            ("[[agent]]\nname = 'a'\n", "a.toml:1:1: missing field `command`"),
            ("\n[[agent]]\nname = 'a b'\ncommand = ['x']", "a.toml:2:1: agent \"a b\""),
        ] {
            assert!(fault(text).starts_with(wanted), "{text}\n  {}", fault(text));
        }
    }

    #[test]
    fn an_agent_has_the_health_of_the_closest_name() {
        let first = "[agents.health]\nmin_requests = 7\n\
                     [agents.health.per_agent.'etl-*']\nslow_p95 = '9s'\nmin_requests = 3";
        let second = "[agents.health.per_agent]\n'etl-n*'.slow_p95 = '8s'\netl-n.slow_p95 = '7s'\n\
                      'etl-*'.min_requests = 4";
        let agents = parse(&[("a", first), ("b", second)]).unwrap().agents;
        let of = |name| {
            let health = agents.health_of(name);
            (health.slow_p95.as_secs(), health.min_requests)
        };
        let found = ["other", "etl-a", "etl-north", "etl-n"].map(of);
        assert_eq!(found, [(0, 7), (9, 4), (8, 7), (7, 7)]);
        assert_eq!(agents.health_of("etl-a").stuck_after, agents.health.stuck_after);
    }

    #[test]
    fn files_are_put_over_one_another() {
        let first = "[http]\nmax_scrapes = 3\nmax_connections = 7\n\
                     [[agent]]\nname = 'a'\ncommand = ['x']\n\
                     [host.collectors.cpu]\nenabled = false";
        let second = "[http]\nmax_scrapes = 4\n[[agent]]\nname = 'b'\ncommand = ['y']";
        let config = parse(&[("a", first), ("b", second)]).unwrap();
        assert_eq!((config.http.max_scrapes, config.http.max_connections), (4, 7));
        let names: Vec<_> = config.definitions.iter().map(|agent| &*agent.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(!config.collectors.iter().any(|plan| plan.name == "cpu" && plan.enabled));
        // The same agent twice is a fault of neither file alone.
        let error = parse(&[("a", first), ("b", first)]).err().unwrap();
        assert_eq!(error.to_string(), "a with b: a second [[agent]] named \"a\"");
    }

    #[test]
    fn moved_lines_are_no_change_of_sampling_and_other_values_are() {
        let sampling = |text| parse(&[("a", text)]).unwrap().sampling;
        let one = "[host]\ndeadline = '3s'";
        assert_eq!(sampling(one), sampling("# a comment\n\n[host]\n deadline = '3s'"));
        assert_ne!(sampling(one), sampling("[host]\ndeadline = '4s'"));
        assert_ne!(sampling(""), sampling("[host.collectors.uname]\nenabled = false"));
    }
}
