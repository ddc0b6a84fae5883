//! `musterd doctor`: whether an installation is as it should be, as a list of checks, each with what to
//! do about it.
//!
//! In reading order: `finding` (what a check has found, and how that is shown), `installation` (files,
//! folders, socket, unit), `agents` (whether they can be started), `systemd` (what it says of units), `kernel` (what the kernel can do, and its clock), `collectors` (which give
//! nothing, and why), `servers` (the daemon and the Prometheus, over HTTP).
//!
//! Must not change anything that it looks at.

mod agents;
mod collectors;
mod finding;
mod installation;
mod kernel;
mod servers;
mod systemd;

use crate::config;
use finding::{Finding, Report};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

/// What to look at, and how to show it.
#[derive(Debug)]
pub struct Options {
    /// The daemon's configuration.
    pub config: PathBuf,
    /// The address and port of the Prometheus that scrapes the daemon; without one, this machine's is
    /// looked for.
    pub prometheus: Option<String>,
    /// As JSON, for programs.
    pub json: bool,
}

/// Goes through all checks and shows them. Whether none has failed; warnings are no failure.
///
/// # Errors
/// The checks could not be made at all.
pub fn run(options: &Options) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let mut findings = vec![installation::configuration(&options.config)];
    // What depends on a configuration that is none is looked at by the defaults.
    let config = config::load(Some(&options.config)).or_else(|_| config::load(None));
    let config = config.map_err(|error| error.to_string())?;
    findings.push(installation::unit());
    findings.push(installation::socket(&config.agents.socket));
    findings.push(installation::folders(&config.run_dir, &config.state_dir));
    findings.push(agents::examine(&options.config, &config));
    findings.extend(kernel::features(&config.root));
    findings.push(kernel::clock());
    let daemon = servers::Daemon::at(&config.http.listen);
    findings.push(runtime.block_on(daemon.health()));
    let seen = runtime.block_on(daemon.collectors());
    findings.extend(collectors::examine(&config, seen.as_ref()));
    findings.extend(runtime.block_on(servers::prometheus(options.prometheus.as_deref(), &daemon)));

    let report = Report::new(findings);
    let mut out = std::io::stdout();
    let text = if options.json { report.json() } else { report.text(out.is_terminal()) };
    // Whoever reads may have had enough; the exit status says the same.
    let _ = out.write_all(text.as_bytes());
    Ok(!report.has_failed())
}

fn pass(check: impl Into<String>, what: impl Into<String>) -> Finding {
    Finding::new(check, finding::Verdict::Pass, what, None)
}

fn warn(check: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding::new(check, finding::Verdict::Warn, what, Some(fix.into()))
}

fn fail(check: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding::new(check, finding::Verdict::Fail, what, Some(fix.into()))
}
