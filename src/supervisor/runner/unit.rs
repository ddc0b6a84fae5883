//! Processes that systemd makes, as instances of the template `musterd-agent@.service`: start,
//! signal, wait, find again.
//!
//! The template brings an agent back by itself only after a long wait, for when no daemon runs. As
//! long as one does, it decides before that, by the same table as for processes of its own.
//!
//! Must not know when or why a process is made or ended.

use super::course::{Course, End, NotStarted};
use super::seen::{Place, Seen};
use crate::proc_stat;
use crate::supervisor::machine::Signal;
use crate::supervisor::policy::Exit;
use crate::supervisor::systemd::{Changes, Error, Manager, unit_name};
use rustix::process::Pid;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How long the bus is left alone when it does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long a start may take: longer than `TimeoutStartSec=` of the template.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait that an ended agent is left to without systemd being told that it is not to come
/// back by itself: well below `RestartSec=` of the template, 90 s.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What the daemon itself is to systemd.
const DAEMON: &str = "musterd.service";

/// One agent's service.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    manager: Arc<Manager>,
    name: String,
}

/// A run of the service.
pub(super) struct Process {
    unit: Unit,
    pid: u32,
    run: u64,
    /// Whether it has been told that systemd has it end, and that it was asked to.
    told: Option<bool>,
}

/// How an agent that is down has been left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Whether systemd is to find it waiting for its next start.
    pub(super) waiting: bool,
    /// Its last run, as far as that is known: any other is another hand's.
    pub(super) run: Option<u64>,
}

/// What was there when the daemon began.
pub(super) enum Found {
    /// It runs.
    Running(Process),
    /// The main process lives and is to end: whether systemd has been asked for that.
    Ending(Process, bool),
    /// The main process has ended, and others of it have not: whether systemd has been asked for something.
    Clearing(Process, bool),
    /// It has ended by itself, and would be started again: how, and which run that was.
    Ended(Exit, u64),
    /// It is down, as it was before its first start or was asked to be: how its last run ended, and which that was,
    /// 0 if none is known.
    Down(Exit, u64),
    /// systemd does not come to rest with it; its last run.
    Unknown(u64),
}

/// What someone else has had systemd do.
pub(super) enum Moved {
    /// It has been started.
    Appeared(Process),
    /// It has been started, and that has failed.
    NotAppeared(NotStarted),
    /// It was to be started, and is not to be any more.
    CalledOff,
}

impl Unit {
    pub(super) fn new(manager: Arc<Manager>, agent: &str) -> Self {
        Self { manager, name: unit_name(agent) }
    }

