//! Which buckets of a histogram an observation falls into: by its bits and a small table, without a
//! logarithm or a search.
//!
//! Must not know where the buckets are.

use crate::layout::Shape;

const FRACTION_BITS: u32 = 52;
/// More slices than any sensible range has; what lies above is searched for.
const SLICES_MAX: u64 = 1 << 14;

/// The tables of one shape.
#[derive(Clone, Debug)]
pub(crate) struct Buckets {
    shape: Shape,
    /// What is not above this counts in the zero bucket.
    zero: f64,
    /// Upper bounds of the exponential buckets.
    native: Vec<f64>,
    /// The range is cut into slices by the leading bits of a value: two, or more, for each bucket, so
    /// that hardly any bound lies within one. For each, how many bounds of either kind lie below it.
    slices: Vec<Below>,
    /// The leading bits of the first slice.
    first_slice: u64,
    /// Bits of a value that tell nothing of its slice.
    shift: u32,
}

/// How many bounds lie below a slice.
#[derive(Clone, Copy, Debug, Default)]
struct Below {
    native: u16,
    classic: u16,
}

impl Buckets {
    pub(crate) fn new(shape: Shape) -> Self {
        let schema = shape.schema.clamp(-4, 8);
        let bound = |index: i32| f64::exp2(f64::from(index) * f64::exp2(-f64::from(schema)));
        let count = i32::try_from(shape.native_count).unwrap_or(0);
        let native: Vec<f64> = (0..count).map(|place| bound(shape.first + place)).collect();
        let lowest = bound(shape.first - 1);
        let zero = shape.zero_threshold.max(if count > 0 { lowest } else { 0.0 });

        let shift = FRACTION_BITS - 1 - schema.max(0).unsigned_abs();
        let first_slice = zero.max(f64::MIN_POSITIVE).to_bits() >> shift;
        let last = native.iter().chain(&shape.bounds).copied().fold(zero, f64::max);
        let last_slice = (last.to_bits() >> shift).min(first_slice + SLICES_MAX) + 1;
        let slices = (first_slice..=last_slice)
            .map(|slice| f64::from_bits(slice << shift))
            .map(|low| Below { native: below(&native, low), classic: below(&shape.bounds, low) })
            .collect();
        Self { shape, zero, native, slices, first_slice, shift }
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The value words that count a value: of its exponential bucket and of its classic one.
    #[inline]
    pub(crate) fn words(&self, value: f64) -> [usize; 2] {
        let bounds = &self.shape.bounds;
        let classic = 2 + self.native.len();
        if value <= self.zero {
            return [1, classic + above(bounds, 0, value)];
        }
        let slice = (value.to_bits() >> self.shift).checked_sub(self.first_slice);
        let below = slice.map_or(Below::default(), |slice| {
            let last = self.slices.len().saturating_sub(1);
            let slice = usize::try_from(slice).map_or(last, |slice| slice.min(last));
            self.slices.get(slice).copied().unwrap_or_default()
        });
        let native = match self.native.len().checked_sub(1) {
            Some(last) => 2 + above(&self.native, below.native.into(), value).min(last),
            None => 1,
        };
        [native, classic + above(bounds, below.classic.into(), value)]
    }
}

/// How many bounds lie below a value, which is at least so many.
#[inline]
fn above(bounds: &[f64], surely: usize, value: f64) -> usize {
    let mut count = surely;
    while bounds.get(count).is_some_and(|bound| *bound < value) {
        count += 1;
    }
    count
}

fn below(bounds: &[f64], low: f64) -> u16 {
    u16::try_from(bounds.partition_point(|bound| *bound < low)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of every schema, with as much of the range of durations as a record may have.
    fn of_schema(schema: i32) -> Buckets {
        let buckets = |octaves: i32| octaves << schema.max(0) >> (-schema).max(0);
        let native_count = u32::try_from(buckets(32)).unwrap().min(4096);
        Buckets::new(Shape { schema, first: buckets(-16) + 1, native_count, ..Shape::durations() })
    }

    fn index(buckets: &Buckets, value: f64) -> i32 {
        i32::try_from(buckets.words(value)[0]).unwrap() - 2 + buckets.shape.first
    }

    #[test]
    fn every_value_lies_within_its_bucket() {
        for schema in -4..=8 {
            let buckets = of_schema(schema);
            let width = f64::exp2(-f64::from(schema));
            let mut value = buckets.zero * 1.0001;
            let last = *buckets.native.last().unwrap();
            while value < last {
                let index = f64::from(index(&buckets, value));
                let (low, high) = (f64::exp2((index - 1.0) * width), f64::exp2(index * width));
                assert!(low < value && value <= high, "{value} schema {schema}: {low} to {high}");
                value *= 1.00123;
            }
        }
    }

    #[test]
    fn a_bound_is_the_upper_end_of_its_bucket() {
        for schema in -4..=8 {
            let buckets = of_schema(schema);
            for (place, bound) in buckets.native.iter().enumerate() {
                let above = (place + 1).min(buckets.native.len() - 1);
                assert_eq!(buckets.words(*bound)[0], 2 + place, "{bound} schema {schema}");
                assert_eq!(buckets.words(bound.next_up())[0], 2 + above, "{bound} schema {schema}");
            }
        }
        for power in -15..15 {
            for schema in 0..=7 {
                assert_eq!(index(&of_schema(schema), f64::exp2(f64::from(power))), power << schema);
            }
        }
        assert_eq!(index(&of_schema(-2), 16.0), 1);
        assert_eq!(index(&of_schema(-2), 16.1), 2);
        assert_eq!(index(&of_schema(-2), 0.9), 0);
    }

    #[test]
    fn classic_buckets_are_those_of_a_search() {
        for schema in -4..=8 {
            for native_count in [0, 1, 300] {
                let buckets = Buckets::new(Shape { schema, native_count, ..Shape::durations() });
                let shape = buckets.shape();
                let mut values = vec![0.0, 5e-324, f64::MIN_POSITIVE, 1e9, f64::INFINITY];
                values.extend(shape.bounds.iter().flat_map(|b| [b.next_down(), *b, b.next_up()]));
                for value in values {
                    let above = shape.bounds.partition_point(|bound| *bound < value);
                    let word = 2 + native_count as usize + above;
                    assert_eq!(buckets.words(value)[1], word, "{value} of schema {schema}");
                }
            }
        }
    }

    #[test]
    fn what_is_out_of_range_counts_at_its_ends() {
        let buckets = Buckets::new(Shape::durations());
        for (value, word) in [(-1.0, 1), (0.0, 1), (1e-9, 1), (1e9, 273), (f64::INFINITY, 273)] {
            assert_eq!(buckets.words(value)[0], word, "{value}");
        }
        assert_eq!(buckets.words(f64::INFINITY), [273, 289]);
    }
}
