//! The writer of a ledger: appends records, takes and frees slots, and applies updates through the
//! journal, as `docs/ledger.md` says.
//!
//! Must not know about sockets, clocks or threads; its owner lets one thread at a time in.

use crate::buckets::Buckets;
use crate::layout::{
    HEADER_SIZE, JOURNAL_LIMIT, Kind, RECORDS, SLOT_COUNT, SLOTS, Shape, header, journal_pair,
};
use crate::memory::Memory;
use crate::record::{Description, encode_record, write_header};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Where a published series has its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    values: usize,
}

/// A published histogram, ready to find the right buckets for a value.
#[derive(Clone, Debug)]
pub struct HistogramSeries {
    /// Where its record begins, if it may be given another shape.
    record: Option<usize>,
    series: Series,
    buckets: Arc<Buckets>,
}

/// A record on its way to another ledger.
pub(crate) struct Cut {
    start: usize,
    words: Vec<u64>,
}

impl Cut {
    /// Whether a series is in this record.
    pub(crate) fn has(&self, series: Series) -> bool {
        (self.start..self.start + 8 * self.words.len()).contains(&series.values)
    }
}

/// From where to where a record has gone.
#[derive(Clone, Copy)]
pub(crate) struct Move {
    from: usize,
    length: usize,
    to: usize,
}

impl Move {
    /// Where a series is now, if it was in this record.
    pub(crate) fn of(&self, series: Series) -> Option<Series> {
        let within = series.values.checked_sub(self.from).filter(|at| *at < self.length)?;
        Some(Series { values: self.to + within })
    }
}

/// A request in flight, and the ledger that it began in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    place: Place,
    ledger: u64,
}

/// The slot that a request holds, or none when all were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Slot(u8),
    Unslotted,
}

/// One update of several words, gathered in the journal: it counts wholly once it is committed, and
/// not at all before.
#[derive(Debug, Default)]
pub struct Update {
    count: usize,
}

impl Update {
    /// Sets a word. What is over the journal's limit is left out; no update of this crate or of the daemon
    /// is.
    #[inline]
    pub fn set(&mut self, memory: &Memory, offset: usize, value: u64) {
        if self.count < JOURNAL_LIMIT {
            let pair = journal_pair(self.count);
            memory.store(pair, offset as u64);
            memory.store(pair + 8, value);
            self.count += 1;
        }
    }
}

/// Writes one ledger. One writer at a time: nothing here takes turns.
#[derive(Debug)]
pub struct Writer {
    memory: Memory,
    /// Slots that are free, used as a stack so that few cache lines are touched.
    free: Vec<u8>,
    /// Which of this process's ledgers it is.
    ledger: u64,
}

impl Writer {
    /// A ledger of this process alone, for as long as there is no daemon to give one.
    pub fn private(size: usize) -> Self {
        let memory = Memory::private(size);
        write_header(&memory, [0, 0]);
        Self { memory, free: all_slots(), ledger: next_ledger() }
    }

    /// Goes on with a ledger whose writer has ended: an update that it was in the midst of is completed.
    #[must_use]
    pub fn resume(memory: Memory) -> Self {
        let count = usize::try_from(memory.load_published(header::JOURNAL_COUNT));
        for index in 0..count.unwrap_or(0).min(JOURNAL_LIMIT) {
            let pair = journal_pair(index);
            let offset = usize::try_from(memory.load(pair)).unwrap_or(usize::MAX);
            memory.store(offset, memory.load(pair + 8));
        }
        memory.publish(header::JOURNAL_COUNT, 0);
        let mut free = all_slots();
        free.retain(|slot| memory.load(slot_offset(*slot)) == 0);
        Self { memory, free, ledger: next_ledger() }
    }

