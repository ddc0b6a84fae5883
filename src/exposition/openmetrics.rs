//! OpenMetrics 1.0.

use super::{escaped, number, samples};
use crate::metric::{Batch, FamilyRef, Kind};
use std::collections::HashSet;

pub(super) fn encode(batch: &Batch, out: &mut Vec<u8>) {
    let stems = Stems::of(batch);
    for family in batch.families() {
        let (name, kind) = family_line(&family, &stems);
        out.extend_from_slice(b"# HELP ");
        out.extend_from_slice(name);
        out.push(b' ');
        escaped(family.help, b"\\\"", out);
        out.extend_from_slice(b"\n# TYPE ");
        out.extend_from_slice(name);
        out.push(b' ');
        out.extend_from_slice(kind);
        out.push(b'\n');
        if !family.unit.is_empty() {
            out.extend_from_slice(b"# UNIT ");
            out.extend_from_slice(name);
            out.push(b' ');
            out.extend_from_slice(family.unit);
            out.push(b'\n');
        }
        samples(&family, number::float_bound, out);
    }
    out.extend_from_slice(b"# EOF\n");
}

/// A family's name and type here. A counter's samples end in `_total` and its family does not; a
/// counter that is not named so cannot be one here, nor one whose name without it is another family's.
fn family_line<'a>(family: &FamilyRef<'a>, stems: &Stems<'_>) -> (&'a [u8], &'static [u8]) {
    match family.kind {
        Kind::Counter => match family.name.strip_suffix(b"_total") {
            Some(name) if !stems.are_taken(name, family) => (name, b"counter"),
            _ => (family.name, b"unknown"),
        },
        Kind::Gauge => (family.name, b"gauge"),
        Kind::Histogram => (family.name, b"histogram"),
        Kind::Summary => (family.name, b"summary"),
        Kind::Untyped => (family.name, b"unknown"),
    }
}

/// Which names without `_total` are other families'. Declared families never clash with each other, so only
/// foreign ones are looked at.
struct Stems<'a> {
    batch: &'a Batch,
    foreign: HashSet<&'a [u8]>,
}

impl<'a> Stems<'a> {
    fn of(batch: &'a Batch) -> Self {
        let foreign = batch.families().filter(|family| family.is_foreign);
        Self { batch, foreign: foreign.map(|family| family.name).collect() }
    }

    fn are_taken(&self, stem: &[u8], of: &FamilyRef<'_>) -> bool {
        let has = |name| std::str::from_utf8(name).is_ok_and(|name| self.batch.has(name));
        self.foreign.contains(stem) || (of.is_foreign && has(stem))
    }
}

#[cfg(test)]
mod tests {
    use crate::exposition::{Format, encode};
    use crate::metric::{Batch, Family, Foreign, Histogram, Kind, LabelSets};

    #[test]
    fn every_kind() {
        const REQUESTS: Family = Family::counter("a_requests_total", &["x"], "Say \"requests\".");
        const ODD: Family = Family::counter("a_odd", &[], "No suffix.");
        const OTHER: Family = Family::untyped("a_other", &[], "Other.");
        const LOAD: Family = Family::gauge("a_load", &[], "Load.");
        const SECONDS: Family = Family::histogram("a_seconds", &["x"], "Time.");
        let mut batch = Batch::new();
        batch.begin(&REQUESTS);
        batch.sample(&[("x", "y")], 2.0);
        batch.value(&ODD, 3.0);
        batch.value(&OTHER, 4.0);
        batch.value(&LOAD, f64::INFINITY);
        batch.begin(&SECONDS);
        let histogram = Histogram { bounds: &[0.5, 1.0], counts: &[1, 0, 1], sum: 3.0 };
        batch.histogram(&[("x", "z")], &histogram);
        let mut out = Vec::new();
        encode(&batch, Format::OpenMetrics, &mut out);
        let wanted = r#"# HELP a_requests Say \"requests\".
# TYPE a_requests counter
a_requests_total{x="y"} 2
# HELP a_odd No suffix.
# TYPE a_odd unknown
a_odd 3
# HELP a_other Other.
# TYPE a_other unknown
a_other 4
# HELP a_load Load.
# TYPE a_load gauge
a_load +Inf
# HELP a_seconds Time.
# TYPE a_seconds histogram
a_seconds_bucket{x="z",le="0.5"} 1
a_seconds_bucket{x="z",le="1.0"} 1
a_seconds_bucket{x="z",le="+Inf"} 2
a_seconds_sum{x="z"} 3
a_seconds_count{x="z"} 2
# EOF
"#;
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn a_unit_is_told() {
        let name = "a_sent_bytes_total";
        let family = Foreign { name, help: "Sent.", unit: "bytes", kind: Kind::Counter };
        let mut batch = Batch::new();
        let group = batch.begin_group(std::iter::once((family, 1)));
        let mut sets = LabelSets::default();
        let labels = sets.add([("agent", "x")].into_iter());
        batch.fill_group(group, &sets).number(0, labels, 7.0);
        let mut out = Vec::new();
        encode(&batch, Format::OpenMetrics, &mut out);
        let wanted = r#"# HELP a_sent_bytes Sent.
# TYPE a_sent_bytes counter
# UNIT a_sent_bytes bytes
a_sent_bytes_total{agent="x"} 7
# EOF
"#;
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn a_counter_beside_a_family_of_its_name_without_the_suffix() {
        const OURS: Family = Family::counter("a_total", &[], "Ours.");
        const LOAD: Family = Family::gauge("b", &[], "Load.");
        let mut batch = Batch::new();
        batch.value(&OURS, 1.0);
        batch.value(&LOAD, 2.0);
        for (name, kind) in
            [("a", Kind::Gauge), ("b_total", Kind::Counter), ("c_total", Kind::Counter)]
        {
            batch.begin_foreign(name, name, kind);
            batch.sample(&[], 3.0);
        }
        let mut out = Vec::new();
        encode(&batch, Format::OpenMetrics, &mut out);
        let text = String::from_utf8(out).unwrap();
        let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let wanted = ["a_total unknown", "b gauge", "a gauge", "b_total unknown", "c counter"];
        assert_eq!(types, wanted.map(|line| format!("# TYPE {line}")));
    }

    #[test]
    fn an_empty_batch_ends_too() {
        let mut out = Vec::new();
        encode(&Batch::new(), Format::OpenMetrics, &mut out);
        assert_eq!(out, b"# EOF\n");
    }
}
