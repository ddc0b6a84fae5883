//! The command line: what can be asked of the program, and in which words it answers.
//!
//! Must not know how anything is done.

use crate::config::{self, Config};
use crate::{daemon, demo, import};
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;

/// One daemon per node: host, process and agent metrics in one Prometheus scrape, and supervision
/// of the agents.
#[derive(Debug, Parser)]
#[command(name = "musterd", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground, as its unit does
    #[command(after_help = "Signals: SIGTERM and SIGINT finish what is being answered, stop the \
        agents that the daemon has started, and exit with 0. SIGHUP reads the configuration anew; \
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
    /// Print the configuration that does what another exporter's flags did
    #[command(subcommand)]
    Import(From),
    /// Run the daemon in the foreground with three example agents, as any user
    #[command(after_help = "Keeps its files in a folder of its own below the one for temporary \
        files. Ends with Ctrl-C.")]
    Demo {
        /// Where to serve /metrics and /health
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9089")]
        listen: String,
        /// Be one of the example agents; the daemon starts them with this
        #[arg(long, value_name = "NAME", hide = true)]
        agent: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum From {
    /// Flags of node_exporter
    #[command(
        after_help = "Prints the keys that differ from the defaults. Names on standard error \
        each flag that cannot be said. Exits with 0 unless a flag is malformed."
    )]
    NodeExporter {
        /// A file of variables with flags, such as /etc/default/prometheus-node-exporter
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// The flags, behind --
        #[arg(last = true, value_name = "FLAG")]
        flags: Vec<String>,
    },
}

impl Cli {
    /// Does what is asked for.
    ///
    /// # Errors
    /// What went wrong, in words for whoever typed the command.
    pub fn run(self) -> Result<(), String> {
        match self.command {
            Command::Run { config } => {
                let loaded = load(config.as_deref())?;
                daemon::run(loaded, config)
            }
            Command::CheckConfig { config } => {
                let loaded = load(Some(&config))?;
                let enabled = loaded.collectors.iter().filter(|plan| plan.enabled).count();
                let (file, agents) = (config.display(), loaded.definitions.len());
                let text = format!("{file}: no fault; {enabled} collectors, {agents} agents");
                // Whoever reads may have gone; the exit status says the same.
                let _ = writeln!(std::io::stdout(), "{text}");
                Ok(())
            }
            Command::Import(From::NodeExporter { file, flags }) => import(file.as_deref(), flags),
            Command::Demo { agent: Some(name), .. } => demo::be(&name),
            Command::Demo { listen, agent: None } => demo::run(&listen),
        }
    }
}

fn import(file: Option<&std::path::Path>, flags: Vec<String>) -> Result<(), String> {
    let mut all = Vec::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let found = import::flags_of_environment(&text);
        all.extend(found.map_err(|what| format!("{}: {what}", path.display()))?);
    }
    all.extend(flags);
    let imported = import::node_exporter(&all)?;
    for what in &imported.left_out {
        let _ = writeln!(std::io::stderr(), "musterd: not imported: {what}");
    }
    let written = std::io::stdout().write_all(imported.config.as_bytes());
    written.map_err(|error| format!("cannot write: {error}"))
}

fn load(path: Option<&std::path::Path>) -> Result<Config, String> {
    config::load(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
