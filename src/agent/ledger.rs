//! One ledger: made and sealed here, read word by word, and closed when its agent has gone. The
//! layout is that of `docs/ledger.md`.
//!
//! Everything that an agent may have written is hostile: a record is checked once, when it is
//! first seen, and what was read of it then is what counts; after that only its value words are
//! read, at offsets known to lie within the memory. Values that go back are held.
//!
//! Must not know about sockets, names of agents or exposition.

use super::calls::Call;
use super::totals::{ABORTED, STATUSES, Totals};
use musterd_client::layout::{
    CLASSIC_LIMIT, HEADER_SIZE, JOURNAL_LIMIT, Kind, LABEL_LIMIT, LABEL_NAME_LIMIT,
    LABEL_VALUE_LIMIT, MAGIC, NAME_LIMIT, NATIVE_LIMIT, RECORD_HEAD, RECORDS, SLOT_COUNT, SLOTS,
    Shape, VERSION, header, journal_pair, names,
};
use musterd_client::memory::Memory;
use musterd_client::write_header;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

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
    /// How many there have been, those that are of no use included.
    records: usize,
    series: Vec<Series>,
    max_series: usize,
    faults: Faults,
}

/// What was wrong with a ledger's contents, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Records that are not laid out as the specification says. The first ends the reading of
    /// records, since nothing says where the next one begins.
    pub malformed: u64,
    /// Records of names, kinds or labels that musterd does not know.
    pub unknown: u64,
    /// Records over the limit of series.
    pub over_limit: u64,
    /// Series that the client found no room for.
    pub no_room: u64,
}

impl Faults {
    /// All of them, each with the word for `musterd_refused_total{reason}`.
    #[must_use]
    pub fn by_reason(&self) -> [(&'static str, u64); 4] {
        [
            ("malformed", self.malformed),
            ("unknown", self.unknown),
            ("over_limit", self.over_limit),
            ("no_room", self.no_room),
        ]
    }
}

#[derive(Debug)]
struct Series {
    values: usize,
    what: What,
    /// What was last read, so that a value that goes back is held.
    held: Vec<u64>,
}

#[derive(Debug, PartialEq)]
enum What {
    Requests(usize),
    Errors(String),
    Tokens { model: String, kind: String },
    Durations(Shape),
    Call(Call, Shape),
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
    pub fn create(name: &str, size: usize, max_series: usize) -> io::Result<(Self, OwnedFd)> {
        let size = size.next_multiple_of(4096).max(2 * 4096);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL)
            // Kernels before 6.3 know no NOEXEC_SEAL.
            .or_else(|_| memfd_create(name, flags))?;
        ftruncate(&file, size as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let memory = Memory::map(&file, size)?;
        write_header(&memory, random_identity());
        Ok((Self::over(memory, &file, max_series)?, file))
    }

