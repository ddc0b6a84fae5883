//! A batch as an encoder sees it: families with their samples, one after the other.
//!
//! Must not know formats.

use super::{Batch, Help, Histogram, Point, Span, Summary, Value, slice};
use crate::metric::Kind;

/// A family of a batch, for an encoder.
#[derive(Clone, Debug)]
pub struct FamilyRef<'a> {
    /// Full name.
    pub name: &'a [u8],
    /// Help text, not yet escaped.
    pub help: &'a str,
    /// Unit, where somebody has told it; else empty.
    pub unit: &'a [u8],
    /// Its kind.
    pub kind: Kind,
    /// Whether somebody else has named it: see [`Batch::begin_foreign`].
    pub is_foreign: bool,
    batch: &'a Batch,
    samples: Span,
}

/// A sample of a batch, for an encoder.
#[derive(Clone, Copy, Debug)]
pub struct SampleRef<'a> {
    /// Labels in rendered, escaped form, without braces; empty when there are none.
    pub labels: &'a [u8],
    /// The value.
    pub point: Point<'a>,
}

impl Batch {
    /// The families that have samples, in the order they were begun.
    pub fn families(&self) -> impl Iterator<Item = FamilyRef<'_>> {
        self.heads.iter().filter(|head| !head.samples.is_empty() && !head.is_repeated).map(|head| {
            FamilyRef {
                name: slice(&self.text, &head.name),
                help: match &head.help {
                    Help::Declared(text) => text,
                    Help::Foreign(span) => {
                        std::str::from_utf8(slice(&self.text, span)).unwrap_or_default()
                    }
                },
                unit: slice(&self.text, &head.unit),
                kind: head.kind,
                is_foreign: matches!(head.help, Help::Foreign(_)),
                batch: self,
                samples: head.samples.clone(),
            }
        })
    }

    fn point(&self, value: Value) -> Point<'_> {
        let nothing = Point::Number(f64::NAN);
        match value {
            Value::Number(number) => Point::Number(number),
            Value::Summary(place) => self.summaries.get(place as usize).map_or(nothing, |row| {
                let quantiles = slice(&self.quantiles, &row.quantiles);
                Point::Summary(Summary { quantiles, sum: row.sum, count: row.count })
            }),
            Value::Histogram(place) => self.histograms.get(place as usize).map_or(nothing, |row| {
                Point::Histogram(Histogram {
                    bounds: slice(&self.bounds, &row.bounds),
                    counts: slice(&self.counts, &row.counts),
                    sum: row.sum,
                })
            }),
        }
    }
}

impl<'a> FamilyRef<'a> {
    /// Its samples, in the order they were added.
    pub fn samples(&self) -> impl Iterator<Item = SampleRef<'a>> + use<'a> {
        let batch = self.batch;
        slice(&batch.samples, &self.samples).iter().map(move |sample| SampleRef {
            labels: slice(&batch.text, &sample.labels),
            point: batch.point(sample.value),
        })
    }
}
