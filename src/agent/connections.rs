//! Which connections from agents are open: not more than allowed in all, nor of one user so many that nobody else
//! finds room, and one for each ledger.
//!
//! Must not know what is said on them.

use super::registry::Key;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use tokio::sync::Notify;

/// The connections that are open.
#[derive(Debug)]
pub struct Connections {
    limit: usize,
    open: Cell<usize>,
    of_user: RefCell<BTreeMap<u32, usize>>,
    of_ledger: RefCell<HashMap<Key, Rc<Notify>>>,
}

/// Counts as open until it is dropped.
#[derive(Debug)]
pub struct Open {
    connections: Rc<Connections>,
    user: Option<u32>,
}

impl Connections {
    /// None is open; so many may be at one time.
    #[must_use]
    pub fn new(limit: usize) -> Rc<Self> {
        let (open, of_user, of_ledger) = Default::default();
        Rc::new(Self { limit, open, of_user, of_ledger })
    }

    /// How many may be open.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// How many of them one user may have.
    #[must_use]
    pub const fn limit_of_user(&self) -> usize {
        self.limit - self.limit / 4
    }

    /// One more, if it may be.
    #[must_use]
    pub fn admit(self: &Rc<Self>) -> Option<Open> {
        if self.open.get() >= self.limit {
            return None;
        }
        self.open.set(self.open.get() + 1);
        Some(Open { connections: Rc::clone(self), user: None })
    }

    /// Has the connection of a ledger ended from now on when the ledger comes by another one.
    pub fn holds(&self, ledger: Key) -> Rc<Notify> {
        Rc::clone(self.of_ledger.borrow_mut().entry(ledger).or_default())
    }

    /// The connection of a ledger has ended.
    pub fn ended(&self, ledger: Key) {
        self.of_ledger.borrow_mut().remove(&ledger);
    }

    /// A ledger that was known by this key has come by another connection.
    pub fn replaced(&self, ledger: Key) {
        if let Some(connection) = self.of_ledger.borrow().get(&ledger) {
            connection.notify_one();
        }
    }
}

impl Open {
    /// Says whose it is. Whether that user may have one more.
    #[must_use]
    pub fn is_of(&mut self, user: u32) -> bool {
        let mut of_user = self.connections.of_user.borrow_mut();
        let count = of_user.entry(user).or_default();
        *count += 1;
        self.user = Some(user);
        *count <= self.connections.limit_of_user()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.open.set(self.connections.open.get().saturating_sub(1));
        let mut of_user = self.connections.of_user.borrow_mut();
        if let Some(count) = self.user.and_then(|user| of_user.get_mut(&user)) {
            *count = count.saturating_sub(1);
        }
        of_user.retain(|_, count| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_room_for_others() {
        let connections = Connections::new(4);
        let mut open: Vec<_> = (0..4).map(|_| connections.admit().unwrap()).collect();
        assert!(connections.admit().is_none());
        let allowed: Vec<_> = open.iter_mut().map(|one| one.is_of(1000)).collect();
        assert_eq!(allowed, [true, true, true, false]);
        open.pop();
        let mut other = connections.admit().unwrap();
        assert!(other.is_of(1001));
        drop((open, other));
        assert!(connections.of_user.borrow().is_empty());
        assert_eq!(connections.open.get(), 0);
    }
}
