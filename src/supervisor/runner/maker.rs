//! Who makes an agent's processes: this daemon or systemd.
//!
//! Must not know when one is made.

use super::course::NotStarted;
use super::notes::Notes;
use super::process::Process;
use super::unit::Unit;
use super::{Places, exec};
use crate::supervisor::options::Definition;
use crate::supervisor::output::Output;
use crate::supervisor::report::Reports;
use std::io;
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

    /// Makes a process, and notes it for the next daemon.
    pub(super) fn make(
        &mut self,
        definition: &Definition,
        places: &Arc<Places>,
        notes: Notes,
    ) -> JoinHandle<Result<Process, NotStarted>> {
        let launch = definition.launch.clone();
        match self {
            Self::Unit(unit) => {
                let unit = unit.clone();
                tokio::spawn(async move {
                    let process = Process::Unit(unit.start().await?);
                    notes.started(&process, launch);
                    Ok(process)
                })
            }
            Self::Own(output) => {
                let (output, places) = (output.for_process(), places.clone());
                let agent = definition.name.clone();
                spawn_blocking(move || {
                    let process = output
                        .and_then(|output| exec::spawn(&launch, &agent, &places.socket, output));
                    let process = Process::Own(process.map_err(NotStarted::because)?);
                    notes.started(&process, launch);
                    Ok(process)
                })
            }
        }
    }
}
