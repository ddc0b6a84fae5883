//! The time of `CLOCK_MONOTONIC`, read from the processor's counter where that is a clock.
//!
//! On x86-64 the kernel itself makes `CLOCK_MONOTONIC` from the time stamp counter, if that runs
//! evenly and alike on all processors. Reading the counter takes half as long as asking for the
//! time, and a request is timed twice. The counter's rate is measured against the system's clock,
//! and its reading is set right by that clock each second at the latest, so what is read here is
//! never far from it (tests hold it to a tenth of a millisecond). Wherever the counter is not the kernel's choice,
//! and until its rate is known, the system's clock is read.
//!
//! Must not know what is timed.

use crate::memory::processor_ticks;
use rustix::time::{ClockId, clock_gettime};
use std::ops::Range;

/// What the kernel reads the time from.
const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
/// Nanoseconds for which the counter is first compared with the system's clock.
const FIRST_MEASURE: u64 = 20_000_000;
/// A measured rate is used for this many times the length of the measurement…
const REUSE: u64 = 8;
/// …and for no longer than this many nanoseconds.
const LONGEST_USE: u64 = 1_000_000_000;
/// A comparison of the two is exact to this many nanoseconds, or is not used.
const PRECISION: u64 = 2_000;
/// Tries at a comparison, before the thread is taken to be too often interrupted just now.
const TRIES: usize = 3;
/// Parts of a tick in the fixed point number that stands for the rate: 2^32.
const RATE_SHIFT: u32 = 32;
/// Rates that a counter can have: one of 0.1 to 128 GHz.
const RATES: Range<u64> = 1 << 25..10 << RATE_SHIFT;
/// Between two comparisons the counter may have strayed by this part of the time: more than the kernel ever
/// corrects its clock by (500 in a million). Beyond it the counter has jumped, as when a virtual
/// machine is moved.
const STRAY_PARTS: u64 = 1000;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    ticks: u64,
    nanoseconds: u64,
}

/// A clock; its owner lets one thread at a time in.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Whether the kernel trusts the processor's counter.
    has_counter: bool,
    /// When the two were compared last; all 0 before the first time.
    compared: Moment,
    /// Nanoseconds of a tick, times 2^32.
    rate: u64,
    /// Ticks after the comparison for which the rate may be used; 0 while it is not known.
    use_for: u64,
}

impl Clock {
    /// A clock by the processor's counter if the kernel reads the time from that, else by the
    /// system's clock.
    pub(crate) fn new() -> Self {
        let source = std::fs::read_to_string(CLOCK_SOURCE).unwrap_or_default();
        let has_counter = source.trim() == "tsc" && processor_ticks().is_some();
        Self { has_counter, compared: Moment::default(), rate: 0, use_for: 0 }
    }

    /// Nanoseconds of `CLOCK_MONOTONIC`: read in user space, no system call.
    #[inline]
    pub(crate) fn now(&mut self) -> u64 {
        if self.use_for > 0
            && let Some(told) = processor_ticks().and_then(|ticks| self.told(ticks))
        {
            return told;
        }
        self.system()
    }

    /// What the counter tells; `None` when that is to be compared with the system's clock first.
    #[inline]
    fn told(&self, ticks: u64) -> Option<u64> {
        let since = ticks.wrapping_sub(self.compared.ticks);
        (since < self.use_for)
            .then(|| self.compared.nanoseconds + ((since * self.rate) >> RATE_SHIFT))
    }

    #[cold]
    fn system(&mut self) -> u64 {
        if !self.has_counter {
            return system_time();
        }
        match compare() {
            Ok(moment) => {
                self.learn(moment);
                moment.nanoseconds
            }
            Err(nanoseconds) => nanoseconds,
        }
    }

    /// Takes a comparison of the two clocks into account.
    fn learn(&mut self, now: Moment) {
        let before = self.compared;
        let ticks = now.ticks.wrapping_sub(before.ticks);
        let elapsed = now.nanoseconds.saturating_sub(before.nanoseconds);
        if before.nanoseconds > 0 && elapsed < FIRST_MEASURE {
            return;
        }
        let known = std::mem::take(&mut self.use_for) > 0;
        self.compared = now;
        if before.nanoseconds == 0 {
            return;
        }
        let told = (u128::from(ticks) * u128::from(self.rate)) >> RATE_SHIFT;
        let stray = told.abs_diff(u128::from(elapsed));
        if known && stray > u128::from(elapsed / STRAY_PARTS + PRECISION) {
            return;
        }
        let rate = (u128::from(elapsed) << RATE_SHIFT) / u128::from(ticks.max(1));
        let longest = u128::from(elapsed.saturating_mul(REUSE).min(LONGEST_USE));
        // With the longest use this also keeps the product in `told` within its 64 bits.
        if let Some(rate) = u64::try_from(rate).ok().filter(|rate| RATES.contains(rate)) {
            self.rate = rate;
            self.use_for = u64::try_from((longest << RATE_SHIFT) / u128::from(rate)).unwrap_or(0);
        }
    }
}

