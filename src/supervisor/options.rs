//! `[[agent]]` entries and `[agents.supervision]`, and the checked form in which they leave here.
//!
//! Must not know how a process is started or when; a [`Definition`] can always be carried out as
//! far as its text goes.

use super::carrier::Runner;
use super::limits::Limits;
use super::policy::{Policy, Restart};
use crate::names::{NAME_LIMIT, is_name};
use crate::units::{duration, optional_duration};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait that can be configured, so that no sum of times overflows.
const WAIT_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Highest start limit: the times of that many starts are remembered.
const START_LIMIT: u32 = 1000;

/// `[agents.supervision]`: what holds for agents whose entries do not say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Who makes agents' processes: for all of them.
    pub runner: Runner,
    /// Whether agents are started with the daemon.
    pub autostart: bool,
    /// When an agent that has exited is started again.
    pub restart: Restart,
    /// Wait before the first restart.
    #[serde(with = "duration")]
    pub backoff_initial: Duration,
    /// Longest wait before a restart.
    #[serde(with = "duration")]
    pub backoff_max: Duration,
    /// Time up after which the wait begins anew at its initial length.
    #[serde(with = "duration")]
    pub backoff_reset: Duration,
    /// Starts within `start_interval` after which the agent is given up; 0 for no limit.
    pub start_limit: u32,
    /// The time over which starts are counted.
    #[serde(with = "duration")]
    pub start_interval: Duration,
    /// Time between TERM and KILL.
    #[serde(with = "duration")]
    pub stop_grace: Duration,
}

/// An `[[agent]]` entry as it is written. What is left out comes from [`Defaults`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentEntry {
    /// The agent's name, `[A-Za-z0-9_.-]{1,64}`.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where the agent runs; `/` when left out.
    pub directory: Option<PathBuf>,
    /// Variables added to its environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The user it runs as; the default one of its [`Carrier`](super::carrier::Carrier) when left out.
    pub user: Option<String>,
    /// What its processes may have.
    #[serde(default)]
    pub limits: Limits,
    /// As [`Defaults::autostart`].
    pub autostart: Option<bool>,
    /// As [`Defaults::restart`].
    pub restart: Option<Restart>,
    /// As [`Defaults::backoff_initial`].
    #[serde(default, with = "optional_duration")]
    pub backoff_initial: Option<Duration>,
    /// As [`Defaults::backoff_max`].
    #[serde(default, with = "optional_duration")]
    pub backoff_max: Option<Duration>,
    /// As [`Defaults::backoff_reset`].
    #[serde(default, with = "optional_duration")]
    pub backoff_reset: Option<Duration>,
    /// As [`Defaults::start_limit`].
    pub start_limit: Option<u32>,
    /// As [`Defaults::start_interval`].
    #[serde(default, with = "optional_duration")]
    pub start_interval: Option<Duration>,
    /// As [`Defaults::stop_grace`].
    #[serde(default, with = "optional_duration")]
    pub stop_grace: Option<Duration>,
}

/// What an agent's process is made from. A change here takes a new process; a change of anything
/// else in a [`Definition`] does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program: a path, or a name to be looked up in the agent's `PATH`.
    pub program: String,
    /// Its arguments, without its own name.
    pub arguments: Vec<String>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Variables added to its environment.
    pub environment: BTreeMap<String, String>,
    /// The user it runs as; the default one of its [`Carrier`](super::carrier::Carrier) if `None`.
    pub user: Option<String>,
    /// What its processes may have.
    #[serde(default)]
    pub limits: Limits,
}

/// An agent to be supervised: a checked entry with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: Arc<str>,
    /// What its process is made from.
    pub launch: Launch,
    /// How it is kept running.
    pub policy: Policy,
    /// Whether it is started with the daemon.
    pub autostart: bool,
}

/// What is wrong with an entry, or with the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The keys that it lies at: the one that is wrong, then the one that makes it so.
    pub keys: Vec<&'static str>,
    /// What is wrong, beginning with the first key, and what was wanted. Nothing of a command or an environment,
    /// which hold secrets.
    pub text: String,
}

fn fault(key: &'static str, text: impl fmt::Display) -> Fault {
    Fault { keys: vec![key], text: format!("{key} {text}") }
}

