//! What the registry does for programs that send lines: their ledgers are like all others, but that the
//! daemon makes and writes them, and that their sessions outlive them.

use super::{Agent, Key, Origin, Registry};
use crate::agent::label::Label;
use crate::agent::ledger::Ledger;
use crate::agent::lines::book::{Book, Limits};
use crate::agent::lines::folder::{Folder, LEDGER_SIZE, OwnLedger};
use crate::agent::options::Options;
use crate::agent::peer::Peer;
use crate::agent::protocol::{Hello, Refusal};
use crate::proc_stat;
use musterd_client::layout::header;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Sessions of one agent that are remembered when they have no ledger; the one that ended first is
/// forgotten first.
pub(super) const SESSIONS_LIMIT: usize = 100;

impl Registry {
    /// A program that sends lines has said hello. What to call its ledger, and what writes it.
    ///
    /// # Errors
    /// Why it may not report.
    pub fn connect_lines(
        &mut self,
        hello: Hello,
        session: Option<String>,
        peer: &Peer,
        folder: &Folder,
        now: Duration,
    ) -> Result<(Key, Book), Refusal> {
        self.make_room(&hello, peer);
        self.admit(&hello, peer)?;
        let key = Key(self.next_key);
        self.next_key += 1;
        if let Some(session) = &session
            && let Some(book) = self.resume_lines(&hello.agent, session, peer, key)?
        {
            self.note_hello(hello, key);
            return Ok((key, book));
        }
        self.admit_ledger(&hello.agent, peer, LEDGER_SIZE)?;
        let known = self.agents.get(&hello.agent);
        let applied =
            known.zip(session.as_deref()).and_then(|(agent, session)| agent.applied(session));
        let refused = |text: String| Refusal { reason: "no_memory", text, retry: true };
        let label = Label::new(&hello.agent, peer);
        let own = folder.make(label.clone(), session, applied.unwrap_or(0)).map_err(refused)?;
        let opened = self.open(&own).and_then(|ledger| Ok((ledger, self.book(&own)?)));
        let (ledger, book) =
            opened.map_err(|error| refused(format!("cannot map a ledger: {error}")))?;
        let stored = Some(label.ledger_name());
        let lines = Some(own);
        let origin = Origin { stored, is_from_before: false, lines, began: peer.began };
        self.add_ledger(&label, ledger, key, origin, now);
        self.note_hello(hello, key);
        Ok((key, book))
    }

    /// Goes on with a session whose ledger is in use, if it is the same process that comes back. The
    /// ledger of another process ends with that: what was in flight there is not this one's to end.
    fn resume_lines(
        &mut self,
        agent: &str,
        session: &str,
        peer: &Peer,
        key: Key,
    ) -> Result<Option<Book>, Refusal> {
        let Some(known) = self.agents.get_mut(agent) else { return Ok(None) };
        let is_it = |own: &OwnLedger| own.session.as_deref() == Some(session);
        let held = known.live.iter_mut().find(|live| live.lines.as_ref().is_some_and(is_it));
        let Some(live) = held else { return Ok(None) };
        let old = live.key;
        if live.pid != peer.pid {
            self.retire(old, "another process goes on with its session");
            return Ok(None);
        }
        (live.key, live.connected) = (key, true);
        let limits = limits(&self.options);
        let book = live.lines.as_ref().map(|own| book(own, limits)).transpose();
        book.map_err(|error| Refusal {
            reason: "not_resumed",
            text: format!("cannot go on with the ledger of session {session:?} now: {error}"),
            retry: true,
        })
    }

    /// Takes back a ledger that the daemon before has written. What to call it from now on, and its
    /// process if that lives; nothing if its counts are known already, or it has been retired at once.
    ///
    /// # Errors
    /// Why it cannot be used; its counts are lost.
    pub fn take_back_lines(
        &mut self,
        own: OwnLedger,
        now: Duration,
    ) -> Result<Option<(Key, Option<OwnedFd>)>, String> {
        let label = own.label.clone();
        let name = label.ledger_name();
        if self.folded.contains(&name) {
            // Once that has been written again, it need not be kept any longer.
            self.unsaved = true;
            return Ok(None);
        }
        // Its writer has ended: what it was in the midst of is completed before anything is read.
        let opened = self.book(&own).and_then(|_| self.open(&own));
        let ledger = opened.map_err(|error| format!("agent {:?}: {error}", label.agent))?;
        let process = own.process();
        let may_come_back = own.session.is_some() && process.is_some();
        let is_over = ledger.is_retired() || ledger.is_closed() || !may_come_back;
        let key = Key(self.next_key);
        self.next_key += 1;
        let began = process.as_ref().and(label.pid).and_then(proc_stat::began);
        let (stored, lines) = (Some(name), Some(own));
        let origin = Origin { stored, is_from_before: true, lines, began };
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
        Ok(Some((key, process)))
    }

    fn open(&self, own: &OwnLedger) -> io::Result<Ledger> {
        Ledger::on(own.memory()?, own.file(), self.options.max_records())
    }

    fn book(&self, own: &OwnLedger) -> io::Result<Book> {
        book(own, limits(&self.options))
    }
}

fn book(own: &OwnLedger, limits: Limits) -> io::Result<Book> {
    Ok(Book::resume(own.memory()?, own.page()?, limits))
}

fn limits(options: &Options) -> Limits {
    Limits { max_series: options.max_series, duration_schema: options.duration_schema }
}

impl Agent {
    /// The number of the last line that is counted of a session without a ledger.
    fn applied(&self, session: &str) -> Option<u64> {
        self.sessions.iter().find(|(known, _)| known == session).map(|(_, applied)| *applied)
    }

    /// Remembers how far a session has come whose ledger is about to be retired: it is kept together with
    /// the totals that have its counts.
    pub(super) fn remember_session(&mut self, own: Option<&OwnLedger>) {
        let Some((own, session)) = own.and_then(|own| Some((own, own.session.as_ref()?))) else {
            return;
        };
        let Ok(memory) = own.memory() else { return };
        let applied = memory.load(header::APPLIED);
        self.sessions.retain(|(known, _)| known != session);
        self.sessions.push((session.clone(), applied));
        let over = self.sessions.len().saturating_sub(SESSIONS_LIMIT);
        self.sessions.drain(..over);
    }
}
