//! The last minutes of an agent: rates and quantiles from differences of its totals.
//!
//! Differences are kept sparsely, a step of ten seconds each; a step that falls out of the window
//! is subtracted again, so that reading costs nothing but a walk over the buckets.
//!
//! Must not know where totals come from or what is concluded from them.

use super::buckets;
use super::totals::{CANCELLED, Durations, SUCCESS, Totals, is_same};
use musterd_client::layout::Shape;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How far back the window reaches.
pub const LENGTH: Duration = Duration::from_secs(300);
const STEP: Duration = Duration::from_secs(10);

/// A sliding window over one agent's totals.
#[derive(Debug, Default)]
pub struct Window {
    steps: VecDeque<Step>,
    seen: Seen,
    /// Sums over all steps.
    finished: u64,
    succeeded: u64,
    cancelled: u64,
    /// The zero bucket, then the exponential ones.
    buckets: Vec<u64>,
    shape: Option<Arc<Shape>>,
}

#[derive(Debug, Default)]
struct Seen {
    finished: u64,
    succeeded: u64,
    cancelled: u64,
    /// Observations that were found in the exponential buckets.
    found: u64,
    buckets: Vec<u64>,
}

#[derive(Debug)]
struct Step {
    begun: Duration,
    finished: u64,
    succeeded: u64,
    cancelled: u64,
    /// Index and count of the buckets that something fell into.
    buckets: Vec<(usize, u64)>,
}

impl Window {
    /// A window that takes what `totals` hold already as long past.
    #[must_use]
    pub fn starting_from(totals: &Totals) -> Self {
        let mut window = Self::default();
        window.observe(Duration::ZERO, totals);
        window.forget();
        window
    }

    /// Takes what has come since the last time as long past; what is in the window stays.
    pub fn skip_to(&mut self, totals: &Totals) {
        let mut past = Self::starting_from(totals);
        std::mem::swap(&mut self.seen, &mut past.seen);
        if let Some(shape) = past.shape.filter(|shape| !self.has_shape(shape)) {
            self.take_shape(&shape);
        }
    }

    fn forget(&mut self) {
        self.steps.clear();
        (self.finished, self.succeeded, self.cancelled) = (0, 0, 0);
        self.buckets.fill(0);
    }

    /// Takes in what has come since the last time. `now` is monotonic.
    pub fn observe(&mut self, now: Duration, totals: &Totals) {
        self.drop_old(now);
        let finished = totals.finished();
        let [succeeded, cancelled] =
            [SUCCESS, CANCELLED].map(|at| totals.requests.get(at).copied().unwrap_or(0));
        let mut step = Step {
            begun: now,
            finished: finished.saturating_sub(self.seen.finished),
            succeeded: succeeded.saturating_sub(self.seen.succeeded),
            cancelled: cancelled.saturating_sub(self.seen.cancelled),
            buckets: Vec::new(),
        };
        self.seen.finished = finished;
        self.seen.succeeded = succeeded;
        self.seen.cancelled = cancelled;
        if let Some(durations) = &totals.durations {
            step.buckets = self.new_observations(durations);
        }
        if step.finished > 0 || !step.buckets.is_empty() {
            self.add(step);
        }
    }

    fn new_observations(&mut self, durations: &Durations) -> Vec<(usize, u64)> {
        let shape = &durations.shape;
        if !self.has_shape(shape) {
            self.seen.buckets = moved(self.shape.as_deref(), shape, &self.seen.buckets);
            self.take_shape(shape);
        }
        let (told, Seen { found, buckets, .. }) = (durations.count(), &mut self.seen);
        let counts = std::iter::once(&durations.zero).chain(&durations.native);
        let mut changed = Vec::new();
        for (index, (seen, count)) in buckets.iter_mut().zip(counts).enumerate() {
            if *found >= told {
                break;
            }
            if *count > *seen {
                *found = found.saturating_add(*count - *seen);
                changed.push((index, *count - *seen));
                *seen = *count;
            }
        }
        changed
    }

    fn has_shape(&self, shape: &Arc<Shape>) -> bool {
        self.shape.as_ref().is_some_and(|own| is_same(own, shape))
    }

    /// Goes on in other buckets: coarser ones, since totals never get finer.
    fn take_shape(&mut self, shape: &Arc<Shape>) {
        self.buckets = moved(self.shape.as_deref(), shape, &self.buckets);
        if let Some(old) = self.shape.replace(Arc::clone(shape)) {
            for step in &mut self.steps {
                let fine = std::mem::take(&mut step.buckets).into_iter();
                let place = |(at, count)| (buckets::place(&old, shape, at), count);
                step.merge_buckets(fine.map(place));
            }
        }
    }

