//! What an agent is within its process: the books that its threads take turns at, and the connections over
//! which its ledgers come.
//!
//! Must not know who holds it.

use super::books::Books;
use crate::connection::{Connection, Host, Settings};
use crate::declaration::Declaration;
use crate::memory::{Memory, Origin};
use crate::turn::{OwnTurn, Turn};
use once_cell::race::OnceBox;
use std::ops::DerefMut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Series of an agent's own; far more than ledgers have room for.
const OWN_LIMIT: usize = 10_000;
/// How long a ledger that has come waits for a thread that was stopped in the midst of a report.
const ADOPTION_PATIENCE: Duration = Duration::from_secs(60);

/// One agent. It ends when it is dropped.
pub(super) struct Reporter {
    settings: Settings,
    connection: Option<Connection>,
    pub(super) ledger: Arc<Shared>,
    /// What this agent is in a forked child. Without a lock: the child may be forked again while one is held.
    in_child: OnceBox<Self>,
}

/// For one thread of a forked child at a time to make what an agent is there.
static MAKING: OwnTurn<()> = OwnTurn::new();

/// What its connections reach as well.
pub(super) struct Shared {
    /// Threads take turns for the few stores of an update, since a ledger has one writer.
    pub(super) books: Turn<Books>,
    /// What is declared of the agent's own series, each at its place. Whoever wants both turns takes this
    /// one first.
    declared: Turn<Vec<Declaration>>,
    /// The process that this belongs to.
    origin: Origin,
    missed: AtomicU64,
}

impl Reporter {
    pub(super) fn start(settings: Settings, declared: Vec<Declaration>) -> Self {
        let ledger = Arc::new_cyclic(|weak: &Weak<Shared>| {
            let (weak, settings) = (weak.clone(), settings.clone());
            let open = move |place| {
                let host = Arc::new(Further { shared: weak.clone(), place });
                Some(Connection::start(settings.clone(), host))
            };
            let mut books = Books::new(Box::new(open));
            declared.iter().for_each(|declaration| books.declare(declaration));
            Shared {
                books: Turn::new(books),
                declared: Turn::new(declared),
                origin: Origin::mark(),
                missed: AtomicU64::new(0),
            }
        });
        let connection = Some(Connection::start(settings.clone(), ledger.clone()));
        Self { settings, connection, ledger, in_child: OnceBox::new() }
    }

    /// This agent in this process.
    #[inline]
    pub(super) fn here(&self) -> &Self {
        if self.is_ours() { self } else { self.after_fork() }
    }

    #[cold]
    fn after_fork(&self) -> &Self {
        let make = || {
            let _turn = MAKING.take();
            self.in_child.get_or_init(|| {
                // Handles that the parent has given out stand for the same series here.
                let declared = self.ledger.declared.take();
                let declared = declared.map_or_else(Vec::new, |declared| declared.clone());
                Box::new(Self::start(self.settings.clone(), declared))
            })
        };
        let child = self.in_child.get().unwrap_or_else(make);
        // A child of this child finds that this has been wiped as well.
        child.here()
    }

    /// Whether it belongs to this process, and not to one that this has been forked from.
    #[inline]
    pub(super) fn is_ours(&self) -> bool {
        self.ledger.origin.is_here()
    }

    /// Waits for a turn at the books; `None`, which is counted, when none comes.
    #[inline]
    pub(super) fn books(&self) -> Option<impl DerefMut<Target = Books>> {
        self.ledger.take()
    }

    /// Where a series of the agent's own stands; nowhere, if there are too many.
    pub(super) fn declare(&self, declaration: Declaration) -> usize {
        self.ledger.declare(declaration).unwrap_or(usize::MAX)
    }

    /// Reports that have found no turn.
    pub(super) fn missed(&self) -> u64 {
        self.ledger.missed.load(Ordering::Relaxed)
    }

    /// Whether a daemon is there right now.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_connected)
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if !self.is_ours() {
            // The thread, and what it may have locked, are in the parent, whose ledger this is.
            std::mem::forget(self.connection.take());
            return;
        }
        // The end is to be noted in the ledger, which may be about to come.
        if let Some(connection) = &self.connection {
            connection.wait_settled();
        }
        let further = self.ledger.take().map(|mut books| books.ledgers.take_connections());
        further.iter().flatten().for_each(Connection::wait_settled);
        if let Some(mut books) = self.ledger.take() {
            books.ledgers.close();
        }
        self.connection = None;
    }
}

impl Shared {
    /// Where a series of the agent's own stands, which is begun if it is new.
    fn declare(&self, declaration: Declaration) -> Option<usize> {
        let mut declared = self.declared.take()?;
        let is_it = |own: &Declaration| {
            (&own.name, &own.labels) == (&declaration.name, &declaration.labels)
        };
        if let Some(place) = declared.iter().position(is_it) {
            return Some(place);
        }
        let mut books = self.take()?;
        if declared.len() >= OWN_LIMIT {
            books.ledgers.first.refuse(1);
            return None;
        }
        books.declare(&declaration);
        declared.push(declaration);
        Some(declared.len() - 1)
    }

    /// Waits for a turn at the books; `None`, which is counted, when none comes.
    #[inline]
    fn take(&self) -> Option<impl DerefMut<Target = Books>> {
        let turn = self.books.take();
        if turn.is_none() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        turn
    }
}

impl Host for Shared {
    fn receive(&self, memory: Memory, duration_schema: Option<i32>, first: bool) {
        if let Some(mut books) = self.books.take_within(ADOPTION_PATIENCE) {
            books.receive(memory, duration_schema, first);
        }
    }

    fn refused(&self) {}
}

/// A ledger after the first.
struct Further {
    shared: Weak<Shared>,
    place: usize,
}

impl Host for Further {
    fn receive(&self, memory: Memory, _: Option<i32>, first: bool) {
        let Some(shared) = self.shared.upgrade() else { return };
        let Some(mut books) = shared.books.take_within(ADOPTION_PATIENCE) else { return };
        books.receive_further(self.place + 1, memory, first);
    }

    fn refused(&self) {
        let Some(shared) = self.shared.upgrade() else { return };
        if let Some(mut books) = shared.books.take_within(ADOPTION_PATIENCE) {
            books.ledgers.note_refusal(self.place);
        }
    }
}
