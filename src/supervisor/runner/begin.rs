//! Processes that are there without this task having had them made: those that an earlier daemon has
//! left, and those that systemd has started.
//!
//! Must not know how they are watched.

use super::child::Child;
use super::maker::{note, note_end};
use super::process::Process;
use super::record::Record;
use super::{Runner, exec, unit};
use crate::supervisor::machine::{Action, Event, State};
use crate::supervisor::options::Launch;
use crate::supervisor::policy::Exit;
use crate::supervisor::report::What;

/// What is there when the task begins.
enum Found {
    /// A process, and what it was made from as far as that is known.
    Running(Process, Option<Box<Launch>>),
    /// One that has ended by itself: systemd knows how, and which run it was.
    Ended(Exit, u64),
    Nothing,
}

impl Runner {
    /// Takes over what is there, or starts what is wanted.
    pub(super) async fn begin(&mut self) {
        match self.find().await {
            Found::Running(process, made_from) => {
                self.take_over(process);
                let changed = made_from.is_some_and(|launch| *launch != self.definition.launch);
                self.handle(Event::Reload { changed });
            }
            Found::Ended(exit, run) => self.learn_former_end(exit, run),
            Found::Nothing if self.definition.autostart && !self.retiring => {
                self.handle(Event::Start)
            }
            Found::Nothing => {}
        }
    }

    /// Goes on from an end that is news, or that an earlier daemon has told while the agent waited for
    /// its next start.
    fn learn_former_end(&mut self, exit: Exit, run: u64) {
        let is_news = !self.record().is_some_and(|record| record.has_told(run));
        self.state = State::adopted(self.epoch.elapsed());
        self.has_run = true;
        if is_news {
            self.note_exit(format!("{exit}, while no daemon ran"));
        }
        note_end(self.record_path(), Some(run), self.definition.launch.clone());
        for action in self.decide(Event::Exited(exit)) {
            match action {
                Action::Exited { reason, restarting_in } if !is_news => {
                    self.let_rest(reason, restarting_in);
                }
                action => self.carry_out(action),
            }
        }
        self.handle(Event::Emptied);
    }

    /// Looks for what an earlier daemon, or systemd, has left.
    async fn find(&self) -> Found {
        if let Some(unit) = self.maker.unit() {
            match unit.find().await {
                Ok(unit::Found::Running(process)) => {
                    let made_from = self.record().filter(|record| {
                        (record.pid, record.start_time) == (process.pid(), process.start_time())
                    });
                    let made_from = made_from.map(|record| Box::new(record.launch));
                    return Found::Running(Process::Unit(process), made_from);
                }
                Ok(unit::Found::Ended(exit, run)) => return Found::Ended(exit, run),
                Ok(unit::Found::Nothing) => {}
                Err(error) => {
                    self.warn(&format!("{}: {error}", unit.name()));
                    // A start takes over what runs, once systemd answers.
                    return Found::Nothing;
                }
            }
        }
        self.find_own()
    }

    fn find_own(&self) -> Found {
        let Some(record) = self.record() else { return Found::Nothing };
        match exec::adopt(record.pid, record.start_time) {
            Ok(Some(process)) => {
                return Found::Running(Process::Own(process), Some(Box::new(record.launch)));
            }
            Ok(None) => {}
            Err(error) => self.warn(&format!("cannot watch process {}: {error}", record.pid)),
        }
        self.forget();
        Found::Nothing
    }

    fn record(&self) -> Option<Record> {
        let path = self.record_path()?;
        Record::read(&path).unwrap_or_else(|error| {
            self.warn(&format!("cannot read {}: {error}", path.display()));
            None
        })
    }

    fn take_over(&mut self, process: Process) {
        let pid = process.pid();
        tracing::info!(agent = %self.definition.name, pid, "still running as process {pid}");
        self.state = State::adopted(self.epoch.elapsed());
        self.child = Child::Leader(process);
        self.has_run = true;
        self.report(What::Adopted { pid });
    }

    /// Takes on a process that systemd has started without this daemon.
    pub(super) fn meet(&mut self, process: Process) {
        note(self.record_path(), &process, self.definition.launch.clone());
        self.state = State::adopted(self.epoch.elapsed());
        self.child = Child::Leader(process);
        self.left_waiting = false;
        self.tell_started();
    }
}