    fn add(&mut self, step: Step) {
        self.finished = self.finished.saturating_add(step.finished);
        self.succeeded = self.succeeded.saturating_add(step.succeeded);
        self.cancelled = self.cancelled.saturating_add(step.cancelled);
        for (index, count) in &step.buckets {
            if let Some(sum) = self.buckets.get_mut(*index) {
                *sum = sum.saturating_add(*count);
            }
        }
        match self.steps.back_mut() {
            Some(last) if step.begun < last.begun + STEP => last.merge(step),
            _ => self.steps.push_back(step),
        }
    }

    fn drop_old(&mut self, now: Duration) {
        while self.steps.front().is_some_and(|step| step.begun + LENGTH <= now) {
            let Some(step) = self.steps.pop_front() else { return };
            self.finished = self.finished.saturating_sub(step.finished);
            self.succeeded = self.succeeded.saturating_sub(step.succeeded);
            self.cancelled = self.cancelled.saturating_sub(step.cancelled);
            for (index, count) in &step.buckets {
                if let Some(sum) = self.buckets.get_mut(*index) {
                    *sum = sum.saturating_sub(*count);
                }
            }
        }
    }

    /// Requests that ended and were not cancelled by whoever asked.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.finished.saturating_sub(self.cancelled)
    }

    /// Share of [`Window::judged`] requests that succeeded; `None` when there were none.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // A share needs no more than 53 bits.
    pub fn success_rate(&self) -> Option<f64> {
        let judged = self.judged();
        (judged > 0).then(|| self.succeeded as f64 / judged as f64)
    }

    /// The duration in seconds that a share `q` of the observations do not exceed, by nearest rank;
    /// `None` without observations. Off by at most [`Window::relative_error`]; in the zero bucket, of
    /// durations up to a microsecond, by half of one; above the last bucket it is the last bucket's.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let [value] = self.quantiles([q]);
        value
    }

    /// As [`Window::quantile`], of several, which rise.
    #[must_use]
    pub fn quantiles<const N: usize>(&self, wanted: [f64; N]) -> [Option<f64>; N] {
        let total: u64 = self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count));
        let Some(shape) = self.shape.as_ref().filter(|_| total > 0) else { return [None; N] };
        let mut counts = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        let (mut below, mut last) = (0.0, 0);
        wanted.map(|q| {
            #[allow(clippy::cast_precision_loss)]
            let rank = (q.clamp(0.0, 1.0) * total as f64).max(f64::MIN_POSITIVE);
            while below < rank {
                let (index, count) = counts.next()?;
                #[allow(clippy::cast_precision_loss)]
                let count = *count as f64;
                (below, last) = (below + count, index);
            }
            Some(buckets::middle(shape, last))
        })
    }

    /// By what share a quantile may be off; `None` before there are durations.
    #[must_use]
    pub fn relative_error(&self) -> Option<f64> {
        self.shape.as_ref().map(|shape| buckets::relative_error(shape.schema))
    }
}

impl Step {
    fn merge(&mut self, other: Self) {
        self.finished = self.finished.saturating_add(other.finished);
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.cancelled = self.cancelled.saturating_add(other.cancelled);
        self.merge_buckets(other.buckets.into_iter());
    }

    fn merge_buckets(&mut self, others: impl Iterator<Item = (usize, u64)>) {
        for (index, count) in others {
            match self.buckets.binary_search_by_key(&index, |(at, _)| *at) {
                Ok(place) => {
                    if let Some((_, sum)) = self.buckets.get_mut(place) {
                        *sum = sum.saturating_add(count);
                    }
                }
                Err(place) => self.buckets.insert(place, (index, count)),
            }
        }
    }
}

