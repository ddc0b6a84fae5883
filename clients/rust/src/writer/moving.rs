//! Counts on their way from one ledger to another: to the one that the daemon has given, or away from one
//! that is too small.

use super::{Series, Writer, all_slots, next_ledger};
use crate::layout::{RECORDS, SLOTS, header};
use crate::memory::Memory;

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

impl Writer {
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
}
