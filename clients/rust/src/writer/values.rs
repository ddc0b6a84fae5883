//! Where in a ledger the values of a series are.
//!
//! Must not know what is counted there, or when.

use crate::buckets::Buckets;
use crate::layout::Shape;
use std::sync::Arc;

/// Where a published series has its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    pub(super) values: usize,
}

/// A published histogram, ready to find the right buckets for a value.
#[derive(Clone, Debug)]
pub struct HistogramSeries {
    /// Where its record begins, if it may be given another shape.
    pub(super) record: Option<usize>,
    pub(super) series: Series,
    pub(super) buckets: Arc<Buckets>,
}

impl Series {
    /// The series whose values begin at an offset.
    #[must_use]
    pub fn at(values: usize) -> Self {
        Self { values }
    }
}

impl HistogramSeries {
    /// The histogram whose values begin at an offset.
    #[must_use]
    pub fn at(series: Series, shape: Shape) -> Self {
        Self { record: None, series, buckets: Arc::new(Buckets::new(shape)) }
    }

    /// Where its values are.
    #[must_use]
    pub fn series(&self) -> Series {
        self.series
    }

    /// The same buckets elsewhere.
    pub(crate) fn move_to(&mut self, series: Series) {
        self.series = series;
    }

    /// How many they are.
    #[must_use]
    pub fn words(&self) -> usize {
        self.buckets.shape().words()
    }

    /// The value word here of what a value word of another histogram of these bounds counts.
    pub(super) fn word_of(&self, other: &Self, word: usize) -> usize {
        let (own, other) = (self.buckets.shape(), other.buckets.shape());
        let (natives, own_natives) = (other.native_count as usize, own.native_count as usize);
        match word.checked_sub(2) {
            None => word,
            // The last bucket has what lies above it as well.
            Some(place) if place + 1 == natives => 1 + own_natives,
            Some(place) if place < natives => {
                let step = f64::exp2(-f64::from(other.schema));
                let upper = (f64::from(other.first) + place as f64) * step;
                // The middle that the daemon's quantiles take.
                let middle = 2.0 * f64::exp2(upper) / (1.0 + f64::exp2(step));
                let [native, _] = self.buckets.words(middle);
                native
            }
            Some(place) => 2 + own_natives + place - natives,
        }
    }
}
