//! One task for each agent: brings what happens to the machine and carries out what that decides.
//!
//! Must not decide anything itself: that is the machine's. The processes themselves are in `exec`,
//! those that systemd makes in `unit`.

mod begin;
mod boot;
mod child;
mod course;
mod exec;
mod maker;
mod notes;
mod process;
pub(super) mod record;
mod seen;
mod unit;

use super::machine::{Action, Actions, Event, Next, Phase, Rest, Signal, State, step};
use super::options::Definition;
use super::policy::Reason;
use super::report::{LastExit, Report, Reports, Status, Statuses, What};
use super::systemd::Manager;
use child::{Child, Happening};
use course::{End, NotStarted};
use maker::Maker;
use notes::Notes;
use process::Process;
use record::Rested;
use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use unit::Left;

/// Where supervision finds and puts things.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// For a FIFO and a record of each agent; `None` if there is no folder that can be used, and
    /// agents then live no longer than the daemon.
    pub(super) folder: Option<PathBuf>,
    /// The socket that agents report to.
    pub(super) socket: PathBuf,
    /// systemd, if it is what makes the processes.
    pub(super) manager: Option<Arc<Manager>>,
}

/// What an agent's task is told.
#[derive(Debug)]
pub(super) enum Command {
    /// An operator's word.
    Event(Event),
    /// The definition as it is after a reload.
    Define(Box<Definition>),
    /// Stop, and end the task: nobody defines the agent any more.
    Retire,
    /// Stop, and end the task: the daemon ends.
    Close,
    /// After that: kill, whatever grace is left.
    Hurry,
}

/// One agent.
pub(super) struct Runner {
    definition: Definition,
    places: Arc<Places>,
    reports: Reports,
    statuses: watch::Sender<Statuses>,
    commands: UnboundedReceiver<Command>,
    /// The machine's clock starts here.
    epoch: Instant,
    state: State,
    child: Child,
    maker: Maker,
    notes: Notes,
    /// Where the notes have it stay.
    noted: Option<Rested>,
    status: Status,
    /// How systemd is to find the agent while it is down.
    left: Left,
    /// Whether a process has run before.
    has_run: bool,
    /// Whether the task ends once the agent is down.
    retiring: bool,
    /// Whether the agent ends because the daemon does: where it stays then is no word to the next.
    closing: bool,
}

impl Runner {
    /// An agent that is down.
    ///
    /// # Errors
    /// When there is nothing that its output could go to.
    pub(super) fn new(
        definition: Definition,
        places: Arc<Places>,
        reports: Reports,
        statuses: watch::Sender<Statuses>,
        commands: UnboundedReceiver<Command>,
    ) -> io::Result<Self> {
        let maker = Maker::new(&definition.name, &places, &reports)?;
        let notes = Notes::new(places.folder.as_deref(), &definition.name);
        Ok(Self {
            definition,
            places,
            reports,
            statuses,
            commands,
            epoch: Instant::now(),
            state: State::new(),
            child: Child::None,
            maker,
            notes,
            noted: None,
            status: Status::default(),
            left: Left::default(),
            has_run: false,
            retiring: false,
            closing: false,
        })
    }

