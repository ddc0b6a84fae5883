//! All samples of one pass, in one growing arena: filled by the rooms, read by the encoders, then
//! cleared and filled again, so that a pass in the steady state allocates nothing per sample.
//!
//! Must not know: any source of values, any output format.

mod group;
mod reading;

pub use group::{Group, GroupWriter};
pub use reading::{FamilyRef, SampleRef};

use super::labels::{Labels, position, render_labels};
use super::{Family, Kind};
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::ops::Range;

/// A range of one of the batch's arenas. `u32`: a pass of 4 GiB is not a pass.
type Span = Range<u32>;

/// One histogram sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Histogram<'a> {
    /// Upper bounds of the classic buckets, rising, without `+Inf`.
    pub bounds: &'a [f64],
    /// Counts of the classic buckets, each by itself (not cumulated): one more than bounds, the
    /// last for what lies above them all.
    pub counts: &'a [u64],
    /// Sum of the observed values.
    pub sum: f64,
}

/// One summary sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary<'a> {
    /// Quantiles, rising, and for each of them the value below which it lies: in turn.
    pub quantiles: &'a [[f64; 2]],
    /// Sum of the observed values.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
}

/// The value of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Point<'a> {
    /// A counter's, a gauge's or an untyped value.
    Number(f64),
    /// A histogram's buckets.
    Histogram(Histogram<'a>),
    /// A summary's quantiles.
    Summary(Summary<'a>),
}

/// Most samples are numbers: what is larger stands elsewhere, so that a sample is small.
#[derive(Clone, Copy, Debug)]
enum Value {
    Number(f64),
    /// A place in `histograms`.
    Histogram(u32),
    /// A place in `summaries`.
    Summary(u32),
}

#[derive(Clone, Debug)]
struct HistogramRow {
    bounds: Span,
    counts: Span,
    sum: f64,
}

#[derive(Clone, Debug)]
struct SummaryRow {
    quantiles: Span,
    sum: f64,
    count: u64,
}

#[derive(Clone, Debug)]
struct Sample {
    labels: Span,
    value: Value,
}

#[derive(Clone, Debug)]
struct Head {
    name: Span,
    help: Help,
    /// In the batch's text; empty for none.
    unit: Span,
    kind: Kind,
    samples: Span,
    /// Up to where samples may be put, of a family of a group.
    room: u32,
    /// A family of this name has been begun before: what a source names itself, it may name twice.
    is_repeated: bool,
}

#[derive(Clone, Debug)]
enum Help {
    Declared(&'static str),
    /// In the batch's text.
    Foreign(Span),
}

/// All samples of one pass.
///
/// Samples follow the family they belong to: [`Batch::begin`], then [`Batch::sample`] as often as
/// there are series, then the next family. A family without samples is not exposed.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    text: Vec<u8>,
    heads: Vec<Head>,
    samples: Vec<Sample>,
    /// Of those, places in groups that nothing has been put in.
    unused: usize,
    histograms: Vec<HistogramRow>,
    summaries: Vec<SummaryRow>,
    bounds: Vec<f64>,
    counts: Vec<u64>,
    quantiles: Vec<[f64; 2]>,
    /// Hashes of the names that sources have made up.
    made_up: HashSet<u64, BuildHasherDefault<DefaultHasher>>,
}

/// A place in a batch to return to with [`Batch::rollback`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    text: usize,
    heads: usize,
    samples: usize,
    unused: usize,
    histograms: usize,
    summaries: usize,
    bounds: usize,
    counts: usize,
    quantiles: usize,
}

