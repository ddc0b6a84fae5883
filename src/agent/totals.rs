//! Requests of one agent: added up over its ledgers, those in use and those that have been retired; and
//! histograms, as they are added up.
//!
//! Must not know where counts come from. All additions saturate: a wild count stays a large one.

use super::buckets;
use super::exact::ExactSum;
use musterd_client::layout::Shape;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a request ended, as the label `status` has it. `aborted` is the daemon's own word, for a
/// request that ended with its agent.
pub const STATUSES: [&str; 5] = ["success", "error", "timeout", "cancelled", "aborted"];
/// Index of `success` in [`STATUSES`].
pub const SUCCESS: usize = 0;
/// Index of `cancelled` in [`STATUSES`].
pub const CANCELLED: usize = 3;
/// Index of `aborted` in [`STATUSES`].
pub const ABORTED: usize = 4;

/// Requests of one agent and their durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Finished requests, by [`STATUSES`].
    pub requests: [u64; STATUSES.len()],
    /// Durations; none until a ledger has declared them.
    pub durations: Option<Durations>,
}

/// A histogram added up over ledgers, in buckets that all of theirs can be put into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durations {
    /// The buckets; mostly those of many others, in the same memory.
    #[serde(with = "shape")]
    pub shape: Arc<Shape>,
    /// Seconds, or what else is observed.
    pub sum: ExactSum,
    /// Observations up to the zero threshold.
    pub zero: u64,
    /// Exponential buckets.
    pub native: Vec<u64>,
    /// Classic buckets, each by itself, one more than bounds.
    pub classic: Vec<u64>,
}

impl Totals {
    /// Adds requests that ended in one way, by its index in [`STATUSES`].
    pub fn add_requests(&mut self, status: usize, count: u64) {
        if let Some(total) = self.requests.get_mut(status) {
            *total = total.saturating_add(count);
        }
    }

    /// The durations, to add to, in buckets that those of `shape` can be put into.
    pub fn durations_of(&mut self, shape: &Arc<Shape>) -> &mut Durations {
        let durations = self.durations.get_or_insert_with(|| Durations::new(Arc::clone(shape)));
        durations.make_room_for(shape);
        durations
    }

    /// All finished requests.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.requests.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl Durations {
    /// Nothing observed yet.
    #[must_use]
    pub fn new(shape: Arc<Shape>) -> Self {
        let native = vec![0; shape.native_count as usize];
        let classic = vec![0; shape.bounds.len() + 1];
        Self { shape, sum: ExactSum::default(), zero: 0, native, classic }
    }

    /// The buckets that it needs for those of `shape` to be put into; none if its own will do.
    #[must_use]
    pub fn shape_with(&self, shape: &Arc<Shape>) -> Option<Shape> {
        let common = (!is_same(&self.shape, shape)).then(|| buckets::common(&self.shape, shape));
        common.filter(|common| *self.shape != *common)
    }

    /// Takes buckets that those of `shape` can be put into, if its own are not. No count is lost, and
    /// none is in a bucket that does not hold its observation.
    pub fn make_room_for(&mut self, shape: &Arc<Shape>) {
        if let Some(common) = self.shape_with(shape) {
            let old = std::mem::replace(self, Self::new(Arc::new(common)));
            self.sum = old.sum;
            let counts = std::iter::once(&old.zero).chain(&old.native).chain(&old.classic);
            self.add_counts(&old.shape, counts.copied().enumerate());
        }
    }

    /// Adds the values of a ledger's record of `shape`, in their order there: sum, zero bucket,
    /// exponential buckets, classic buckets.
    pub fn add_words(&mut self, shape: &Arc<Shape>, words: &[u64]) {
        let Some((sum, counts)) = words.split_first() else { return };
        self.sum.add(f64::from_bits(*sum));
        self.add_counts(shape, counts.iter().copied().enumerate());
    }

    /// Adds counts of `shape`, for which there is room, each with its place there: in the order of a
    /// ledger's record, behind the sum.
    pub fn add_counts(&mut self, shape: &Arc<Shape>, counts: impl Iterator<Item = (usize, u64)>) {
        let Self { shape: own, zero, native, classic, .. } = self;
        let is_same = is_same(own, shape);
        for (place, count) in counts.filter(|(_, count)| *count > 0) {
            let place = if is_same { place } else { buckets::place(shape, own, place) };
            let cell = match place.checked_sub(1) {
                None => Some(&mut *zero),
                Some(place) if place < native.len() => native.get_mut(place),
                Some(place) => classic.get_mut(place - native.len()),
            };
            if let Some(cell) = cell {
                *cell = cell.saturating_add(count);
            }
        }
    }

