//! The configuration: its types, how files are put over the defaults, and what is wrong with one.
//!
//! `config/musterd.toml` is embedded and is the defaults: a key that a file leaves out has the
//! value that stands there, and nowhere else in the program. Everything is checked here, before
//! anything is bound or started.
//!
//! Must not know what the values do.

mod agents;
mod check;
mod fault;
mod layers;

pub use fault::Error;

use crate::agent::options::HealthOf;
use crate::host::root::Root;
use crate::supervisor::options::Definition;
use crate::{agent, host, http, process, units};
use check::Senseless;
use fault::Fault;
use layers::{IntoInnerWithSpan, place};
use rustix::fs::OFlags;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The shipped file, which is also the defaults.
pub const DEFAULTS: &str = include_str!("../../config/musterd.toml");

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
struct Written {
    http: http::Options,
    paths: Paths,
    host: Host,
    processes: process::Options,
    agents: agent::options::Options,
    /// Read by itself, and here only so that it is a key that is known.
    #[serde(default)]
    #[expect(dead_code)]
    agent: Option<IgnoredAny>,
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
    let mut merged = DeTable::new();
    let mut config = put_on_top(&mut merged, "built-in defaults", DEFAULTS)?;
    for (name, text) in files {
        config = put_on_top(&mut merged, name, text)?;
    }
    Ok(config)
}

/// Puts a file over those before it, and looks at the whole after each, so that a fault is known to be of
/// the one that was put on top last.
fn put_on_top<'a>(merged: &mut DeTable<'a>, name: &str, text: &'a str) -> Result<Config, Error> {
    let located = |fault: Fault| fault.of(name, text);
    let layer = DeTable::parse(text).map_err(|error| located(Fault::Toml(error)))?;
    let span = layer.span();
    if let Some((at, what)) = layers::find_no_table(merged, layer.get_ref()) {
        return Err(located(Fault::At(Some(at), what)));
    }
    layers::merge(merged, layer.into_inner());
    let config = resolve(Spanned::new(span, merged.clone())).map_err(located)?;
    layers::forget_places(merged);
    Ok(config)
}

fn resolve(mut merged: Spanned<DeTable<'_>>) -> Result<Config, Fault> {
    let written = merged.get_ref().clone();
    let sampling = layers::write_sections(&written, &["paths", "host", "processes"]);
    let scanning = layers::write_sections(&written, &["paths", "processes"]);
    let collectors = layers::take(merged.get_mut(), &["host", "collectors"]);
    let collectors = match collectors {
        Some(table) => host::plan(table).map_err(Fault::Toml)?,
        None => Vec::new(),
    };
    let per_agent = layers::take(merged.get_mut(), &["agents", "health", "per_agent"]);
    let health = layers::take(&mut merged.get_ref().clone(), &["agents", "health"]);
    let agent = merged.get_mut().remove("agent");
    let mut file = Written::deserialize(toml::Deserializer::from(merged)).map_err(Fault::Toml)?;
    check::check(&file).map_err(|Senseless { keys, text }| {
        Fault::At(keys.iter().find_map(|key| layers::place_of(&written, key)), text)
    })?;
    if let Some((per_agent, health)) = per_agent.zip(health) {
        file.agents.health_per_agent = resolve_health(per_agent, &health)?;
    }
    let definitions = agents::resolve(agent, &written, &file.agents.supervision)?;
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

/// Each agent's own health over what holds for all.
fn resolve_health(
    per_agent: Spanned<DeTable<'_>>,
    all: &Spanned<DeTable<'_>>,
) -> Result<Vec<HealthOf>, Fault> {
    let mut found = Vec::new();
    for (key, own) in per_agent.into_inner() {
        let (place, name) = (place(&key.span()), key.into_inner());
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
        layers::merge(&mut table, own.clone());
        let table = toml::Deserializer::from(Spanned::new(span, table));
        let health = agent::options::Health::deserialize(table).map_err(Fault::Toml)?;
        health.check().map_err(|(keys, text)| {
            let place = keys.iter().find_map(|key| layers::place_of(&own, key)).or(place);
            let key = keys.first().unwrap_or(&"");
            Fault::At(place, format!("agents.health.per_agent.{name:?}.{key} {text}"))
        })?;
        found.push(HealthOf { agents, health });
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, Error> {
    let refuse = |text: String| Error { file: path.display().to_string(), place: None, text };
    // Nobody may ever write to a pipe: it is opened without waiting for that, and then refused.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = File::options().read(true).custom_flags(nonblocking).open(path);
    let file = opened.map_err(|error| refuse(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| refuse(error.to_string()))?;
    if !metadata.is_file() {
        return Err(refuse("not a regular file; put one in its place, or remove it".to_owned()));
    }
    let mut text = String::new();
    let read = file.take(FILE_LIMIT + 1).read_to_string(&mut text);
    let size = read.map_err(|error| refuse(error.to_string()))? as u64;
    if size > FILE_LIMIT {
        let size = metadata.len().max(size);
        return Err(refuse(format!("{size} bytes, at most {FILE_LIMIT}")));
    }
    Ok(text)
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
        // What an editor puts beside a file that is being changed.
        .filter(|path| {
            !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        })
        .collect();
    parts.sort();
    Ok(parts)
}

#[cfg(test)]
mod tests;
