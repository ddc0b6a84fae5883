//! How much of the limits series take, and whether there is room for more.
//!
//! Must not know where a series is counted when there is none.

use super::{Limits, RowId, SeriesTable};
use crate::agent::catalog::Catalog;
use musterd_client::layout::Shape;

/// Words that take no more of the limits than a series of one word: the histograms that musterd knows have fewer at
/// the usual resolution.
const WORDS: usize = 300;

/// How many series one with these buckets counts as.
pub(super) fn weight_of(shape: Option<&Shape>) -> usize {
    shape.map_or(1, |shape| shape.words().div_ceil(WORDS))
}

impl SeriesTable {
    /// Whether `more` does not fit within the limits.
    pub(super) fn is_full(&self, more: usize, catalog: &Catalog, limits: &Limits) -> bool {
        self.weight.saturating_add(more) > limits.series
            || catalog.weight().saturating_add(more) > limits.total_series
    }

    /// Whether `more` is too much even for what says `overflow`, and for series that get more buckets: there is as
    /// much room again for these.
    pub(super) fn is_overfull(&self, more: usize, catalog: &Catalog, limits: &Limits) -> bool {
        let [series, total_series] =
            [limits.series, limits.total_series].map(|limit| limit.saturating_mul(2));
        self.is_full(more, catalog, &Limits { series, total_series, ..*limits })
    }

    /// Notes what a series weighs now.
    pub(super) fn weigh(&mut self, id: RowId, weight: usize, catalog: &mut Catalog) {
        let Some(row) = self.row_mut(id) else { return };
        let before = std::mem::replace(&mut row.weight, weight);
        self.weight = self.weight.saturating_sub(before).saturating_add(weight);
        catalog.reweigh(before, weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_histograms_count_as_one_series() {
        let usual = [Shape::durations(), Shape::calls(), Shape::classic(&[1.0])];
        assert!(usual.iter().all(|shape| weight_of(Some(shape)) == 1));
        assert_eq!(weight_of(None), 1);
        assert_eq!(weight_of(Some(&Shape::durations_at(5))), 4);
    }
}
