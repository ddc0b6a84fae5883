//! For `peaks`: what is kept of each look: counted for ever in histograms, and each for a while.
//!
//! Must not know how the machine is looked at.

use super::tick::{COUNT, Values};
use crate::metric::{Batch, Histogram};
use std::collections::VecDeque;

/// What is kept of one value.
#[derive(Debug)]
struct Tally {
    bounds: &'static [f64],
    /// By bucket, the last for what lies above all bounds.
    counts: Vec<u64>,
    sum: f64,
}

/// What is kept of all of them.
#[derive(Debug)]
pub(super) struct Record {
    tallies: Vec<Tally>,
    /// The latest looks, the oldest first.
    latest: VecDeque<Values>,
    /// As many of them as are kept.
    length: usize,
}

impl Record {
    /// With the bounds of each value's histogram, and as many looks as the maxima are of.
    pub(super) fn new(bounds: [&'static [f64]; COUNT], length: usize) -> Self {
        let tally =
            |bounds: &'static [f64]| Tally { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 };
        Self { tallies: bounds.map(tally).into(), latest: VecDeque::new(), length }
    }

    /// Takes what was seen.
    pub(super) fn take(&mut self, values: Values) {
        for (tally, value) in self.tallies.iter_mut().zip(values) {
            if let Some(value) = value {
                let bucket = tally.bounds.partition_point(|bound| *bound < value);
                if let Some(count) = tally.counts.get_mut(bucket) {
                    *count += 1;
                }
                tally.sum += value;
            }
        }
        while self.latest.len() >= self.length {
            self.latest.pop_front();
        }
        self.latest.push_back(values);
    }

    /// Adds the histogram of the value at `place` to the family begun last, if anything was seen.
    pub(super) fn emit(&self, place: usize, labels: &[(&str, &str)], batch: &mut Batch) {
        let Some(Tally { bounds, counts, sum }) = self.tallies.get(place) else { return };
        if counts.iter().any(|count| *count > 0) {
            batch.histogram(labels, &Histogram { bounds, counts, sum: *sum });
        }
    }

    /// The outermost of the latest values at `place`, as `choose` has it: the larger, or the smaller.
    pub(super) fn extreme(&self, place: usize, choose: fn(f64, f64) -> f64) -> Option<f64> {
        self.latest.iter().filter_map(|values| *values.get(place)?).reduce(choose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_for_ever_and_kept_for_a_while() {
        let mut record = Record::new([&[0.5, 1.0]; COUNT], 2);
        assert_eq!(record.extreme(0, f64::max), None);
        for value in [0.5, 7.0, 0.75, 0.25] {
            let mut values = Values::default();
            values[0] = Some(value);
            record.take(values);
        }
        assert_eq!(
            (record.extreme(0, f64::max), record.extreme(0, f64::min)),
            (Some(0.75), Some(0.25))
        );
        assert_eq!(record.tallies[0].counts, [2, 1, 1]);
        assert_eq!(record.tallies[0].sum, 8.5);
        assert_eq!(record.extreme(1, f64::max), None);
    }
}
