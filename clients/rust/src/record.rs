//! What is written once: the header of a ledger, and its records, as `docs/ledger.md` says.
//!
//! Must not know what the values are, or who writes them.

use crate::layout::{
    CLASSIC_LIMIT, HEADER_SIZE, HELP_LIMIT, Kind, LABEL_LIMIT, LABEL_NAME_LIMIT, LABEL_VALUE_LIMIT,
    MAGIC, NAME_LIMIT, NATIVE_LIMIT, RECORD_HEAD, RECORDS, SLOT_COUNT, SLOTS, Shape, UNIT_LIMIT,
    VERSION, header,
};
use crate::memory::Memory;

/// A series to be appended.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    /// What its values are.
    pub kind: Kind,
    /// Full name.
    pub name: &'a str,
    /// Names and values of its labels.
    pub labels: &'a [(&'a str, &'a str)],
    /// Help text; empty for none.
    pub help: &'a str,
    /// Unit; empty for none.
    pub unit: &'a str,
    /// The buckets of a histogram.
    pub shape: Option<&'a Shape>,
}

/// Writes the header of a new ledger: what the daemon does for the ledgers it hands out.
pub fn write_header(memory: &Memory, identity: [u64; 2]) {
    let pair = |low: usize, high: usize| low as u64 | (high as u64) << 32;
    memory.store(header::MAGIC, u64::from_le_bytes(MAGIC));
    memory.store(header::VERSION_AND_SIZE, pair(VERSION as usize, HEADER_SIZE));
    memory.store(header::SIZE, memory.size() as u64);
    memory.store(header::IDENTITY, identity[0]);
    memory.store(header::IDENTITY + 8, identity[1]);
    memory.store(header::SLOTS, pair(SLOTS, SLOT_COUNT));
    memory.store(header::RECORDS, pair(RECORDS, 0));
    memory.publish(header::RECORDS_END, RECORDS as u64);
}

/// The bytes of a record and where in it the values begin, with room for so many values at least, of
/// which what is not needed lies before them; `None` when something is too long.
pub(crate) fn encode_record(
    description: &Description<'_>,
    room: usize,
) -> Option<(Vec<u8>, usize)> {
    let Description { kind, name, labels, help, unit, shape } = *description;
    let shape_fits = shape.is_none_or(|shape| {
        shape.native_count as usize <= NATIVE_LIMIT && shape.bounds.len() <= CLASSIC_LIMIT
    });
    let labels_fit = labels.len() <= LABEL_LIMIT
        && labels
            .iter()
            .all(|(key, value)| key.len() <= LABEL_NAME_LIMIT && value.len() <= LABEL_VALUE_LIMIT);
    let texts_fit =
        name.len() <= NAME_LIMIT && help.len() <= HELP_LIMIT && unit.len() <= UNIT_LIMIT;
    if !labels_fit || !texts_fit || !shape_fits {
        return None;
    }
    let mut record = vec![0; RECORD_HEAD];
    for bound in shape.map_or(&[][..], |shape| &shape.bounds) {
        record.extend(bound.to_le_bytes());
    }
    record.extend(name.as_bytes());
    for (key, value) in labels {
        record.extend(u16::try_from(key.len()).ok()?.to_le_bytes());
        record.extend(u16::try_from(value.len()).ok()?.to_le_bytes());
        record.extend(key.as_bytes());
        record.extend(value.as_bytes());
    }
    record.extend(help.as_bytes());
    record.extend(unit.as_bytes());
    let words = shape.map_or(1, Shape::words);
    let values = record.len().next_multiple_of(8) + 8 * room.saturating_sub(words);
    record.resize(values + 8 * words, 0);

    let mut head = Vec::with_capacity(RECORD_HEAD);
    head.extend(u32::try_from(record.len()).ok()?.to_le_bytes());
    head.push(kind as u8);
    head.push(u8::try_from(labels.len()).ok()?);
    head.extend(u16::try_from(name.len()).ok()?.to_le_bytes());
    head.extend(u16::try_from(help.len()).ok()?.to_le_bytes());
    head.extend(u16::try_from(unit.len()).ok()?.to_le_bytes());
    head.extend(u32::try_from(values).ok()?.to_le_bytes());
    if let Some(shape) = shape {
        head.extend(shape.schema.to_le_bytes());
        head.extend(shape.first.to_le_bytes());
        head.extend(shape.native_count.to_le_bytes());
        head.extend(u32::try_from(shape.bounds.len()).ok()?.to_le_bytes());
        head.extend(shape.zero_threshold.to_le_bytes());
    }
    record.splice(..head.len(), head);
    Some((record, values))
}
