//! Records: appended to a ledger, and given other buckets before the daemon sees them.

use super::{HistogramSeries, Series, Writer};
use crate::layout::{Kind, RECORDS, Shape, header};
use crate::record::{Description, encode_record};

impl Writer {
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

    pub(super) fn records_end(&self) -> usize {
        usize::try_from(self.memory.load(header::RECORDS_END)).unwrap_or(RECORDS)
    }
}