    /// The ledger.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Moves everything into the ledger that the daemon has given. Offsets stay what they are.
    /// `false`, and nothing is moved, when the records do not fit.
    pub fn move_into(&mut self, memory: Memory) -> bool {
        let end = self.records_end();
        if end > memory.size() {
            return false;
        }
        for offset in (SLOTS..end).step_by(8) {
            memory.store(offset, self.memory.load(offset));
        }
        for word in [
            header::HEARTBEAT,
            header::UNSLOTTED_BEGUN,
            header::UNSLOTTED_ENDED,
            header::RECORDS_REFUSED,
        ] {
            memory.store(word, self.memory.load(word));
        }
        memory.publish(header::RECORDS_END, end as u64);
        self.memory = memory;
        true
    }

    /// Prepares to start anew on an empty ledger: the same records, all zero. Requests in flight have
    /// been counted as aborted with the old ledger.
    pub(crate) fn forget(&mut self, values: &[(Series, usize)]) {
        // What is zeroed here is the old ledger's memory, whose counts the daemon has taken over.
        for (series, words) in values {
            for word in 0..*words {
                self.memory.store(series.values + 8 * word, 0);
            }
        }
        for slot in (SLOTS..RECORDS).step_by(8) {
            self.memory.store(slot, 0);
        }
        for word in [header::UNSLOTTED_BEGUN, header::UNSLOTTED_ENDED, header::RECORDS_REFUSED] {
            self.memory.store(word, 0);
        }
        self.free = all_slots();
        self.ledger = next_ledger();
    }

    /// Takes away the records that do not fit into so many bytes, and all that come after them.
    pub(crate) fn cut(&mut self, size: usize) -> Vec<Cut> {
        let end = self.records_end();
        let (mut start, mut cut) = (RECORDS, Vec::new());
        while start < end {
            let length = usize::try_from(self.memory.load(start) & 0xffff_ffff).unwrap_or(0).max(8);
            if start + length > size {
                let words = (start..start + length).step_by(8).map(|at| self.memory.load(at));
                cut.push(Cut { start, words: words.collect() });
            }
            start += length;
        }
        if let Some(first) = cut.first() {
            self.memory.publish(header::RECORDS_END, first.start as u64);
        }
        cut
    }

    /// Appends a record that was taken from elsewhere; by how much it has moved. `None` where there is no
    /// room.
    pub(crate) fn paste(&mut self, cut: &Cut) -> Option<Move> {
        let start = self.records_end();
        let end = start + 8 * cut.words.len();
        if end > self.memory.size() {
            return None;
        }
        for (index, word) in cut.words.iter().enumerate() {
            self.memory.store(start + 8 * index, *word);
        }
        self.memory.publish(header::RECORDS_END, end as u64);
        Some(Move { from: cut.start, length: end - start, to: start })
    }

    fn records_end(&self) -> usize {
        usize::try_from(self.memory.load(header::RECORDS_END)).unwrap_or(RECORDS)
    }

    /// Appends a record of one value word. `None`, counted in the ledger, where there is no room
    /// or a text is too long.
    pub fn append(
        &mut self,
        kind: Kind,
        name: &str,
        labels: &[(&str, &str)],
        help: &str,
    ) -> Option<Series> {
        let unit = "";
        self.append_or_refuse(&Description { kind, name, labels, help, unit, shape: None }, 0)
    }

    /// Appends a histogram.
    pub fn append_histogram(
        &mut self,
        shape: Shape,
        name: &str,
        labels: &[(&str, &str)],
        help: &str,
    ) -> Option<HistogramSeries> {
        self.append_histogram_with_room(shape, 0, name, labels, help)
    }

    /// Appends a histogram whose record has room for so many values in all, so that it can be given
    /// [another shape](Self::reshape).
    pub fn append_histogram_with_room(
        &mut self,
        shape: Shape,
        room: usize,
        name: &str,
        labels: &[(&str, &str)],
        help: &str,
    ) -> Option<HistogramSeries> {
        let record = self.records_end();
        let (kind, unit) = (Kind::Histogram, "");
        let description = Description { kind, name, labels, help, unit, shape: Some(&shape) };
        let series = self.append_or_refuse(&description, room)?;
        Some(HistogramSeries { record: Some(record), ..HistogramSeries::at(series, shape) })
    }