    /// Takes over the process of an earlier daemon or starts one if that is wanted, and goes on
    /// until the agent is retired and down.
    pub(super) async fn run(mut self) {
        self.begin_as_told().await;
        self.publish();
        while !(self.retiring && self.state.phase.is_rest()) {
            let deadline = self.state.deadline().and_then(|at| self.epoch.checked_add(at));
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    // The supervisor has gone without a word: agents stay.
                    None => return,
                },
                happening = self.child.next(self.maker.unit(), self.left) => self.learn(happening).await,
                () = sleep_until_if(deadline) => self.handle(Event::Timer),
            }
            self.publish();
        }
        // Without systemd nobody could start it by hand: the next daemon does.
        let stays_down = self.closing && self.noted.is_some() && self.maker.unit().is_some();
        if !stays_down {
            self.notes.forget();
        }
        self.statuses.send_modify(|statuses| {
            statuses.remove(&self.definition.name);
        });
        if let Maker::Own(output) = self.maker {
            output.close().await;
        }
    }

    /// Begins, and obeys what has been said before: one that is to end starts nothing first.
    async fn begin_as_told(&mut self) {
        let mut told: Vec<_> = std::iter::from_fn(|| self.commands.try_recv().ok()).collect();
        let is_end = |command: &Command| matches!(command, Command::Retire | Command::Close);
        self.retiring = told.iter().any(is_end);
        if self.retiring {
            told.retain(is_end);
        }
        self.begin().await;
        for command in told {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Event(event) => self.handle(event),
            Command::Define(definition) => {
                let changed = definition.launch != self.definition.launch;
                let starts = definition.autostart && !self.definition.autostart;
                self.definition = *definition;
                self.retiring = false;
                self.handle(Event::Reload { changed });
                if starts && matches!(self.state.phase, Phase::Stopped) {
                    self.handle(Event::Start);
                }
            }
            Command::Retire => {
                self.retiring = true;
                self.handle(Event::Stop);
            }
            Command::Close => {
                self.retiring = true;
                self.closing = true;
                // What is to stay down stays so for the next daemon.
                if self.state.phase.rest().is_none() {
                    self.handle(Event::Stop);
                }
            }
            // It has been told to end; what follows is the same.
            Command::Hurry => self.signal(Signal::Kill),
        }
    }

    async fn learn(&mut self, happening: Happening) {
        if happening.is_asked()
            && let Some(unit) = self.maker.unit()
        {
            self.closing |= unit.goes_with_the_daemon().await;
        }
        match happening {
            Happening::Spawned(process) => {
                self.noted = None;
                self.child = Child::Leader(process);
                self.handle(Event::Spawned);
            }
            Happening::SpawnFailed(failure) => self.learn_failure(failure),
            Happening::Ending { asked } => self.handle(Event::Ending { asked }),
            Happening::Ended(end) => self.learn_end(end),
            Happening::Emptied { asked } => {
                // The table itself has it stopped for what was asked of it, and for that alone.
                let is_table =
                    matches!(self.state.phase, Phase::Clearing { next: Next::Asked(_), .. });
                if asked && !is_table {
                    self.handle(Event::Stop);
                }
                self.release();
                self.handle(Event::Emptied);
            }
            Happening::Appeared(process) => self.meet(process),
            Happening::NotAppeared(failure) => self.miss(failure),
            Happening::CalledOff => {
                self.left.waiting = false;
                self.handle(Event::Stop);
            }
        }
    }

    fn learn_failure(&mut self, failure: NotStarted) {
        self.left.run = failure.run.or(self.left.run);
        self.child = Child::None;
        self.note_exit(failure.why);
        let event = if failure.hindered { Event::Hindered } else { Event::SpawnFailed };
        self.handle_end(failure.run, event);
        self.left.waiting &= failure.waits;
    }

    fn learn_end(&mut self, end: End<Process>) {
        let (exit, asked) = match end {
            End::Itself(exit) => (exit, false),
            End::Asked(exit) => (exit, true),
            End::Replaced(process) => {
                self.tell_replaced();
                return self.meet(process);
            }
            End::NotReplaced(failure) => {
                self.tell_replaced();
                return self.miss(failure);
            }
        };
        let run = self.child.run();
        self.child = match std::mem::replace(&mut self.child, Child::None) {
            Child::Leader(process) => Child::Group(process),
            other => other,
        };
        self.left.run = run.or(self.left.run);
        // By the table, which then waits for it; or by someone whose word is as good.
        if asked && matches!(self.state.phase, Phase::Running { .. } | Phase::Ending { .. }) {
            // What it would signal has ended, and where it stays is noted with the end.
            self.decide(Event::Stop);
        }
        self.note_exit(exit.to_string());
        self.handle_end(run, Event::Exited(exit));
    }

    fn handle(&mut self, event: Event) {
        let before = self.state.phase;
        let actions = self.decide(event);
        if self.update_noted() {
            self.notes.rests(self.noted.clone(), &self.definition.launch);
        }
        self.act(before, actions);
    }

    /// As [`Runner::handle`], for an event that is the end of a run; if a unit ran it, of which.
    fn handle_end(&mut self, run: Option<u64>, event: Event) {
        let before = self.state.phase;
        let actions = self.decide(event);
        self.note_end(run);
        self.act(before, actions);
    }

    /// Notes an end that is about to be told, and where the agent stays after it: a daemon that is killed between
    /// the two would leave only half of that.
    fn note_end(&mut self, run: Option<u64>) {
        self.update_noted();
        self.notes.ended(run, self.noted.clone(), &self.definition.launch);
    }

    fn act(&mut self, before: Phase, actions: Actions) {
        for action in actions {
            self.carry_out(action);
        }
        if self.state.phase != before {
            self.let_rest();
        }
    }

    /// Brings `noted` to where the agent is to stay. Whether that is news to the notes.
    fn update_noted(&mut self) -> bool {
        let rest = self.state.phase.rest();
        // One that is not started with the daemon is down anyway, once it is.
        let is_down_anyway = !self.definition.autostart && self.state.phase.is_rest();
        let rest = rest.filter(|rest| !is_down_anyway || *rest != Rest::Stopped);
        let last_exit = || self.status.last_exit.clone();
        let rested = rest.map(|rest| Rested { rest, last_exit: last_exit() });
        let is_ending = self.closing || self.retiring;
        let is_news = !is_ending && rested != self.noted;
        if is_news {
            self.noted = rested;
        }
        is_news
    }

    /// What the machine wants done.
    fn decide(&mut self, event: Event) -> Actions {
        let now = self.epoch.elapsed();
        let state = std::mem::take(&mut self.state);
        let (state, actions) = step(&self.definition.policy, state, event, now, chance());
        self.state = state;
        for action in &actions {
            if let Action::Exited { reason, .. } = action {
                self.learn_reason(*reason);
            }
        }
        actions
    }

    fn carry_out(&mut self, action: Action) {
        let agent = &self.definition.name;
        match action {
            Action::Spawn => self.spawn(),
            Action::SignalGroup(signal) => self.signal(signal),
            Action::CallOff => {
                if let Some(unit) = self.maker.unit() {
                    unit.call_off();
                }
            }
            Action::Started => self.tell_started(),
            Action::Exited { reason, restarting_in } => self.tell_exit(reason, restarting_in),
            Action::Abandoned => {
                self.warn("processes that it started cannot be ended; going on without them");
                self.release();
            }
            Action::Stopped => {
                tracing::info!(%agent, "stopped");
                self.report(What::Stopped);
            }
            Action::GaveUp => {
                let policy = &self.definition.policy;
                let interval = humantime::format_duration(policy.start_interval);
                let limit = policy.start_limit;
                let way = match self.maker.unit() {
                    Some(unit) => format!("systemctl start {}, or reload", unit.name()),
                    None => "reload to have it started".to_owned(),
                };
                tracing::error!(%agent, "given up after {limit} starts in {interval}; {way}");
                let last = self.status.last_exit.as_ref();
                let detail = last.map(|last| last.detail.clone()).unwrap_or_default();
                self.report(What::GaveUp { detail });
            }
        }
    }

    fn tell_started(&mut self) {
        let Some(pid) = self.child.pid() else { return };
        tracing::info!(agent = %self.definition.name, pid, "started as process {pid}");
        let again = std::mem::replace(&mut self.has_run, true);
        self.status.restarts += u64::from(again);
        self.report(What::Started { pid, again });
    }

    fn tell_replaced(&mut self) {
        self.note_exit("started anew by another hand".to_owned());
        self.learn_reason(Reason::Stopped);
        self.tell_exit(Reason::Stopped, Some(Duration::ZERO));
    }

    fn spawn(&mut self) {
        self.left.waiting = false;
        self.closing = false;
        let making = self.maker.make(&self.definition, &self.places, self.notes.clone());
        self.child = Child::Spawning(making);
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = self.child.signal(signal) {
            self.warn(&format!("its processes cannot be signalled: {error}"));
        }
    }

    /// Keeps how the process ended; the reason comes with the machine's decision.
    fn note_exit(&mut self, detail: String) {
        let reason = Reason::Unknown;
        self.status.last_exit = Some(LastExit { reason, detail, at: SystemTime::now() });
    }

    fn learn_reason(&mut self, reason: Reason) {
        if let Some(last) = &mut self.status.last_exit {
            last.reason = reason;
        }
    }

    fn tell_exit(&mut self, reason: Reason, restarting_in: Option<Duration>) {
        let Some(last) = &self.status.last_exit else { return };
        let detail = last.detail.clone();
        let (agent, word) = (&self.definition.name, reason.text());
        let next = match restarting_in {
            Some(wait) => {
                let wait = Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(0));
                format!("; starting again in {}", humantime::format_duration(wait))
            }
            None => String::new(),
        };
        match reason {
            Reason::Success | Reason::Stopped => {
                tracing::info!(%agent, reason = word, "exited: {detail}{next}");
            }
            Reason::SpawnFailed => {
                tracing::error!(%agent, reason = word, "cannot start: {detail}{next}");
            }
            Reason::Error | Reason::Signal | Reason::Unknown => {
                tracing::warn!(%agent, reason = word, "exited: {detail}{next}");
            }
        }
        self.report(What::Exited { reason, detail, restarting_in });
    }

    /// Has systemd not start it earlier than the machine does. Only once nothing is left of it: systemd would
    /// stop that by its own time-out, and until then start no daemon.
    fn let_rest(&mut self) {
        let now = self.epoch.elapsed();
        let restarting_in = match self.state.phase {
            Phase::Backoff { until } => Some(until.saturating_sub(now)),
            Phase::Failed | Phase::Finished => None,
            // What was asked to stop is down, and whoever starts it again is not to be stopped.
            _ => return,
        };
        if let Some(unit) = self.maker.unit() {
            self.left.waiting = unit.rest(restarting_in);
        }
    }

    /// Lets go of a process whose group has gone.
    fn release(&mut self) {
        if let Child::Group(process) = std::mem::replace(&mut self.child, Child::None) {
            if process.run().is_none() {
                self.notes.gone(&self.definition.launch);
            }
            process.reap();
        }
    }

    fn publish(&mut self) {
        self.status.state = self.state.phase.text();
        self.status.pid = self.child.pid();
        let (name, status) = (&self.definition.name, &self.status);
        self.statuses.send_if_modified(|statuses| {
            let changed = statuses.get(name) != Some(status);
            if changed {
                statuses.insert(name.clone(), status.clone());
            }
            changed
        });
    }

    fn report(&self, what: What) {
        self.reports.send(Report { agent: self.definition.name.clone(), what });
    }

    fn warn(&self, message: &str) {
        tracing::warn!(agent = %self.definition.name, "{message}");
    }
}

async fn sleep_until_if(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// A number between 0 and 1, from the keys that std draws for each hash map.
fn chance() -> f64 {
    f64::from(RandomState::new().hash_one(()) as u32) / f64::from(u32::MAX)
}
