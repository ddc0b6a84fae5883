//! Who may report, and with which ledger: a new one, the one that a client has kept, or one that was
//! kept for this daemon.
//!
//! Must not know what becomes of a ledger in use.

use super::{Key, Registry};
use crate::agent::label::Label;
use crate::agent::ledger::Ledger;
use crate::agent::lines::folder::OwnLedger;
use crate::agent::offered::Offered;
use crate::agent::options::{LEDGER_SIZES, Options};
use crate::agent::peer::Peer;
use crate::agent::protocol::{self, Hello, Refusal};
use crate::agent::window;
use crate::proc_stat;
use std::os::fd::OwnedFd;
use std::time::Duration;

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
    /// What the ledger was known by before, on a connection that is no longer its own.
    pub replaces: Option<Key>,
}

/// A ledger for systemd to keep, so that its counts outlive the daemon and the agent.
#[derive(Debug)]
pub struct Keepsake {
    /// Whose it is.
    pub label: Label,
    /// Its memory.
    pub file: OwnedFd,
}

/// Where a ledger comes from.
#[derive(Default)]
pub(super) struct Origin {
    pub(super) stored: Option<String>,
    pub(super) is_from_before: bool,
    pub(super) lines: Option<OwnLedger>,
    /// When its process was started.
    pub(super) began: Option<Duration>,
}

/// How long a client may take to copy what it has counted without a daemon. What comes later is recent.
pub(in crate::agent) const COPY_TIME: Duration = Duration::from_secs(1);
/// Clients that are without a daemon, or are refused, try again at least so often: a ledger that is asked for later
/// brings nothing along.
const LATEST_RETRY: Duration = Duration::from_secs(90);

impl Origin {
    /// Until when a ledger may bring along what was counted long ago: a new one, of a process that has been there
    /// for longer than a window reaches, when the daemon itself has begun a short while ago.
    pub(super) fn past_until(&self, now: Duration, daemon: Duration) -> Option<Duration> {
        let is_new = !self.is_from_before && self.lines.is_none();
        let is_old = |began| now.saturating_sub(began) >= window::LENGTH;
        let is_late = now.saturating_sub(daemon) < LATEST_RETRY;
        (is_new && is_late && self.began.is_some_and(is_old)).then(|| now + COPY_TIME)
    }
}

enum Resumed {
    /// In use; it is the last of its agent's list.
    Known,
    /// Of a daemon that has gone.
    Adopted(Box<Ledger>, OwnedFd),
}

impl Registry {
    /// A client has said hello, perhaps with a ledger that it has kept.
    ///
    /// # Errors
    /// Why it may not report.
    pub fn connect(
        &mut self,
        hello: Hello,
        peer: &Peer,
        offered: Option<Offered>,
        now: Duration,
    ) -> Result<Welcome, Refusal> {
        self.make_room(&hello, peer);
        self.admit(&hello, peer)?;
        let resumed = match offered {
            Some(file) => self.resume(&hello, peer, file)?,
            None => None,
        };
        let size = match &resumed {
            Some(Resumed::Known) => None,
            Some(Resumed::Adopted(ledger, _)) => Some(ledger.size()),
            None => Some(self.options.ledger_size),
        };
        if resumed.is_none() {
            self.make_room_for_ledger(&hello, peer);
        }
        if let Some(size) = size {
            self.admit_ledger(&hello.agent, peer, size)?;
        }
        let key = Key(self.next_key);
        self.next_key += 1;
        let label = Label::new(&hello.agent, peer);
        let (mut keepsake, mut replaces) = (None, None);
        let (answer, file) = match resumed {
            Some(Resumed::Known) => {
                let agent = self.agents.get_mut(&hello.agent);
                let file = agent.and_then(|agent| agent.live.last_mut());
                if let Some(live) = file {
                    replaces = Some(live.key);
                    live.key = key;
                    live.connected = true;
                    live.since = now;
                }
                (protocol::welcome_back(), None)
            }
            Some(Resumed::Adopted(ledger, file)) => {
                // One that says of itself whose it is may be kept, if that is who has brought it.
                keepsake = Label::of(&file)
                    .filter(|label| label.is_of(&hello.agent, peer))
                    .map(|label| Keepsake { label, file });
                let stored = keepsake.as_ref().map(|kept| kept.label.ledger_name());
                let origin =
                    Origin { stored, is_from_before: true, began: peer.began, ..Origin::default() };
                self.add_ledger(&label, *ledger, key, origin, now);
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
                    Ledger::create(&name, size, self.options.max_records()).map_err(failed)?;
                let kept = file.try_clone().map_err(failed)?;
                let answer = protocol::welcome_new(ledger.size(), self.options.duration_schema);
                let stored = Some(label.ledger_name());
                let origin = Origin { stored, began: peer.began, ..Origin::default() };
                self.add_ledger(&label, ledger, key, origin, now);
                keepsake = Some(Keepsake { label, file: kept });
                (answer, Some(file))
            }
        };
        self.note_hello(hello, key);
        Ok(Welcome { key, answer, file, keepsake, replaces })
    }

