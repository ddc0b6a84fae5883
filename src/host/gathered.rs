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
    labels: Labels,
    value: f64,
}

impl Gathered {
    /// Forgets what was gathered.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Adds a sample to the family at `place` of the collector's list.
    pub(super) fn add(&mut self, place: usize, labels: &[(&str, &str)], value: f64) {
        if let Some(row) = self.rows.get_mut(self.used) {
            row.labels.set(labels);
            (row.place, row.value) = (place, value);
        } else {
            self.rows.push(Row { place, labels: Labels::new(labels), value });
        }
        self.used += 1;
    }

    /// Gives out all of them. Of a series that was added twice, the first stays.
    pub(super) fn emit(&mut self, families: &[Family], batch: &mut Batch) {
        let Some(rows) = self.rows.get_mut(..self.used) else { return };
        rows.sort_by(|one, other| {
            one.place
                .cmp(&other.place)
                .then_with(|| one.labels.as_bytes().cmp(other.labels.as_bytes()))
        });
        let mut last: Option<&Row> = None;
        for row in &*rows {
            if last.is_none_or(|last| last.place != row.place) {
                let Some(family) = families.get(row.place) else { continue };
                batch.begin(family);
            } else if last.is_some_and(|last| last.labels == row.labels) {
                continue;
            }
            batch.sample_with(&row.labels, row.value);
            last = Some(row);
        }
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
