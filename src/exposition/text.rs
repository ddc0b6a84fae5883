//! Prometheus text 0.0.4.

use super::{escaped, number, samples};
use crate::metric::Batch;

pub(super) fn encode(batch: &Batch, out: &mut Vec<u8>) {
    for family in batch.families() {
        out.extend_from_slice(b"# HELP ");
        out.extend_from_slice(family.name);
        out.push(b' ');
        escaped(family.help, b"\\", out);
        out.extend_from_slice(b"\n# TYPE ");
        out.extend_from_slice(family.name);
        out.push(b' ');
        out.extend_from_slice(family.kind.text().as_bytes());
        out.push(b'\n');
        samples(&family, number::plain_bound, out);
    }
}

#[cfg(test)]
mod tests {
    use crate::exposition::{Format, encode};
    use crate::metric::{Batch, Family, Histogram};

    #[test]
    fn every_kind() {
        const REQUESTS: Family = Family::counter("a_requests_total", &["x"], "Back\\slash\nline.");
        const LOAD: Family = Family::gauge("a_load", &[], "Says \"load\".");
        const OTHER: Family = Family::untyped("a_other", &[], "Other.");
        const SECONDS: Family = Family::histogram("a_seconds", &["x"], "Time.");
        let mut batch = Batch::new();
        batch.begin(&REQUESTS);
        batch.sample(&[("x", "y\"")], 2.0);
        batch.sample(&[], 2.5);
        batch.value(&LOAD, f64::NAN);
        batch.value(&OTHER, -1.0);
        batch.begin(&SECONDS);
        let histogram = Histogram { bounds: &[0.5, 1.0], counts: &[1, 2, 4], sum: 9.5 };
        batch.histogram(&[("x", "z")], &histogram);
        batch.histogram(&[], &Histogram { bounds: &[], counts: &[7], ..histogram });
        let mut out = Vec::new();
        encode(&batch, Format::Text, &mut out);
        let wanted = r#"# HELP a_requests_total Back\\slash\nline.
# TYPE a_requests_total counter
a_requests_total{x="y\""} 2
a_requests_total 2.5
# HELP a_load Says "load".
# TYPE a_load gauge
a_load NaN
# HELP a_other Other.
# TYPE a_other untyped
a_other -1
# HELP a_seconds Time.
# TYPE a_seconds histogram
a_seconds_bucket{x="z",le="0.5"} 1
a_seconds_bucket{x="z",le="1"} 3
a_seconds_bucket{x="z",le="+Inf"} 7
a_seconds_sum{x="z"} 9.5
a_seconds_count{x="z"} 7
a_seconds_bucket{le="+Inf"} 7
a_seconds_sum 9.5
a_seconds_count 7
"#;
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