    /// Where there are as many agents as may be, and this is another one, forgets the user's own that has been
    /// gone for longest, of those that are not shown any more: names that are made up at each run do not lock
    /// out all that come after. What belongs to others is not touched.
    pub(super) fn make_room(&mut self, hello: &Hello, peer: &Peer) {
        let is_full = self.agents.len() >= self.options.max_agents;
        if !is_full || self.agents.contains_key(&hello.agent) {
            return;
        }
        let own = |agent: &super::Agent| agent.is_long_gone && agent.uid == Some(peer.uid);
        let gone = self.agents.iter().filter(|(_, agent)| own(agent));
        let longest = gone.min_by_key(|(_, agent)| agent.gone_since).map(|(name, _)| name.clone());
        let Some(name) = longest else { return };
        if let Some(mut agent) = self.agents.remove(&name) {
            agent.series.clear(&mut self.catalog);
        }
        self.unsaved = true;
        tracing::info!(
            agent = name,
            "forgotten with its totals, to make room for {:?}",
            hello.agent
        );
    }

    /// Takes in what a client has said, of itself and for the ledger that it has now.
    pub(super) fn note_hello(&mut self, hello: Hello, key: Key) {
        let Some(agent) = self.agents.get_mut(&hello.agent) else { return };
        if let Some(live) = agent.live.iter().find(|live| live.key == key) {
            live.ledger.promise(hello.heartbeat);
        }
        agent.hello = Some(hello);
    }

    /// Where a process has as many ledgers as it may, and asks for another, retires those that nobody is connected
    /// with: after exec(2) it knows of none.
    fn make_room_for_ledger(&mut self, hello: &Hello, peer: &Peer) {
        let Some(agent) = self.agents.get(&hello.agent).filter(|_| peer.pid.is_some()) else {
            return;
        };
        let own: Vec<_> = agent.live.iter().filter(|live| live.pid == peer.pid).collect();
        if own.len() < self.options.max_ledgers_per_process {
            return;
        }
        let left: Vec<_> = own.iter().filter(|live| !live.connected).map(|live| live.key).collect();
        for key in left {
            self.retire(key, "its process has forgotten it");
        }
    }

    pub(super) fn admit(&self, hello: &Hello, peer: &Peer) -> Result<(), Refusal> {
        let refuse = |reason, retry, text| Err(Refusal { reason, text, retry });
        let uid = peer.uid;
        match self.agents.get(&hello.agent) {
            Some(agent) if agent.uid.is_some_and(|owner| owner != uid) => {
                let text =
                    format!("agent name {:?} belongs to another user than {uid}", hello.agent);
                return refuse("name_taken", false, text);
            }
            None if self.agents.len() >= self.options.max_agents => {
                let gone = self.agents.values().filter(|agent| agent.is_long_gone).count();
                let text = format!(
                    "{} agents are known already, {gone} of them long gone (other users')",
                    self.agents.len()
                );
                return refuse("too_many_agents", true, text);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether there may be a ledger more, of so many bytes.
    pub(super) fn admit_ledger(
        &self,
        agent: &str,
        peer: &Peer,
        size: usize,
    ) -> Result<(), Refusal> {
        let refuse = |reason, text| Err(Refusal { reason, text, retry: true });
        let (mut bytes, mut of_uid, mut of_process) = (0_usize, 0, 0);
        for (name, known) in &self.agents {
            for live in &known.live {
                bytes = bytes.saturating_add(live.ledger.size());
                of_uid += usize::from(live.uid == peer.uid);
                let is_same = name == agent && live.pid.is_some() && live.pid == peer.pid;
                of_process += usize::from(is_same);
            }
        }
        let Options { max_ledgers_per_uid, max_ledgers_per_process, max_ledger_memory, .. } =
            self.options;
        if of_uid >= max_ledgers_per_uid {
            let text =
                format!("user {} has {max_ledgers_per_uid} ledgers in use already", peer.uid);
            return refuse("too_many_ledgers", text);
        }
        if of_process >= max_ledgers_per_process {
            let text = format!(
                "this process has {max_ledgers_per_process} ledgers of agent {agent:?} already"
            );
            return refuse("too_many_ledgers", text);
        }
        if bytes.saturating_add(size) > max_ledger_memory {
            let text = format!(
                "ledgers in use have {bytes} bytes; {size} more would be over {max_ledger_memory}"
            );
            return refuse("too_much_memory", text);
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
        file: Offered,
    ) -> Result<Option<Resumed>, Refusal> {
        let mut useless = |error: &dyn std::fmt::Display| {
            tracing::warn!(agent = hello.agent, pid = peer.pid, uid = peer.uid, %error,
                "a ledger that was brought along is not used; a new one is given");
            *self.faults.entry("not_resumed").or_default() += 1;
        };
        let Some(file) = file.into_memory() else {
            useless(&"not a memory file that can be sealed");
            return Ok(None);
        };
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
        match Ledger::adopt(&file, *LEDGER_SIZES.end(), self.options.max_records()) {
            Ok(ledger) => Ok(Some(Resumed::Adopted(Box::new(ledger), file))),
            Err(error) if error.kind() != std::io::ErrorKind::InvalidData => Err(passing(error)),
            Err(error) => {
                useless(&error);
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
        let ledger = Ledger::restore(file, *LEDGER_SIZES.end(), self.options.max_records())
            .map_err(|error| {
                *self.faults.entry("not_resumed").or_default() += 1;
                format!("agent {:?}: {error}", label.agent)
            })?;
        let is_over = ledger.is_retired() || ledger.is_closed();
        let key = Key(self.next_key);
        self.next_key += 1;
        let began = label.pid.and_then(proc_stat::began);
        let origin = Origin { stored: Some(name), is_from_before: true, lines: None, began };
        self.add_ledger(&label, ledger, key, origin, now);
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
}
