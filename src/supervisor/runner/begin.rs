//! What is there without this task having had it made: processes that an earlier daemon has left or systemd has
//! started, what systemd has tried to start, and agents that are to stay down.
//!
//! Must not know how processes are watched.

use super::child::Child;
use super::course::NotStarted;
use super::process::Process;
use super::record::{Record, Rested};
use super::{Runner, boot, exec, unit};
use crate::open_files::is_shortage;
use crate::supervisor::machine::{Action, Event, Phase, Rest, Signal, State, Then};
use crate::supervisor::options::Launch;
use crate::supervisor::policy::{Exit, Restart};
use crate::supervisor::report::What;
use std::io;
use std::time::Duration;
use tokio::time::sleep;

/// How long to wait before looking again for what cannot be seen just then.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is there when the task begins.
enum Found {
    /// A process, and its record if it has one.
    Running(Process, Option<Box<Record>>),
    /// A service that is to end: whether systemd has been asked for that, and where it was to stay then.
    Ending(Process, bool, Option<Rested>),
    /// One that has ended by itself: systemd knows how, and which run it was.
    Ended(Exit, u64),
    /// One that somebody has had systemd stop while no daemon ran: how it ended, which run it was, and where the
    /// agent was to stay.
    Stopped(Exit, u64, Option<Rested>),
    /// One that has ended while no daemon ran, what is left of its group, and where the agent was to stay.
    Died(Option<Process>, Option<Rested>),
    /// What is left of the group of one whose end an earlier daemon has told, and where the agent is to stay.
    Clearing(Process, Option<Rested>),
    /// Nothing, and so it is to stay; what its last process was made from.
    Resting(Rested, Box<Launch>),
    Nothing,
}

impl Runner {
    /// Takes over what is there, or starts what is wanted.
    pub(super) async fn begin(&mut self) {
        let agent = self.definition.name.clone();
        let record = insist(&agent, || self.notes.try_read()).await;
        let record = record.unwrap_or_else(|error| {
            self.warn(&format!("cannot read what was noted of it: {error}"));
            None
        });
        self.left.run = record.as_ref().and_then(|record| record.run);
        self.noted = record.as_ref().and_then(|record| record.rest.clone());
        match self.find(record).await {
            Found::Running(process, record) => {
                let is_stopping = record.as_ref().is_some_and(|record| record.is_stopping());
                let made_from = record.map(|record| record.launch);
                let made_from = made_from.unwrap_or_else(|| self.definition.launch.clone());
                let changed = made_from != self.definition.launch;
                self.take_over(process, made_from);
                self.handle(if is_stopping { Event::Stop } else { Event::Reload { changed } });
            }
            Found::Ending(process, asked, rested) => self.see_out(process, asked, rested),
            Found::Ended(exit, run) => self.learn_former_end(exit, run),
            Found::Stopped(exit, run, rested) => self.learn_stop(exit, run, rested),
            Found::Died(rest, rested) => self.learn_death(rest, rested),
            Found::Clearing(rest, rested) => self.go_on_clearing(rest, rested),
            Found::Resting(..) | Found::Nothing if self.retiring => {}
            Found::Resting(rested, made_from) => self.go_on_resting(rested, &made_from),
            Found::Nothing if self.definition.autostart => self.handle(Event::Start),
            Found::Nothing => {}
        }
    }

    /// Goes on from an end that is news, or that an earlier daemon has told while the agent waited for
    /// its next start.
    fn learn_former_end(&mut self, exit: Exit, run: u64) {
        let told = self.notes.read().filter(|record| record.has_told(run));
        let is_news = told.is_none();
        if let Some(Record { rest: Some(rested), launch, .. }) = told {
            self.go_on_resting(rested, &launch);
            // systemd has not been told so, or has not listened.
            if matches!(self.state.phase, Phase::Stopped) {
                self.carry_out(Action::CallOff);
            }
            return self.let_rest();
        }
        self.state = State::adopted(self.epoch.elapsed());
        self.has_run = true;
        if is_news {
            self.note_exit(format!("{exit}, while no daemon ran"));
        }
        self.left.run = Some(run);
        let actions = self.decide(Event::Exited(exit));
        self.note_end(Some(run));
        for action in actions {
            if is_news || !matches!(action, Action::Exited { .. }) {
                self.carry_out(action);
            }
        }
        self.handle(Event::Emptied);
    }