    /// Whether another one has the same counts in the same buckets.
    #[must_use]
    pub fn has_counts_of(&self, other: &Self) -> bool {
        is_same(&self.shape, &other.shape)
            && (self.zero, &self.native, &self.classic)
                == (other.zero, &other.native, &other.classic)
    }

    /// All observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classic.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether it has as many buckets as it should: what was kept may have been changed by hand.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.native.len() == self.shape.native_count as usize
            && self.classic.len() == self.shape.bounds.len() + 1
            && self.sum.is_sound()
    }
}

/// Whether two shapes are the same, which those in the same memory are without a look at their bounds.
#[must_use]
pub fn is_same(one: &Arc<Shape>, other: &Arc<Shape>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// The client crate's shape, for the state file.
mod shape {
    use musterd_client::layout::Shape;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    #[derive(Serialize, Deserialize)]
    struct Stored {
        schema: i32,
        first: i32,
        native_count: u32,
        zero_threshold: f64,
        bounds: Vec<f64>,
    }

    pub(super) fn serialize<S: Serializer>(shape: &Arc<Shape>, to: S) -> Result<S::Ok, S::Error> {
        let Shape { schema, first, native_count, zero_threshold, bounds } = Shape::clone(shape);
        Stored { schema, first, native_count, zero_threshold, bounds }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Shape>, D::Error> {
        let Stored { schema, first, native_count, zero_threshold, bounds } =
            Stored::deserialize(from)?;
        Ok(Arc::new(Shape { schema, first, native_count, zero_threshold, bounds }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_counts_are_bounded() {
        let mut totals = Totals::default();
        totals.add_requests(0, u64::MAX);
        totals.add_requests(0, 1);
        totals.add_requests(99, 1);
        assert_eq!(totals.finished(), u64::MAX);
        let durations = totals.durations_of(&Arc::new(Shape::durations()));
        durations.sum.add(f64::MAX);
        durations.sum.add(f64::MAX);
        assert_eq!(durations.sum.value(), f64::MAX);
    }

    #[test]
    fn ledgers_of_other_buckets_lose_no_duration() {
        let mut totals = Totals::default();
        let [fine, coarse] = [5, 2].map(|schema| Arc::new(Shape::durations_at(schema)));
        for shape in [&fine, &coarse, &fine] {
            totals.durations_of(shape).add_words(shape, &vec![1; shape.words()]);
        }
        let durations = totals.durations.unwrap();
        assert_eq!(durations.shape, coarse);
        assert_eq!((durations.zero, durations.native[0], durations.native[1]), (3, 17, 17));
        assert_eq!(durations.classic, [3; 16]);
        assert_eq!(durations.count(), 3 * 16);
    }

    #[test]
    fn a_records_words_are_added_in_their_order() {
        let shape = Arc::new(Shape { native_count: 2, bounds: vec![1.0], ..Shape::calls() });
        let mut durations = Durations::new(Arc::clone(&shape));
        durations.add_words(&shape, &[1.5_f64.to_bits(), 1, 2, 3, 4, 5]);
        durations.add_words(&shape, &[0.5_f64.to_bits(), 0, 0, 1, 0, 1]);
        assert_eq!((durations.sum.value(), durations.zero, durations.count()), (2.0, 1, 10));
        assert_eq!((&durations.native, &durations.classic), (&vec![2, 4], &vec![4, 6]));
        assert!(durations.is_sound());
        durations.native.pop();
        assert!(!durations.is_sound());
    }

    #[test]
    fn totals_outlive_a_restart() {
        let mut totals = Totals { requests: [u64::MAX, 0, 1, 0, 0], ..Totals::default() };
        // The last digit of these is lost by who reads numbers in a hurry: a sum must not go back by it.
        let bounds = vec![0.1, 1.000_203_132_629_394_5];
        let shape = Arc::new(Shape { bounds, ..Shape::durations() });
        totals.durations_of(&shape).sum = ExactSum::from(1.000_203_132_629_394_5).plus(1e-20);
        let text = serde_json::to_string(&totals).unwrap();
        assert_eq!(serde_json::from_str::<Totals>(&text).unwrap(), totals);
    }
}
