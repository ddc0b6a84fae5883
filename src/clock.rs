//! The one clock that ledgers, agents and the daemon share.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Time of `CLOCK_MONOTONIC`, since an unspecified start that lasts until reboot.
#[must_use]
pub fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(time.tv_sec.unsigned_abs(), nanoseconds)
}
