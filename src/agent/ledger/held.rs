//! The series of a ledger as they were last read: what has come since is added up, and what goes back is
//! held.
//!
//! Must not know records, nor what an agent is.

use super::Books;
use crate::agent::series::RowId;
use musterd_client::layout::Shape;
use musterd_client::memory::Memory;
use std::sync::Arc;

/// A series of one word.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) values: u32,
    pub(super) what: What,
    /// What was last read, so that only what has changed is added, and a counter that goes back is held.
    pub(super) held: u64,
}

/// What the word of a series counts, and where that is added up.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// Requests that ended in one way.
    Requests(u8),
    Count(RowId),
    /// A counter of fractions.
    Sum(RowId),
    Gauge(RowId),
}

/// A series of many words.
#[derive(Debug)]
pub(super) struct Histogram {
    pub(super) values: u32,
    /// Its row; none for the durations of requests.
    pub(super) row: Option<RowId>,
    /// Its buckets, which may be finer than those that it is added up in.
    pub(super) shape: Arc<Shape>,
    pub(super) held: Vec<u64>,
    pub(super) search: Search,
}

/// How far what classic buckets tell of has been found in exponential ones.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Observations that classic buckets have told of.
    told: u64,
    /// Those that were found.
    found: u64,
    /// Looks in sequence that have found nothing of what was missing.
    vain: u8,
    /// Observations that are not looked for any more.
    given_up: u64,
}

/// How many looks may find nothing of what is missing: in ledgers that keep to the order of stores one is
/// enough, and each reads all exponential buckets.
const VAIN_LOOKS: u8 = 3;

impl Search {
    fn is_on(&self) -> bool {
        self.told > self.found
    }

    fn tell(&mut self, more: u64) {
        self.told = self.told.saturating_add(more);
    }

    fn find(&mut self, more: u64) {
        self.found = self.found.saturating_add(more);
    }

    /// A look is over, before which `found` had been found.
    fn end_look(&mut self, found: u64) {
        let is_vain = self.is_on() && self.found == found;
        self.vain = if is_vain { self.vain + 1 } else { 0 };
        if self.vain >= VAIN_LOOKS {
            self.given_up = self.given_up.saturating_add(self.told - self.found);
            self.told = self.found;
            self.vain = 0;
        }
    }

    /// Takes up again what was given up.
    pub(super) fn resume(&mut self) {
        let given_up = std::mem::take(&mut self.given_up);
        self.tell(given_up);
    }
}

impl Number {
    /// Takes a word that is not the one that was read before. Whether it is to be added up anew over all
    /// ledgers.
    pub(super) fn take(&mut self, word: u64, books: &mut Books<'_>) -> bool {
        match self.what {
            What::Requests(_) | What::Count(_) if word < self.held => return false,
            What::Requests(status) => books.totals.add_requests(status.into(), word - self.held),
            What::Count(row) => books.series.count(row, word - self.held),
            What::Sum(_) if !has_grown(self.held, word) => return false,
            What::Sum(row) | What::Gauge(row) => {
                self.held = word;
                return !books.series.show_only(row, f64::from_bits(word));
            }
        }
        self.held = word;
        false
    }
}

impl Histogram {
    /// The sum, as last read.
    pub(super) fn sum(&self) -> f64 {
        self.held.first().copied().map_or(0.0, f64::from_bits)
    }

    /// Adds what has come since the last time, but for its sum, which is returned if it has changed.
    ///
    /// Every observation counts once in each part. So the far longer exponential one is looked through only
    /// until as many have been found as the classic one tells of; what is not there yet is looked for again, a few
    /// times.
    pub(super) fn read(&mut self, memory: &Memory, books: &mut Books<'_>) -> Option<f64> {
        let Self { values, row, shape, held, search } = self;
        let word = |place: usize| *values as usize + 8 * place;
        let classic = 2 + shape.native_count as usize;
        let (others, classics) = held.split_at_mut_checked(classic)?;
        let (held_sum, natives) = others.split_first_mut()?;
        let sum = memory.load(word(0));
        let is_as_held =
            |(place, held): (usize, &u64)| memory.load_published(word(classic + place)) == *held;
        if *held_sum == sum && !search.is_on() && classics.iter().enumerate().all(is_as_held) {
            return None;
        }
        let durations = match *row {
            Some(row) => books.series.buckets(row),
            None => books.totals.durations.as_mut(),
        }?;
        let grown = classics.iter_mut().enumerate().filter_map(|(place, held)| {
            let more = take_growth(held, memory.load_published(word(classic + place)))?;
            search.tell(more);
            Some((classic - 1 + place, more))
        });
        durations.add_counts(shape, grown);
        let found_before = search.found;
        let mut natives = natives.iter_mut().enumerate();
        let grown = std::iter::from_fn(|| {
            while search.is_on() {
                let (place, held) = natives.next()?;
                if let Some(more) = take_growth(held, memory.load(word(1 + place))) {
                    search.find(more);
                    return Some((place, more));
                }
            }
            None
        });
        durations.add_counts(shape, grown);
        search.end_look(found_before);
        if !has_grown(*held_sum, sum) {
            return None;
        }
        *held_sum = sum;
        Some(f64::from_bits(sum))
    }
}

/// By how much a count has grown, which is noted as held; nothing if it has not, or has gone back.
fn take_growth(held: &mut u64, word: u64) -> Option<u64> {
    let more = word.checked_sub(*held).filter(|more| *more > 0)?;
    *held = word;
    Some(more)
}

/// Whether a sum is one that can have come after another.
fn has_grown(before: u64, now: u64) -> bool {
    let (before, now) = (f64::from_bits(before), f64::from_bits(now));
    now.is_finite() && now > before
}
