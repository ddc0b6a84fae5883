//! How a [`Batch`] is written on the wire: the text formats that Prometheus reads.
//!
//! Must not know: where samples come from, or anything of HTTP but the two header values that
//! name a format (`Accept` and `Content-Type`).

mod number;
mod openmetrics;
mod text;

use crate::metric::{Batch, FamilyRef, Histogram, Point, Summary, has_special};

/// A format of the answer to a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4
    /// (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).
    Text,
    /// OpenMetrics 1.0 (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
    OpenMetrics,
}

impl Format {
    /// The value of `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that a request's `Accept` header asks for: the one with the highest `q`, the
    /// first of equals. Whoever asks for neither, or for anything, gets text 0.0.4.
    #[must_use]
    pub fn negotiate(accept: Option<&str>) -> Self {
        let mut best = (0.0, Self::Text);
        for (quality, format) in accept.unwrap_or_default().split(',').filter_map(media_range) {
            if quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
    }
}

/// Reads one element of `Accept`: its quality and the format it names, if it is one of ours.
fn media_range(element: &str) -> Option<(f32, Format)> {
    let mut parts = element.split(';').map(str::trim);
    let (format, wanted_version) = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/openmetrics-text" => (Format::OpenMetrics, "1.0.0"),
        "text/plain" => (Format::Text, "0.0.4"),
        "*/*" | "text/*" => (Format::Text, ""),
        _ => return None,
    };
    let mut quality = 1.0;
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
            "version" if value != wanted_version => return None,
            _ => {}
        }
    }
    Some((quality, format))
}

/// Appends a batch to `out`, whole: with OpenMetrics, up to its `# EOF`.
pub fn encode(batch: &Batch, format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Text => text::encode(batch, out),
        Format::OpenMetrics => openmetrics::encode(batch, out),
    }
}

/// Appends a family's samples. `name` is the name that number samples carry in full and that the
/// parts of a histogram extend; `bound` writes the value of a label `le`.
fn samples(family: &FamilyRef<'_>, bound: fn(f64, &mut Vec<u8>), out: &mut Vec<u8>) {
    for sample in family.samples() {
        match sample.point {
            Point::Number(value) => {
                out.extend_from_slice(family.name);
                labels(sample.labels, out);
                number::value(value, out);
                out.push(b'\n');
            }
            Point::Histogram(histogram) => {
                buckets(family.name, sample.labels, &histogram, bound, out);
            }
            Point::Summary(summary) => {
                quantiles(family.name, sample.labels, &summary, bound, out);
            }
        }
    }
}

/// Labels in braces, if there are any, and the blank before the value.
fn labels(labels: &[u8], out: &mut Vec<u8>) {
    if !labels.is_empty() {
        out.push(b'{');
        out.extend_from_slice(labels);
        out.push(b'}');
    }
    out.push(b' ');
}

/// The lines of one histogram: its classic buckets cumulated, up to `+Inf`, then sum and count.
/// One without bounds has `+Inf` alone.
fn buckets(
    name: &[u8],
    own_labels: &[u8],
    histogram: &Histogram<'_>,
    bound: fn(f64, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let bucket = |limit: f64, count: u64, out: &mut Vec<u8>| {
        out.extend_from_slice(name);
        out.extend_from_slice(b"_bucket");
        labels_and(own_labels, b"le", limit, bound, out);
        number::count(count, out);
        out.push(b'\n');
    };
    let mut seen = 0u64;
    for (&limit, &count) in histogram.bounds.iter().zip(histogram.counts) {
        seen = seen.saturating_add(count);
        bucket(limit, seen, out);
    }
    let total = total(histogram);
    bucket(f64::INFINITY, total, out);
    sum_and_count(name, own_labels, histogram.sum, total, out);
}

/// The lines of one summary: its quantiles, then sum and count.
fn quantiles(
    name: &[u8],
    own_labels: &[u8],
    summary: &Summary<'_>,
    bound: fn(f64, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    for &[quantile, value] in summary.quantiles {
        out.extend_from_slice(name);
        labels_and(own_labels, b"quantile", quantile, bound, out);
        number::value(value, out);
        out.push(b'\n');
    }
    sum_and_count(name, own_labels, summary.sum, summary.count, out);
}

/// Labels in braces with one more behind them, a number, and the blank before the value.
fn labels_and(
    own_labels: &[u8],
    name: &[u8],
    value: f64,
    bound: fn(f64, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    if !own_labels.is_empty() {
        out.extend_from_slice(own_labels);
        out.push(b',');
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b"=\"");
    bound(value, out);
    out.extend_from_slice(b"\"} ");
}

fn sum_and_count(name: &[u8], own_labels: &[u8], sum: f64, count: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b"_sum");
    labels(own_labels, out);
    number::value(sum, out);
    out.push(b'\n');
    out.extend_from_slice(name);
    out.extend_from_slice(b"_count");
    labels(own_labels, out);
    number::count(count, out);
    out.push(b'\n');
}

fn total(histogram: &Histogram<'_>) -> u64 {
    histogram.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// Appends `text` with the listed bytes escaped by a backslash, a line feed as `\n`.
fn escaped(text: &str, special: &[u8], out: &mut Vec<u8>) {
    if !has_special(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for &byte in text.as_bytes() {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => {
                if special.contains(&byte) {
                    out.push(b'\\');
                }
                out.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation() {
        use Format::{OpenMetrics, Text};
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,\
            text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, wanted) in [
            (None, Text),
            (Some(""), Text),
            (Some("*/*"), Text),
            (Some("text/html, application/json"), Text),
            (Some(prometheus_2), OpenMetrics),
            (Some(prometheus_3), OpenMetrics),
            (Some("application/openmetrics-text"), OpenMetrics),
            (Some("Application/OpenMetrics-Text; Version=\"1.0.0\""), OpenMetrics),
            (Some("application/openmetrics-text; version=0.0.1"), Text),
            (Some("application/openmetrics-text; version=2.0.0, text/plain; q=0.1"), Text),
            (Some("text/plain; q=0.9, application/openmetrics-text; q=0.8"), Text),
            (Some("text/plain, application/openmetrics-text"), Text),
            (Some("application/openmetrics-text, text/plain"), OpenMetrics),
            (Some("application/openmetrics-text; q=0"), Text),
            (Some("application/openmetrics-text; q=seven"), Text),
            (Some("application/openmetrics-text; q=NaN"), Text),
            (Some(";;;q=,=,,"), Text),
        ] {
            assert_eq!(Format::negotiate(accept), wanted, "{accept:?}");
        }
    }

    #[test]
    fn special_bytes_are_escaped() {
        let mut out = Vec::new();
        escaped("a\\b\n\"c\"", b"\\\"", &mut out);
        assert_eq!(out, br#"a\\b\n\"c\""#);
    }
}
