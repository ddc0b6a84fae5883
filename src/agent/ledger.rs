//! One ledger: made and sealed here, read word by word, and closed when its agent has gone. The
//! layout is that of `docs/ledger.md`.
//!
//! Everything that an agent may have written is hostile: a record is checked once, when it is
//! first seen, and what was read of it then is what counts; after that only its value words are
//! read, at offsets known to lie within the memory. Values that go back are held.
//!
//! Must not know about sockets, names of agents or exposition.

mod record;

use super::catalog::Catalog;
use super::declaration::Declared;
use super::faults::{Fault, Faults};
use super::series::{Limits, RowId, SeriesTable};
use super::totals::{ABORTED, STATUSES, Totals};
use musterd_client::layout::{
    HEADER_SIZE, JOURNAL_LIMIT, Kind, MAGIC, RECORD_HEAD, RECORDS, SLOT_COUNT, SLOTS, Shape,
    VERSION, header, journal_pair, names,
};
use musterd_client::memory::Memory;
use musterd_client::write_header;
use record::Record;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// The kernel's own name for a memory file: no two that exist at the same time share it, whatever
/// is written in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(u64, u64);

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

/// A series of one word.
#[derive(Debug)]
struct Number {
    values: u32,
    what: What,
    /// What was last read, so that only what has changed is added, and a counter that goes back is held.
    held: u64,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// Requests that ended in one way.
    Requests(u8),
    Count(RowId),
    /// A counter of fractions.
    Sum(RowId),
    Gauge(RowId),
}

#[derive(Debug)]
struct Histogram {
    values: u32,
    /// Its row; none for the durations of requests.
    row: Option<RowId>,
    /// Its buckets, which may be finer than those that it is added up in.
    shape: Arc<Shape>,
    held: Vec<u64>,
    /// Observations that classic buckets have told of, and that were found in exponential ones.
    told: u64,
    found: u64,
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
    /// Makes an empty ledger, sealed, and the file to hand over, which has `name` in the kernel.
    ///
    /// # Errors
    /// What the kernel said, when there is no memory or no descriptor left.
    pub fn create(name: &str, size: usize, max_records: usize) -> io::Result<(Self, OwnedFd)> {
        let size = size.next_multiple_of(4096).max(2 * 4096);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL)
            // Kernels before 6.3 know no NOEXEC_SEAL.
            .or_else(|_| memfd_create(name, flags))?;
        ftruncate(&file, size as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let memory = Memory::map(&file, size)?;
        write_header(&memory, random_identity());
        Ok((Self::over(memory, &file, max_records)?, file))
    }

    /// Takes on a ledger that an agent has kept while there was no daemon.
    ///
    /// # Errors
    /// `InvalidData` when it is not one: not sealed, of a wrong size, with a wrong header, or
    /// retired before.
    pub fn adopt(file: impl AsFd, limit: usize, max_records: usize) -> io::Result<Self> {
        let ledger = Self::restore(file, limit, max_records)?;
        if ledger.is_retired() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has been retired"));
        }
        Ok(ledger)
    }

    /// Takes on a ledger that was kept for the daemon. One that the daemon before has retired is
    /// taken on, too: whether that daemon came to write down its counts, the caller knows.
    ///
    /// # Errors
    /// `InvalidData` when it is not one: not sealed, of a wrong size, or with a wrong header.
    pub fn restore(file: impl AsFd, limit: usize, max_records: usize) -> io::Result<Self> {
        let memory = Memory::map(&file, limit.next_multiple_of(4096).max(2 * 4096))?;
        Self::on(memory, &file, max_records)
    }

    /// As [`Ledger::restore`], of a file that has been mapped already.
    ///
    /// # Errors
    /// `InvalidData` when its header is not that of a ledger.
    pub fn on(memory: Memory, file: &impl AsFd, max_records: usize) -> io::Result<Self> {
        let refuse = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        let pair = |low: usize, high: usize| low as u64 | (high as u64) << 32;
        let expected = [
            (header::MAGIC, u64::from_le_bytes(MAGIC)),
            (header::VERSION_AND_SIZE, pair(VERSION as usize, HEADER_SIZE)),
            (header::SIZE, memory.size() as u64),
            (header::SLOTS, pair(SLOTS, SLOT_COUNT)),
            (header::RECORDS, pair(RECORDS, 0)),
        ];
        if expected.iter().any(|(offset, word)| memory.load(*offset) != *word) {
            return refuse("its header is not that of a ledger");
        }
        Self::over(memory, file, max_records)
    }

    fn over(memory: Memory, file: &impl AsFd, max_records: usize) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self {
            memory,
            file: FileId(stat.st_dev, stat.st_ino),
            parsed: RECORDS,
            values: Vec::new(),
            seen: HashSet::new(),
            hasher: RandomState::new(),
            numbers: Vec::new(),
            histograms: Vec::new(),
            max_records,
            is_given_up: false,
            faults: Faults::default(),
        })
    }

    /// The kernel's name for the file behind it.
    #[must_use]
    pub fn file(&self) -> FileId {
        self.file
    }

    /// The kernel's name for any file that claims to be a ledger.
    ///
    /// # Errors
    /// What fstat(2) said.
    pub fn file_of(file: impl AsFd) -> io::Result<FileId> {
        let stat = fstat(file)?;
        Ok(FileId(stat.st_dev, stat.st_ino))
    }

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
                let new = Histogram { values, row, held, shape, told: 0, found: 0 };
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

