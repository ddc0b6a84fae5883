//! The command line: what can be asked of the program, and in which words it answers.
//!
//! Must not know how anything is done.

use crate::config::{self, Config};
use crate::report::{Ended, Reporter};
use crate::{daemon, demo, doctor, exec, import, names, status, stderr, units};
use clap::{Args, Parser, Subcommand, ValueEnum};
use musterd_client::Status;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// What any command exits with when the command line is wrong (sysexits.h(3head)): 2 says something else here.
const USAGE: u8 = 64;

/// What `status` exits with when an agent is in trouble, and `doctor` when a check has failed.
const IN_TROUBLE: u8 = 2;

/// One daemon per node: host, process and agent metrics in one Prometheus scrape, and supervision
/// of the agents.
#[derive(Debug, Parser)]
#[command(name = "musterd", version, about, arg_required_else_help = true)]
#[command(after_help = "A command line that is wrong exits with 64, whatever the command.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground, as its unit does
    #[command(after_help = "Signals: SIGTERM and SIGINT finish what is being answered, stop the \
        agents that are the daemon's children, and exit with 0; those in units of their own go on. A SIGINT \
        after that kills such children and waits for nothing. \
        Under systemd, `systemctl stop musterd.socket musterd` does that: stopped alone, musterd is \
        started again by the next agent that connects to the socket. SIGHUP reads the configuration anew; \
        one that is bad is refused, with the reason in the log, and the old one stays.")]
    Run {
        /// The configuration; files in conf.d beside it are read after it. Without one, the
        /// built-in defaults hold
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Say what is wrong with a configuration, with file, line and column
    #[command(after_help = "Exits with 0 when nothing is wrong, else with 1.")]
    CheckConfig {
        /// The configuration; files in conf.d beside it are checked too
        #[arg(value_name = "FILE")]
        config: PathBuf,
    },
    /// Become an agent, as its unit musterd-agent@NAME.service does
    #[command(
        after_help = "Reads the agent's definition, takes its user, folder and environment, \
        and is replaced by its program. Run by root, it believes only files that root alone can \
        write. Returns only if that cannot be done: with 250 when there is no such agent, with 251 when \
        the configuration cannot be used, else with 1."
    )]
    Exec {
        /// The agent
        #[arg(value_name = "NAME")]
        name: String,
        /// The configuration; files in conf.d beside it are read after it
        #[arg(long, value_name = "FILE", default_value = "/etc/musterd/musterd.toml")]
        config: PathBuf,
        /// The user of an agent whose definition names none
        #[arg(long, value_name = "USER", default_value = "musterd-agent")]
        user: String,
    },
    /// Show the agents of a daemon that runs
    #[command(
        after_help = "Exits with 0 when no agent is in trouble (lost, stuck, unhealthy), with 2 \
        when one is, and with 1 when the daemon does not answer."
    )]
    Status {
        /// The daemon's address, as [http] listen has it
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9089", value_parser = server)]
        server: String,
        /// Go on showing them, every two seconds
        #[arg(long)]
        watch: bool,
        /// As the daemon has them: the JSON of /api/v1/agents
        #[arg(long)]
        json: bool,
    },
    /// Look at an installation: configuration, socket, folders, unit, kernel, collectors, Prometheus, clock
    #[command(
        after_help = "Each check passes, warns or fails, with what to do about it. Exits with 0 when \
        none has failed, with 2 when one has. Run as root, it sees what the daemon may not."
    )]
    Doctor {
        /// The daemon's configuration
        #[arg(long, value_name = "FILE", default_value = "/etc/musterd/musterd.toml")]
        config: PathBuf,
        /// The Prometheus that scrapes this node  [default: one on this machine, if there is]
        #[arg(long, value_name = "ADDRESS:PORT", value_parser = server)]
        prometheus: Option<String>,
        /// As JSON: {"verdict": …, "checks": [{"check", "verdict", "what", "fix"}, …]}
        #[arg(long)]
        json: bool,
    },
    /// Report a request to the daemon, or run a command as one, for programs that have no client
    #[command(
        after_help = "A command's exit status is passed on, whether it could be reported or \
        not; one that fails is an error of the category exit_STATUS or signal_NUMBER (with 128 + NUMBER), or \
        not_run (with 126 or 127). Without a command, exits with 0 when the request has been reported, \
        else with 1."
    )]
    Report(ReportArguments),
    /// Print the configuration that does what another exporter's flags did
    #[command(subcommand)]
    Import(From),
    /// Run the daemon in the foreground with three example agents, as any user
    #[command(after_help = "Keeps its files in a folder of its own below the one for temporary \
        files. Ends with Ctrl-C.")]
    Demo {
        /// Where to serve /metrics and /health
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9089", value_parser = units::address)]
        listen: SocketAddr,
        /// Be one of the example agents; the daemon starts them with this
        #[arg(long, value_name = "NAME", hide = true)]
        agent: Option<String>,
    },
}

