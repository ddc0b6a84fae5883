//! Sole owner of what is known about agents: their ledgers in use, the totals of those that have
//! gone, their windows and their health. Others tell it what has happened, and read.
//!
//! Must not know sockets or formats; time is told to it.

use super::health::{self, Observations, Presence, State};
use super::kept::{self, Kept};
use super::label::Label;
use super::ledger::{Activity, Faults, Ledger};
use super::options::{LEDGER_SIZES, Options};
use super::peer::Peer;
use super::protocol::{self, Hello};
use super::totals::Totals;
use super::window::Window;
use crate::process::AgentRoot;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Names one ledger in use, from the connection that brought it to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

/// A hello that was accepted.
#[derive(Debug)]
pub struct Welcome {
    /// What to call the ledger from now on.
    pub key: Key,
    /// The line to answer with.
    pub answer: String,
    /// The file to hand over with it.
    pub file: Option<OwnedFd>,
    /// A ledger that nobody keeps yet for the next daemon.
    pub keepsake: Option<Keepsake>,
}

/// A ledger for systemd to keep, so that its counts outlive the daemon and the agent.
#[derive(Debug)]
pub struct Keepsake {
    /// Whose it is.
    pub label: Label,
    /// Its memory.
    pub file: OwnedFd,
}

/// A hello that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The word for `musterd_refused_total{reason}`.
    pub reason: &'static str,
    /// What was wrong and what was wanted, for the peer and for the log.
    pub text: String,
    /// Whether it may be granted another time.
    pub retry: bool,
}

/// An agent's health has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which agent.
    pub agent: String,
    /// What it is now.
    pub state: State,
    /// Why.
    pub reason: String,
}

/// All agents.
#[derive(Debug)]
pub struct Registry {
    options: Options,
    agents: BTreeMap<String, Agent>,
    next_key: u64,
    /// Faults of ledgers, those that have been retired included.
    faults: BTreeMap<&'static str, u64>,
    /// Whether retired totals have changed since they were last taken for keeping.
    unsaved: bool,
    /// Retired ledgers that may still be in the store of files, by their names there: until the
    /// totals with their counts have been written.
    folded: Vec<String>,
    /// How many of those were in the text that was last taken for keeping.
    taken: usize,
}

/// One agent: all processes that report under one name.
#[derive(Debug, Default)]
pub struct Agent {
    /// The first user who reported under this name; it stays theirs.
    pub(super) uid: Option<u32>,
    /// What it last said of itself.
    pub(super) hello: Option<Hello>,
    pub(super) live: Vec<Live>,
    retired: Totals,
    /// Retired and live counts together, as of the last refresh.
    pub(super) current: Totals,
    pub(super) window: Window,
    pub(super) activity: Activity,
    pub(super) health: Option<(State, String)>,
    /// When what now runs began.
    begun: Option<Duration>,
    /// How the last process ended, while none runs.
    ended: Option<Presence>,
    /// Since when nothing of it runs.
    gone_since: Option<Duration>,
    /// Whether that is for longer than agents are shown.
    is_long_gone: bool,
    /// Ledgers that were in use when the daemon before ended, and until when they are waited for:
    /// without their counts the agent's totals would go back.
    awaited: Option<(usize, Duration)>,
    /// The process that the supervisor runs.
    child: Option<u32>,
    pub(super) is_supervised: bool,
    pub(super) restarts: u64,
    pub(super) exits: BTreeMap<String, u64>,
}

/// A ledger in use.
#[derive(Debug)]
pub struct Live {
    key: Key,
    pub(super) ledger: Ledger,
    uid: u32,
    pub(super) pid: Option<u32>,
    pub(super) connected: bool,
    /// Its name in the store of files, if it was given there.
    stored: Option<String>,
    /// Whether it was in use before this daemon was.
    is_from_before: bool,
    /// Faults that have been added to the registry's own count.
    counted: Faults,
}