    /// Takes on a ledger that an agent has kept while there was no daemon.
    ///
    /// # Errors
    /// `InvalidData` when it is not one: not sealed, of a wrong size, with a wrong header, or
    /// retired before.
    pub fn adopt(file: impl AsFd, limit: usize, max_series: usize) -> io::Result<Self> {
        let ledger = Self::restore(file, limit, max_series)?;
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
    pub fn restore(file: impl AsFd, limit: usize, max_series: usize) -> io::Result<Self> {
        let memory = Memory::map(&file, limit.next_multiple_of(4096).max(2 * 4096))?;
        Self::on(memory, &file, max_series)
    }

    /// As [`Ledger::restore`], of a file that has been mapped already.
    ///
    /// # Errors
    /// `InvalidData` when its header is not that of a ledger.
    pub fn on(memory: Memory, file: &impl AsFd, max_series: usize) -> io::Result<Self> {
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
        Self::over(memory, file, max_series)
    }

    fn over(memory: Memory, file: &impl AsFd, max_series: usize) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self {
            memory,
            file: FileId(stat.st_dev, stat.st_ino),
            parsed: RECORDS,
            records: 0,
            series: Vec::new(),
            max_series,
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
        Faults { no_room: self.memory.load(header::RECORDS_REFUSED), ..self.faults }
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
        self.series.len()
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

    /// Adds all its counts to `totals`.
    pub fn add_to(&mut self, totals: &mut Totals) {
        self.find_new_records();
        for series in &mut self.series {
            series.add_to(&self.memory, totals);
        }
    }

    /// Closes the books on an agent that has gone: an update it was in the midst of is completed,
    /// requests in flight are counted as aborted, everything is added to `totals`, and whoever
    /// still holds the memory is told that it counts no more.
    pub fn retire(mut self, totals: &mut Totals) -> Faults {
        self.complete_journal();
        self.add_to(totals);
        let aborted = self.activity().in_flight;
        if let Some(count) = totals.requests.get_mut(ABORTED) {
            *count = count.saturating_add(aborted);
        }
        self.memory.publish(header::RETIRED, 1);
        self.faults()
    }

    fn complete_journal(&mut self) {
        self.find_new_records();
        let count = self.memory.load_published(header::JOURNAL_COUNT);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > JOURNAL_LIMIT {
            self.faults.malformed += 1;
            return;
        }
        for index in 0..count {
            let pair = journal_pair(index);
            let offset = usize::try_from(self.memory.load(pair)).unwrap_or(usize::MAX);
            if self.may_be_updated(offset) {
                self.memory.store(offset, self.memory.load(pair + 8));
            } else {
                self.faults.malformed += 1;
            }
        }
        self.memory.publish(header::JOURNAL_COUNT, 0);
    }

    fn may_be_updated(&self, offset: usize) -> bool {
        (SLOTS..RECORDS).contains(&offset)
            || [header::UNSLOTTED_BEGUN, header::UNSLOTTED_ENDED].contains(&offset)
            || self.series.iter().any(|series| {
                (series.values..series.values + 8 * series.held.len()).contains(&offset)
            })
    }

    /// Checks the records that have been published since the last time.
    fn find_new_records(&mut self) {
        let end = self.memory.load_published(header::RECORDS_END);
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        if end == self.parsed || self.faults.malformed > 0 {
            return;
        }
        if end > self.memory.size() || end < self.parsed || !end.is_multiple_of(8) {
            self.faults.malformed += 1;
            return;
        }
        let mut text = Vec::new();
        while self.parsed < end {
            let size = self.memory.load(self.parsed) & 0xffff_ffff;
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            self.records += 1;
            let is_wild = size < RECORD_HEAD || !size.is_multiple_of(8);
            if is_wild || size > end - self.parsed || self.records > 2 * self.max_series {
                self.faults.malformed += 1;
                return;
            }
            // From here on only this copy is looked at: the agent may change the original.
            text.clear();
            for offset in (self.parsed..self.parsed + size).step_by(8) {
                text.extend(self.memory.load(offset).to_le_bytes());
            }
            match Record::parse(&text) {
                None => {
                    self.faults.malformed += 1;
                    return;
                }
                Some(record) => self.admit(&record),
            }
            self.parsed += size;
        }
    }

    fn admit(&mut self, record: &Record<'_>) {
        let Some(what) = What::of(record) else {
            self.faults.unknown += 1;
            return;
        };
        if self.series.len() >= self.max_series {
            self.faults.over_limit += 1;
            return;
        }
        // A second record of one series would count everything twice.
        if self.series.iter().any(|series| series.what.is_same_series(&what)) {
            self.faults.unknown += 1;
            return;
        }
        let words = what.shape().map_or(1, Shape::words);
        let values = self.parsed + record.values;
        self.series.push(Series { values, what, held: vec![0; words] });
    }
}

impl Series {
    fn add_to(&mut self, memory: &Memory, totals: &mut Totals) {
        let is_histogram = self.what.shape().is_some();
        for (index, held) in self.held.iter_mut().enumerate() {
            let word = memory.load(self.values + 8 * index);
            if is_histogram && index == 0 {
                // The sum is a double: held unless it is finite and grows.
                let (old, new) = (f64::from_bits(*held), f64::from_bits(word));
                if new.is_finite() && new > old {
                    *held = word;
                }
            } else {
                *held = word.max(*held);
            }
        }
        let first = self.held.first().copied().unwrap_or(0);
        match &self.what {
            What::Requests(status) => {
                if let Some(count) = totals.requests.get_mut(*status) {
                    *count = count.saturating_add(first);
                }
            }
            What::Errors(category) => totals.add_error(category, first),
            What::Tokens { model, kind } => totals.add_tokens(model, kind, first),
            What::Durations(shape) => {
                totals.durations_of(shape).add_words(shape, &self.held);
            }
            What::Call(call, shape) => {
                if let Some(durations) = totals.durations_of_call(call, shape) {
                    durations.add_words(shape, &self.held);
                }
            }
        }
    }
}

impl What {
    /// Durations of the same are one series, whatever their buckets.
    fn is_same_series(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Durations(_), Self::Durations(_)) => true,
            (Self::Call(one, _), Self::Call(other, _)) => one == other,
            _ => self == other,
        }
    }

    /// The buckets, if it has any.
    fn shape(&self) -> Option<&Shape> {
        match self {
            Self::Durations(shape) | Self::Call(_, shape) => Some(shape),
            _ => None,
        }
    }

