//! One ledger: read word by word, and closed when its agent has gone. The layout is that of
//! `docs/ledger.md`.
//!
//! Everything that an agent may have written is hostile: a record is checked once, when it is
//! first seen, and what was read of it then is what counts; after that only its value words are
//! read, at offsets known to lie within the memory. Values that go back are held.
//!
//! Must not know about sockets, names of agents or exposition.

mod file;
mod held;
mod record;
pub(super) mod written;

pub use file::FileId;
pub(super) use file::random_identity;

use super::catalog::Catalog;
use super::declaration::Declared;
use super::faults::{Fault, Faults};
use super::series::{Limits, RowId, SeriesTable};
use super::totals::{ABORTED, STATUSES, Totals};
use held::{Histogram, Number, Search, What};
use musterd_client::layout::{
    DURATION_BOUNDS, JOURNAL_LIMIT, Kind, RECORD_HEAD, RECORDS, SLOT_COUNT, SLOTS, Shape, header,
    journal_pair, names,
};
use musterd_client::memory::Memory;
use record::Record;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// A ledger that is in use.
#[derive(Debug)]
pub struct Ledger {
    memory: Memory,
    file: FileId,
    /// Where the next record is expected.
    parsed: usize,
    /// Where the values of each record begin, and how many words they are, those that are of no use
    /// included.
    values: Vec<(u32, u32)>,
    /// Hashes of names and labels, so that no series is there twice.
    seen: HashSet<u64>,
    hasher: RandomState,
    numbers: Vec<Number>,
    histograms: Vec<Histogram>,
    max_records: usize,
    /// Whether no more records are looked at.
    is_given_up: bool,
    faults: Faults,
}

/// What an agent's ledgers are added up in.
#[derive(Debug)]
pub struct Books<'a> {
    /// Its requests.
    pub totals: &'a mut Totals,
    /// All else.
    pub series: &'a mut SeriesTable,
    /// The families of all agents.
    pub catalog: &'a mut Catalog,
    /// How much an agent may have.
    pub limits: &'a Limits,
}

/// What is to be added up anew over all ledgers of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// Gauges and sums of series: by [`Ledger::add_sums`].
    pub series: bool,
    /// The sum of the durations of requests: by [`Ledger::duration_sum`].
    pub durations: bool,
}

/// What a ledger says at one moment, besides its totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Requests in flight.
    pub in_flight: u64,
    /// When the oldest of those with a slot began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub oldest_begun: Option<u64>,
    /// When the agent last showed life, likewise.
    pub heartbeat: Option<u64>,
}