/// How long agents may take to come back with their ledgers after a restart of the daemon, until
/// their counters are exported without them. Clients try each second.
pub(super) const RETURN_TIME: Duration = Duration::from_secs(30);

impl Registry {
    /// No agents yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            agents: BTreeMap::new(),
            next_key: 0,
            faults: BTreeMap::new(),
            unsaved: false,
            folded: Vec::new(),
            taken: 0,
        }
    }

    /// Takes new options; limits hold from the next hello on.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// Every agent that is to be shown, by name: not those that have been gone for long.
    pub fn agents(&self) -> impl Iterator<Item = (&str, &Agent)> {
        let shown = self.agents.iter().filter(|(_, agent)| !agent.is_long_gone);
        shown.map(|(name, agent)| (name.as_str(), agent))
    }

    /// Faults found in ledgers, by reason.
    #[must_use]
    pub fn faults(&self) -> &BTreeMap<&'static str, u64> {
        &self.faults
    }

    /// A client has said hello, perhaps with a ledger that it has kept.
    ///
    /// # Errors
    /// Why it may not report.
    pub fn connect(
        &mut self,
        hello: Hello,
        peer: &Peer,
        offered: Option<OwnedFd>,
        now: Duration,
    ) -> Result<Welcome, Refusal> {
        self.admit(&hello, peer)?;
        let resumed = match offered {
            Some(file) => self.resume(&hello, peer, file)?,
            None => None,
        };
        if !matches!(resumed, Some(Resumed::Known)) {
            self.admit_ledger(peer)?;
        }
        let key = Key(self.next_key);
        self.next_key += 1;
        let label = Label::new(&hello.agent, peer);
        let mut keepsake = None;
        let (answer, file) = match resumed {
            Some(Resumed::Known) => {
                let agent = self.agents.get_mut(&hello.agent);
                let file = agent.and_then(|agent| agent.live.last_mut());
                if let Some(live) = file {
                    live.key = key;
                    live.connected = true;
                }
                (protocol::welcome_back(), None)
            }
            Some(Resumed::Adopted(ledger, file)) => {
                // One that says of itself whose it is may be kept, if that is who has brought it.
                keepsake = Label::of(&file)
                    .filter(|label| label.is_of(&hello.agent, peer))
                    .map(|label| Keepsake { label, file });
                let stored = keepsake.as_ref().map(|kept| kept.label.ledger_name());
                let origin = Origin { stored, is_from_before: true };
                self.add_ledger(&hello.agent, peer, *ledger, key, origin, now);
                (protocol::welcome_back(), None)
            }
            None => {
                let size = self.options.ledger_size;
                let failed = |error| Refusal {
                    reason: "no_memory",
                    text: format!("cannot make a ledger of {size} bytes: {error}"),
                    retry: true,
                };
                let name = label.file_name();
                let (ledger, file) =
                    Ledger::create(&name, size, self.options.max_series).map_err(failed)?;
                let kept = Keepsake { label, file: file.try_clone().map_err(failed)? };
                let stored = Some(kept.label.ledger_name());
                keepsake = Some(kept);
                let answer = protocol::welcome_new(ledger.size());
                let origin = Origin { stored, is_from_before: false };
                self.add_ledger(&hello.agent, peer, ledger, key, origin, now);
                (answer, Some(file))
            }
        };
        if let Some(agent) = self.agents.get_mut(&hello.agent) {
            agent.hello = Some(hello);
        }
        Ok(Welcome { key, answer, file, keepsake })
    }

    fn admit(&self, hello: &Hello, peer: &Peer) -> Result<(), Refusal> {
        let refuse = |reason, retry, text| Err(Refusal { reason, text, retry });
        let uid = peer.uid;
        if !self.options.allow_uids.is_empty() && !self.options.allow_uids.contains(&uid) {
            let text = format!("user {uid} is not in [agents] allow_uids");
            return refuse("not_allowed", false, text);
        }
        match self.agents.get(&hello.agent) {
            Some(agent) if agent.uid.is_some_and(|owner| owner != uid) => {
                let text = format!("agent name {:?} belongs to another user", hello.agent);
                return refuse("name_taken", false, text);
            }
            None if self.agents.len() >= self.options.max_agents => {
                let text = format!("{} agents are known already", self.agents.len());
                return refuse("too_many_agents", true, text);
            }
            _ => {}
        }
        Ok(())
    }

    fn admit_ledger(&self, peer: &Peer) -> Result<(), Refusal> {
        let (uid, limit) = (peer.uid, self.options.max_ledgers_per_uid);
        let ledgers = self.agents.values().flat_map(|agent| &agent.live);
        if ledgers.filter(|live| live.uid == uid).count() >= limit {
            return Err(Refusal {
                reason: "too_many_ledgers",
                text: format!("user {uid} has {limit} ledgers in use already"),
                retry: true,
            });
        }
        Ok(())
    }

    /// The ledger that a client has come back with, if its counts are still to be believed. A
    /// known one is moved to the end of its agent's list.
    ///
    /// # Errors
    /// What keeps it from being used for now.
    fn resume(
        &mut self,
        hello: &Hello,
        peer: &Peer,
        file: OwnedFd,
    ) -> Result<Option<Resumed>, Refusal> {
        let passing = |error: std::io::Error| Refusal {
            reason: "not_resumed",
            text: format!("cannot use the ledger that was brought along now: {error}"),
            retry: true,
        };
        let id = Ledger::file_of(&file).map_err(passing)?;
        let holder = self
            .agents
            .iter_mut()
            .find_map(|(name, agent)| Some((name, agent.live_with(id)?, agent)));
        if let Some((name, place, agent)) = holder {
            // Another process, or another name, must not speak for this ledger.
            let pid = agent.live.get(place).and_then(|live| live.pid);
            if *name != hello.agent || pid != peer.pid {
                return Ok(None);
            }
            let live = agent.live.remove(place);
            agent.live.push(live);
            return Ok(Some(Resumed::Known));
        }
        // Made by a daemon with other settings perhaps: as large as any of them would make it.
        match Ledger::adopt(&file, *LEDGER_SIZES.end(), self.options.max_series) {
            Ok(ledger) => Ok(Some(Resumed::Adopted(Box::new(ledger), file))),
            Err(error) if error.kind() != std::io::ErrorKind::InvalidData => Err(passing(error)),
            Err(error) => {
                tracing::warn!(agent = hello.agent, pid = peer.pid, uid = peer.uid, %error,
                    "a ledger that was brought along is not used; a new one is given");
                *self.faults.entry("not_resumed").or_default() += 1;
                Ok(None)
            }
        }
    }

    /// Takes back a ledger that was kept while there was no daemon. What to call it from now on;
    /// nothing if its counts are known already, or it has been retired at once. Its process is to be
    /// watched, and [`Registry::died`] told.
    ///
    /// # Errors
    /// Why it cannot be used; its counts are lost.
    pub fn take_back(&mut self, file: &OwnedFd, now: Duration) -> Result<Option<Key>, String> {
        let label = Label::of(file).ok_or("it does not say whose it is")?;
        let name = label.ledger_name();
        if self.folded.contains(&name) {
            // Once that has been written again, it need not be kept any longer.
            self.unsaved = true;
            return Ok(None);
        }
        let ledger = Ledger::restore(file, *LEDGER_SIZES.end(), self.options.max_series).map_err(
            |error| {
                *self.faults.entry("not_resumed").or_default() += 1;
                format!("agent {:?}: {error}", label.agent)
            },
        )?;
        let is_over = ledger.is_retired() || ledger.is_closed();
        let key = Key(self.next_key);
        self.next_key += 1;
        let peer = Peer { uid: label.uid, pid: label.pid, pidfd: None };
        let origin = Origin { stored: Some(name), is_from_before: true };
        self.add_ledger(&label.agent, &peer, ledger, key, origin, now);
        if let Some((_, agent, place)) = self.find(key)
            && let Some(live) = agent.live.get_mut(place)
        {
            live.connected = false;
        }
        if is_over {
            self.retire(key, "it ended while there was no daemon");
            return Ok(None);
        }
        Ok(Some(key))
    }

    fn add_ledger(
        &mut self,
        name: &str,
        peer: &Peer,
        ledger: Ledger,
        key: Key,
        origin: Origin,
        now: Duration,
    ) {
        let agent = self.agents.entry(name.to_owned()).or_default();
        agent.uid = Some(peer.uid);
        agent.running(now);
        // What the agent's other ledgers have counted since the last look is recent.
        agent.add_up();
        agent.window.observe(now, &agent.current);
        agent.live.push(Live {
            key,
            ledger,
            uid: peer.uid,
            pid: peer.pid,
            connected: true,
            stored: origin.stored,
            is_from_before: origin.is_from_before,
            counted: Faults::default(),
        });
        // What a ledger brings along from before belongs to no window of ours.
        agent.add_up();
        agent.window.skip_to(&agent.current);
        self.unsaved = true;
    }

    /// A connection has ended. When its agent has closed the ledger, or nothing else would tell
    /// of its end, that is the end of the ledger too.
    ///
    /// Whether the end of the process is still to be waited for.
    pub fn disconnected(&mut self, key: Key, watched: bool) -> bool {
        let Some((_, agent, place)) = self.find(key) else { return false };
        let Some(live) = agent.live.get_mut(place) else { return false };
        live.connected = false;
        let has_ended = live.ledger.is_closed() || !watched;
        if has_ended {
            self.retire(key, "its connection ended");
        }
        !has_ended
    }

    /// Whether a ledger is still in use under this key: neither retired nor brought back by a
    /// newer connection.
    #[must_use]
    pub fn is_current(&self, key: Key) -> bool {
        self.agents.values().flat_map(|agent| &agent.live).any(|live| live.key == key)
    }

    /// A process has ended.
    pub fn died(&mut self, key: Key) {
        self.retire(key, "its process ended without a word");
    }

    fn retire(&mut self, key: Key, how: &str) {
        let Some((name, agent, place)) = self.find(key) else { return };
        let name = name.clone();
        let live = agent.live.remove(place);
        let closed = live.ledger.is_closed();
        // The buckets in use stay in use, whichever ledger is retired first.
        agent.retired.keep_shapes(&agent.current);
        let before = agent.retired.finished();
        let faults = live.ledger.retire(&mut agent.retired);
        let requests = agent.retired.finished() - before;
        tracing::debug!(agent = name, pid = live.pid, requests, "ledger retired");
        if agent.live.is_empty() && agent.child.is_none() {
            agent.begun = None;
            // The supervisor knows better how the process ended, if it has said so already.
            agent.ended.get_or_insert_with(|| {
                if closed {
                    return Presence::Stopped;
                }
                let pid = live.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
                Presence::Lost(format!("{how}{pid}"))
            });
        }
        // What was waited for has come and gone: its counts are there.
        if let Some((ledgers, _)) = agent.awaited.as_mut().filter(|_| live.is_from_before) {
            *ledgers = ledgers.saturating_sub(1);
        }
        count_faults(&mut self.faults, live.counted, faults);
        self.folded.extend(live.stored);
        self.unsaved = true;
    }

    fn find(&mut self, key: Key) -> Option<(&String, &mut Agent, usize)> {
        self.agents.iter_mut().find_map(|(name, agent)| {
            let place = agent.live.iter().position(|live| live.key == key)?;
            Some((name, agent, place))
        })
    }

    /// The supervisor runs, or will run, an agent of this name.
    pub fn supervise(&mut self, name: &str) {
        self.agents.entry(name.to_owned()).or_default().is_supervised = true;
    }

    /// The supervisor no longer has an agent of this name.
    pub fn unsupervise(&mut self, name: &str) {
        if let Some(agent) = self.agents.get_mut(name) {
            agent.is_supervised = false;
        }
    }

    /// The supervisor has started the agent's process. The name belongs to the user that it runs as,
    /// whoever has used it before.
    pub fn child_started(&mut self, name: &str, pid: u32, uid: Option<u32>, now: Duration) {
        let agent = self.agents.entry(name.to_owned()).or_default();
        agent.uid = uid.or(agent.uid);
        agent.child = Some(pid);
        agent.begun = Some(now);
        agent.ended = None;
    }

    /// The agent's process has ended, for a reason of a class of `agent_exits_total`.
    pub fn child_ended(&mut self, name: &str, class: &str, how: Presence) {
        let agent = self.agents.entry(name.to_owned()).or_default();
        agent.child = None;
        *agent.exits.entry(class.to_owned()).or_default() += 1;
        if agent.live.is_empty() {
            agent.begun = None;
        }
        agent.ended = Some(how);
        self.unsaved = true;
    }

    /// The supervisor is about to start the agent anew.
    pub fn child_restarts(&mut self, name: &str) {
        self.agents.entry(name.to_owned()).or_default().restarts += 1;
        self.unsaved = true;
    }

    /// Reads every ledger, moves the windows on and judges everyone's health; what has changed is
    /// returned.
    pub fn refresh(&mut self, now: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, agent) in &mut self.agents {
            agent.add_up();
            for live in &mut agent.live {
                let faults = live.ledger.faults();
                count_faults(&mut self.faults, live.counted, faults);
                live.counted = faults;
            }
            if agent.is_whole(now) {
                agent.awaited = None;
            }
            agent.note_absence(now, self.options.keep_gone);
            agent.window.observe(now, &agent.current);
            let judged = health::judge(&agent.observations(now), &self.options.health);
            let before = agent.state();
            // That one known from before is not there yet is no news.
            let is_news = before.is_some() || judged.0 != State::Stopped;
            if is_news && before != Some(judged.0) {
                changes.push(Change {
                    agent: name.clone(),
                    state: judged.0,
                    reason: judged.1.clone(),
                });
            }
            agent.health = Some(judged);
        }
        changes
    }

    /// The processes that agents' process trees begin with.
    #[must_use]
    pub fn roots(&self) -> Vec<AgentRoot> {
        let mut roots = Vec::new();
        for (name, agent) in &self.agents {
            let mut pids: Vec<u32> =
                agent.live.iter().filter_map(|live| live.pid).chain(agent.child).collect();
            pids.sort_unstable();
            pids.dedup();
            roots.extend(pids.into_iter().map(|pid| AgentRoot {
                name: name.clone(),
                pid,
                start_time: None,
            }));
        }
        roots
    }

    /// The text to keep for the next run, if it has changed since it was last taken.
    pub fn take_unsaved(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.unsaved) {
            return None;
        }
        let agents = self.agents.iter().map(|(name, agent)| {
            let kept = Kept {
                uid: agent.uid,
                live: agent.live.len(),
                totals: agent.retired.clone(),
                restarts: agent.restarts,
                exits: agent.exits.clone(),
            };
            (name.as_str(), kept)
        });
        self.taken = self.folded.len();
        Some(kept::write(agents, &self.folded))
    }

    /// What was last taken for keeping has been written. The ledgers whose counts are in it need not
    /// be kept any longer: their names in the store of files.
    pub fn saved(&mut self) -> Vec<String> {
        let taken = std::mem::take(&mut self.taken).min(self.folded.len());
        self.folded.drain(..taken).collect()
    }

    /// What could not be saved is to be saved again.
    pub fn keep_unsaved(&mut self) {
        self.unsaved = true;
    }

    /// Takes in what was kept by the run before. What cannot be used of it is named.
    ///
    /// # Errors
    /// What is wrong with the text as a whole; nothing of it is taken then.
    pub fn restore(&mut self, text: &str, now: Duration) -> Result<Vec<String>, String> {
        let kept::Reading { agents, unusable, folded } = kept::read(text)?;
        self.folded = folded;
        for (name, kept) in agents {
            self.agents.insert(name, Agent::restored(kept, now));
        }
        Ok(unusable)
    }
}

