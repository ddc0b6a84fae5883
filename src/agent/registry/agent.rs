//! What is known of one agent: its ledgers, its totals, and when it came and went.
//!
//! Must not know other agents.

use super::Key;
use crate::agent::catalog::Catalog;
use crate::agent::exact::ExactSum;
use crate::agent::faults::Faults;
use crate::agent::health::{Health, Judgement, Observations, Presence, State};
use crate::agent::kept::Kept;
use crate::agent::ledger::{Activity, Books, FileId, Ledger, Stale};
use crate::agent::lines::folder::OwnLedger;
use crate::agent::protocol::Hello;
use crate::agent::series::{Limits, SeriesTable};
use crate::agent::totals::Totals;
use crate::agent::window::Window;
use std::collections::BTreeMap;
use std::time::Duration;

/// One agent: all processes that report under one name.
#[derive(Debug)]
pub struct Agent {
    /// The first user who reported under this name; it stays theirs.
    pub(in crate::agent) uid: Option<u32>,
    /// What it last said of itself.
    pub(in crate::agent) hello: Option<Hello>,
    pub(in crate::agent) live: Vec<Live>,
    pub(super) retired: Totals,
    /// Retired and live counts together, as of the last refresh.
    pub(in crate::agent) current: Totals,
    /// All that it counts besides requests.
    pub(in crate::agent) series: SeriesTable,
    pub(in crate::agent) window: Window,
    pub(in crate::agent) activity: Activity,
    pub(in crate::agent) health: Health,
    /// When what now runs began.
    pub(super) begun: Option<Duration>,
    /// How the last process ended, while none runs.
    pub(super) ended: Option<Presence>,
    /// Since when nothing of it runs.
    pub(super) gone_since: Option<Duration>,
    /// Whether that is for longer than agents are shown.
    pub(super) is_long_gone: bool,
    /// Ledgers that were in use when the daemon before ended, and until when they are waited for:
    /// without their counts the agent's totals would go back.
    pub(super) awaited: Option<(usize, Duration)>,
    /// The process that the supervisor runs.
    pub(super) child: Option<u32>,
    pub(in crate::agent) is_supervised: bool,
    pub(in crate::agent) restarts: u64,
    pub(in crate::agent) exits: BTreeMap<String, u64>,
    /// Sessions of lines whose ledgers have been retired, with the number of the last line that is
    /// counted of each; the last one to end is the last.
    pub(super) sessions: Vec<(String, u64)>,
}

/// A ledger in use.
#[derive(Debug)]
pub struct Live {
    pub(super) key: Key,
    pub(in crate::agent) ledger: Ledger,
    pub(super) uid: u32,
    pub(in crate::agent) pid: Option<u32>,
    pub(in crate::agent) connected: bool,
    /// Since when it has been in use here, or used by its last connection.
    pub(super) since: Duration,
    /// Its name in the store of files, if it was given there.
    pub(super) stored: Option<String>,
    /// Whether it was in use before this daemon was.
    pub(super) is_from_before: bool,
    /// While it may yet bring along what its process has counted long ago, without a daemon: until when.
    pub(super) past_until: Option<Duration>,
    /// Faults that have been added to the registry's own count.
    pub(super) counted: Faults,
    /// Where the daemon writes it itself, for a program that sends lines.
    pub(super) lines: Option<OwnLedger>,
}

/// How long agents may take to come back with their ledgers after a restart of the daemon, until
/// their counters are exported without them. Clients try each second.
pub(in crate::agent) const RETURN_TIME: Duration = Duration::from_secs(30);

impl Agent {
    pub(super) fn new(name: &str) -> Self {
        Self {
            uid: None,
            hello: None,
            live: Vec::new(),
            retired: Totals::default(),
            current: Totals::default(),
            series: SeriesTable::new(name),
            window: Window::default(),
            activity: Activity::default(),
            health: Health::default(),
            begun: None,
            ended: None,
            gone_since: None,
            is_long_gone: false,
            awaited: None,
            child: None,
            is_supervised: false,
            restarts: 0,
            exits: BTreeMap::new(),
            sessions: Vec::new(),
        }
    }

    pub(super) fn restored(name: &str, kept: Kept, now: Duration) -> Self {
        Self {
            uid: kept.uid,
            window: Window::starting_from(&kept.totals),
            current: kept.totals.clone(),
            retired: kept.totals,
            restarts: kept.restarts,
            exits: kept.exits,
            sessions: kept.sessions,
            awaited: (kept.live > 0).then(|| (kept.live, now + RETURN_TIME)),
            ..Self::new(name)
        }
    }

    /// Whether its counters are whole. After a restart of the daemon they are not, until the
    /// ledgers that were in use have come back: absent is better than too low.
    #[must_use]
    pub fn is_whole(&self, now: Duration) -> bool {
        // Those that are new say nothing of what the others have counted.
        let returned = || self.live.iter().filter(|live| live.is_from_before).count();
        self.awaited.is_none_or(|(ledgers, until)| returned() >= ledgers || now >= until)
    }

    pub(super) fn live_with(&self, file: FileId) -> Option<usize> {
        self.live.iter().position(|live| live.ledger.file() == file)
    }

    pub(super) fn running(&mut self, since: Duration) {
        self.begun = Some(self.begun.map_or(since, |begun| begun.min(since)));
        self.ended = None;
    }

    pub(super) fn note_absence(&mut self, now: Duration, keep: Duration) {
        let is_here = !self.live.is_empty()
            || self.child.is_some()
            || self.is_supervised
            || self.awaited.is_some();
        self.gone_since = if is_here { None } else { self.gone_since.or(Some(now)) };
        let gone = self.gone_since.map(|since| now.saturating_sub(since));
        self.is_long_gone = !keep.is_zero() && gone.is_some_and(|gone| gone >= keep);
    }

