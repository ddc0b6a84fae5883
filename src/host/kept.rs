//! Descriptors that stay open from pass to pass, and how many of them there may be.
//!
//! Must not know what is behind them.

use rustix::process::{Resource, getrlimit};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are open in this process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// As many descriptors as connections and all else may need.
const REST: u64 = 4096;

/// What the process may have open less what all else may need, and half of it if that is not enough:
/// kept files never take the place of connections.
fn limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        usize::try_from(allowed - REST.min(allowed / 2)).unwrap_or(usize::MAX)
    })
}

/// An open descriptor that is counted.
#[derive(Debug)]
pub(super) struct Kept<T>(T);

impl<T> Kept<T> {
    /// Keeps it; `None`, and it is closed, where so many are kept that this one would be too many.
    pub(super) fn new(opened: T) -> Option<Self> {
        let kept = Self(opened);
        // Made first, so that its end takes the count back in either case.
        (OPEN.fetch_add(1, Ordering::Relaxed) < limit()).then_some(kept)
    }
}

impl<T> std::ops::Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}