/// Where a ledger comes from.
struct Origin {
    stored: Option<String>,
    is_from_before: bool,
}

enum Resumed {
    /// In use; it is the last of its agent's list.
    Known,
    /// Of a daemon that has gone.
    Adopted(Box<Ledger>, OwnedFd),
}

impl Agent {
    fn restored(kept: Kept, now: Duration) -> Self {
        let mut agent = Self {
            uid: kept.uid,
            retired: kept.totals,
            restarts: kept.restarts,
            exits: kept.exits,
            awaited: (kept.live > 0).then(|| (kept.live, now + RETURN_TIME)),
            ..Self::default()
        };
        agent.add_up();
        agent.window = Window::starting_from(&agent.current);
        agent
    }

    /// Whether its counters are whole. After a restart of the daemon they are not, until the
    /// ledgers that were in use have come back: absent is better than too low.
    #[must_use]
    pub fn is_whole(&self, now: Duration) -> bool {
        self.awaited.is_none_or(|(ledgers, until)| self.live.len() >= ledgers || now >= until)
    }

    fn live_with(&self, file: super::ledger::FileId) -> Option<usize> {
        self.live.iter().position(|live| live.ledger.file() == file)
    }

    fn running(&mut self, now: Duration) {
        self.begun.get_or_insert(now);
        self.ended = None;
    }

