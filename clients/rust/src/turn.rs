//! Taking turns: one thread at a time, by a lock that costs one locked instruction while nobody else
//! wants it, and never waits without end.
//!
//! What is done under it takes some tens of nanoseconds and makes no system call, so a thread that finds it
//! taken tries again at once. Only when the other one has been put off its processor meanwhile does this one
//! let others run, and sleep. A program that stops its own thread there, or reports from a signal
//! handler that has interrupted a report, is not stopped by it for long: it gives up after [`PATIENCE`].

mod own;

pub(crate) use own::OwnTurn;

use spin::mutex::{SpinMutex, SpinMutexGuard};
use std::time::{Duration, Instant};

/// Tries before others are let run; then as many times, before it sleeps.
const TRIES: usize = 100;
const SLEEP: Duration = Duration::from_micros(50);
/// How long a turn is waited for at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one thread at a time may use.
#[derive(Debug)]
pub(crate) struct Turn<T>(SpinMutex<T>);

impl<T> Turn<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(SpinMutex::new(value))
    }

    /// Waits for a turn; `None` when that takes longer than it can where all is well.
    #[inline]
    pub(crate) fn take(&self) -> Option<SpinMutexGuard<'_, T>> {
        self.take_within(PATIENCE)
    }

    /// As [`Turn::take`], with another patience.
    #[inline]
    pub(crate) fn take_within(&self, patience: Duration) -> Option<SpinMutexGuard<'_, T>> {
        self.0.try_lock().or_else(|| self.wait(patience))
    }

    #[cold]
    fn wait(&self, patience: Duration) -> Option<SpinMutexGuard<'_, T>> {
        for pause in [std::hint::spin_loop, std::thread::yield_now] {
            for _ in 0..TRIES {
                pause();
                if let Some(turn) = self.0.try_lock() {
                    return Some(turn);
                }
            }
        }
        let limit = Instant::now() + patience;
        while Instant::now() < limit {
            std::thread::sleep(SLEEP);
            if let Some(turn) = self.0.try_lock() {
                return Some(turn);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_take_turns() {
        const ROUNDS: u64 = 20_000;
        let count = Turn::new((0, 0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let mut pair = count.take().unwrap();
                        pair.0 += 1;
                        pair.1 += 1;
                        assert_eq!(pair.0, pair.1);
                    }
                });
            }
        });
        assert_eq!(*count.take().unwrap(), (4 * ROUNDS, 4 * ROUNDS));
    }

    #[test]
    fn a_turn_that_is_never_given_back_is_not_waited_for() {
        let count = Turn::new(0);
        let _held = count.take().unwrap();
        assert!(count.take().is_none());
    }
}