/// Both clocks at one moment, or the system's alone where the thread was interrupted in between.
fn compare() -> Result<Moment, u64> {
    let mut before = system_time();
    for _ in 0..TRIES {
        let ticks = processor_ticks().unwrap_or(0);
        let after = system_time();
        if after - before <= PRECISION {
            return Ok(Moment { ticks, nanoseconds: before.midpoint(after) });
        }
        before = after;
    }
    Err(before)
}

fn system_time() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const SECOND: u64 = 1_000_000_000;
    /// Ticks of a counter of 2.5 GHz.
    const TICKS: u64 = SECOND * 5 / 2;

    fn clock_after(moments: &[(u64, u64)]) -> Clock {
        let mut clock =
            Clock { has_counter: true, compared: Moment::default(), rate: 0, use_for: 0 };
        for (ticks, nanoseconds) in moments {
            clock.learn(Moment { ticks: *ticks, nanoseconds: *nanoseconds });
        }
        clock
    }

    #[test]
    fn it_is_never_far_from_the_system_clock() {
        const TOLERANCE: u64 = 100_000;
        let mut clock = Clock::new();
        let end = Instant::now() + Duration::from_millis(1500);
        let mut by_counter = 0;
        while Instant::now() < end {
            for _ in 0..100 {
                let before = system_time();
                let now = clock.now();
                let after = system_time();
                by_counter += u32::from(clock.use_for > 0);
                assert!(now + TOLERANCE >= before && now <= after + TOLERANCE, "{now} at {before}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("the counter is used: {}; for {by_counter} readings", clock.has_counter);
    }

    #[test]
    fn the_rate_is_measured_before_it_is_used() {
        let clock = clock_after(&[(7, SECOND), (7 + TICKS / 100, SECOND + SECOND / 100)]);
        assert_eq!(clock.told(7 + TICKS / 50), None);
        let begun = 7 + TICKS / 50;
        let clock = clock_after(&[(7, SECOND), (begun, SECOND + SECOND / 50)]);
        let told = clock.told(begun + TICKS / 10).unwrap();
        assert!(told.abs_diff(SECOND + SECOND / 50 + SECOND / 10) <= 1, "{told}");
        // It is not stretched further than it is exact.
        assert_eq!(clock.told(begun + TICKS / 5), None);
    }

    #[test]
    fn a_long_measure_serves_for_a_second() {
        let clock = clock_after(&[(7, 1), (7 + 3600 * TICKS, 1 + 3600 * SECOND)]);
        let begun = 7 + 3600 * TICKS;
        let told = clock.told(begun + TICKS - TICKS / 1000).unwrap();
        assert!(told.abs_diff(1 + 3601 * SECOND - SECOND / 1000) <= 1, "{told}");
        assert_eq!(clock.told(begun + TICKS + TICKS / 1000), None);
        // A counter that has gone back, as after suspension.
        assert_eq!(clock.told(begun - 1), None);
    }

    #[test]
    fn a_counter_that_has_jumped_is_measured_anew() {
        let mut moments = vec![(7, 1), (7 + TICKS, 1 + SECOND), (7 + 9 * TICKS, 1 + 2 * SECOND)];
        assert_eq!(clock_after(&moments).told(8 + 9 * TICKS), None);
        moments.push((7 + 10 * TICKS, 1 + 3 * SECOND));
        assert_eq!(clock_after(&moments).told(7 + 10 * TICKS), Some(1 + 3 * SECOND));
    }

    #[test]
    fn a_counter_that_cannot_be_one_is_not_used() {
        for ticks in [0, 1, u64::MAX / 2] {
            assert_eq!(clock_after(&[(7, 1), (7 + ticks, 1 + SECOND)]).use_for, 0);
        }
    }
}
