//! For tests: writes ledgers by the page `docs/ledger.md`, without the client crate's writer.

use musterd_client::layout::{Kind, SLOTS, Shape, header, journal_pair, names};
use musterd_client::memory::Memory;
use std::os::fd::AsFd;

/// An agent's side of a ledger.
pub(super) struct Pen(pub(super) Memory);

impl Pen {
    pub(super) fn on(file: impl AsFd) -> Self {
        Self(Memory::map(file, 1 << 20).unwrap())
    }

    /// Publishes a record; where its values begin.
    pub(super) fn append(&self, record: &(Vec<u8>, usize)) -> usize {
        let start = usize::try_from(self.0.load(header::RECORDS_END)).unwrap();
        for (index, word) in record.0.chunks_exact(8).enumerate() {
            self.0.store(start + 8 * index, u64::from_le_bytes(word.try_into().unwrap()));
        }
        self.0.publish(header::RECORDS_END, (start + record.0.len()) as u64);
        start + record.1
    }

    pub(super) fn requests(&self, status: &str, count: u64) -> usize {
        let values = self.append(&counter(names::REQUESTS, &[("status", status)]));
        self.0.store(values, count);
        values
    }

    pub(super) fn begin(&self, slot: usize, at: u64) {
        self.0.store(SLOTS + 8 * slot, at);
    }

    /// Leaves an update in the journal, as an agent does that is killed half-way.
    pub(super) fn journal(&self, pairs: &[(usize, u64)]) {
        for (index, (offset, value)) in pairs.iter().enumerate() {
            self.0.store(journal_pair(index), *offset as u64);
            self.0.store(journal_pair(index) + 8, *value);
        }
        self.0.publish(header::JOURNAL_COUNT, pairs.len() as u64);
    }
}

pub(super) fn counter(name: &str, labels: &[(&str, &str)]) -> (Vec<u8>, usize) {
    record(Kind::Counter as u8, name, labels, None)
}

pub(super) fn durations() -> (Vec<u8>, usize) {
    record(Kind::Histogram as u8, names::DURATION, &[], Some(&Shape::durations()))
}

pub(super) fn record(
    kind: u8,
    name: &str,
    labels: &[(&str, &str)],
    shape: Option<&Shape>,
) -> (Vec<u8>, usize) {
    let mut text = name.as_bytes().to_vec();
    for (key, value) in labels {
        text.extend((key.len() as u16).to_le_bytes());
        text.extend((value.len() as u16).to_le_bytes());
        text.extend(key.as_bytes());
        text.extend(value.as_bytes());
    }
    let bounds = shape.map_or(&[][..], |shape| &shape.bounds);
    let values = (40 + 8 * bounds.len() + text.len()).next_multiple_of(8);
    let size = values + 8 * shape.map_or(1, Shape::words);
    let mut bytes = Vec::new();
    bytes.extend((size as u32).to_le_bytes());
    bytes.extend([kind, labels.len() as u8]);
    bytes.extend((name.len() as u16).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend((values as u32).to_le_bytes());
    match shape {
        Some(shape) => {
            bytes.extend(shape.schema.to_le_bytes());
            bytes.extend(shape.first.to_le_bytes());
            bytes.extend(shape.native_count.to_le_bytes());
            bytes.extend((shape.bounds.len() as u32).to_le_bytes());
            bytes.extend(shape.zero_threshold.to_le_bytes());
        }
        None => bytes.extend([0; 24]),
    }
    bytes.extend(bounds.iter().flat_map(|bound| bound.to_le_bytes()));
    bytes.extend(text);
    bytes.resize(size, 0);
    assert_eq!(bytes.len() % 8, 0);
    (bytes, values)
}