    /// What systemd calls it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    async fn look(&self) -> Result<Seen, Error> {
        self.manager.properties(&self.name, Seen::of).await
    }

    fn process(&self, pid: u32, run: u64) -> Process {
        Process { unit: self.clone(), pid, run, told: None }
    }

    /// The last run, of which only its end is to be seen.
    fn last(&self, seen: &Seen) -> Process {
        self.process(seen.last_pid(), seen.run())
    }

    /// The last run, which has come since another and is over: its process if there was one, else why not.
    fn missed(&self, seen: &Seen) -> Result<Process, NotStarted> {
        if seen.has_run() {
            return Ok(self.last(seen));
        }
        Err(NotStarted {
            why: seen.why_not_started(),
            run: Some(seen.run()),
            waits: matches!(seen.place(), Place::Waits(_)),
            hindered: seen.is_hindered(),
        })
    }

    /// Whether the daemon itself is about to be stopped, as it is when the machine goes down: who is stopped then
    /// is to come back with it.
    pub(super) async fn goes_with_the_daemon(&self) -> bool {
        self.manager.job(DAEMON).await.is_ok_and(|job| job.as_deref() == Some("stop"))
    }

    /// What there is, once the unit is not on its way from one state to another.
    ///
    /// # Errors
    /// systemd does not say.
    pub(super) async fn find(&self) -> Result<Found, Error> {
        let end = Instant::now() + START_LIMIT;
        let mut changes = self.manager.changes(&self.name).await?;
        loop {
            let seen = self.look().await?;
            match seen.place() {
                Place::Runs { pid, run } => return Ok(Found::Running(self.process(pid, run))),
                Place::Waits(exit) => return Ok(Found::Ended(exit, seen.run())),
                Place::Down(exit) => return Ok(Found::Down(exit, seen.run())),
                Place::Ends { asked } => return Ok(Found::Ending(self.last(&seen), asked)),
                Place::Clears { asked, .. } => {
                    return Ok(Found::Clearing(self.last(&seen), asked));
                }
                Place::Moves => match timeout_at(end, changes.next()).await {
                    Ok(change) => change?,
                    Err(_) => return Ok(Found::Unknown(seen.run())),
                },
            }
        }
    }

    /// Has it started; one that runs already is taken as it is.
    ///
    /// # Errors
    /// What `musterd exec`, or systemd, has said.
    pub(super) async fn start(&self) -> Result<Process, NotStarted> {
        let failed = |error: Error| NotStarted {
            hindered: error.is_general(),
            ..NotStarted::because(error.to_string())
        };
        let end = Instant::now() + START_LIMIT;
        let mut changes = self.manager.changes(&self.name).await.map_err(failed)?;
        let before = self.look().await.map_err(failed)?;
        match before.place() {
            Place::Runs { pid, run } => return Ok(self.process(pid, run)),
            // A start alone would wait as long as the unit does.
            Place::Waits(_) => self.manager.restart(&self.name).await.map_err(failed)?,
            Place::Moves | Place::Ends { .. } | Place::Clears { .. } | Place::Down(_) => {
                self.manager.start(&self.name).await.map_err(failed)?;
            }
        }
        loop {
            let seen = self.look().await.map_err(failed)?;
            match seen.place() {
                Place::Runs { pid, run } => return Ok(self.process(pid, run)),
                // It may have ended before anybody looked.
                _ if seen.is_over_since(before.run()) => return self.missed(&seen),
                _ => match timeout_at(end, changes.next()).await {
                    Ok(change) => change.map_err(failed)?,
                    Err(_) => return Err(NotStarted::because(seen.why_not_started())),
                },
            }
        }
    }

    /// Waits until it runs, or has run, without this daemon having asked for it or, where it was left waiting
    /// for its next start, until it waits no more.
    pub(super) async fn moved(&self, left: Left) -> Moved {
        loop {
            if let Ok(mut changes) = self.manager.changes(&self.name).await {
                while let Ok(seen) = self.look().await {
                    match seen.place() {
                        Place::Runs { pid, run } => return Moved::Appeared(self.process(pid, run)),
                        _ if left.run.is_some_and(|run| seen.is_over_since(run)) => {
                            return self
                                .missed(&seen)
                                .map_or_else(Moved::NotAppeared, Moved::Appeared);
                        }
                        place if place.is_called_off(left.waiting) => return Moved::CalledOff,
                        _ => {}
                    }
                    if changes.next().await.is_err() {
                        break;
                    }
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Says when an agent that has ended is started next, if it will be, so that systemd does not
    /// do so earlier. Whether it is left waiting there.
    pub(super) fn rest(&self, restarting_in: Option<Duration>) -> bool {
        let left_waiting = restarting_in.is_some_and(|wait| wait <= LONGEST_WAIT);
        if !left_waiting {
            self.ask(Signal::Term);
        }
        left_waiting
    }

    /// Has systemd not start it any more, if it would. One that is down is left to whoever starts it.
    pub(super) fn call_off(&self) {
        let unit = self.clone();
        tokio::spawn(async move {
            if !matches!(unit.look().await.map(|seen| seen.place()), Ok(Place::Down(_))) {
                unit.ask(Signal::Term);
            }
        });
    }

    /// Has it stopped or killed, without waiting for that.
    fn ask(&self, signal: Signal) {
        let unit = self.clone();
        tokio::spawn(async move {
            let asked = match signal {
                Signal::Term => unit.manager.stop(&unit.name).await,
                Signal::Kill => unit.manager.kill(&unit.name).await,
            };
            if let Err(error) = asked {
                tracing::warn!(unit = unit.name, "cannot be stopped: {error}");
            }
        });
    }
}

impl Process {
    pub(super) const fn run(&self) -> u64 {
        self.run
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn start_time(&self) -> u64 {
        let pid = self.pid.try_into().ok().and_then(Pid::from_raw);
        pid.and_then(proc_stat::read).map_or(0, |stat| stat.start_time)
    }

    /// Waits until this run is over, or systemd has it end. May be dropped and called again.
    pub(super) async fn course(&mut self) -> Course<Self> {
        loop {
            if let Ok(mut changes) = self.unit.manager.changes(&self.unit.name).await
                && let Some(course) = self.watch(&mut changes).await
            {
                if let Course::Ending { asked } = course {
                    self.told = Some(asked);
                }
                return course;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// As [`Process::course`]; `None` if systemd does not answer.
    async fn watch(&self, changes: &mut Changes) -> Option<Course<Self>> {
        loop {
            let seen = self.unit.look().await.ok()?;
            if let Some(end) = self.end(&seen) {
                return Some(Course::Over(end));
            }
            match seen.place() {
                Place::Ends { asked } if self.told != Some(asked) => {
                    return Some(Course::Ending { asked });
                }
                _ => changes.next().await.ok()?,
            }
        }
    }

    /// How this run has ended, if it has.
    fn end(&self, seen: &Seen) -> Option<End<Self>> {
        if seen.is_over_since(self.run) {
            return Some(self.unit.missed(seen).map_or_else(End::NotReplaced, End::Replaced));
        }
        match seen.place() {
            Place::Runs { pid, run } if run != self.run => {
                Some(End::Replaced(self.unit.process(pid, run)))
            }
            Place::Waits(exit) | Place::Clears { exit, asked: false } => Some(End::Itself(exit)),
            Place::Down(exit) => Some(End::Asked(exit)),
            Place::Runs { .. }
            | Place::Moves
            | Place::Ends { .. }
            | Place::Clears { asked: true, .. } => None,
        }
    }

    /// Waits until nothing is left of it. May be dropped and called again. Whether systemd has been asked for that:
    /// by itself it would wait for its next start.
    pub(super) async fn emptied(&self) -> bool {
        loop {
            if let Ok(mut changes) = self.unit.manager.changes(&self.unit.name).await {
                while let Ok(seen) = self.unit.look().await {
                    match seen.place() {
                        Place::Down(_) => return true,
                        Place::Clears { .. } => {}
                        // Whoever has asked is about to be answered.
                        Place::Moves if seen.is_down() => {}
                        _ => return false,
                    }
                    if changes.next().await.is_err() {
                        break;
                    }
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.unit.ask(signal);
    }

    /// Kills what has outlived its leader.
    pub(super) fn kill_rest(&self) {
        let unit = self.unit.clone();
        tokio::spawn(async move {
            // Someone may have started the agent again.
            if let Ok(Place::Clears { .. }) = unit.look().await.map(|seen| seen.place()) {
                unit.ask(Signal::Kill);
            }
        });
    }
}