    fn note_absence(&mut self, now: Duration, keep: Duration) {
        let is_here = !self.live.is_empty()
            || self.child.is_some()
            || self.is_supervised
            || self.awaited.is_some();
        self.gone_since = if is_here { None } else { self.gone_since.or(Some(now)) };
        let gone = self.gone_since.map(|since| now.saturating_sub(since));
        self.is_long_gone = !keep.is_zero() && gone.is_some_and(|gone| gone >= keep);
    }

    /// Adds retired and live counts up anew.
    fn add_up(&mut self) {
        self.current.copy_from(&self.retired);
        self.activity = Activity::default();
        for live in &mut self.live {
            live.ledger.add_to(&mut self.current);
            let activity = live.ledger.activity();
            let own = &mut self.activity;
            own.in_flight = own.in_flight.saturating_add(activity.in_flight);
            own.oldest_begun =
                [own.oldest_begun, activity.oldest_begun].into_iter().flatten().min();
            own.heartbeat = own.heartbeat.max(activity.heartbeat);
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
        self.health.as_ref().map(|(state, _)| *state)
    }

    /// Its state and the reason, once it has been judged.
    #[must_use]
    pub fn judgement(&self) -> Option<(State, &str)> {
        self.health.as_ref().map(|(state, reason)| (*state, reason.as_str()))
    }

    /// Age of its oldest request in flight.
    #[must_use]
    pub fn oldest_request(&self, now: Duration) -> Option<Duration> {
        let begun = Duration::from_nanos(self.activity.oldest_begun?);
        Some(now.saturating_sub(begun))
    }

    fn observations(&self, now: Duration) -> Observations {
        let heartbeat = self.activity.heartbeat.map(Duration::from_nanos);
        Observations {
            presence: self.presence(now),
            reports: !self.live.is_empty(),
            // An agent that has only just come has missed no heartbeat yet.
            heartbeat_age: heartbeat.max(self.begun).map(|last| now.saturating_sub(last)),
            heartbeat_promised: self.hello.as_ref().and_then(|hello| hello.heartbeat),
            oldest_request: self.oldest_request(now),
            judged: self.window.judged(),
            success_rate: self.window.success_rate(),
            p95: self.window.quantile(0.95),
        }
    }
}

fn count_faults(sums: &mut BTreeMap<&'static str, u64>, counted: Faults, faults: Faults) {
    for ((reason, now), (_, before)) in faults.by_reason().into_iter().zip(counted.by_reason()) {
        if now > before {
            let sum = sums.entry(reason).or_default();
            *sum = sum.saturating_add(now - before);
        }
    }
}

#[cfg(test)]
mod tests;