/// Checks the defaults by themselves, so that a fault in them is none of an agent's.
///
/// # Errors
/// What is wrong with the first bad key.
pub fn check(defaults: &Defaults) -> Result<(), Fault> {
    check_policy(&policy_of(None, defaults))
}

/// Checks an entry and fills in the defaults.
///
/// # Errors
/// What is wrong with the first bad key.
pub fn resolve(entry: &AgentEntry, defaults: &Defaults) -> Result<Definition, Fault> {
    check_name(&entry.name)?;
    let policy = policy_of(Some(entry), defaults);
    check_policy(&policy)?;
    Ok(Definition {
        name: entry.name.as_str().into(),
        launch: launch(entry)?,
        policy,
        autostart: entry.autostart.unwrap_or(defaults.autostart),
    })
}

fn policy_of(entry: Option<&AgentEntry>, defaults: &Defaults) -> Policy {
    fn or<T>(entry: Option<&AgentEntry>, own: fn(&AgentEntry) -> Option<T>, default: T) -> T {
        entry.and_then(own).unwrap_or(default)
    }
    Policy {
        restart: or(entry, |e| e.restart, defaults.restart),
        backoff_initial: or(entry, |e| e.backoff_initial, defaults.backoff_initial),
        backoff_max: or(entry, |e| e.backoff_max, defaults.backoff_max),
        backoff_reset: or(entry, |e| e.backoff_reset, defaults.backoff_reset),
        start_limit: or(entry, |e| e.start_limit, defaults.start_limit),
        start_interval: or(entry, |e| e.start_interval, defaults.start_interval),
        stop_grace: or(entry, |e| e.stop_grace, defaults.stop_grace),
    }
}

/// Whether `name` can name an agent, and files of its own.
///
/// # Errors
/// What was wanted.
pub fn check_name(name: &str) -> Result<(), Fault> {
    if is_name(name) && ![".", ".."].contains(&name) {
        return Ok(());
    }
    let wanted = format!(
        "1 to {NAME_LIMIT} letters, digits, \".\", \"_\" or \"-\", and not \".\" or \"..\""
    );
    Err(fault("name", format_args!("is {name:?}, wanted {wanted}")))
}

fn launch(entry: &AgentEntry) -> Result<Launch, Fault> {
    let Some((program, arguments)) = entry.command.split_first().filter(|(p, _)| !p.is_empty())
    else {
        return Err(fault("command", "is empty, wanted a program and its arguments"));
    };
    if entry.command.iter().any(|text| text.contains('\0')) {
        return Err(fault("command", "has a NUL in it, wanted none"));
    }
    let directory = entry.directory.clone().unwrap_or_else(|| "/".into());
    if !directory.is_absolute() {
        return Err(fault("directory", format_args!("is {directory:?}, wanted an absolute path")));
    }
    for (name, value) in &entry.environment {
        // What is no name may be both name and value.
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(fault(
                "environment",
                "has a key that is no name, wanted no \"=\" and no NUL",
            ));
        }
        if value.contains('\0') {
            return Err(fault("environment", format_args!("has a NUL in {name}, wanted none")));
        }
    }
    Ok(Launch {
        program: program.clone(),
        arguments: arguments.to_vec(),
        directory,
        environment: entry.environment.clone(),
        user: entry.user.clone(),
        limits: entry.limits.clone(),
    })
}