    /// Gives a histogram without labels and help, in memory that no daemon reads, buckets of another
    /// schema. What it has counted goes where the middle of its old bucket lies: into the right one
    /// where that is coarser. The histogram as it was, where its record has no room.
    pub fn reshape(
        &self,
        old: HistogramSeries,
        shape: Shape,
        room: usize,
        name: &str,
    ) -> HistogramSeries {
        let Some(record) = old.record.filter(|_| shape != *old.buckets.shape()) else { return old };
        let (kind, labels, help, unit) = (Kind::Histogram, &[][..], "", "");
        let description = Description { kind, name, labels, help, unit, shape: Some(&shape) };
        let encoded = encode_record(&description, room);
        let size = self.memory.load(record) & 0xffff_ffff;
        let fitting = encoded.filter(|(bytes, _)| bytes.len() as u64 == size);
        let Some((bytes, values)) = fitting else { return old };
        let counts: Vec<u64> =
            (0..old.words()).map(|word| self.memory.load(old.series.values + 8 * word)).collect();
        let series = Series { values: record + values };
        let new = HistogramSeries { record: Some(record), ..HistogramSeries::at(series, shape) };
        self.write_record(record, &bytes);
        for (word, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let place = new.series.values + 8 * new.word_of(&old, word);
            // The sum has its place to itself.
            self.memory.store(place, self.memory.load(place) + count);
        }
        new
    }

    fn append_or_refuse(&mut self, description: &Description<'_>, room: usize) -> Option<Series> {
        let series = self.append_with_room(description, room);
        if series.is_none() {
            self.refuse(1);
        }
        series
    }

    /// Counts series that found no room.
    pub fn refuse(&mut self, count: u64) {
        let refused = self.memory.load(header::RECORDS_REFUSED);
        self.memory.store(header::RECORDS_REFUSED, refused.wrapping_add(count));
    }

    /// Appends a record. `None` where there is no room, or a text is too long.
    pub fn append_described(&mut self, description: &Description<'_>) -> Option<Series> {
        self.append_with_room(description, 0)
    }

    fn append_with_room(&mut self, description: &Description<'_>, room: usize) -> Option<Series> {
        let start = self.records_end();
        let (mut bytes, values) = encode_record(description, room)
            .filter(|(bytes, _)| start + bytes.len() <= self.memory.size())?;
        if description.kind == Kind::Gauge {
            // Not known, until it is set for the first time.
            let value = bytes.get_mut(values..).unwrap_or_default();
            value.copy_from_slice(&f64::NAN.to_bits().to_le_bytes());
        }
        self.write_record(start, &bytes);
        self.memory.publish(header::RECORDS_END, (start + bytes.len()) as u64);
        Some(Series { values: start + values })
    }

    fn write_record(&self, start: usize, bytes: &[u8]) {
        for (index, word) in bytes.chunks_exact(8).enumerate() {
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            self.memory.store(start + 8 * index, word);
        }
    }

    /// Marks a request as begun.
    #[inline]
    pub fn begin(&mut self, now: u64) -> Flight {
        let place = match self.free.pop() {
            Some(slot) => {
                // 0 would say that the slot is free.
                self.memory.store(slot_offset(slot), now.max(1));
                Place::Slot(slot)
            }
            None => {
                let begun = self.memory.load(header::UNSLOTTED_BEGUN);
                self.memory.store(header::UNSLOTTED_BEGUN, begun + 1);
                Place::Unslotted
            }
        };
        Flight { place, ledger: self.ledger }
    }

    /// Takes a slot for a request as part of an update; `None` when there is none.
    pub fn begin_in(&mut self, now: u64, update: &mut Update) -> Option<u8> {
        let slot = self.free.pop()?;
        update.set(&self.memory, slot_offset(slot), now.max(1));
        Some(slot)
    }

