//! `musterd exec`: becomes an agent. The main process of `musterd-agent@NAME.service` begins here, as
//! root; it reads the agent's definition, gives up all that the agent is not to have, and is replaced
//! by the agent's program.
//!
//! It believes files that only root can write, and nothing else: neither the daemon nor anything that
//! the daemon's user could have put somewhere is asked or looked at.
//!
//! Must not know when or why an agent is started, nor what becomes of it.

mod identity;
mod program;
pub(crate) mod trust;

use crate::accounts;
use crate::config::{self, Config};
use crate::supervisor::options::Definition;
use crate::supervisor::policy::Restart;
use crate::supervisor::systemd::{BAD_CONFIGURATION, Manager, NO_SUCH_AGENT, unit_name};
use crate::{names, notify};
use rustix::process::geteuid;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use zbus::Variant;

/// Variables that are systemd's message to this process alone.
const OURS: [&str; 7] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "SYSTEMD_EXEC_PID",
];

/// What is to be executed.
#[derive(Debug)]
pub struct Options {
    /// The agent's name.
    pub name: String,
    /// The configuration that defines it.
    pub config: PathBuf,
    /// The user of agents whose definition names none.
    pub default_user: String,
}

/// Why this process has not become the agent.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// In words.
    pub text: String,
    /// What this process is to exit with.
    pub code: u8,
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self { text, code: 1 }
    }
}

/// Becomes the agent. Returns only if that could not be done.
///
/// # Errors
/// Why not: what is wrong with the definition, or with whoever could have written it; what of it
/// cannot be carried out. systemd has been told the same.
pub fn run(options: &Options) -> Result<Infallible, Fault> {
    become_agent(options).inspect_err(|fault| notify::status(&fault.text))
}

fn become_agent(options: &Options) -> Result<Infallible, Fault> {
    let (definition, socket) = definition(options)?;
    if definition.policy.restart == Restart::Never && stays_down(&definition.name) {
        return Err("restart is \"never\": not started again".to_owned().into());
    }
    let launch = &definition.launch;
    let user = launch.user.as_ref().unwrap_or(&options.default_user);
    let found = accounts::user(user)?;
    launch.limits.set()?;
    identity::take(user, &found)?;

    // From here on as the agent: what the user may not enter or run is refused.
    std::env::set_current_dir(&launch.directory)
        .map_err(|error| format!("cannot enter {}: {error}", launch.directory.display()))?;
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments);
    for name in OURS {
        command.env_remove(name);
    }
    command.env("HOME", &found.home).env("USER", user).env("LOGNAME", user);
    command.envs(&launch.environment);
    command.env("MUSTERD_SOCKET", socket).env("MUSTERD_AGENT", &*definition.name);
    let own_paths = launch.environment.get("PATH").map(OsString::from);
    let paths = own_paths.or_else(|| std::env::var_os("PATH"));
    program::check(&launch.program, paths.as_deref())?;

    // Nobody is left to say so afterwards.
    notify::status(&format!("{} as {user}", launch.program));
    notify::ready();
    Err(format!("cannot run {}: {}", launch.program, command.exec()).into())
}

/// The agent's definition, and the socket that it reports to.
fn definition(options: &Options) -> Result<(Definition, PathBuf), Fault> {
    let Options { name, config: path, .. } = options;
    if !names::is_name(name) {
        return Err(no_agent(format!("{name:?} is not the name of an agent")));
    }
    let files = config::files(path).map_err(|error| bad_configuration(error.to_string()))?;
    if geteuid().is_root() {
        files.iter().try_for_each(|file| trust::check(file)).map_err(bad_configuration)?;
    }
    let Config { definitions, agents, .. } =
        config::load(Some(path)).map_err(|error| bad_configuration(error.to_string()))?;
    let found = definitions.into_iter().find(|definition| *definition.name == **name);
    let found = found.ok_or_else(|| no_such_agent(name, path))?;
    Ok((found, agents.socket))
}

fn no_such_agent(name: &str, path: &Path) -> Fault {
    no_agent(format!("no [[agent]] named {name:?} in {} and its conf.d", path.display()))
}

const fn bad_configuration(text: String) -> Fault {
    Fault { text, code: BAD_CONFIGURATION }
}

const fn no_agent(text: String) -> Fault {
    Fault { text, code: NO_SUCH_AGENT }
}

/// Of an agent that is never to be started again, but that systemd has: whether so, and then has it
/// stay down. (The template brings agents back for the time when no daemon runs.)
fn stays_down(name: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return false };
    let unit = unit_name(name);
    runtime.block_on(async {
        let manager = Manager::default();
        let restarts = manager.properties(&unit, |all| match all.get("NRestarts") {
            Some(Variant::U32(count)) => *count,
            _ => 0,
        });
        // Who cannot be asked has not restarted it.
        if !restarts.await.is_ok_and(|count| count > 0) {
            return false;
        }
        // The stop is a signal to this process, too, which is to say first why it ends.
        let _held = signal(SignalKind::terminate());
        manager.stop(&unit).await.is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_no_agent_is_told_apart() {
        let options = |name: &str| Options {
            name: name.to_owned(),
            config: "/nowhere/musterd.toml".into(),
            default_user: "nobody".to_owned(),
        };
        assert_eq!(definition(&options("a/b")).unwrap_err().code, NO_SUCH_AGENT);
        assert_eq!(definition(&options("a")).unwrap_err().code, BAD_CONFIGURATION);
    }
}
