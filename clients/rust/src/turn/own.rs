//! Turns at something that each process has for itself, whenever it was forked.
//!
//! Must not know what that is.

use super::Turn;
use crate::memory::Origin;
use once_cell::race::OnceBox;
use spin::mutex::SpinMutexGuard;

/// What each process has one of. A process that is forked while another thread has its turn never gets one there: it
/// finds that the turn is another process's, and its own behind it. The cells are filled without a lock, which
/// would be the same again.
pub(crate) struct OwnTurn<T>(OnceBox<Owned<T>>);

struct Owned<T> {
    origin: Origin,
    turn: Turn<T>,
    of_child: OwnTurn<T>,
}

impl<T: Default> OwnTurn<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceBox::new())
    }

    /// As [`Turn::take`], in this process.
    pub(crate) fn take(&self) -> Option<SpinMutexGuard<'_, T>> {
        let new = || {
            let turn = Turn::new(T::default());
            Box::new(Owned { origin: Origin::mark(), turn, of_child: Self::new() })
        };
        let mut owned = self.0.get_or_init(new);
        while !owned.origin.is_here() {
            owned = owned.of_child.0.get_or_init(new);
        }
        owned.turn.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::in_forked_child;

    #[test]
    fn a_child_that_is_forked_during_another_threads_turn_has_turns_of_its_own() {
        let turns = OwnTurn::<u32>::new();
        let mut turn = turns.take().unwrap();
        *turn = 1;
        assert!(in_forked_child(|| {
            let Some(mut turn) = turns.take() else { return false };
            let is_new = *turn == 0;
            *turn = 2;
            is_new && in_forked_child(|| turns.take().is_some_and(|turn| *turn == 0))
        }));
        drop(turn);
        assert_eq!(*turns.take().unwrap(), 1);
    }
}