    /// Goes on from a stop that nobody has seen. Who asks for one while no daemon runs is not known to mean it for
    /// longer.
    fn learn_stop(&mut self, exit: Exit, run: u64, rested: Option<Rested>) {
        let policy = &self.definition.policy;
        let is_wanted = self.definition.autostart && !self.retiring;
        let comes_back = is_wanted && policy.restart != Restart::Never;
        let then = if comes_back && rested.is_none() { Then::Restart } else { Then::Stop };
        self.state = State::stopping(policy, then, self.epoch.elapsed());
        self.noted = rested;
        self.has_run = true;
        self.left.run = Some(run);
        self.note_exit(format!("{exit}, while no daemon ran"));
        self.handle_end(Some(run), Event::Exited(exit));
        self.handle(Event::Emptied);
    }

    /// Goes on from an end that nobody has seen.
    fn learn_death(&mut self, rest: Option<Process>, rested: Option<Rested>) {
        let (policy, now) = (&self.definition.policy, self.epoch.elapsed());
        let exit = Exit::Unknown;
        let is_cleared = rest.is_none();
        self.state = match rested {
            Some(_) => State::stopping(policy, Then::Stop, now),
            None => State::adopted(now),
        };
        self.noted = rested;
        self.child = rest.map_or(Child::None, Child::Group);
        self.has_run = true;
        self.note_exit(format!("{exit}, while no daemon ran"));
        self.handle_end(None, Event::Exited(exit));
        if is_cleared {
            self.notes.gone(&self.definition.launch);
            self.handle(Event::Emptied);
        }
    }

    /// Sees a process to its end, which has begun, and kills it after its grace.
    fn see_out(&mut self, process: Process, asked: bool, rested: Option<Rested>) {
        let (policy, now) = (&self.definition.policy, self.epoch.elapsed());
        let then = if rested.is_some() { Then::Stop } else { Then::Restart };
        self.state = if asked { State::stopping(policy, then, now) } else { State::adopted(now) };
        self.noted = rested;
        self.child = Child::Leader(process);
        self.has_run = true;
    }

    /// Goes on ending what is left of a group, as the daemon before was doing.
    fn go_on_clearing(&mut self, rest: Process, rested: Option<Rested>) {
        tracing::info!(agent = %self.definition.name, "what its last process has started is still there");
        let next = rested.as_ref().map(|rested| rested.rest);
        self.state = State::clearing(&self.definition.policy, next, self.epoch.elapsed());
        self.status.last_exit = rested.as_ref().and_then(|rested| rested.last_exit.clone());
        self.noted = rested;
        self.child = Child::Group(rest);
        self.has_run = true;
        self.signal(Signal::Term);
    }

    /// Leaves it where the daemon before has left it, unless what its process would be made from has changed.
    fn go_on_resting(&mut self, rested: Rested, made_from: &Launch) {
        let Rested { rest, last_exit } = rested.clone();
        self.noted = Some(rested);
        self.state = State::resting(rest);
        let word = self.state.phase.text();
        tracing::info!(agent = %self.definition.name, "left as the daemon before has left it: {word}");
        let last = last_exit.as_ref().map(|last| (last.reason, last.detail.clone()));
        self.has_run = last_exit.is_some();
        self.status.last_exit = last_exit;
        self.report(What::Rests { rest, last });
        if *made_from != self.definition.launch {
            self.handle(Event::Reload { changed: true });
        }
    }

