//! Samples in the order in which a file has them, given out family by family: for collectors whose
//! sources mix families, or make up their label values as they go.
//!
//! Must not know what is sampled.

use crate::metric::{Batch, Family, Labels};

/// Samples of one pass. Its memory is kept for the next.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    rows: Vec<Row>,
    used: usize,
}

#[derive(Debug)]
struct Row {
    place: usize,
    /// For a family whose name is made up: the part of it that is.
    name: Vec<u8>,
    labels: Labels,
    /// Which of all it was.
    order: usize,
    value: f64,
}

impl Gathered {
    /// Forgets what was gathered.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Adds a sample to the family at `place` of the collector's list.
    pub(super) fn add(&mut self, place: usize, labels: &[(&str, &str)], value: f64) {
        self.add_named(place, b"", labels, value);
    }

    /// As [`Gathered::add`], to the family of a `*` declaration that has `name` in place of the `*`.
    pub(super) fn add_named(
        &mut self,
        place: usize,
        name: &[u8],
        labels: &[(&str, &str)],
        value: f64,
    ) {
        if let Some(row) = self.rows.get_mut(self.used) {
            row.name.clear();
            row.name.extend_from_slice(name);
            row.labels.set(labels);
            (row.place, row.order, row.value) = (place, self.used, value);
        } else {
            let (name, labels) = (name.to_vec(), Labels::new(labels));
            self.rows.push(Row { place, name, labels, order: self.used, value });
        }
        self.used += 1;
    }

    /// Gives out all of them. Of a series that was added twice, the first stays.
    pub(super) fn emit(&mut self, families: &[Family], batch: &mut Batch) {
        let Some(rows) = self.rows.get_mut(..self.used) else { return };
        rows.sort_unstable_by(|one, other| one.key().cmp(&other.key()));
        let mut last: Option<&Row> = None;
        for row in &*rows {
            if last.is_none_or(|last| last.family() != row.family()) {
                let Some(family) = families.get(row.place) else { continue };
                if family.name.contains('*') {
                    batch.begin_named(family, &row.name);
                } else {
                    batch.begin(family);
                }
            } else if last.is_some_and(|last| last.labels == row.labels) {
                continue;
            }
            batch.sample_with(&row.labels, row.value);
            last = Some(row);
        }
    }
}

impl Row {
    fn family(&self) -> (usize, &[u8]) {
        (self.place, &self.name)
    }

    fn key(&self) -> (usize, &[u8], &[u8], usize) {
        (self.place, &self.name, self.labels.as_bytes(), self.order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILIES: [Family; 2] =
        [Family::gauge("a", &["x"], "A."), Family::counter("b_total", &["x"], "B.")];

    #[test]
    fn samples_come_out_by_family() {
        let mut gathered = Gathered::default();
        for round in 0..2 {
            gathered.clear();
            gathered.add(1, &[("x", "2")], 1.0);
            gathered.add(0, &[("x", "1")], 2.0);
            gathered.add(1, &[("x", "1")], 3.0);
            gathered.add(1, &[("x", "2")], 4.0);
            if round == 1 {
                gathered.add(7, &[], 5.0);
            }
            let (mut batch, mut out) = (Batch::new(), Vec::new());
            gathered.emit(&FAMILIES, &mut batch);
            crate::exposition::encode(&batch, crate::exposition::Format::Text, &mut out);
            let text = String::from_utf8(out).unwrap();
            let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(lines, [r#"a{x="1"} 2"#, r#"b_total{x="1"} 3"#, r#"b_total{x="2"} 1"#]);
        }
    }
}