    /// The request that holds a slot.
    #[must_use]
    pub fn flight(&self, slot: u8) -> Flight {
        Flight { place: Place::Slot(slot), ledger: self.ledger }
    }

    /// When the request that holds a slot began; 0 for a free one.
    #[must_use]
    pub fn begun(&self, slot: u8) -> u64 {
        self.memory.load(slot_offset(slot))
    }

    /// Whether a request began in a ledger that has been retired, and so has been counted.
    #[inline]
    pub fn is_counted(&self, flight: Flight) -> bool {
        flight.ledger != self.ledger
    }

    /// Adds the end of a flight to an update.
    #[inline]
    pub fn end(&mut self, flight: Flight, update: &mut Update) {
        match flight.place {
            Place::Slot(slot) => {
                update.set(&self.memory, slot_offset(slot), 0);
                self.free.push(slot);
            }
            Place::Unslotted => {
                let ended = self.memory.load(header::UNSLOTTED_ENDED);
                update.set(&self.memory, header::UNSLOTTED_ENDED, ended + 1);
            }
        }
    }

    /// Adds `count` to a counter, as part of an update.
    #[inline]
    pub fn add(&self, series: Series, count: u64, update: &mut Update) {
        let sum = self.memory.load(series.values).wrapping_add(count);
        update.set(&self.memory, series.values, sum);
    }

    /// Adds to a counter of fractions, as part of an update.
    #[inline]
    pub fn add_fraction(&self, series: Series, amount: f64, update: &mut Update) {
        let sum = f64::from_bits(self.memory.load(series.values)) + amount;
        update.set(&self.memory, series.values, sum.to_bits());
    }

    /// Sets a gauge, as part of an update.
    pub fn set(&self, series: Series, value: f64, update: &mut Update) {
        update.set(&self.memory, series.values, value.to_bits());
    }

    /// A gauge's value.
    #[inline]
    pub(crate) fn gauge(&self, series: Series) -> f64 {
        f64::from_bits(self.memory.load(series.values))
    }

    /// Sets a gauge: one word needs no journal.
    #[inline]
    pub(crate) fn set_gauge(&self, series: Series, value: f64) {
        self.memory.store(series.values, value.to_bits());
    }

    /// Adds an observation to a histogram, as part of an update. Not a number counts nowhere.
    #[inline]
    pub fn observe(&self, histogram: &HistogramSeries, value: f64, update: &mut Update) {
        if value.is_nan() {
            return;
        }
        let values = histogram.series.values;
        let sum = f64::from_bits(self.memory.load(values)) + value;
        update.set(&self.memory, values, sum.to_bits());
        for bucket in histogram.buckets.words(value) {
            let offset = values + 8 * bucket;
            update.set(&self.memory, offset, self.memory.load(offset) + 1);
        }
    }

    /// Ends a flight, counts it and its duration: the update that nearly every request makes.
    #[inline]
    pub(crate) fn end_counted(
        &mut self,
        flight: Flight,
        counter: Series,
        histogram: &HistogramSeries,
        seconds: f64,
    ) {
        let Place::Slot(slot) = flight.place else {
            let mut update = Update::default();
            self.end(flight, &mut update);
            self.add(counter, 1, &mut update);
            self.observe(histogram, seconds, &mut update);
            return self.commit(&update);
        };
        let values = histogram.series.values;
        let [native, classic] = histogram.buckets.words(seconds).map(|word| values + 8 * word);
        let sum = f64::from_bits(self.memory.load(values)) + seconds;
        self.commit_all([
            (slot_offset(slot), 0),
            (counter.values, self.memory.load(counter.values).wrapping_add(1)),
            (values, sum.to_bits()),
            (native, self.memory.load(native) + 1),
            (classic, self.memory.load(classic) + 1),
        ]);
        self.free.push(slot);
    }