/// A family that somebody else has named and described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign<'a> {
    /// Full name, valid.
    pub name: &'a str,
    /// Help text.
    pub help: &'a str,
    /// Unit, in which the name ends; empty for none.
    pub unit: &'a str,
    /// Its kind.
    pub kind: Kind,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties the batch and keeps its memory for the next pass.
    pub fn clear(&mut self) {
        self.text.clear();
        self.heads.clear();
        self.samples.clear();
        self.unused = 0;
        self.histograms.clear();
        self.summaries.clear();
        self.bounds.clear();
        self.counts.clear();
        self.quantiles.clear();
        self.made_up.clear();
    }

    /// Begins a family; the samples that follow are its own.
    pub fn begin(&mut self, family: &Family) {
        debug_assert!(!family.name.contains('*'), "{}: needs begin_named", family.name);
        let start = self.text.len();
        self.text.extend_from_slice(family.name.as_bytes());
        self.push_head(start, family, false);
    }

    /// Begins a family of a `*` declaration, with `part` in place of the `*`. Bytes of `part` that
    /// a metric name cannot have become `_`. A name that this batch has had already is not exposed
    /// again: a second family of the same name would make the whole exposition invalid.
    pub fn begin_named(&mut self, family: &Family, part: &[u8]) {
        let start = self.text.len();
        let (before, after) = family.name.split_once('*').unwrap_or((family.name, ""));
        self.text.extend_from_slice(before.as_bytes());
        self.text.extend(part.iter().map(|&byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => byte,
            _ => b'_',
        }));
        self.text.extend_from_slice(after.as_bytes());
        let name = self.text.get(start..).unwrap_or_default();
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(name);
        let is_new = self.made_up.insert(hash);
        self.push_head(start, family, !is_new);
    }

    /// Begins a family that somebody else has named and described. The name must be valid, and not
    /// be there already: see [`Batch::has`].
    pub fn begin_foreign(&mut self, name: &str, help: &str, kind: Kind) {
        self.push_foreign(&Foreign { name, help, unit: "", kind });
    }

    fn push_foreign(&mut self, family: &Foreign<'_>) {
        let Foreign { name, help, unit, kind } = *family;
        let name = append(&mut self.text, name.as_bytes());
        let help = Help::Foreign(append(&mut self.text, help.as_bytes()));
        let unit = append(&mut self.text, unit.as_bytes());
        let start = position(self.samples.len());
        let samples = start..start;
        self.heads.push(Head { name, help, unit, kind, samples, room: start, is_repeated: false });
    }

    /// Whether a family of this name has been begun and has samples.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.kind_of(name).is_some()
    }

    /// The kind of such a family.
    #[must_use]
    pub fn kind_of(&self, name: &str) -> Option<Kind> {
        let head = self.heads.iter().find(|head| {
            !head.samples.is_empty() && slice(&self.text, &head.name) == name.as_bytes()
        });
        head.map(|head| head.kind)
    }

    fn push_head(&mut self, start: usize, family: &Family, is_repeated: bool) {
        let samples = position(self.samples.len());
        self.heads.push(Head {
            name: position(start)..position(self.text.len()),
            help: Help::Declared(family.help),
            unit: 0..0,
            kind: family.kind,
            samples: samples..samples,
            room: samples,
            is_repeated,
        });
    }

    /// Adds a sample to the family begun last.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels = self.render(labels);
        self.push(Sample { labels, value: Value::Number(value) });
    }

    /// As [`Batch::sample`], for labels that stand in no slice.
    pub fn sample_of<'l>(&mut self, labels: impl Iterator<Item = (&'l str, &'l str)>, value: f64) {
        let start = position(self.text.len());
        render_labels(labels, &mut self.text);
        let labels = start..position(self.text.len());
        self.push(Sample { labels, value: Value::Number(value) });
    }

    /// Adds a sample whose labels are rendered already.
    pub fn sample_with(&mut self, labels: &Labels, value: f64) {
        let labels = self.copy(labels);
        self.push(Sample { labels, value: Value::Number(value) });
    }

    /// Begins a family and adds its only sample, one without labels.
    pub fn value(&mut self, family: &Family, value: f64) {
        self.begin(family);
        self.sample(&[], value);
    }

    /// Adds a histogram sample to the family begun last.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram<'_>) {
        let labels = self.render(labels);
        let value = self.keep_histogram(histogram);
        self.push(Sample { labels, value });
    }

    fn keep_histogram(&mut self, histogram: &Histogram<'_>) -> Value {
        // Mostly those of the one before.
        let bounds = match self.histograms.last() {
            Some(last) if slice(&self.bounds, &last.bounds) == histogram.bounds => {
                last.bounds.clone()
            }
            _ => append(&mut self.bounds, histogram.bounds),
        };
        let counts = append(&mut self.counts, histogram.counts);
        self.histograms.push(HistogramRow { bounds, counts, sum: histogram.sum });
        Value::Histogram(position(self.histograms.len() - 1))
    }

    /// As [`Batch::histogram`], for labels that are rendered already.
    pub fn histogram_with(&mut self, labels: &Labels, histogram: &Histogram<'_>) {
        let labels = self.copy(labels);
        let value = self.keep_histogram(histogram);
        self.push(Sample { labels, value });
    }

    /// Adds a summary sample to the family begun last.
    pub fn summary_with(&mut self, labels: &Labels, summary: &Summary<'_>) {
        let labels = self.copy(labels);
        let quantiles = append(&mut self.quantiles, summary.quantiles);
        self.summaries.push(SummaryRow { quantiles, sum: summary.sum, count: summary.count });
        let value = Value::Summary(position(self.summaries.len() - 1));
        self.push(Sample { labels, value });
    }

    fn push(&mut self, sample: Sample) {
        self.samples.push(sample);
        let end = position(self.samples.len());
        match self.heads.last_mut() {
            Some(head) => head.samples.end = end,
            None => debug_assert!(false, "a sample before any family"),
        }
    }

    fn render(&mut self, labels: &[(&str, &str)]) -> Span {
        let start = position(self.text.len());
        render_labels(labels.iter().copied(), &mut self.text);
        start..position(self.text.len())
    }

    fn copy(&mut self, labels: &Labels) -> Span {
        append(&mut self.text, labels.as_bytes())
    }

    /// The place reached so far.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            text: self.text.len(),
            heads: self.heads.len(),
            samples: self.samples.len(),
            unused: self.unused,
            histograms: self.histograms.len(),
            summaries: self.summaries.len(),
            bounds: self.bounds.len(),
            counts: self.counts.len(),
            quantiles: self.quantiles.len(),
        }
    }

    /// Forgets all that came after `mark`: what a source that failed half-way has left behind.
    pub fn rollback(&mut self, mark: Mark) {
        self.text.truncate(mark.text);
        self.heads.truncate(mark.heads);
        self.samples.truncate(mark.samples);
        self.unused = mark.unused;
        self.histograms.truncate(mark.histograms);
        self.summaries.truncate(mark.summaries);
        self.bounds.truncate(mark.bounds);
        self.counts.truncate(mark.counts);
        self.quantiles.truncate(mark.quantiles);
    }

    /// The number of samples; a histogram is one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len() - self.unused
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn append<T: Copy>(arena: &mut Vec<T>, items: &[T]) -> Span {
    let start = position(arena.len());
    arena.extend_from_slice(items);
    start..position(arena.len())
}

fn slice<'a, T>(arena: &'a [T], span: &Span) -> &'a [T] {
    arena.get(span.start as usize..span.end as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests;