fn check_policy(policy: &Policy) -> Result<(), Fault> {
    let text = |length: Duration| humantime::format_duration(length);
    let lengths = [
        ("backoff_initial", policy.backoff_initial),
        ("backoff_max", policy.backoff_max),
        ("backoff_reset", policy.backoff_reset),
        ("start_interval", policy.start_interval),
        ("stop_grace", policy.stop_grace),
    ];
    for (key, length) in lengths {
        if length.is_zero() || length > WAIT_LIMIT {
            let (length, limit) = (text(length), text(WAIT_LIMIT));
            let what = format!("is \"{length}\", wanted more than 0s and at most {limit}");
            return Err(fault(key, what));
        }
    }
    if policy.backoff_max < policy.backoff_initial {
        let (most, initial) = (text(policy.backoff_max), text(policy.backoff_initial));
        return Err(Fault {
            keys: vec!["backoff_max", "backoff_initial"],
            text: format!(
                "backoff_max is \"{most}\", wanted at least backoff_initial, \"{initial}\""
            ),
        });
    }
    if policy.start_limit > START_LIMIT {
        let what = format!("is {}, wanted at most {START_LIMIT}", policy.start_limit);
        return Err(fault("start_limit", what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Agents {
        supervision: Defaults,
    }

    #[derive(Deserialize)]
    struct File {
        agents: Agents,
        #[serde(default)]
        agent: Vec<AgentEntry>,
    }

    const SHIPPED: &str = include_str!("../../config/musterd.toml");

    fn read(entries: &str) -> Result<Vec<Definition>, String> {
        let file: File =
            toml::from_str(&format!("{SHIPPED}\n{entries}")).map_err(|error| error.to_string())?;
        let defaults = &file.agents.supervision;
        let text = |fault: Fault| {
            assert!(fault.text.starts_with(fault.keys.first().unwrap()), "{fault:?}");
            fault.text
        };
        check(defaults).map_err(text)?;
        file.agent.iter().map(|entry| resolve(entry, defaults).map_err(text)).collect()
    }

    #[test]
    fn the_example_in_the_shipped_file_is_valid() {
        let (_, example) = SHIPPED.split_once("# [[agent]]").unwrap();
        let entry: String = example
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .map(|l| format!("{l}\n"))
            .collect();
        let definitions = read(&format!("[[agent]]\n{entry}")).unwrap();
        let [agent] = &definitions[..] else { panic!("{definitions:?}") };
        assert_eq!(&*agent.name, "summarizer");
        assert_eq!(agent.launch.arguments, ["-m", "summarizer"]);
        assert_eq!(agent.launch.user.as_deref(), Some("summarizer"));
        assert_eq!(agent.launch.limits.open_files, Some(4096));
        assert_eq!(agent.policy.restart, Restart::Always);
        assert_eq!(agent.policy.stop_grace, Duration::from_secs(30));
    }

    #[test]
    fn what_is_left_out_comes_from_the_defaults() {
        let definitions = read("[[agent]]\nname = 'a'\ncommand = ['true']").unwrap();
        let [agent] = &definitions[..] else { panic!("{definitions:?}") };
        assert!(agent.autostart);
        assert_eq!(agent.policy.restart, Restart::OnFailure);
        assert_eq!(agent.policy.backoff_max, Duration::from_secs(60));
        assert_eq!(agent.launch.directory, PathBuf::from("/"));
    }

    #[test]
    fn bad_entries_are_refused_with_the_text_and_what_was_wanted() {
        let entry = |rest: &str| format!("[[agent]]\nname = 'a'\ncommand = ['true']\n{rest}");
        let long = format!("[[agent]]\nname = '{}'\ncommand = ['true']", "x".repeat(65));
        let cases: &[(&str, &str)] = &[
            ("[[agent]]\nname = ''\ncommand = ['true']", "name is \"\", wanted 1 to 64"),
            ("[[agent]]\nname = 'a/b'\ncommand = ['true']", "name is \"a/b\""),
            (&long, "wanted 1 to 64"),
            ("[[agent]]\nname = 'a'\ncommand = []", "command is empty"),
            ("[[agent]]\nname = 'a'\ncommand = ['']", "command is empty"),
            ("[[agent]]\nname = 'a'\ncommand = [\"hush\\u0000b\"]", "command has a NUL in it"),
            ("[[agent]]\nname = 'a'\ncommand = 'true'", "expected a sequence"),
            (&entry("directory = 'here'"), "directory is \"here\", wanted an absolute path"),
            (&entry("environment = { 'A=hush' = '1' }"), "environment has a key that is no name"),
            (&entry("environment = { A = \"hush\\u0000\" }"), "environment has a NUL in A, wanted"),
            (&entry("restart = 'sometimes'"), "unknown variant `sometimes`"),
            (&entry("backoff_initial = '0s'"), "backoff_initial is \"0s\", wanted more than 0s"),
            (&entry("backoff_initial = '2m'"), "backoff_max is \"1m\", wanted at least"),
            (&entry("stop_grace = '25h'"), "stop_grace is \"1day 1h\""),
            (&entry("start_limit = 1001"), "start_limit is 1001, wanted at most 1000"),
            (&entry("colour = 'red'"), "unknown field `colour`"),
        ];
        for (text, wanted) in cases {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted), "{text}\n{error}\nlacks {wanted}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
