//! Counts of one agent: added up over its ledgers, those in use and those that have been retired.
//!
//! Must not know where counts come from. All additions saturate: a wild count stays a large one.

use super::buckets;
use super::calls::Call;
use musterd_client::layout::Shape;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a request ended, as the label `status` has it. `aborted` is the daemon's own word, for a
/// request that ended with its agent.
pub const STATUSES: [&str; 5] = ["success", "error", "timeout", "cancelled", "aborted"];
/// Index of `success` in [`STATUSES`].
pub const SUCCESS: usize = 0;
/// Index of `cancelled` in [`STATUSES`].
pub const CANCELLED: usize = 3;
/// Index of `aborted` in [`STATUSES`].
pub const ABORTED: usize = 4;

/// Error categories, and models, of one agent; what comes after them is counted under [`OTHER`].
/// A ledger has a bound of its own, but an agent may bring one after another.
pub const SERIES_LIMIT: usize = 1000;
/// The category, or model, of what found no place.
pub const OTHER: &str = "other";

/// Requests, errors, tokens and durations of one agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Finished requests, by [`STATUSES`].
    pub requests: [u64; STATUSES.len()],
    /// Failed requests, by category.
    pub errors: BTreeMap<String, u64>,
    /// Tokens, by model and then by type.
    pub tokens: BTreeMap<String, BTreeMap<String, u64>>,
    /// Durations; none until a ledger has declared them.
    pub durations: Option<Durations>,
    /// Durations of calls of models and tools.
    #[serde(default, with = "calls")]
    pub calls: BTreeMap<Call, Durations>,
}

/// A histogram added up over ledgers, in buckets that all of theirs can be put into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durations {
    /// The buckets.
    #[serde(with = "shape")]
    pub shape: Shape,
    /// Seconds.
    pub sum: f64,
    /// Observations up to the zero threshold.
    pub zero: u64,
    /// Exponential buckets.
    pub native: Vec<u64>,
    /// Classic buckets, each by itself, one more than bounds.
    pub classic: Vec<u64>,
}

impl Totals {
    /// Becomes a copy of `other`, reusing its own memory; what `other` lacks becomes zero. What has its
    /// place there keeps it here, so no limit holds.
    pub fn copy_from(&mut self, other: &Self) {
        self.requests = other.requests;
        self.errors.values_mut().for_each(|count| *count = 0);
        for (category, count) in &other.errors {
            self.count_error(category, *count);
        }
        self.tokens.values_mut().flat_map(BTreeMap::values_mut).for_each(|count| *count = 0);
        for (model, types) in &other.tokens {
            for (kind, count) in types {
                self.count_tokens(model, kind, *count);
            }
        }
        if let Some(durations) = &mut self.durations {
            durations.clear();
        }
        if let Some(durations) = &other.durations {
            self.durations_of(&durations.shape).add(durations);
        }
        self.calls.values_mut().for_each(Durations::clear);
        for (call, durations) in &other.calls {
            if let Some(own) = self.place_of_call(call, &durations.shape) {
                own.add(durations);
            }
        }
    }

    /// Keeps whatever `other` has buckets for in the same buckets.
    pub fn keep_shapes(&mut self, other: &Self) {
        if let Some(durations) = &other.durations {
            self.durations_of(&durations.shape);
        }
        for (call, durations) in &other.calls {
            self.place_of_call(call, &durations.shape);
        }
    }

    /// Adds failed requests of a category.
    pub fn add_error(&mut self, category: &str, count: u64) {
        let has_place = self.errors.contains_key(category) || self.errors.len() < SERIES_LIMIT;
        self.count_error(if has_place { category } else { OTHER }, count);
    }

    fn count_error(&mut self, category: &str, count: u64) {
        match self.errors.get_mut(category) {
            Some(total) => *total = total.saturating_add(count),
            None => {
                self.errors.insert(category.to_owned(), count);
            }
        }
    }

    /// Adds tokens of a model.
    pub fn add_tokens(&mut self, model: &str, kind: &str, count: u64) {
        let has_place = self.tokens.contains_key(model) || self.tokens.len() < SERIES_LIMIT;
        self.count_tokens(if has_place { model } else { OTHER }, kind, count);
    }

