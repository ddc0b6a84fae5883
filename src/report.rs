//! `musterd report`: a request, or a command that is run as one, told to the daemon for programs that
//! have no client: shell scripts, cron jobs.
//!
//! Must not know what the daemon makes of it.

use musterd_client::{Agent, Status};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// How long the daemon is waited for, once there is something to tell.
const PATIENCE: Duration = Duration::from_secs(2);
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

impl Reporter {
    /// Tells the daemon of a request.
    ///
    /// # Errors
    /// There is no daemon, or it will not listen to this agent.
    pub fn tell(&self, ended: &Ended) -> Result<(), String> {
        let agent = self.start();
        agent.record(ended.status, ended.duration, ended.category.as_deref());
        self.finish(agent)
    }

    /// Runs a command as a request, which lasts as long as it does; signals that ask for an end are
    /// passed on to it. What to exit with: as the command has.
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
        let (code, status, category) = match runtime.block_on(run(command))? {
            Ok(ended) if ended.success() => (0, Status::Success, None),
            Ok(ended) => {
                let (code, category) = failure(ended);
                (code, Status::Error, Some(category))
            }
            Err(error) => {
                let name = command.first().map_or("", String::as_str);
                eprintln!("musterd: cannot run {name}: {error}");
                let is_missing = error.kind() == std::io::ErrorKind::NotFound;
                let code = if is_missing { NOT_FOUND } else { CANNOT_RUN };
                (code, Status::Error, Some("not_run".to_owned()))
            }
        };
        request.end(status, category.as_deref());
        if let Err(error) = self.finish(agent) {
            // The command's own end is what counts.
            eprintln!("musterd: {error}");
        }
        Ok(code)
    }

    fn start(&self) -> Agent {
        let builder = Agent::builder(&self.agent).framework("musterd report");
        match &self.socket {
            Some(socket) => builder.socket(socket).start(),
            None => builder.start(),
        }
    }

    fn finish(&self, agent: Agent) -> Result<(), String> {
        let limit = Instant::now() + PATIENCE;
        while !agent.is_connected() {
            if Instant::now() >= limit {
                return Err(format!(
                    "not reported: no daemon has taken the agent {:?} within {} s; is musterd \
                     running, and may this user use its socket?",
                    self.agent,
                    PATIENCE.as_secs()
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// The command's own failure to start is a result, too.
async fn run(command: &[String]) -> Result<std::io::Result<ExitStatus>, String> {
    let listen = |kind| signal(kind).map_err(|error| format!("cannot catch signals: {error}"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hang_up = listen(SignalKind::hangup())?;
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
            _ = terminate.recv() => Signal::TERM,
            _ = interrupt.recv() => Signal::INT,
            _ = hang_up.recv() => Signal::HUP,
        };
        // It may have ended by now.
        let _ = pid.map(|pid| kill_process(pid, received));
    }
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
