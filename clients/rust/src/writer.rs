//! The writer of a ledger: takes and frees slots, and applies updates through the journal, as
//! `docs/ledger.md` says.
//!
//! Must not know about sockets, clocks or threads; its owner lets one thread at a time in.

mod appending;
mod moving;
mod values;

pub(crate) use moving::{Cut, Move};
pub use values::{HistogramSeries, Series};

use crate::layout::{HEADER_SIZE, JOURNAL_LIMIT, SLOT_COUNT, SLOTS, header, journal_pair};
use crate::memory::Memory;
use crate::record::write_header;
use std::sync::atomic::{AtomicU64, Ordering, fence};

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

    /// Adds an observation to a histogram, as part of an update. What is infinite or not a number counts nowhere:
    /// its sum would never be one again.
    #[inline]
    pub fn observe(&self, histogram: &HistogramSeries, value: f64, update: &mut Update) {
        if !value.is_finite() {
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
