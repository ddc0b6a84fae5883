//! Chance for the examples: a small generator (splitmix64), seeded from the clock and the process.

/// A source of numbers that look random.
pub(super) struct Chance(u64);

impl Chance {
    /// Seeded anew in each process.
    pub(super) fn new() -> Self {
        let now = crate::clock::monotonic().as_nanos();
        Self(u64::try_from(now & u128::from(u64::MAX)).unwrap_or(0) ^ u64::from(std::process::id()))
    }

    /// Any number.
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, but not with, `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }
}
