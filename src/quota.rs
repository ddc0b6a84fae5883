//! How many lines of a kind the log takes.
//!
//! Must not know what they say.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lets a few lines of a kind through in each period, so that whoever can cause them from outside
/// cannot fill the log.
#[derive(Debug)]
pub struct Quota {
    lines: u32,
    period: Duration,
    begun: Cell<Option<Instant>>,
    used: Cell<u32>,
    left_out: Cell<u64>,
}

impl Quota {
    /// So many lines in each period.
    #[must_use]
    pub fn new(lines: u32, period: Duration) -> Self {
        let (begun, used, left_out) = (Cell::new(None), Cell::new(0), Cell::new(0));
        Self { lines, period, begun, used, left_out }
    }

    /// Whether a line may be written now: if so, how many were left out since the last one.
    #[must_use]
    pub fn take(&self, now: Instant) -> Option<u64> {
        if self.begun.get().is_none_or(|begun| now.duration_since(begun) >= self.period) {
            self.begun.set(Some(now));
            self.used.set(0);
        }
        if self.used.get() >= self.lines {
            self.left_out.set(self.left_out.get() + 1);
            return None;
        }
        self.used.set(self.used.get() + 1);
        Some(self.left_out.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_lets_a_few_lines_through_and_counts_the_rest() {
        let quota = Quota::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| quota.take(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(2), at(9)], [Some(0), Some(0), None, None]);
        assert_eq!([at(10), at(11), at(12)], [Some(2), Some(0), None]);
        assert_eq!(at(30), Some(1));
    }
}