    /// The series that a record is, if it is one that musterd knows.
    fn of(record: &Record<'_>) -> Option<Self> {
        match (record.name, record.kind, record.labels.as_slice()) {
            (names::REQUESTS, Kind::Counter, [("status", status)]) => {
                let known = STATUSES.iter().take(ABORTED).position(|known| known == status);
                known.map(What::Requests)
            }
            (names::ERRORS, Kind::Counter, [("category", category)]) => {
                Some(What::Errors((*category).to_owned()))
            }
            (names::TOKENS, Kind::Counter, [("model", model), ("type", kind)])
            | (names::TOKENS, Kind::Counter, [("type", kind), ("model", model)]) => {
                ["input", "output"]
                    .contains(kind)
                    .then(|| What::Tokens { model: (*model).to_owned(), kind: (*kind).to_owned() })
            }
            (names::DURATION, Kind::Histogram, []) => record.shape.clone().map(What::Durations),
            (name, Kind::Histogram, labels) => Call::of(name, labels)
                .zip(record.shape.clone())
                .map(|(call, shape)| What::Call(call, shape)),
            _ => None,
        }
    }
}

/// A record's fixed part, as it was when it was first seen.
#[derive(Debug)]
struct Record<'a> {
    kind: Kind,
    name: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    shape: Option<Shape>,
    /// Where the values begin, counted from the start of the record.
    values: usize,
}

impl<'a> Record<'a> {
    /// Reads a whole record; `None` when anything in it is not as the specification says.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let kind = Kind::from_byte(*bytes.get(4)?)?;
        let label_count = usize::from(*bytes.get(5)?);
        let name_length = usize::from(u16_at(bytes, 6)?);
        let values = usize::try_from(u32_at(bytes, 12)?).ok()?;
        if name_length == 0 || name_length > NAME_LIMIT || label_count > LABEL_LIMIT {
            return None;
        }
        let shape = (kind == Kind::Histogram).then(|| parse_shape(bytes));
        let shape = match shape {
            Some(None) => return None,
            Some(shape) => shape,
            None => None,
        };
        let words = shape.as_ref().map_or(1, Shape::words);
        if !values.is_multiple_of(8) || values.checked_add(8 * words)? != bytes.len() {
            return None;
        }
        let bounds = shape.as_ref().map_or(0, |shape| shape.bounds.len());
        let mut rest = bytes.get(RECORD_HEAD + 8 * bounds..values)?;
        let name = take_text(&mut rest, name_length)?;
        let labels = (0..label_count).map(|_| take_label(&mut rest)).collect::<Option<Vec<_>>>()?;
        Some(Self { kind, name, labels, shape, values })
    }
}

fn parse_shape(bytes: &[u8]) -> Option<Shape> {
    let schema = i32::from_le_bytes(bytes.get(16..20)?.try_into().ok()?);
    let first = i32::from_le_bytes(bytes.get(20..24)?.try_into().ok()?);
    let native_count = u32_at(bytes, 24)?;
    let classic_count = usize::try_from(u32_at(bytes, 28)?).ok()?;
    let zero_threshold = f64_at(bytes, 32)?;
    let buckets = usize::try_from(native_count).ok()?;
    // An index outside of this is of no number that a double can hold.
    let span = 1100_i32 << schema.clamp(0, 8);
    let is_wild = !(-4..=8).contains(&schema)
        || buckets > NATIVE_LIMIT
        || classic_count > CLASSIC_LIMIT
        || !(-span..=span).contains(&first)
        || !(zero_threshold.is_finite() && zero_threshold >= 0.0);
    if is_wild {
        return None;
    }
    let bounds = (0..classic_count)
        .map(|index| f64_at(bytes, RECORD_HEAD + 8 * index).filter(|bound| bound.is_finite()))
        .collect::<Option<Vec<_>>>()?;
    let rising = bounds.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
    rising.then_some(Shape { schema, first, native_count, zero_threshold, bounds })
}

fn take_label<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, &'a str)> {
    let name_length = usize::from(u16_at(rest, 0)?);
    let value_length = usize::from(u16_at(rest, 2)?);
    if name_length > LABEL_NAME_LIMIT || value_length > LABEL_VALUE_LIMIT {
        return None;
    }
    *rest = rest.get(4..)?;
    Some((take_text(rest, name_length)?, take_text(rest, value_length)?))
}

fn take_text<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a str> {
    let (text, left) = rest.split_at_checked(length)?;
    *rest = left;
    std::str::from_utf8(text).ok()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..offset + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..offset + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn f64_at(bytes: &[u8], offset: usize) -> Option<f64> {
    bytes.get(offset..offset + 8)?.try_into().ok().map(f64::from_le_bytes)
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
        let Some(Record { kind, name, labels, shape, values }) = Record::parse(&text) else {
            break;
        };
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
