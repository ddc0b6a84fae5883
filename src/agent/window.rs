//! The last minutes of an agent: rates and quantiles from differences of its totals.
//!
//! Differences are kept sparsely, a step of ten seconds each; a step that falls out of the window
//! is subtracted again, so that reading costs nothing but a walk over the buckets.
//!
//! Must not know where totals come from or what is concluded from them.

use super::totals::{CANCELLED, Durations, SUCCESS, Totals};
use musterd_client::layout::Shape;
use std::collections::VecDeque;
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
    shape: Option<Shape>,
}

#[derive(Debug, Default)]
struct Seen {
    finished: u64,
    succeeded: u64,
    cancelled: u64,
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
        if self.shape != past.shape {
            self.forget();
            self.buckets = past.buckets;
            self.shape = past.shape;
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
        if self.shape.as_ref() != Some(&durations.shape) {
            let count = durations.native.len() + 1;
            self.shape = Some(durations.shape.clone());
            self.buckets = vec![0; count];
            self.seen.buckets = vec![0; count];
        }
        let counts = std::iter::once(&durations.zero).chain(&durations.native);
        let mut changed = Vec::new();
        for (index, (seen, count)) in self.seen.buckets.iter_mut().zip(counts).enumerate() {
            if *count > *seen {
                changed.push((index, *count - *seen));
                *seen = *count;
            }
        }
        changed
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

    /// The duration in seconds below which a share `q` of the observations lie; `None` without
    /// observations. Off by at most the width of a bucket to either side of its middle: 4.3 % at
    /// schema 3.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let shape = self.shape.as_ref()?;
        let total: u64 = self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count));
        if total == 0 {
            return None;
        }
        #[allow(clippy::cast_precision_loss)]
        let rank = (q.clamp(0.0, 1.0) * total as f64).max(f64::MIN_POSITIVE);
        let mut below = 0.0;
        for (index, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            #[allow(clippy::cast_precision_loss)]
            let count = *count as f64;
            if below + count >= rank {
                return Some(within_bucket(shape, index, (rank - below) / count));
            }
            below += count;
        }
        None
    }
}

impl Step {
    fn merge(&mut self, other: Self) {
        self.finished = self.finished.saturating_add(other.finished);
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.cancelled = self.cancelled.saturating_add(other.cancelled);
        for (index, count) in other.buckets {
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

/// The value at a share of the way through a bucket, on the logarithmic scale that the buckets
/// have themselves. Bucket 0 is the zero bucket.
fn within_bucket(shape: &Shape, index: usize, share: f64) -> f64 {
    let Some(place) = index.checked_sub(1) else { return shape.zero_threshold * share };
    let place = i32::try_from(place).unwrap_or(i32::MAX).saturating_add(shape.first);
    let position = f64::from(place) - 1.0 + share;
    (position * (-f64::from(shape.schema)).exp2()).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn observe(totals: &mut Totals, value: f64) {
        let shape = Shape::durations();
        let durations = totals.durations_of(&shape).unwrap();
        let index = (value.log2() * 8.0).ceil() as i32 - shape.first;
        durations.native[usize::try_from(index).unwrap()] += 1;
    }

    #[test]
    fn quantiles_are_within_the_stated_error_of_the_exact_ones() {
        let mut totals = Totals::default();
        let mut window = Window::starting_from(&totals);
        // A long-tailed distribution, by a small deterministic generator.
        let mut state = 12_345_u64;
        let mut values: Vec<f64> = (0..20_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
                0.01 * (-(1.0 - uniform).ln()).powi(2) + 0.0001
            })
            .collect();
        for value in &values {
            observe(&mut totals, *value);
        }
        window.observe(seconds(1), &totals);
        values.sort_by(f64::total_cmp);
        for q in [0.5, 0.9, 0.95, 0.99, 0.999] {
            let exact = values[(q * values.len() as f64) as usize - 1];
            let estimate = window.quantile(q).unwrap();
            assert!((estimate / exact - 1.0).abs() < 0.09, "{q}: {estimate} for {exact}");
        }
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