#[derive(Debug, Args)]
struct ReportArguments {
    /// Who reports
    #[arg(long, value_name = "NAME", value_parser = agent_name)]
    agent: String,
    /// The daemon's socket  [default: $MUSTERD_SOCKET, or /run/musterd/agent.sock]
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,
    /// How the request ended
    #[arg(long, required_unless_present = "command", requires = "seconds")]
    status: Option<Outcome>,
    /// How long it took
    #[arg(long, value_parser = seconds, requires = "status", allow_negative_numbers = true)]
    seconds: Option<Duration>,
    /// Of what kind an error, or a timeout, was
    #[arg(long, value_name = "WORD", requires = "status")]
    category: Option<String>,
    /// A command to run, which is the request
    #[arg(last = true, conflicts_with_all = ["status", "seconds", "category"])]
    command: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Outcome {
    Success,
    Error,
    Timeout,
    Cancelled,
}

impl Outcome {
    const fn status(self) -> Status {
        match self {
            Self::Success => Status::Success,
            Self::Error => Status::Error,
            Self::Timeout => Status::Timeout,
            Self::Cancelled => Status::Cancelled,
        }
    }

    const fn has_category(self) -> bool {
        matches!(self, Self::Error | Self::Timeout)
    }
}

fn agent_name(text: &str) -> Result<String, String> {
    if names::is_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!("wanted 1 to {} of A-Z a-z 0-9 _ . -", names::NAME_LIMIT))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "wanted a number of seconds, at least 0".to_owned())
}

fn server(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').and_then(|(host, port)| {
        let is_host = !host.is_empty() && !host.contains('/');
        port.parse::<u16>().ok().filter(|_| is_host)
    });
    port.map(|_| text.to_owned())
        .ok_or_else(|| "wanted ADDRESS:PORT, such as 127.0.0.1:9089".to_owned())
}

#[derive(Debug, Subcommand)]
enum From {
    /// Flags of node_exporter
    #[command(
        after_help = "Prints the keys that differ from the defaults. Names on standard error \
        each flag that cannot be said, and what is not the same. Exits with 0 unless a flag is malformed."
    )]
    NodeExporter(Flags),
    /// Flags of process-exporter, and its file of process names
    #[command(
        after_help = "Prints the keys that do the same. The file of -config.path is read. Names on \
        standard error what cannot be said, and what is not the same. Exits with 0 unless a flag \
        or that file is malformed."
    )]
    ProcessExporter(Flags),
}

#[derive(Debug, Args)]
struct Flags {
    /// A file of variables with flags, such as those in /etc/default
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The flags, behind --
    #[arg(last = true, value_name = "FLAG")]
    flags: Vec<String>,
}

