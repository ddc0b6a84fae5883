//! Who makes an agent's processes: this daemon or systemd.
//!
//! Must not know when one is made.

use super::process::{NotStarted, Process};
use super::record::Record;
use super::unit::Unit;
use super::{Places, exec};
use crate::supervisor::options::{Definition, Launch};
use crate::supervisor::output::Output;
use crate::supervisor::report::Reports;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::{JoinHandle, spawn_blocking};

/// Who makes an agent's processes.
pub(super) enum Maker {
    /// This daemon, which also reads what they write.
    Own(Output),
    /// systemd; the journal has what they write.
    Unit(Unit),
}

impl Maker {
    /// # Errors
    /// When there is nothing that the output of the daemon's own processes could go to.
    pub(super) fn new(agent: &Arc<str>, places: &Places, reports: &Reports) -> io::Result<Self> {
        Ok(match &places.manager {
            Some(manager) => Self::Unit(Unit::new(manager.clone(), agent)),
            None => Self::Own(Output::open(places.folder.as_deref(), agent, reports.clone())?),
        })
    }

    /// The agent's unit, where systemd runs it.
    pub(super) fn unit(&self) -> Option<&Unit> {
        match self {
            Self::Own(_) => None,
            Self::Unit(unit) => Some(unit),
        }
    }

    /// Makes a process, and notes it at `record` for the next daemon.
    pub(super) fn make(
        &self,
        definition: &Definition,
        places: &Arc<Places>,
        record: Option<PathBuf>,
    ) -> JoinHandle<Result<Process, NotStarted>> {
        let launch = definition.launch.clone();
        match self {
            Self::Unit(unit) => {
                let unit = unit.clone();
                tokio::spawn(async move {
                    match unit.start().await {
                        Ok(process) => {
                            let process = Process::Unit(process);
                            note(record, &process, launch);
                            Ok(process)
                        }
                        Err(failure) => {
                            note_end(record, failure.run, launch);
                            Err(failure)
                        }
                    }
                })
            }
            Self::Own(output) => {
                let (output, places) = (output.for_process(), places.clone());
                let agent = definition.name.clone();
                spawn_blocking(move || {
                    let process = output
                        .and_then(|output| exec::spawn(&launch, &agent, &places.socket, output));
                    let process = Process::Own(process.map_err(NotStarted::because)?);
                    note(record, &process, launch);
                    Ok(process)
                })
            }
        }
    }
}

/// Notes a process for the next daemon.
pub(super) fn note(path: Option<PathBuf>, process: &Process, launch: Launch) {
    let pid = process.pid();
    let record = Record { pid, start_time: process.start_time(), launch, told: None };
    if let Some(path) = path
        && let Err(error) = record.write(&path)
    {
        let path = path.display();
        tracing::warn!(
            "cannot write {path}: {error}; a restarted daemon will not know process {pid}"
        );
    }
}

/// Notes that the end of a run of the agent's unit is told, so that the next daemon does not tell it again;
/// of a process that no unit ran, that there is none.
pub(super) fn note_end(path: Option<PathBuf>, run: Option<u64>, launch: Launch) {
    let Some(path) = path else { return };
    let Some(run) = run else {
        // What stays behind names a process that has gone, and is seen to.
        let _ = std::fs::remove_file(path);
        return;
    };
    if let Err(error) = Record::of_the_end(run, launch).write(&path) {
        let path = path.display();
        tracing::warn!("cannot write {path}: {error}; a restarted daemon may count this end again");
    }
}