    /// Writes a whole update of so many words. One whose words are known at once need not be read
    /// back from the journal.
    #[inline]
    fn commit_all<const N: usize>(&self, pairs: [(usize, u64); N]) {
        let Some(head) = self.memory.words().first_chunk::<{ HEADER_SIZE / 8 }>() else { return };
        let head = |offset: usize| head.get(offset / 8);
        for (index, (offset, value)) in pairs.iter().enumerate() {
            let pair = journal_pair(index);
            if let (Some(to), Some(what)) = (head(pair), head(pair + 8)) {
                to.store(*offset as u64, Ordering::Relaxed);
                what.store(*value, Ordering::Relaxed);
            }
        }
        let Some(count) = head(header::JOURNAL_COUNT) else { return };
        count.store(N as u64, Ordering::Release);
        fence(Ordering::Release);
        for (offset, value) in pairs {
            self.memory.store(offset, value);
        }
        count.store(0, Ordering::Release);
    }

    /// Writes an update: once its count is stored, it counts, wherever the process is stopped.
    #[inline]
    pub fn commit(&mut self, update: &Update) {
        let memory = &self.memory;
        memory.publish(header::JOURNAL_COUNT, update.count as u64);
        fence(Ordering::Release);
        for pair in (0..update.count).map(journal_pair) {
            let offset = usize::try_from(memory.load(pair)).unwrap_or(usize::MAX);
            memory.store(offset, memory.load(pair + 8));
        }
        memory.publish(header::JOURNAL_COUNT, 0);
    }

    /// Shows life.
    #[inline]
    pub fn heartbeat(&self, now: u64) {
        self.memory.store(header::HEARTBEAT, now);
    }

    /// What a counter has counted.
    #[cfg(test)]
    pub(crate) fn value(&self, series: Series) -> u64 {
        self.memory.load(series.values)
    }

    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.memory.load(header::CLOSED) == 1
    }

    /// Says that the agent has ended this ledger on purpose.
    pub fn close(&self) {
        self.memory.publish(header::CLOSED, 1);
    }
}

impl Series {
    /// The series whose values begin at an offset.
    #[must_use]
    pub fn at(values: usize) -> Self {
        Self { values }
    }
}

impl HistogramSeries {
    /// The histogram whose values begin at an offset.
    #[must_use]
    pub fn at(series: Series, shape: Shape) -> Self {
        Self { record: None, series, buckets: Arc::new(Buckets::new(shape)) }
    }

    /// Where its values are.
    #[must_use]
    pub fn series(&self) -> Series {
        self.series
    }

    /// The same buckets elsewhere.
    pub(crate) fn move_to(&mut self, series: Series) {
        self.series = series;
    }

    /// How many they are.
    #[must_use]
    pub fn words(&self) -> usize {
        self.buckets.shape().words()
    }

    /// The value word here of what a value word of another histogram of these bounds counts.
    fn word_of(&self, other: &Self, word: usize) -> usize {
        let (own, other) = (self.buckets.shape(), other.buckets.shape());
        let (natives, own_natives) = (other.native_count as usize, own.native_count as usize);
        match word.checked_sub(2) {
            None => word,
            // The last bucket has what lies above it as well.
            Some(place) if place + 1 == natives => 1 + own_natives,
            Some(place) if place < natives => {
                let step = f64::exp2(-f64::from(other.schema));
                let upper = (f64::from(other.first) + place as f64) * step;
                // The middle that the daemon's quantiles take.
                let middle = 2.0 * f64::exp2(upper) / (1.0 + f64::exp2(step));
                let [native, _] = self.buckets.words(middle);
                native
            }
            Some(place) => 2 + own_natives + place - natives,
        }
    }
}

/// A number that no ledger of this process has had, nor one of the process that it was forked from.
fn next_ledger() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn slot_offset(slot: u8) -> usize {
    SLOTS + 8 * usize::from(slot)
}

fn all_slots() -> Vec<u8> {
    (0..SLOT_COUNT).rev().filter_map(|slot| u8::try_from(slot).ok()).collect()
}

#[cfg(test)]
mod tests;