impl Cli {
    /// The command line that this process was given. Where it is wrong, or asks for help, that has been said: what to
    /// exit with then.
    ///
    /// # Errors
    /// Help was asked for, or the command line is wrong.
    pub fn given() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            // Whoever reads may have gone; the exit status says the same.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
        })
    }

    /// Does what is asked for; what to exit with.
    ///
    /// # Errors
    /// What went wrong, in words for whoever typed the command.
    pub fn run(self) -> Result<ExitCode, String> {
        let done = |()| ExitCode::SUCCESS;
        match self.command {
            Command::Status { server, watch, json } => {
                let is_well = status::run(&status::Options { server, json, watch })?;
                Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(IN_TROUBLE) })
            }
            Command::Doctor { config, prometheus, json } => {
                let is_well = doctor::run(&doctor::Options { config, prometheus, json })?;
                Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(IN_TROUBLE) })
            }
            Command::Report(arguments) => report(arguments),
            Command::Run { config } => {
                let loaded = load(config.as_deref())?;
                daemon::run(loaded, config).map(done)
            }
            Command::Exec { name, config, user } => {
                let Err(fault) = exec::run(&exec::Options { name, config, default_user: user });
                eprintln!("musterd: {}", fault.text);
                Ok(ExitCode::from(fault.code))
            }
            Command::CheckConfig { config } => {
                let loaded = load(Some(&config))?;
                let enabled = loaded.collectors.iter().filter(|plan| plan.enabled).count();
                let (file, agents) = (config.display(), loaded.definitions.len());
                let text = format!("{file}: no fault; {enabled} collectors, {agents} agents");
                // Whoever reads may have gone; the exit status says the same.
                let _ = writeln!(std::io::stdout(), "{text}");
                Ok(ExitCode::SUCCESS)
            }
            Command::Import(from) => import(from).map(done),
            Command::Demo { agent: Some(name), .. } => demo::be(&name).map(done),
            Command::Demo { listen, agent: None } => demo::run(listen).map(done),
        }
    }
}

fn report(arguments: ReportArguments) -> Result<ExitCode, String> {
    let ReportArguments { agent, socket, status, seconds, category, command } = arguments;
    let reporter = Reporter { agent, socket };
    match (status, seconds) {
        (Some(outcome), Some(_)) if category.is_some() && !outcome.has_category() => {
            Err("--category says of what kind an error or a timeout was: this was neither"
                .to_owned())
        }
        (Some(outcome), Some(duration)) => {
            reporter.tell(&Ended { status: outcome.status(), category, duration })?;
            Ok(ExitCode::SUCCESS)
        }
        _ => reporter.run(&command).map(ExitCode::from),
    }
}

fn import(from: From) -> Result<(), String> {
    let imported = match from {
        From::NodeExporter(given) => import::node_exporter(&given.all("--")?)?,
        From::ProcessExporter(given) => import::process_exporter(&given.all("-")?, &read)?,
    };
    for what in &imported.left_out {
        stderr::say(format_args!("not imported: {what}"));
    }
    for what in &imported.differs {
        stderr::say(format_args!("not the same: {what}"));
    }
    let written = std::io::stdout().write_all(imported.config.as_bytes());
    written.map_err(|error| format!("cannot write: {error}"))
}

impl Flags {
    /// Those of the file and those of the command line; each begins with `dash`.
    fn all(self, dash: &str) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        if let Some(path) = &self.file {
            let found = import::flags_of_environment(&read(path)?, dash);
            all.extend(found.map_err(|what| format!("{}: {what}", path.display()))?);
        } else if self.flags.is_empty() {
            return Err("no flags: name a file by --file, or put the flags behind --".to_owned());
        }
        all.extend(self.flags);
        Ok(all)
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn load(path: Option<&std::path::Path>) -> Result<Config, String> {
    config::load(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn what_is_no_number_of_seconds_or_no_server_is_refused_in_words() {
        for text in ["-1", "nan", "x", "1e99", ""] {
            assert!(seconds(text).unwrap_err().contains("at least 0"), "{text}");
        }
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["127.0.0.1", "foo", ":1", "http://127.0.0.1:1", "a:65536", ""] {
            assert!(server(text).unwrap_err().contains("127.0.0.1:9089"), "{text}");
        }
        for text in ["127.0.0.1:9089", "[::1]:1", "web1:9089"] {
            assert_eq!(server(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