impl Ledger {
    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.memory.size()
    }

    /// What has been wrong with its contents so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = self.faults;
        faults.add(Fault::NoRoom, self.memory.load(header::RECORDS_REFUSED));
        faults
    }

    /// Whether the agent has ended it on purpose.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.memory.load_published(header::CLOSED) == 1
    }

    /// Whether no record has been found in it yet.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.parsed == RECORDS
    }

    /// Whether its counts have been added to its agent's totals.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.memory.load_published(header::RETIRED) != 0
    }

    /// Number of series in use.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.numbers.len() + self.histograms.len()
    }

    /// Notes how often the agent will show life. It stands in the ledger, for the daemon that has it next.
    pub fn promise(&self, every: Option<Duration>) {
        let nanos = every.and_then(|every| u64::try_from(every.as_nanos()).ok());
        self.memory.store(header::PROMISE, nanos.unwrap_or(0));
    }

    /// How often the agent has promised to show life.
    #[must_use]
    pub fn promised(&self) -> Option<Duration> {
        let nanos = self.memory.load(header::PROMISE);
        (nanos != 0).then(|| Duration::from_nanos(nanos))
    }

    /// When the agent has last shown life in it.
    #[must_use]
    pub fn heartbeat(&self) -> Option<Duration> {
        let nanos = self.memory.load(header::HEARTBEAT);
        (nanos != 0).then(|| Duration::from_nanos(nanos))
    }

    /// Requests in flight and signs of life.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let mut activity = Activity {
            in_flight: self.unslotted(),
            oldest_begun: None,
            heartbeat: Some(self.memory.load(header::HEARTBEAT)).filter(|at| *at != 0),
        };
        for slot in 0..SLOT_COUNT {
            let begun = self.memory.load(SLOTS + 8 * slot);
            if begun != 0 {
                activity.in_flight = activity.in_flight.saturating_add(1);
                let oldest = activity.oldest_begun.map_or(begun, |oldest| oldest.min(begun));
                activity.oldest_begun = Some(oldest);
            }
        }
        activity
    }

    fn unslotted(&self) -> u64 {
        let begun = self.memory.load(header::UNSLOTTED_BEGUN);
        begun.saturating_sub(self.memory.load(header::UNSLOTTED_ENDED))
    }

    /// Adds what has come since the last time. What is no whole number may have to be added up anew over all
    /// ledgers: whether it has to be is returned.
    pub fn read(&mut self, books: &mut Books<'_>) -> Stale {
        let mut stale = Stale { series: self.find_new_records(books), durations: false };
        for number in &mut self.numbers {
            let word = self.memory.load(number.values as usize);
            if word != number.held {
                stale.series |= number.take(word, books);
            }
        }
        for histogram in &mut self.histograms {
            let Some(sum) = histogram.read(&self.memory, books) else { continue };
            match histogram.row {
                Some(row) => stale.series |= !books.series.show_only(row, sum),
                None => stale.durations = true,
            }
        }
        stale
    }

    /// The sum of the durations of its requests, as last read.
    #[must_use]
    pub fn duration_sum(&self) -> f64 {
        let durations = self.histograms.iter().find(|histogram| histogram.row.is_none());
        durations.map_or(0.0, Histogram::sum)
    }

    /// Adds its gauges and its sums of fractions, as last read: to be added up over all ledgers.
    pub fn add_sums(&self, series: &mut SeriesTable) {
        for number in &self.numbers {
            if let What::Sum(row) | What::Gauge(row) = number.what {
                series.add_sum(row, f64::from_bits(number.held));
            }
        }
        for histogram in &self.histograms {
            if let Some(row) = histogram.row {
                series.add_sum(row, histogram.sum());
            }
        }
    }

    /// Closes the books on an agent that has gone: an update it was in the midst of is completed,
    /// requests in flight are counted as aborted, everything is added to `retired` and to what is
    /// retired of its series, and whoever still holds the memory is told that it counts no more.
    pub fn retire(mut self, books: &mut Books<'_>, retired: &mut Totals) -> Faults {
        self.complete_journal(books);
        self.histograms.iter_mut().for_each(|histogram| histogram.search.resume());
        self.read(books);
        for number in &self.numbers {
            match number.what {
                What::Requests(status) => retired.add_requests(status.into(), number.held),
                What::Count(row) | What::Sum(row) | What::Gauge(row) => {
                    books.series.retire(row, number.held);
                }
            }
        }
        for histogram in &self.histograms {
            match (histogram.row, &books.totals.durations) {
                (Some(row), _) => {
                    books.series.retire_histogram(row, &histogram.shape, &histogram.held);
                }
                (None, current) => {
                    // The buckets in use stay in use, whichever ledger is retired first.
                    let shape = current.as_ref().map_or(&histogram.shape, |all| &all.shape);
                    retired.durations_of(shape).add_words(&histogram.shape, &histogram.held);
                }
            }
        }
        let aborted = self.activity().in_flight;
        retired.add_requests(ABORTED, aborted);
        books.totals.add_requests(ABORTED, aborted);
        self.memory.publish(header::RETIRED, 1);
        self.faults()
    }

    fn complete_journal(&mut self, books: &mut Books<'_>) {
        self.find_new_records(books);
        let count = self.memory.load_published(header::JOURNAL_COUNT);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > JOURNAL_LIMIT {
            self.faults.note(Fault::Malformed);
            return;
        }
        for index in 0..count {
            let pair = journal_pair(index);
            let offset = usize::try_from(self.memory.load(pair)).unwrap_or(usize::MAX);
            if self.may_be_updated(offset) {
                self.memory.store(offset, self.memory.load(pair + 8));
            } else {
                self.faults.note(Fault::Malformed);
            }
        }
        self.memory.publish(header::JOURNAL_COUNT, 0);
    }

    fn may_be_updated(&self, offset: usize) -> bool {
        let before = self.values.partition_point(|(start, _)| *start as usize <= offset);
        let nearest = before.checked_sub(1).and_then(|place| self.values.get(place));
        (SLOTS..RECORDS).contains(&offset)
            || [header::UNSLOTTED_BEGUN, header::UNSLOTTED_ENDED].contains(&offset)
            || nearest
                .is_some_and(|(start, words)| offset - (*start as usize) < 8 * *words as usize)
    }

    /// Checks the records that have been published since the last time. Whether there is a series more.
    fn find_new_records(&mut self, books: &mut Books<'_>) -> bool {
        let end = self.memory.load_published(header::RECORDS_END);
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        if end == self.parsed || self.is_given_up {
            return false;
        }
        if end > self.memory.size() || end < self.parsed || !end.is_multiple_of(8) {
            self.give_up(Fault::Malformed);
            return false;
        }
        let before = self.series_count();
        let mut text = Vec::new();
        while self.parsed < end {
            let size = self.memory.load(self.parsed) & 0xffff_ffff;
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let is_wild = size < RECORD_HEAD || !size.is_multiple_of(8);
            if is_wild || size > end - self.parsed {
                self.give_up(Fault::Malformed);
                break;
            }
            if self.values.len() >= self.max_records {
                self.give_up(Fault::OverLimit);
                break;
            }
            // From here on only this copy is looked at: the agent may change the original.
            text.clear();
            for offset in (self.parsed..self.parsed + size).step_by(8) {
                text.extend(self.memory.load(offset).to_le_bytes());
            }
            let Some(record) = Record::parse(&text) else {
                self.give_up(Fault::Malformed);
                break;
            };
            self.admit(&record, books);
            self.parsed += size;
        }
        self.series_count() > before
    }

    fn give_up(&mut self, fault: Fault) {
        self.faults.note(fault);
        self.is_given_up = true;
    }

    fn admit(&mut self, record: &Record<'_>, books: &mut Books<'_>) {
        let Record { declared, values, words } = record;
        let [values, words] =
            [self.parsed + values, *words].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        self.values.push((values, words));
        let mut labels: Vec<_> =
            declared.labels.iter().filter(|(_, value)| !value.is_empty()).collect();
        labels.sort_unstable();
        let identity = self.hasher.hash_one((declared.name, labels));
        let faults = &mut self.faults;
        if !self.seen.insert(identity) {
            books.series.complain(declared.name, Fault::Duplicate, faults);
            return;
        }
        match place(declared, books, faults) {
            None => {}
            Some(Place::Number(what)) => self.numbers.push(Number { values, what, held: 0 }),
            Some(Place::Histogram(row, shape)) => {
                let held = vec![0; shape.words()];
                let search = Search::default();
                let new = Histogram { values, row, held, shape, search };
                self.histograms.push(new);
            }
        }
    }
}

