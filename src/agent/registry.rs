//! Sole owner of what is known about agents: their ledgers in use, the totals of those that have
//! gone, their windows and their health. Others tell it what has happened, and read.
//!
//! Must not know sockets or formats; time is told to it.

use super::health::{self, Observations, Presence, State};
use super::ledger::{Activity, Faults, Ledger};
use super::options::{LEDGER_SIZES, Options};
use super::peer::Peer;
use super::protocol::{self, Hello};
use super::totals::{Durations, Totals};
use super::window::Window;
use crate::process::AgentRoot;
use serde::{Deserialize, Serialize};
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
    /// Faults that have been added to the registry's own count.
    counted: Faults,
}

/// What is kept of agents from one run of the daemon to the next.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    agents: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptAgent {
    uid: Option<u32>,
    /// Ledgers in use, whose counts are not among the totals.
    live: usize,
    totals: Totals,
    restarts: u64,
    exits: BTreeMap<String, u64>,
}

/// How long agents may take to come back with their ledgers after a restart of the daemon, until
/// their counters are exported without them. Clients try each second.
const RETURN_TIME: Duration = Duration::from_secs(30);
const KEPT_VERSION: u32 = 1;

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
        }
    }

    /// Takes new options; limits hold from the next hello on.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// Every agent, by name.
    pub fn agents(&self) -> impl Iterator<Item = (&str, &Agent)> {
        self.agents.iter().map(|(name, agent)| (name.as_str(), agent))
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
            Some(file) => self.resume(&hello, peer, &file)?,
            None => None,
        };
        if !matches!(resumed, Some(Resumed::Known)) {
            self.admit_ledger(peer)?;
        }
        let key = Key(self.next_key);
        self.next_key += 1;
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
            Some(Resumed::Adopted(ledger)) => {
                self.add_ledger(&hello, peer, *ledger, key, now);
                (protocol::welcome_back(), None)
            }
            None => {
                let size = self.options.ledger_size;
                let (ledger, file) =
                    Ledger::create(size, self.options.max_series).map_err(|error| Refusal {
                        reason: "no_memory",
                        text: format!("cannot make a ledger of {size} bytes: {error}"),
                        retry: true,
                    })?;
                let answer = protocol::welcome_new(ledger.size());
                self.add_ledger(&hello, peer, ledger, key, now);
                (answer, Some(file))
            }
        };
        if let Some(agent) = self.agents.get_mut(&hello.agent) {
            agent.hello = Some(hello);
        }
        Ok(Welcome { key, answer, file })
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
        file: &OwnedFd,
    ) -> Result<Option<Resumed>, Refusal> {
        let passing = |error: std::io::Error| Refusal {
            reason: "not_resumed",
            text: format!("cannot use the ledger that was brought along now: {error}"),
            retry: true,
        };
        let id = Ledger::file_of(file).map_err(passing)?;
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
        match Ledger::adopt(file, *LEDGER_SIZES.end(), self.options.max_series) {
            Ok(ledger) => Ok(Some(Resumed::Adopted(Box::new(ledger)))),
            Err(error) if error.kind() != std::io::ErrorKind::InvalidData => Err(passing(error)),
            Err(error) => {
                tracing::warn!(agent = hello.agent, pid = peer.pid, uid = peer.uid, %error,
                    "a ledger that was brought along is not used; a new one is given");
                *self.faults.entry("not_resumed").or_default() += 1;
                Ok(None)
            }
        }
    }

    fn add_ledger(&mut self, hello: &Hello, peer: &Peer, ledger: Ledger, key: Key, now: Duration) {
        let agent = self.agents.entry(hello.agent.clone()).or_default();
        agent.uid = Some(peer.uid);
        agent.running(now);
        agent.live.push(Live {
            key,
            ledger,
            uid: peer.uid,
            pid: peer.pid,
            connected: true,
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
        if let (None, Some(current)) = (&agent.retired.durations, &agent.current.durations) {
            agent.retired.durations = Some(Durations::new(current.shape.clone()));
        }
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
        count_faults(&mut self.faults, live.counted, faults);
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
            agent.window.observe(now, &agent.current);
            let judged = health::judge(&agent.observations(now), &self.options.health);
            if agent.health.as_ref().map(|(state, _)| *state) != Some(judged.0) {
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
        let agents = self.agents.iter().filter_map(|(name, agent)| {
            let kept = KeptAgent {
                uid: agent.uid,
                live: agent.live.len(),
                totals: agent.retired.clone(),
                restarts: agent.restarts,
                exits: agent.exits.clone(),
            };
            Some((name.clone(), serde_json::to_value(kept).ok()?))
        });
        let kept = Kept { version: KEPT_VERSION, agents: agents.collect() };
        serde_json::to_string(&kept).ok()
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
        let kept: Kept = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if kept.version != KEPT_VERSION {
            return Err(format!("version {}, this daemon writes {KEPT_VERSION}", kept.version));
        }
        let mut unusable = Vec::new();
        for (name, kept) in kept.agents {
            match serde_json::from_value::<KeptAgent>(kept) {
                Ok(kept) if protocol::is_name(&name) => {
                    self.agents.insert(name, Agent::restored(kept, now));
                }
                Ok(_) => unusable.push(format!("{name:?}: no name of an agent")),
                Err(error) => unusable.push(format!("{name:?}: {error}")),
            }
        }
        Ok(unusable)
    }
}

enum Resumed {
    /// In use; it is the last of its agent's list.
    Known,
    /// Of a daemon that has gone.
    Adopted(Box<Ledger>),
}

impl Agent {
    fn restored(kept: KeptAgent, now: Duration) -> Self {
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
mod tests {
    use super::super::sample::Pen;
    use super::*;
    use musterd_client::layout::header;

    fn options() -> Options {
        let text = crate::config::DEFAULTS;
        let table: toml::Table = toml::from_str(text).unwrap();
        let mut options: Options = table["agents"].clone().try_into().unwrap();
        options.max_agents = 3;
        options.max_ledgers_per_uid = 4;
        options
    }

    fn hello(agent: &str) -> Hello {
        Hello {
            agent: agent.into(),
            client: String::new(),
            version: "1".into(),
            framework: String::new(),
            heartbeat: None,
        }
    }

    fn peer(uid: u32, pid: u32) -> Peer {
        Peer { uid, pid: Some(pid), pidfd: None }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn connect(registry: &mut Registry, name: &str, pid: u32) -> (Key, OwnedFd, Pen) {
        let welcome = registry.connect(hello(name), &peer(0, pid), None, at(1)).unwrap();
        let file = welcome.file.unwrap();
        let pen = Pen::on(&file);
        (welcome.key, file, pen)
    }

    fn requests(registry: &mut Registry, name: &str) -> [u64; 5] {
        registry.refresh(at(9));
        registry.agents[name].current.requests
    }

    #[test]
    fn totals_never_go_back_when_processes_come_and_go() {
        let mut registry = Registry::new(options());
        let (first, _, pen) = connect(&mut registry, "a", 1);
        pen.requests("success", 5);
        pen.begin(0, 77);
        let (second, _, other) = connect(&mut registry, "a", 2);
        other.requests("success", 3);
        assert_eq!(requests(&mut registry, "a"), [8, 0, 0, 0, 0]);
        registry.died(first);
        registry.died(first);
        assert_eq!(requests(&mut registry, "a"), [8, 0, 0, 0, 1]);
        assert_eq!(registry.agents["a"].health.as_ref().unwrap().0, State::Healthy);
        registry.died(second);
        assert_eq!(requests(&mut registry, "a"), [8, 0, 0, 0, 1]);
        assert_eq!(registry.agents["a"].health.as_ref().unwrap().0, State::Lost);
        let (_, _, pen) = connect(&mut registry, "a", 3);
        pen.requests("success", 1);
        assert_eq!(requests(&mut registry, "a"), [9, 0, 0, 0, 1]);
    }

    #[test]
    fn a_ledger_comes_back_after_a_break_and_counts_once() {
        let mut registry = Registry::new(options());
        let (key, file, pen) = connect(&mut registry, "a", 1);
        pen.requests("success", 5);
        assert!(registry.disconnected(key, true), "the process goes on");
        assert_eq!(requests(&mut registry, "a"), [5, 0, 0, 0, 0]);
        let offer = || Some(file.try_clone().unwrap());
        let again = registry.connect(hello("a"), &peer(0, 1), offer(), at(2)).unwrap();
        assert!(again.file.is_none() && again.answer.contains("resumed"));
        assert_eq!(requests(&mut registry, "a"), [5, 0, 0, 0, 0]);
        // The connection before it no longer speaks for the ledger.
        registry.died(key);
        assert_eq!(requests(&mut registry, "a"), [5, 0, 0, 0, 0]);
        assert_eq!(registry.agents["a"].live.len(), 1);

        // A daemon that knows nothing takes it on.
        let mut next = Registry::new(options());
        let welcome = next.connect(hello("a"), &peer(0, 1), offer(), at(2)).unwrap();
        assert!(welcome.answer.contains("resumed"));
        assert_eq!(requests(&mut next, "a"), [5, 0, 0, 0, 0]);
        // What happened before is not in the last five minutes.
        assert_eq!(next.agents["a"].window.success_rate(), None);
        next.died(welcome.key);
        // Retired: a child that kept the file gets one of its own.
        let welcome = next.connect(hello("a"), &peer(0, 9), offer(), at(3)).unwrap();
        assert!(welcome.file.is_some());
        assert_eq!(requests(&mut next, "a"), [5, 0, 0, 0, 0]);
        assert_eq!(next.faults()["not_resumed"], 1);
    }

    #[test]
    fn another_process_does_not_speak_for_a_ledger_in_use() {
        let mut registry = Registry::new(options());
        let (_, file, _) = connect(&mut registry, "a", 1);
        for (name, pid) in [("a", 2), ("b", 1)] {
            let offer = Some(file.try_clone().unwrap());
            let welcome = registry.connect(hello(name), &peer(0, pid), offer, at(2)).unwrap();
            assert!(welcome.file.is_some(), "{name} {pid}");
        }
    }

    #[test]
    fn an_agent_that_says_goodbye_is_stopped_not_lost() {
        let mut registry = Registry::new(options());
        let (key, _, pen) = connect(&mut registry, "a", 1);
        pen.0.publish(header::CLOSED, 1);
        assert!(!registry.disconnected(key, true), "nothing is left to wait for");
        registry.refresh(at(9));
        assert_eq!(registry.agents["a"].health.as_ref().unwrap().0, State::Stopped);
        assert!(registry.agents["a"].live.is_empty());
    }

    #[test]
    fn each_limit_refuses_with_its_reason() {
        let mut registry = Registry::new(options());
        let mut refused = |name: &str, uid| {
            registry.connect(hello(name), &peer(uid, 1), None, at(1)).err().map(|why| why.reason)
        };
        assert_eq!(refused("a", 0), None);
        assert_eq!(refused("a", 5), Some("name_taken"));
        assert_eq!(refused("b", 5), None);
        assert_eq!(refused("c", 5), None);
        assert_eq!(refused("d", 5), Some("too_many_agents"));
        for _ in 0..3 {
            assert_eq!(refused("a", 0), None);
        }
        assert_eq!(refused("a", 0), Some("too_many_ledgers"));
        let mut strict = options();
        strict.allow_uids = vec![7];
        registry.set_options(strict);
        let why = registry.connect(hello("b"), &peer(5, 1), None, at(1)).unwrap_err();
        assert_eq!((why.reason, why.retry), ("not_allowed", false));
    }

    #[test]
    fn totals_are_kept_from_run_to_run() {
        let mut registry = Registry::new(options());
        let (key, _, pen) = connect(&mut registry, "a", 1);
        pen.requests("error", 6);
        pen.begin(3, 1);
        registry.child_ended("s", "error", Presence::Lost("exit code 1".into()));
        registry.child_restarts("s");
        registry.died(key);
        let text = registry.take_unsaved().unwrap();
        assert_eq!(registry.take_unsaved(), None);
        let mut next = Registry::new(options());
        assert!(next.restore(&text, at(1)).unwrap().is_empty());
        assert_eq!(requests(&mut next, "a"), [0, 6, 0, 0, 1]);
        assert_eq!((next.agents["s"].restarts, next.agents["s"].exits["error"]), (1, 1));
        for rubbish in ["", "{", "{\"version\":1}", "{\"version\":2,\"agents\":{}}", "[]"] {
            assert!(Registry::new(options()).restore(rubbish, at(1)).is_err(), "{rubbish}");
        }
    }

    #[test]
    fn after_a_restart_counters_are_whole_or_absent() {
        let mut registry = Registry::new(options());
        let (first, _, pen) = connect(&mut registry, "a", 1);
        pen.requests("success", 5);
        registry.died(first);
        let (_, file, pen) = connect(&mut registry, "a", 2);
        pen.requests("success", 7);
        let mut next = Registry::new(options());
        next.restore(&registry.take_unsaved().unwrap(), at(100)).unwrap();
        next.refresh(at(101));
        assert!(!next.agents["a"].is_whole(at(101)));
        next.connect(hello("a"), &peer(0, 2), Some(file), at(102)).unwrap();
        assert_eq!(requests(&mut next, "a"), [12, 0, 0, 0, 0]);
        assert!(next.agents["a"].is_whole(at(102)));
        // All of it happened before: nothing in the window.
        assert_eq!(next.agents["a"].window.success_rate(), None);
        // One that never comes back is not waited for without end.
        let mut other = Registry::new(options());
        registry.keep_unsaved();
        other.restore(&registry.take_unsaved().unwrap(), at(100)).unwrap();
        assert!(other.agents["a"].is_whole(at(130)));
    }

    #[test]
    fn one_bad_entry_costs_no_other_agent_its_totals() {
        let mut registry = Registry::new(options());
        for name in ["a", "b"] {
            let (key, _, pen) = connect(&mut registry, name, 1);
            pen.requests("success", 5);
            registry.died(key);
        }
        let text =
            registry.take_unsaved().unwrap().replacen("\"requests\":[5", "\"requests\":[-5", 1);
        let mut next = Registry::new(options());
        let unusable = next.restore(&text, at(1)).unwrap();
        assert!(unusable.len() == 1 && unusable[0].contains("\"a\""), "{unusable:?}");
        assert_eq!(requests(&mut next, "b"), [5, 0, 0, 0, 0]);
    }

    #[test]
    fn a_supervised_agents_name_belongs_to_the_user_it_runs_as() {
        let mut registry = Registry::new(options());
        registry.supervise("s");
        registry.connect(hello("s"), &peer(66, 1), None, at(1)).unwrap();
        registry.child_started("s", 42, Some(7), at(1));
        assert!(registry.connect(hello("s"), &peer(7, 42), None, at(1)).is_ok());
        let why = registry.connect(hello("s"), &peer(66, 1), None, at(1)).unwrap_err();
        assert_eq!(why.reason, "name_taken");
    }

    #[test]
    fn a_supervised_agent_is_told_of_by_its_supervisor() {
        let mut registry = Registry::new(options());
        registry.supervise("s");
        registry.child_started("s", 42, Some(0), at(1));
        assert_eq!(registry.refresh(at(2)).len(), 1);
        assert_eq!(registry.agents["s"].health.as_ref().unwrap().0, State::Starting);
        assert_eq!(registry.roots().first().map(|root| root.pid), Some(42));
        registry.refresh(at(60));
        assert_eq!(registry.agents["s"].health.as_ref().unwrap().0, State::Healthy);
        let (key, _, _) = connect(&mut registry, "s", 42);
        registry.child_ended("s", "error", Presence::Lost("exit code 3".into()));
        registry.died(key);
        registry.refresh(at(61));
        let (state, reason) = registry.agents["s"].health.clone().unwrap();
        assert_eq!((state, reason.as_str()), (State::Lost, "exit code 3"));
    }
}