    fn count_tokens(&mut self, model: &str, kind: &str, count: u64) {
        if !self.tokens.contains_key(model) {
            self.tokens.insert(model.to_owned(), BTreeMap::new());
        }
        let Some(types) = self.tokens.get_mut(model) else { return };
        match types.get_mut(kind) {
            Some(total) => *total = total.saturating_add(count),
            None => {
                types.insert(kind.to_owned(), count);
            }
        }
    }

    /// The durations, to add to, in buckets that those of `shape` can be put into.
    pub fn durations_of(&mut self, shape: &Shape) -> &mut Durations {
        let durations = self.durations.get_or_insert_with(|| Durations::new(shape.clone()));
        durations.make_room_for(shape);
        durations
    }

    /// The durations of a call, likewise.
    pub fn durations_of_call(&mut self, call: &Call, shape: &Shape) -> Option<&mut Durations> {
        if self.calls.contains_key(call) || self.calls.len() < SERIES_LIMIT {
            return self.place_of_call(call, shape);
        }
        self.place_of_call(&call.with(OTHER), shape)
    }

    fn place_of_call(&mut self, call: &Call, shape: &Shape) -> Option<&mut Durations> {
        if !self.calls.contains_key(call) {
            self.calls.insert(call.clone(), Durations::new(shape.clone()));
        }
        let durations = self.calls.get_mut(call)?;
        durations.make_room_for(shape);
        Some(durations)
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
    pub fn new(shape: Shape) -> Self {
        let native = vec![0; shape.native_count as usize];
        let classic = vec![0; shape.bounds.len() + 1];
        Self { shape, sum: 0.0, zero: 0, native, classic }
    }

    fn clear(&mut self) {
        self.sum = 0.0;
        self.zero = 0;
        self.native.fill(0);
        self.classic.fill(0);
    }

    /// Adds to the sum, which stays a number that a double can hold.
    pub fn add_to_sum(&mut self, seconds: f64) {
        self.sum = (self.sum + seconds).clamp(0.0, f64::MAX);
    }

    /// Takes buckets that those of `shape` can be put into, if its own are not. No count is lost, and
    /// none is in a bucket that does not hold its observation.
    fn make_room_for(&mut self, shape: &Shape) {
        if self.shape == *shape {
            return;
        }
        let common = buckets::common(&self.shape, shape);
        if self.shape != common {
            let old = std::mem::replace(self, Self::new(common));
            self.add(&old);
        }
    }

    /// Adds the values of a ledger's record of `shape`, in their order there: sum, zero bucket,
    /// exponential buckets, classic buckets.
    pub fn add_words(&mut self, shape: &Shape, words: &[u64]) {
        let Some((sum, counts)) = words.split_first() else { return };
        self.add_to_sum(f64::from_bits(*sum));
        self.add_counts(shape, counts.iter());
    }

    fn add(&mut self, other: &Self) {
        self.add_to_sum(other.sum);
        let counts = std::iter::once(&other.zero).chain(&other.native).chain(&other.classic);
        self.add_counts(&other.shape, counts);
    }

    fn add_counts<'a>(&mut self, shape: &Shape, counts: impl Iterator<Item = &'a u64>) {
        let Self { shape: own, zero, native, classic, .. } = self;
        let mut add = |place: usize, count: u64| {
            let cell = match place.checked_sub(1) {
                None => Some(&mut *zero),
                Some(place) if place < native.len() => native.get_mut(place),
                Some(place) => classic.get_mut(place - native.len()),
            };
            if let Some(cell) = cell {
                *cell = cell.saturating_add(count);
            }
        };
        let is_same = own == shape;
        for (index, count) in counts.enumerate().filter(|(_, count)| **count > 0) {
            add(if is_same { index } else { buckets::place(shape, own, index) }, *count);
        }
    }

    /// All observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classic.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// Calls, for the state file: keys there are strings, so a list of pairs.
mod calls {
    use super::{Call, Durations};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(
        calls: &BTreeMap<Call, Durations>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        calls.iter().collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Call, Durations>, D::Error> {
        Ok(Vec::deserialize(from)?.into_iter().collect())
    }
}

/// The client crate's shape, for the state file.
mod shape {
    use musterd_client::layout::Shape;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Stored {
        schema: i32,
        first: i32,
        native_count: u32,
        zero_threshold: f64,
        bounds: Vec<f64>,
    }

