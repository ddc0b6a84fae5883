//! `musterd report`: a request, or a command that is run as one, told to the daemon for programs that
//! have no client: shell scripts, cron jobs.
//!
//! Must not know what the daemon makes of it.

mod told;

use crate::stderr;
use musterd_client::{Agent, DEFAULT_SOCKET, Status};
use nix::unistd::getpgrp;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

/// How long a daemon that is about to start is waited for, once there is something to tell. Where its
/// socket is not even there, nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a command waits at most until the daemon knows of it: one that ends all around it at once is
/// then known as well. A daemon that is there needs a millisecond or two.
const FIRST_PATIENCE: Duration = Duration::from_millis(250);
/// As shells say it: a command that cannot be run, and one that is not found.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
/// To which shells add the number of the signal that ended a command.
const BY_SIGNAL: i32 = 128;

/// Who reports, and where.
#[derive(Debug)]
pub struct Reporter {
    /// The agent's name.
    pub agent: String,
    /// The daemon's socket, if it is not where the environment says.
    pub socket: Option<PathBuf>,
}

/// A request that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: Status,
    /// Of what kind the error was.
    pub category: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

/// Whether there is no such file; one that this user may not look for may be there.
fn is_absent(socket: &Path) -> bool {
    matches!(socket.try_exists(), Ok(false))
}

impl Reporter {
    /// Tells the daemon of a request, which counts once this returns.
    ///
    /// # Errors
    /// There is no daemon, or it will not listen to this agent.
    pub fn tell(&self, ended: &Ended) -> Result<(), String> {
        told::tell(&self.socket(), &self.agent, ended, PATIENCE)
            .map_err(|why| format!("not reported: the agent {:?} {why}", self.agent))
    }

    /// Runs a command as a request, which lasts as long as it does; signals are passed on to
    /// it. What to exit with: as the command has.
    ///
    /// # Errors
    /// What the system said, when it gives no runtime or no signals.
    pub fn run(&self, command: &[String]) -> Result<u8, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start the runtime: {error}"))?;
        let agent = self.start();
        let request = agent.begin();
        // What comes of it is said at the end.
        let _ = self.wait_connected(&agent, FIRST_PATIENCE);
        let (code, status, category) = match runtime.block_on(run(command))? {
            Ok(ended) if ended.success() => (0, Status::Success, None),
            Ok(ended) => {
                let (code, category) = failure(ended);
                (code, Status::Error, Some(category))
            }
            Err(error) => {
                let name = command.first().map_or("", String::as_str);
                stderr::say(format_args!("cannot run {name}: {error}"));
                let is_missing = error.kind() == std::io::ErrorKind::NotFound;
                let code = if is_missing { NOT_FOUND } else { CANNOT_RUN };
                (code, Status::Error, Some("not_run".to_owned()))
            }
        };
        request.end(status, category.as_deref());
        if let Err(error) = self.wait_connected(&agent, PATIENCE) {
            // The command's own end is what counts.
            stderr::say(error);
        }
        Ok(code)
    }

    fn socket(&self) -> PathBuf {
        let told = || std::env::var_os("MUSTERD_SOCKET").map(PathBuf::from);
        self.socket.clone().or_else(told).unwrap_or_else(|| DEFAULT_SOCKET.into())
    }

    fn start(&self) -> Agent {
        Agent::builder(&self.agent).socket(self.socket()).framework("musterd report").start()
    }

    /// Waits until a daemon has taken the agent.
    fn wait_connected(&self, agent: &Agent, patience: Duration) -> Result<(), String> {
        let limit = Instant::now() + patience;
        let socket = self.socket();
        while !agent.is_connected() {
            if is_absent(&socket) {
                let (agent, socket) = (&self.agent, socket.display());
                return Err(format!(
                    "not reported: the agent {agent:?} finds no socket {socket}; is musterd running?"
                ));
            }
            if Instant::now() >= limit {
                return Err(format!(
                    "not reported: no daemon has taken the agent {:?} within {} s; is musterd \
                     running, and may this user use its socket?",
                    self.agent,
                    patience.as_secs_f64()
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// The command's own failure to start is a result, too.
async fn run(command: &[String]) -> Result<std::io::Result<ExitStatus>, String> {
    let ignored = ignored_signals();
    let listen = |kind: SignalKind| {
        // What is ignored, as nohup(1) has it, stays so, for the command as well.
        if ignored >> (kind.as_raw_value() - 1) & 1 == 1 {
            return Ok(None);
        }
        signal(kind).map(Some).map_err(|error| format!("cannot catch signals: {error}"))
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    let mut quit = listen(SignalKind::quit())?;
    let mut user_1 = listen(SignalKind::user_defined1())?;
    let mut user_2 = listen(SignalKind::user_defined2())?;
    let Some((program, arguments)) = command.split_first() else {
        return Err("no command to run".to_owned());
    };
    let mut child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(error) => return Ok(Err(error)),
    };
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    loop {
        let received = tokio::select! {
            ended = child.wait() => return Ok(ended),
            () = received_by(&mut terminate) => Signal::TERM,
            () = received_by(&mut interrupt) => Signal::INT,
            () = received_by(&mut hang_up) => Signal::HUP,
            () = received_by(&mut quit) => Signal::QUIT,
            () = received_by(&mut user_1) => Signal::USR1,
            () = received_by(&mut user_2) => Signal::USR2,
        };
        if [Signal::INT, Signal::QUIT, Signal::HUP].contains(&received) && is_in_foreground() {
            // The terminal has sent it to the command as well; twice, it would mean something else.
            continue;
        }
        // It may have ended by now.
        let _ = pid.map(|pid| kill_process(pid, received));
    }
}

/// Signals that this process was started to ignore, a bit each, the first for number 1: `SigIgn` of
/// proc_pid_status(5).
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

async fn received_by(listener: &mut Option<Listener>) {
    match listener {
        Some(listener) => drop(listener.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether what is typed at the controlling terminal comes to this process, and to all of its group.
fn is_in_foreground() -> bool {
    let group = std::fs::File::open("/dev/tty").map(rustix::termios::tcgetpgrp);
    // Its own is 0 where it was begun outside this container, which rustix does not expect.
    matches!(group, Ok(Ok(group)) if group.as_raw_nonzero().get() == getpgrp().as_raw())
}

/// What to exit with after a command that has failed, and what kind of error that is.
fn failure(ended: ExitStatus) -> (u8, String) {
    match (ended.code(), ended.signal()) {
        (Some(code), _) => (u8::try_from(code).unwrap_or(u8::MAX), format!("exit_{code}")),
        (None, Some(signal)) => {
            let code = u8::try_from(BY_SIGNAL + signal).unwrap_or(u8::MAX);
            (code, format!("signal_{signal}"))
        }
        (None, None) => (u8::MAX, "unknown".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_passed_on_as_shells_do() {
        assert_eq!(failure(ExitStatus::from_raw(3 << 8)), (3, "exit_3".to_owned()));
        assert_eq!(failure(ExitStatus::from_raw(9)), (137, "signal_9".to_owned()));
    }
}