/// Where a record is counted.
enum Place {
    Number(What),
    /// Its row, and its buckets.
    Histogram(Option<RowId>, Arc<Shape>),
}

fn place(declared: &Declared<'_>, books: &mut Books<'_>, faults: &mut Faults) -> Option<Place> {
    let shape = declared.shape.as_ref().map(|shape| books.catalog.share(shape));
    let requests = match (declared.name, declared.kind, declared.labels.as_slice()) {
        (names::REQUESTS, Kind::Counter, [("status", status)]) => {
            let known = (0..).zip(&STATUSES[..ABORTED]).find(|(_, known)| *known == status);
            known.map(|(at, _)| Place::Number(What::Requests(at))).ok_or(Fault::Unknown)
        }
        (names::DURATION, Kind::Histogram, []) => match shape {
            Some(shape) if shape.bounds != DURATION_BOUNDS => Err(Fault::Conflict),
            Some(shape) => {
                books.totals.durations_of(&shape);
                Ok(Place::Histogram(None, shape))
            }
            None => Err(Fault::Malformed),
        },
        (names::REQUESTS | names::DURATION, ..) => Err(Fault::Unknown),
        _ => {
            let Books { series, catalog, limits, .. } = books;
            let row = series.place(declared, shape.as_ref(), catalog, limits, faults)?;
            return Some(match (declared.kind, shape) {
                (_, Some(shape)) => Place::Histogram(Some(row), shape),
                (Kind::FractionCounter, None) => Place::Number(What::Sum(row)),
                (Kind::Gauge, None) => Place::Number(What::Gauge(row)),
                (_, None) => Place::Number(What::Count(row)),
            });
        }
    };
    let complain = |fault| books.series.complain(declared.name, fault, faults);
    requests.map_err(complain).ok()
}

#[cfg(test)]
mod tests;