    pub(super) fn serialize<S: Serializer>(shape: &Shape, to: S) -> Result<S::Ok, S::Error> {
        let Shape { schema, first, native_count, zero_threshold, bounds } = shape.clone();
        Stored { schema, first, native_count, zero_threshold, bounds }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Shape, D::Error> {
        let Stored { schema, first, native_count, zero_threshold, bounds } =
            Stored::deserialize(from)?;
        Ok(Shape { schema, first, native_count, zero_threshold, bounds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_forgets_what_was_there_and_keeps_every_count() {
        let mut retired = Totals { requests: [1, 2, 3, 4, 5], ..Totals::default() };
        retired.add_error("network", 2);
        retired.add_tokens("m", "input", 9);
        let durations = retired.durations_of(&Shape::durations());
        durations.sum = 1.5;
        durations.classic[3] = 2;
        let mut current = Totals::default();
        current.add_error("gone", 5);
        for _ in 0..3 {
            current.copy_from(&retired);
        }
        assert_eq!(current.requests, retired.requests);
        assert_eq!(current.durations, retired.durations);
        assert_eq!(current.errors, [("gone".to_owned(), 0), ("network".to_owned(), 2)].into());
        assert_eq!(current.tokens, retired.tokens);
        assert_eq!(current.finished(), 15);
    }

    #[test]
    fn series_and_sums_are_bounded() {
        let mut totals = Totals::default();
        for index in 0..SERIES_LIMIT + 5 {
            totals.add_error(&format!("t{index}"), 1);
            totals.add_tokens(&format!("t{index}"), "input", 1);
        }
        let mut copy = Totals::default();
        copy.copy_from(&totals);
        assert!(copy == totals, "what has its place keeps it");
        assert_eq!((totals.errors.len(), totals.errors[OTHER]), (SERIES_LIMIT + 1, 5));
        assert_eq!((totals.tokens.len(), totals.tokens[OTHER]["input"]), (SERIES_LIMIT + 1, 5));
        let durations = totals.durations_of(&Shape::durations());
        durations.add_to_sum(f64::MAX);
        durations.add_to_sum(f64::MAX);
        assert_eq!(durations.sum, f64::MAX);
    }

    #[test]
    fn ledgers_of_other_buckets_lose_no_duration() {
        let mut totals = Totals::default();
        let (fine, coarse) = (Shape::durations_at(5), Shape::durations_at(2));
        for shape in [&fine, &coarse, &fine] {
            totals.durations_of(shape).add_words(shape, &vec![1; shape.words()]);
        }
        let mut copy = Totals::default();
        copy.durations_of(&fine);
        copy.copy_from(&totals);
        assert_eq!(copy.durations, totals.durations);
        let durations = totals.durations.unwrap();
        assert_eq!(durations.shape, coarse);
        assert_eq!((durations.zero, durations.native[0], durations.native[1]), (3, 17, 17));
        assert_eq!(durations.classic, [3; 16]);
        assert_eq!(durations.count(), 3 * 16);
    }

    fn tool(name: &str) -> Call {
        let kind = crate::agent::calls::CallKind::Tool;
        Call { kind, what: name.to_owned(), outcome: "success".to_owned() }
    }

    #[test]
    fn calls_are_bounded_and_copied() {
        let mut totals = Totals::default();
        for index in 0..SERIES_LIMIT + 5 {
            let call = tool(&format!("t{index}"));
            let durations = totals.durations_of_call(&call, &Shape::calls()).unwrap();
            durations.add_words(&Shape::calls(), &[0, 1]);
        }
        assert_eq!((totals.calls.len(), totals.calls[&tool(OTHER)].zero), (SERIES_LIMIT + 1, 5));
        let mut copy = Totals::default();
        copy.copy_from(&totals);
        copy.copy_from(&totals);
        assert!(copy.calls == totals.calls);
    }

    #[test]
    fn totals_outlive_a_restart() {
        let mut totals = Totals { requests: [u64::MAX, 0, 1, 0, 0], ..Totals::default() };
        totals.add_tokens("a\"b", "output", 3);
        totals.durations_of(&Shape::durations()).sum = 0.1;
        totals.durations_of_call(&tool("t"), &Shape::calls()).unwrap().zero = 7;
        let text = serde_json::to_string(&totals).unwrap();
        assert_eq!(serde_json::from_str::<Totals>(&text).unwrap(), totals);
    }
}
