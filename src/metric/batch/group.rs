//! Families whose samples come in any order: all are begun first, each with room for as many samples as it
//! may have.
//!
//! Must not know what the families are of.

use super::{Batch, Foreign, Histogram, Sample, Value};
use crate::metric::labels::{LabelSet, LabelSets, position};

/// Families that were begun together: see [`Batch::begin_group`].
#[derive(Clone, Copy, Debug)]
pub struct Group {
    first: usize,
}

/// Adds samples to the families of a group: see [`Batch::fill_group`].
#[derive(Debug)]
pub struct GroupWriter<'b> {
    batch: &'b mut Batch,
    group: Group,
    /// Where the labels begin in the batch's text.
    labels: u32,
}

impl Batch {
    /// Begins several families whose samples come in any order, by [`Batch::fill_group`]: each with how many
    /// samples it may have. What holds of the names in [`Batch::begin_foreign`] holds here.
    pub fn begin_group<'f>(
        &mut self,
        families: impl Iterator<Item = (Foreign<'f>, usize)>,
    ) -> Group {
        let group = Group { first: self.heads.len() };
        let nothing = Sample { labels: 0..0, value: Value::Number(0.0) };
        for (family, count) in families {
            self.push_foreign(&family);
            self.unused += count;
            self.samples.resize(self.samples.len() + count, nothing.clone());
            let room = position(self.samples.len());
            if let Some(head) = self.heads.last_mut() {
                head.room = room;
            }
        }
        group
    }

    /// To add samples to a group whose labels are among `labels`: their text is taken over at once.
    pub fn fill_group(&mut self, group: Group, labels: &LabelSets) -> GroupWriter<'_> {
        let start = position(self.text.len());
        self.text.extend_from_slice(labels.as_bytes());
        GroupWriter { batch: self, group, labels: start }
    }
}

impl GroupWriter<'_> {
    /// Adds a sample to a family of the group, counted from 0, if that has room for it.
    pub fn number(&mut self, family: usize, labels: LabelSet, value: f64) {
        self.put(family, labels, Value::Number(value));
    }

    /// As [`GroupWriter::number`], for a histogram.
    pub fn histogram(&mut self, family: usize, labels: LabelSet, histogram: &Histogram<'_>) {
        let value = self.batch.keep_histogram(histogram);
        self.put(family, labels, value);
    }

    fn put(&mut self, family: usize, labels: LabelSet, value: Value) {
        let Batch { heads, samples, unused, .. } = &mut *self.batch;
        let head = heads.get_mut(self.group.first + family).filter(|h| h.samples.end < h.room);
        let Some(head) = head else {
            debug_assert!(false, "a sample over what its family was said to have");
            return;
        };
        if let Some(place) = samples.get_mut(head.samples.end as usize) {
            let LabelSet { start, end } = labels;
            let labels = self.labels.saturating_add(start)..self.labels.saturating_add(end);
            *place = Sample { labels, value };
            head.samples.end += 1;
            *unused -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Family, Kind, Point};

    #[test]
    fn samples_come_in_any_order_and_stay_within_their_families() {
        const UP: Family = Family::gauge("up", &[], "Is up.");
        let foreign = |name| Foreign { name, help: "", unit: "", kind: Kind::Gauge };
        let mut batch = Batch::new();
        let group = batch.begin_group([(foreign("a"), 3), (foreign("b"), 2)].into_iter());
        assert!(batch.is_empty());
        let mut sets = LabelSets::default();
        let [one, two] = ["1", "2"].map(|value| sets.add([("x", value)].into_iter()));
        let mut writer = batch.fill_group(group, &sets);
        for (family, labels, value) in [(1, one, 1.0), (0, two, 2.0), (1, two, 3.0)] {
            writer.number(family, labels, value);
        }
        let histogram = Histogram { bounds: &[], counts: &[7], sum: 1.0 };
        batch.fill_group(group, &sets).histogram(0, one, &histogram);
        batch.value(&UP, 9.0);
        assert_eq!(batch.len(), 5);
        let seen: Vec<Vec<_>> = batch
            .families()
            .map(|family| family.samples().map(|sample| (sample.labels, sample.point)).collect())
            .collect();
        let number = Point::Number;
        let [one, two] = [&b"x=\"1\""[..], b"x=\"2\""];
        assert_eq!(
            seen,
            [
                vec![(two, number(2.0)), (one, Point::Histogram(histogram))],
                vec![(one, number(1.0)), (two, number(3.0))],
                vec![(&b""[..], number(9.0))]
            ]
        );
    }
}
