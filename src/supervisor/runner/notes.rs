//! What is noted of an agent for the next daemon, as things happen to it.
//!
//! Must not know what the next daemon makes of it.

use super::boot;
use super::process::Process;
use super::record::{self, Record, Rested};
use crate::supervisor::options::Launch;
use std::io;
use std::path::{Path, PathBuf};

/// An agent's notes: its record, if there is a folder that it can be in.
#[derive(Clone, Debug)]
pub(super) struct Notes(Option<PathBuf>);

impl Notes {
    /// Those of an agent in a folder.
    pub(super) fn new(folder: Option<&Path>, agent: &str) -> Self {
        Self(folder.map(|folder| record::path(folder, agent)))
    }

    /// What is noted.
    pub(super) fn read(&self) -> Option<Record> {
        self.try_read().unwrap_or_else(|error| {
            let path = self.0.as_deref().unwrap_or(Path::new("")).display();
            tracing::warn!("cannot read {path}: {error}");
            None
        })
    }

    /// What is noted.
    ///
    /// # Errors
    /// What the kernel said, or what is wrong with the text.
    pub(super) fn try_read(&self) -> io::Result<Option<Record>> {
        self.0.as_ref().map_or(Ok(None), |path| Record::read(path))
    }

    /// A process has been made.
    pub(super) fn started(&self, process: &Process, launch: Launch) {
        let record = Record {
            pid: process.pid(),
            start_time: process.start_time(),
            session: process.session(),
            run: process.run(),
            ended: false,
            launch,
            rest: None,
            boot: boot::name(),
        };
        self.write(&record, "a restarted daemon will not know the agent's process");
    }

    /// The leader has ended, and that is about to be told; if a unit ran it, which run that was, and where the agent stays.
    pub(super) fn ended(&self, run: Option<u64>, rest: Option<Rested>, launch: &Launch) {
        self.change(launch, "a restarted daemon may count the agent's end again", |record| {
            record.ended = true;
            record.run = run;
            record.rest = rest;
        });
    }

    /// Nothing is left of the process.
    pub(super) fn gone(&self, launch: &Launch) {
        // What stays behind names a process that has gone, and is seen to.
        self.change(launch, "it names a process that has gone", |record| record.pid = 0);
    }

    /// The agent stays where it is, or does so no longer.
    pub(super) fn rests(&self, rest: Option<Rested>, launch: &Launch) {
        let harm = "a restarted daemon will not know whether the agent is to stay down";
        self.change(launch, harm, |record| record.rest = rest);
    }

    /// There is nothing to be known any more.
    pub(super) fn forget(&self) {
        if let Some(path) = &self.0 {
            // What stays behind names a process that has gone, and is seen to.
            let _ = std::fs::remove_file(path);
        }
    }

    fn change(&self, launch: &Launch, harm: &str, change: impl FnOnce(&mut Record)) {
        if self.0.is_none() {
            return;
        }
        let is_of_now = |record: &Record| record.boot.is_none() || record.boot == boot::name();
        let record = self.read().filter(is_of_now);
        let mut record = record.unwrap_or_else(|| Record::empty(launch.clone()));
        change(&mut record);
        record.boot = boot::name();
        if record.is_empty() {
            self.forget();
        } else {
            self.write(&record, harm);
        }
    }

    fn write(&self, record: &Record, harm: &str) {
        let write = |path: &PathBuf| -> io::Result<()> { record.write(path) };
        if let Some(path) = &self.0
            && let Err(error) = write(path)
        {
            tracing::warn!("cannot write {}: {error}; {harm}", path.display());
        }
    }
}