    /// Adds a ledger, and what it brings along. The others are not read: they may be large, and what a hello
    /// costs is not to be up to who sends it.
    pub(super) fn take_in(&mut self, mut live: Live, catalog: &mut Catalog, limits: &Limits) {
        let (totals, series) = (&mut self.current, &mut self.series);
        let stale = live.ledger.read(&mut Books { totals, series, catalog, limits });
        self.live.push(live);
        self.add_up_anew(stale);
    }

    /// Adds what its ledgers have counted since the last time, and moves the window on. What a ledger brings along
    /// that was counted long ago belongs to no window.
    pub(super) fn add_up(&mut self, now: Duration, catalog: &mut Catalog, limits: &Limits) {
        self.activity = Activity::default();
        self.add_up_those(|live| live.past_until.is_none(), catalog, limits);
        self.window.observe(now, &self.current);
        if self.live.iter().all(|live| live.past_until.is_none()) {
            return;
        }
        self.add_up_those(|live| live.past_until.is_some(), catalog, limits);
        self.window.skip_to(&self.current);
        for live in &mut self.live {
            live.past_until =
                live.past_until.filter(|until| now < *until && live.ledger.is_blank());
        }
    }

    fn add_up_those(
        &mut self,
        is_it: impl Fn(&Live) -> bool,
        catalog: &mut Catalog,
        limits: &Limits,
    ) {
        let mut stale = Stale::default();
        for live in self.live.iter_mut().filter(|live| is_it(live)) {
            let (totals, series) = (&mut self.current, &mut self.series);
            let read = live.ledger.read(&mut Books { totals, series, catalog, limits });
            stale.series |= read.series;
            stale.durations |= read.durations;
            let activity = live.ledger.activity();
            let own = &mut self.activity;
            own.in_flight = own.in_flight.saturating_add(activity.in_flight);
            own.oldest_begun =
                [own.oldest_begun, activity.oldest_begun].into_iter().flatten().min();
            own.heartbeat = own.heartbeat.max(activity.heartbeat);
        }
        self.add_up_anew(stale);
    }

    fn add_up_anew(&mut self, stale: Stale) {
        if stale.series {
            self.add_up_series();
        }
        if stale.durations {
            self.add_up_durations();
        }
    }

    /// Adds up anew the gauges and the sums of its series.
    pub(super) fn add_up_series(&mut self) {
        self.series.begin_sums();
        for live in &self.live {
            live.ledger.add_sums(&mut self.series);
        }
        self.series.end_sums();
    }

    /// The same of the durations of its requests.
    pub(super) fn add_up_durations(&mut self) {
        let Some(durations) = &mut self.current.durations else { return };
        let retired = self.retired.durations.as_ref().map(|retired| retired.sum);
        let live = self.live.iter().map(|live| live.ledger.duration_sum());
        let sum = live.fold(retired.unwrap_or_default(), ExactSum::plus);
        if sum.value() > durations.sum.value() {
            durations.sum = sum;
        }
    }

    /// Whether it is there, and for how long.
    #[must_use]
    pub fn presence(&self, now: Duration) -> Presence {
        match (self.begun, &self.ended) {
            (Some(begun), _) => Presence::Running(now.saturating_sub(begun)),
            (None, Some(ended)) => ended.clone(),
            (None, None) => Presence::Unseen,
        }
    }

    /// Its state, once it has been judged.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.health.state()
    }

    /// What it was last found to be.
    #[must_use]
    pub fn judgement(&self) -> Option<&Judgement> {
        self.health.judgement()
    }

    /// Age of its oldest request in flight.
    #[must_use]
    pub fn oldest_request(&self, now: Duration) -> Option<Duration> {
        let begun = Duration::from_nanos(self.activity.oldest_begun?);
        Some(now.saturating_sub(begun))
    }

    /// Of the process that has been silent for longest, measured by its own promise: for how long, and the
    /// promise. What another process does neither keeps its promise nor breaks it.
    fn silence(&self, now: Duration) -> Option<(Duration, Duration)> {
        let mut processes: BTreeMap<_, (Duration, Option<Duration>)> = BTreeMap::new();
        for live in &self.live {
            // Of which process a ledger is may be unknown: then it stands for itself.
            let process = live.pid.ok_or(live.key);
            let (last, promised) = processes.entry(process).or_default();
            // One that has only just come has missed no heartbeat yet.
            *last = (*last).max(live.since).max(live.ledger.heartbeat().unwrap_or_default());
            *promised = [*promised, live.ledger.promised()].into_iter().flatten().min();
        }
        let silences = processes.into_values();
        let silences =
            silences.filter_map(|(last, promised)| Some((now.saturating_sub(last), promised?)));
        let missed = |(age, promised): &(Duration, Duration)| age.div_duration_f64(*promised);
        silences.max_by(|one, other| missed(one).total_cmp(&missed(other)))
    }

    pub(super) fn observations(&self, now: Duration) -> Observations {
        let silence = self.silence(now);
        Observations {
            presence: self.presence(now),
            reports: !self.live.is_empty(),
            heartbeat_age: silence.map(|(age, _)| age),
            heartbeat_promised: silence.map(|(_, promised)| promised),
            oldest_request: self.oldest_request(now),
            in_flight: self.activity.in_flight,
            judged: self.window.judged(),
            success_rate: self.window.success_rate(),
            p95: self.window.quantile(0.95),
        }
    }
}
