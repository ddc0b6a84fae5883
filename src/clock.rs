//! The one clock that ledgers, agents and the daemon share, and the one of processes.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Time of `CLOCK_MONOTONIC`, since an unspecified start that lasts until reboot.
#[must_use]
pub fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

/// Time since boot, that in suspension included: what the kernel notes the start of processes by.
#[must_use]
pub fn since_boot() -> Duration {
    read(ClockId::Boottime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(time.tv_sec.unsigned_abs(), nanoseconds)
}
