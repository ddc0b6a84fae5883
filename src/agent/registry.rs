//! Sole owner of what is known about agents: their ledgers in use, the totals of those that have
//! gone, their windows and their health. Others tell it what has happened, and read.
//!
//! What is known of one agent is in `agent`, who may report and with which ledger in `admission`.
//!
//! Must not know sockets or formats; time is told to it.

mod admission;
mod agent;
mod lines;

pub(super) use admission::COPY_TIME;
pub use admission::{Keepsake, Welcome};
pub(super) use agent::RETURN_TIME;
pub use agent::{Agent, Live};

use super::allow::Rule;
use super::catalog::Catalog;
use super::faults::Faults;
use super::health::{Presence, State};
use super::kept::{self, Kept};
use super::label::Label;
use super::ledger::{Books, Ledger};
use super::options::Options;
use crate::process::AgentRoot;
use admission::Origin;
use std::collections::BTreeMap;
use std::time::Duration;

/// Names one ledger in use, from the connection that brought it to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

/// An agent's health has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which agent.
    pub agent: String,
    /// What it was.
    pub was: Option<State>,
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
    /// The families of their series.
    catalog: Catalog,
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
    /// When it was first looked at, or given a ledger.
    begun: Option<Duration>,
}

impl Registry {
    /// No agents yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            agents: BTreeMap::new(),
            catalog: Catalog::default(),
            next_key: 0,
            faults: BTreeMap::new(),
            unsaved: false,
            folded: Vec::new(),
            taken: 0,
            begun: None,
        }
    }

    /// Takes new options; limits hold from the next hello on.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// Who may report.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.options.allow
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

    fn add_ledger(
        &mut self,
        label: &Label,
        ledger: Ledger,
        key: Key,
        origin: Origin,
        now: Duration,
    ) {
        let agent = known_or_new(&mut self.agents, &label.agent);
        let limits = self.options.limits();
        agent.uid = Some(label.uid);
        agent.running(origin.began.unwrap_or(now));
        if agent.live.is_empty() {
            agent.series.forget_complaints();
        }
        // What ledgers have counted that were retired since the last look is recent.
        agent.window.observe(now, &agent.current);
        let live = Live {
            key,
            ledger,
            uid: label.uid,
            pid: label.pid,
            connected: true,
            since: now,
            past_until: origin.past_until(now, *self.begun.get_or_insert(now)),
            stored: origin.stored,
            is_from_before: origin.is_from_before,
            counted: Faults::default(),
            lines: origin.lines,
        };
        agent.take_in(live, &mut self.catalog, &limits);
        // What a ledger brings along from before belongs to no window of ours.
        agent.window.skip_to(&agent.current);
        self.unsaved = true;
    }

    /// The families of agents' series.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
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

    /// A ledger has been made for a client that was gone before it came: nobody else has it.
    pub fn not_delivered(&mut self, key: Key) {
        self.retire(key, "it left before its ledger came");
    }

    /// Retires a ledger that its process knows no more: one that nobody is connected with, while the same process
    /// has been given another since.
    pub fn retire_if_forgotten(&mut self, key: Key) {
        let is_forgotten = self.find(key).is_some_and(|(_, agent, place)| {
            let (before, rest) = agent.live.split_at(place);
            let Some((known, after)) = rest.split_first() else { return false };
            !known.connected
                && before.iter().chain(after).any(|other| {
                    let is_given = !other.is_from_before && other.lines.is_none();
                    let is_newer = is_given && other.connected && other.key > key;
                    is_newer && other.pid.is_some() && other.pid == known.pid
                })
        });
        if is_forgotten {
            self.retire(key, "its process has forgotten it");
        }
    }

    /// A process has ended.
    pub fn died(&mut self, key: Key) {
        self.retire(key, "its process ended without a word");
    }

    fn retire(&mut self, key: Key, how: &str) {
        let limits = self.options.limits();
        let found = self.agents.iter_mut().find_map(|(name, agent)| {
            let place = agent.live.iter().position(|live| live.key == key)?;
            Some((name, agent, place))
        });
        let Some((name, agent, place)) = found else { return };
        let live = agent.live.remove(place);
        let closed = live.ledger.is_closed();
        agent.remember_session(live.lines.as_ref());
        let before = agent.retired.finished();
        let Agent { retired, current: totals, series, .. } = agent;
        let mut books = Books { totals, series, catalog: &mut self.catalog, limits: &limits };
        let faults = live.ledger.retire(&mut books, retired);
        agent.series.drop_gauges(&mut self.catalog);
        agent.add_up_series();
        agent.add_up_durations();
        if live.past_until.is_some() {
            agent.window.skip_to(&agent.current);
        }
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
        known_or_new(&mut self.agents, name).is_supervised = true;
    }

    /// The supervisor no longer has an agent of this name.
    pub fn unsupervise(&mut self, name: &str) {
        if let Some(agent) = self.agents.get_mut(name) {
            agent.is_supervised = false;
        }
    }

    /// The supervisor has started the agent's process, or has found it there. The name belongs to the user
    /// that it runs as, whoever has used it before.
    pub fn child_started(&mut self, name: &str, pid: u32, uid: Option<u32>, begun: Duration) {
        let agent = known_or_new(&mut self.agents, name);
        agent.uid = uid.or(agent.uid);
        agent.child = Some(pid);
        agent.begun = Some(begun);
        agent.ended = None;
    }

    /// The agent's process has ended, for a reason of a class of `agent_exits_total`.
    pub fn child_ended(&mut self, name: &str, class: &str, how: Presence) {
        let agent = known_or_new(&mut self.agents, name);
        agent.child = None;
        *agent.exits.entry(class.to_owned()).or_default() += 1;
        if agent.live.is_empty() {
            agent.begun = None;
        }
        agent.ended = Some(how);
        self.unsaved = true;
    }

    /// The agent is down and stays so, whatever was known of its last process's end.
    pub fn child_rests(&mut self, name: &str, how: Presence) {
        let agent = self.agents.get_mut(name).filter(|agent| agent.child.is_none());
        // Of ledgers that are still there, those are another program's that have come since its end.
        if let Some(agent) = agent.filter(|agent| agent.live.is_empty() || agent.ended.is_some()) {
            agent.ended = Some(how);
        }
    }

    /// The supervisor is about to start the agent anew.
    pub fn child_restarts(&mut self, name: &str) {
        known_or_new(&mut self.agents, name).restarts += 1;
        self.unsaved = true;
    }

    /// Reads every ledger, moves the windows on and judges everyone's health; what has changed is
    /// returned.
    pub fn refresh(&mut self, now: Duration) -> Vec<Change> {
        self.begun.get_or_insert(now);
        let mut changes = Vec::new();
        let limits = self.options.limits();
        for (name, agent) in &mut self.agents {
            let before = agent.series.len();
            agent.add_up(now, &mut self.catalog, &limits);
            self.unsaved |= agent.series.len() > before;
            for live in &mut agent.live {
                let faults = live.ledger.faults();
                count_faults(&mut self.faults, live.counted, faults);
                live.counted = faults;
            }
            if agent.is_whole(now) {
                agent.awaited = None;
            }
            agent.note_absence(now, self.options.keep_gone);
            let was = agent.health.state();
            let seen = agent.observations(now);
            let judged = agent.health.judge(&seen, self.options.health_of(name), now);
            // That one known from before is not there yet is no news.
            let is_news = was.is_some() || judged.state != State::Stopped;
            if is_news && was != Some(judged.state) {
                let (state, reason) = (judged.state, judged.reason.clone());
                changes.push(Change { agent: name.clone(), was, state, reason });
            }
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
                series: agent.series.kept(&self.catalog),
                restarts: agent.restarts,
                exits: agent.exits.clone(),
                sessions: agent.sessions.clone(),
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
        let kept::Reading { agents, mut unusable, folded } = kept::read(text)?;
        self.folded = folded;
        for (name, mut kept) in agents {
            let series = std::mem::take(&mut kept.series);
            if let Some(durations) = &mut kept.totals.durations {
                durations.shape = self.catalog.share(&durations.shape);
            }
            let mut agent = Agent::restored(&name, kept, now);
            let faults = agent.series.restore(series, &mut self.catalog);
            unusable.extend(faults.into_iter().map(|what| format!("{name:?}: {what}")));
            self.agents.insert(name, agent);
        }
        Ok(unusable)
    }
}

/// The agent of a name, which is made known if it is not.
fn known_or_new<'a>(agents: &'a mut BTreeMap<String, Agent>, name: &str) -> &'a mut Agent {
    agents.entry(name.to_owned()).or_insert_with(|| Agent::new(name))
}

fn count_faults(sums: &mut BTreeMap<&'static str, u64>, counted: Faults, faults: Faults) {
    for ((reason, now), (_, before)) in faults.by_reason().zip(counted.by_reason()) {
        if now > before {
            let sum = sums.entry(reason).or_default();
            *sum = sum.saturating_add(now - before);
        }
    }
}

#[cfg(test)]
mod tests;