/// Counts in other buckets.
fn moved(old: Option<&Shape>, new: &Shape, counts: &[u64]) -> Vec<u64> {
    let mut sums = vec![0_u64; new.native_count as usize + 1];
    let Some(old) = old else { return sums };
    for (index, count) in counts.iter().enumerate() {
        if let Some(sum) = sums.get_mut(buckets::place(old, new, index)) {
            *sum = sum.saturating_add(*count);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn observe(totals: &mut Totals, value: f64) {
        observe_at(3, totals, value);
    }

    /// Counts a value as a client does whose durations are of a schema.
    fn observe_at(schema: i32, totals: &mut Totals, value: f64) {
        let shape = Arc::new(Shape::durations_at(schema));
        let place = (value.log2() * f64::from(schema).exp2()).ceil() as i32 - shape.first + 1;
        let place = usize::try_from(place).unwrap_or(0).min(shape.native_count as usize);
        let mut words = vec![0; shape.words()];
        words[1 + place] = 1;
        words[shape.words() - 1] = 1;
        totals.durations_of(&shape).add_words(&shape, &words);
    }

    /// Numbers from 0 to 1, without either, the same in each run.
    fn uniform() -> impl FnMut() -> f64 {
        let mut state = 12_345_u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        }
    }

    /// Durations as agents have them, by what they are an example of.
    fn distributions() -> Vec<(&'static str, Vec<f64>)> {
        let mut uniform = uniform();
        let mut normal = move || {
            let (one, other) = (uniform(), uniform());
            (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
        };
        let mut many = |of: &mut dyn FnMut(f64) -> f64| -> Vec<f64> {
            (0..5000).map(|_| of(normal())).collect()
        };
        let log_normal = many(&mut |z| (z - 2.0).exp());
        let mut turn = 0;
        let bimodal = many(&mut |z| {
            turn += 1;
            if turn % 10 == 0 { 30.0 + z } else { 0.02 + 0.001 * z }
        });
        // No mean: a few of them outweigh all others.
        let heavy = many(&mut |z| (0.01 * (z * z).exp()).min(15_000.0));
        let constant = many(&mut |_| 0.25);
        let tiny = many(&mut |z| 2e-6 * (0.2 * z).exp());
        let huge = many(&mut |z| 5000.0 * (0.2 * z).exp().clamp(0.5, 3.0));
        let few = vec![0.3, 7.0, 0.001];
        let one = vec![4.2];
        vec![
            ("log-normal", log_normal),
            ("bimodal", bimodal),
            ("heavy tail", heavy),
            ("constant", constant),
            ("tiny", tiny),
            ("huge", huge),
            ("few", few),
            ("one", one),
        ]
    }

    #[test]
    fn quantiles_are_within_the_stated_error_of_the_exact_ones() {
        for (name, mut values) in distributions() {
            for (schema, percent) in [(5, 1.1), (4, 2.2), (3, 4.34), (0, 33.4)] {
                let mut totals = Totals::default();
                let mut window = Window::starting_from(&totals);
                for value in &values {
                    observe_at(schema, &mut totals, *value);
                }
                window.observe(seconds(1), &totals);
                let stated = window.relative_error().unwrap();
                assert!(stated * 100.0 < percent, "{stated}");
                values.sort_by(f64::total_cmp);
                let wanted = [0.5, 0.9, 0.95, 0.99, 0.999];
                assert_eq!(window.quantiles(wanted), wanted.map(|q| window.quantile(q)));
                for q in wanted {
                    let rank = (q * values.len() as f64).ceil() as usize;
                    let (exact, estimate) = (values[rank - 1], window.quantile(q).unwrap());
                    let error = (estimate / exact - 1.0).abs();
                    assert!(error < stated + 1e-9, "{name} {schema} {q}: {estimate} for {exact}");
                }
            }
        }
    }

    #[test]
    fn a_change_of_buckets_leaves_what_is_in_the_window_there() {
        let mut totals = Totals::default();
        let mut window = Window::starting_from(&totals);
        for (at, schema, value) in [(10, 5, 1.0), (20, 5, 8.0), (30, 3, 2.0), (40, 4, 2.0)] {
            observe_at(schema, &mut totals, value);
            window.observe(seconds(at), &totals);
        }
        assert_eq!(window.buckets.iter().sum::<u64>(), 4);
        assert!((window.quantile(0.25).unwrap() - 1.0).abs() < 0.0434);
        assert!((window.quantile(1.0).unwrap() / 8.0 - 1.0).abs() < 0.0434);
        window.observe(seconds(325), &totals);
        assert_eq!(window.buckets.iter().sum::<u64>(), 2, "the oldest leave it");
        assert!((window.quantile(1.0).unwrap() / 2.0 - 1.0).abs() < 0.0434);
        // A ledger that brings coarser buckets along changes what is seen, not what is counted.
        observe_at(1, &mut totals, 4.0);
        window.skip_to(&totals);
        window.observe(seconds(326), &totals);
        assert_eq!(window.buckets.iter().sum::<u64>(), 2);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut totals = Totals::default();
        let mut window = Window::starting_from(&totals);
        totals.requests = [8, 1, 1, 5, 0];
        observe(&mut totals, 1.0);
        window.observe(seconds(100), &totals);
        assert_eq!((window.judged(), window.success_rate()), (10, Some(0.8)));
        assert!(window.quantile(0.5).is_some());
        totals.requests[1] += 10;
        window.observe(seconds(109), &totals);
        window.observe(seconds(200), &totals);
        assert_eq!(window.steps.len(), 1);
        assert_eq!(window.success_rate(), Some(0.4));
        window.observe(seconds(401), &totals);
        assert_eq!((window.judged(), window.success_rate(), window.quantile(0.5)), (0, None, None));
    }

    #[test]
    fn what_was_there_before_does_not_count() {
        let mut totals = Totals { requests: [0, 99, 0, 0, 0], ..Totals::default() };
        observe(&mut totals, 2.0);
        let window = Window::starting_from(&totals);
        assert_eq!((window.success_rate(), window.quantile(0.9)), (None, None));
    }
}