    /// Looks for what an earlier daemon, or systemd, has left.
    async fn find(&mut self, record: Option<Record>) -> Found {
        let Some(unit) = self.maker.unit() else {
            return self.find_own(record).await;
        };
        match unit.find().await {
            Ok(unit::Found::Running(process)) => {
                let identity = (process.pid(), process.start_time());
                let record = record.filter(|record| (record.pid, record.start_time) == identity);
                Found::Running(Process::Unit(process), record.map(Box::new))
            }
            Ok(unit::Found::Ending(process, asked)) => {
                let rested = record.and_then(|record| record.rest);
                Found::Ending(Process::Unit(process), asked, rested)
            }
            Ok(unit::Found::Clearing(process, asked)) => {
                let has_told = record.as_ref().is_some_and(|record| record.has_told(process.run()));
                let rested = record.and_then(|record| record.rest);
                let process = Process::Unit(process);
                match has_told {
                    true => Found::Clearing(process, rested),
                    false => Found::Ending(process, asked, rested.filter(|_| asked)),
                }
            }
            Ok(unit::Found::Ended(exit, run)) => Found::Ended(exit, run),
            Ok(unit::Found::Down(exit, run)) => match record {
                Some(record) if record.is_untold(run) && is_of_this_boot(&record) => {
                    Found::Stopped(exit, run, record.rest)
                }
                record => {
                    self.left.run = Some(run);
                    self.find_own(record).await
                }
            },
            Ok(unit::Found::Unknown(run)) => {
                self.left.run = Some(run);
                self.find_own(record).await
            }
            Err(error) => {
                self.warn(&format!("{}: {error}", unit.name()));
                // A start takes over what runs, once systemd answers.
                record.map_or(Found::Nothing, |record| self.find_rest(record))
            }
        }
    }

    /// What a record leads to where no unit runs the agent.
    async fn find_own(&self, record: Option<Record>) -> Found {
        let Some(record) = record else { return Found::Nothing };
        let Record { pid, start_time, session, ended, .. } = record;
        let agent = &*self.definition.name;
        // It fails for want of something alone, and is then tried again.
        let adopted = insist(agent, || exec::adopt(pid, start_time)).await.unwrap_or_default();
        if let Some(process) = adopted {
            return Found::Running(Process::Own(process), Some(Box::new(record)));
        }
        let is_own = pid != 0 && record.run.is_none() && is_of_this_boot(&record);
        let session = session.filter(|_| is_own);
        let remains = insist(agent, || exec::remains(pid, start_time, session)).await;
        match remains.unwrap_or_default().map(Process::Own) {
            Some(rest) if ended => Found::Clearing(rest, record.rest),
            rest if is_own && !ended => Found::Died(rest, record.rest),
            _ => self.find_rest(record),
        }
    }

    /// Where a record of no process has the agent stay.
    fn find_rest(&self, record: Record) -> Found {
        if !is_of_this_boot(&record) {
            self.notes.forget();
            return Found::Nothing;
        }
        // It may have ended while no daemon ran: systemd has then been asked to leave it at that.
        let is_over = record.run.is_some()
            && !record.ended
            && self.definition.policy.restart == Restart::Never;
        let over = is_over.then_some(Rested { rest: Rest::Finished, last_exit: None });
        match record.rest.or(over) {
            Some(rested) => Found::Resting(rested, Box::new(record.launch)),
            None => Found::Nothing,
        }
    }

    fn take_over(&mut self, process: Process, made_from: Launch) {
        let pid = process.pid();
        // Its record may be of an earlier version, or of another process, or there may be none.
        self.notes.started(&process, made_from);
        self.noted = None;
        tracing::info!(agent = %self.definition.name, pid, "still running as process {pid}");
        self.state = State::adopted(self.epoch.elapsed());
        self.child = Child::Leader(process);
        self.has_run = true;
        self.report(What::Adopted { pid });
    }

    /// Takes on a process that systemd has started without this daemon.
    pub(super) fn meet(&mut self, process: Process) {
        self.notes.started(&process, self.definition.launch.clone());
        self.noted = None;
        self.state = State::adopted(self.epoch.elapsed());
        self.child = Child::Leader(process);
        self.left.waiting = false;
        self.closing = false;
        self.tell_started();
    }

    /// Takes on a start that systemd has tried without this daemon, and that has failed.
    pub(super) fn miss(&mut self, failure: NotStarted) {
        self.closing = false;
        self.state = State::starting(&self.definition.policy, self.epoch.elapsed());
        self.learn_failure(failure);
    }
}

/// Tries again for as long as the kernel is short of something: what is there is not to be taken for nothing.
async fn insist<T>(agent: &str, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut is_told = false;
    loop {
        match attempt() {
            Err(error) if is_shortage(&error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(agent, "cannot look for its process: {error}; trying again");
                }
                sleep(LOOK_AGAIN).await;
            }
            result => return result,
        }
    }
}

fn is_of_this_boot(record: &Record) -> bool {
    record.boot.is_some() && record.boot == boot::name()
}
