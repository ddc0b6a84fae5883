//! What stands in a ledger that the daemon has written itself, for a program that sends lines.

use super::record::Record;
use crate::agent::declaration::Declared;
use musterd_client::layout::{Kind, RECORD_HEAD, RECORDS, Shape, header};
use musterd_client::memory::Memory;

/// A series in a ledger that the daemon has written itself.
#[derive(Debug)]
pub(in crate::agent) struct Written {
    pub(in crate::agent) name: String,
    pub(in crate::agent) labels: Vec<(String, String)>,
    pub(in crate::agent) kind: Kind,
    /// The buckets of a histogram.
    pub(in crate::agent) shape: Option<Shape>,
    /// Where the values begin.
    pub(in crate::agent) values: usize,
}

/// All of them, as far as they can be read.
pub(in crate::agent) fn written(memory: &Memory) -> Vec<Written> {
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