impl Number {
    /// Takes a word that is not the one that was read before. Whether it is to be added up anew over all
    /// ledgers.
    fn take(&mut self, word: u64, books: &mut Books<'_>) -> bool {
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
    fn sum(&self) -> f64 {
        self.held.first().copied().map_or(0.0, f64::from_bits)
    }

    /// Adds what has come since the last time, but for its sum, which is returned if it has changed.
    ///
    /// Every observation counts once in each part. So the far longer exponential one is looked through only
    /// until as many have been found as the classic one tells of; what is not there yet is looked for again.
    fn read(&mut self, memory: &Memory, books: &mut Books<'_>) -> Option<f64> {
        let Self { values, row, shape, held, told, found } = self;
        let word = |place: usize| *values as usize + 8 * place;
        let classic = 2 + shape.native_count as usize;
        let (others, classics) = held.split_at_mut_checked(classic)?;
        let (held_sum, natives) = others.split_first_mut()?;
        let sum = memory.load(word(0));
        let is_as_held =
            |(place, held): (usize, &u64)| memory.load_published(word(classic + place)) == *held;
        if *held_sum == sum && *told <= *found && classics.iter().enumerate().all(is_as_held) {
            return None;
        }
        let durations = match *row {
            Some(row) => books.series.buckets(row),
            None => books.totals.durations.as_mut(),
        }?;
        let grown = classics.iter_mut().enumerate().filter_map(|(place, held)| {
            let more = take_growth(held, memory.load_published(word(classic + place)))?;
            *told = told.saturating_add(more);
            Some((classic - 1 + place, more))
        });
        durations.add_counts(shape, grown);
        let mut natives = natives.iter_mut().enumerate();
        let grown = std::iter::from_fn(|| {
            while *told > *found {
                let (place, held) = natives.next()?;
                if let Some(more) = take_growth(held, memory.load(word(1 + place))) {
                    *found = found.saturating_add(more);
                    return Some((place, more));
                }
            }
            None
        });
        durations.add_counts(shape, grown);
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

/// A series in a ledger that the daemon has written itself.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) kind: Kind,
    /// The buckets of a histogram.
    pub(super) shape: Option<Shape>,
    /// Where the values begin.
    pub(super) values: usize,
}

/// All of them, as far as they can be read.
pub(super) fn written(memory: &Memory) -> Vec<Written> {
    let end = usize::try_from(memory.load_published(header::RECORDS_END)).unwrap_or(0);
    let end = end.min(memory.size());
    let (mut found, mut start) = (Vec::new(), RECORDS);
    while start < end {
        let size = usize::try_from(memory.load(start) & 0xffff_ffff).unwrap_or(usize::MAX);
        if size < RECORD_HEAD || !size.is_multiple_of(8) || size > end - start {
            break;
        }
        let words = (start..start + size).step_by(8).map(|offset| memory.load(offset));
        let text: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let Some(Record { declared, values, .. }) = Record::parse(&text) else { break };
        let Declared { name, kind, labels, shape, .. } = declared;
        let labels = labels.into_iter().map(|(label, value)| (label.to_owned(), value.to_owned()));
        let (name, labels) = (name.to_owned(), labels.collect());
        found.push(Written { name, labels, kind, shape, values: start + values });
        start += size;
    }
    found
}

/// Two words that no other ledger has.
pub(super) fn random_identity() -> [u64; 2] {
    let mut bytes = [0; 16];
    // Cannot fail for 16 bytes; were it to, the kernel's name of the file still tells ledgers apart.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let (low, high) = bytes.split_at(8);
    [low, high].map(|half| half.try_into().map_or(0, u64::from_le_bytes))
}

#[cfg(test)]
mod tests;
