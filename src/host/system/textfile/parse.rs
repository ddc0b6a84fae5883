//! The text format 0.0.4 as others write it
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).
//!
//! Must not know where a text comes from.

use crate::metric::{Kind, Labels};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a text has to show.
#[derive(Debug, PartialEq)]
pub(super) struct Content {
    /// By name.
    pub(super) families: Vec<Foreign>,
    /// Why samples are missing, as far as it is told.
    pub(super) left_out: Vec<String>,
}

/// Of a text with more than so many samples that are left out, the rest are not told.
const TOLD: usize = 8;

/// A family of a text.
#[derive(Debug, PartialEq)]
pub(super) struct Foreign {
    pub(super) name: String,
    /// Empty if there is none.
    pub(super) help: String,
    pub(super) kind: Kind,
    pub(super) metrics: Vec<(Labels, Value)>,
}

/// What a metric of a family says.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    /// Counts of each bucket by itself, one more than there are bounds.
    Histogram {
        bounds: Vec<f64>,
        counts: Vec<u64>,
        sum: f64,
    },
    Summary {
        quantiles: Vec<[f64; 2]>,
        sum: f64,
        count: u64,
    },
}

/// Names and values of labels, by name: those of one series.
type Pairs = BTreeMap<String, String>;

/// What has been read of a family.
#[derive(Default)]
struct Draft {
    help: Option<String>,
    kind: Option<Kind>,
    rows: BTreeMap<Pairs, Row>,
}

/// What has been read of a metric: a number, or the parts of a histogram or summary.
#[derive(Default)]
struct Row {
    number: Option<f64>,
    /// By bound or quantile.
    parts: Vec<[f64; 2]>,
    sum: Option<f64>,
    count: Option<f64>,
}

/// What is wrong with a line.
enum Wrong {
    /// Nothing of the text is to be shown.
    Text(String),
    /// Only this sample is not.
    Sample(String),
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self::Text(what)
    }
}

/// Reads a text.
///
/// # Errors
/// What is wrong in which line. Nothing of such a text is to be shown.
pub(super) fn parse(text: &[u8]) -> Result<Content, String> {
    let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
    let mut left_out = Vec::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let told = |what| format!("line {}: {what}", index + 1);
        let line = readable(line).map_err(told)?;
        match take(line.trim(), &mut drafts) {
            Err(Wrong::Text(what)) => return Err(told(what)),
            Err(Wrong::Sample(what)) if left_out.len() < TOLD => left_out.push(told(what)),
            _ => {}
        }
    }
    let families = drafts.into_iter().filter(|(_, draft)| !draft.rows.is_empty());
    let families = families.map(|(name, draft)| finish(name, draft)).collect();
    Ok(Content { families, left_out })
}

/// A line as text. Of a comment, which no series depends on, what is not UTF-8 is replaced.
fn readable(line: &[u8]) -> Result<Cow<'_, str>, String> {
    match String::from_utf8_lossy(line) {
        Cow::Owned(text) if !text.trim_start().starts_with('#') => Err("is not UTF-8".to_owned()),
        text => Ok(text),
    }
}

/// The first word, however many blanks stand before it, and what stands behind it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim())
}

fn take(line: &str, drafts: &mut BTreeMap<String, Draft>) -> Result<(), Wrong> {
    match line.strip_prefix('#') {
        Some(text) => Ok(comment(text, drafts)?),
        None if line.is_empty() => Ok(()),
        None => sample(line, drafts),
    }
}

/// `HELP NAME TEXT` and `TYPE NAME KIND`; others mean nothing.
fn comment(comment: &str, drafts: &mut BTreeMap<String, Draft>) -> Result<(), String> {
    let (keyword, rest) = word(comment);
    let (name, rest) = word(rest);
    if !["HELP", "TYPE"].contains(&keyword) || name.is_empty() || rest.is_empty() {
        return Ok(());
    }
    if !is_name(name, ":") {
        return Err(format!("`{name}` is no name of a metric"));
    }
    let draft = drafts.entry(name.to_owned()).or_default();
    if keyword == "HELP" {
        let is_second = draft.help.replace(unescaped(rest)).is_some();
        return if is_second { Err(format!("a second HELP for `{name}`")) } else { Ok(()) };
    }
    let kind = match rest.to_ascii_lowercase().as_str() {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "summary" => Kind::Summary,
        "untyped" => Kind::Untyped,
        _ => return Err(format!("`{rest}` is no type of a metric")),
    };
    if !draft.rows.is_empty() {
        return Err(format!("the TYPE of `{name}` comes after its samples"));
    }
    let is_second = draft.kind.replace(kind).is_some();
    if is_second { Err(format!("a second TYPE for `{name}`")) } else { Ok(()) }
}

/// `NAME{LABEL="VALUE",…} NUMBER`
fn sample(line: &str, drafts: &mut BTreeMap<String, Draft>) -> Result<(), Wrong> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace()).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if !is_name(name, ":") {
        return Err(format!("`{name}` is no name of a metric").into());
    }
    let (mut pairs, rest) = match rest.trim_start().strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Pairs::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let value = words.next().and_then(number);
    let value = value.ok_or_else(|| "wanted a number behind the name".to_owned())?;
    if words.next().is_some() {
        return Err("timestamps are not supported".to_owned().into());
    }
    let (family, suffix) = family_of(name, drafts);
    let draft = drafts.entry(family.to_owned()).or_default();
    let bound = match (draft.kind, suffix) {
        (Some(Kind::Histogram), "_bucket") => Some("le"),
        (Some(Kind::Summary), "") => Some("quantile"),
        (Some(Kind::Histogram), "") => {
            let what = format!("`{name}` is a histogram, wanted its _bucket, _sum or _count");
            return Err(Wrong::Sample(what));
        }
        _ => None,
    };
    let limit = match bound {
        Some(label) => {
            let absent = || Wrong::Sample(format!("`{name}` without a label `{label}`"));
            let text = pairs.remove(label).ok_or_else(absent)?;
            Some(number(&text).ok_or_else(|| format!("`{text}` of `{label}` is no number"))?)
        }
        None => None,
    };
    let row = draft.rows.entry(pairs).or_default();
    let is_second = match (limit, suffix) {
        (Some(limit), _) => {
            let is_second = row.parts.iter().any(|[known, _]| *known == limit);
            if !is_second {
                row.parts.push([limit, value]);
            }
            is_second
        }
        (None, "_sum") => is_second(&mut row.sum, value),
        (None, "_count") => is_second(&mut row.count, value),
        (None, _) => is_second(&mut row.number, value),
    };
    let what = || Wrong::Sample(format!("a second sample of the same `{name}`"));
    if is_second { Err(what()) } else { Ok(()) }
}

/// Puts a value where none is yet. Says whether there was one, which then stays.
fn is_second(slot: &mut Option<f64>, value: f64) -> bool {
    let is_second = slot.is_some();
    slot.get_or_insert(value);
    is_second
}

/// The family that a sample belongs to, and what its name has more than the family's: of a histogram
/// or a summary that has been declared.
fn family_of<'n>(name: &'n str, drafts: &BTreeMap<String, Draft>) -> (&'n str, &'n str) {
    for suffix in ["_bucket", "_sum", "_count"] {
        let Some(family) = name.strip_suffix(suffix) else { continue };
        let kind = drafts.get(family).and_then(|draft| draft.kind);
        let is_part = match kind {
            Some(Kind::Histogram) => true,
            Some(Kind::Summary) => suffix != "_bucket",
            _ => false,
        };
        if is_part {
            return (family, name.get(family.len()..).unwrap_or_default());
        }
    }
    (name, "")
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Result<(Pairs, &str), String> {
    let mut pairs = Pairs::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((pairs, rest));
        }
        let (name, value) = rest.split_once('=').ok_or("wanted `}` or a label")?;
        let name = name.trim();
        if !is_name(name, "") || name == "__name__" {
            return Err(format!("`{name}` is no name of a label"));
        }
        let value = value.trim_start().strip_prefix('"').ok_or("wanted a quote behind `=`")?;
        let (text, after) =
            quoted(value).ok_or("a label's value does not end, or has an escape that is none")?;
        if pairs.insert(name.to_owned(), text).is_some() {
            return Err(format!("the label `{name}` stands twice"));
        }
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("wanted `,` or `}` behind a label".to_owned()),
        }
    }
}

/// A value up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut is_escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            '"' if !is_escaped => {
                return Some((unescaped(text.get(..index)?), text.get(index + 1..)?));
            }
            c if is_escaped && !['"', '\\', 'n'].contains(&c) => return None,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some(c) => out.push(c),
                None => out.push('\\'),
            },
            (c, _) => out.push(c),
        }
    }
    out
}

/// A name of letters, digits, `_` and the others given, that does not begin with a digit.
fn is_name(name: &str, others: &str) -> bool {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || others.contains(c);
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(is_valid)
}

/// A number as Go writes it: `+Inf` and `NaN` in any case.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Makes a family of what was read. Series of one family have the same labels: those that a series
/// lacks are there with an empty value.
fn finish(name: String, draft: Draft) -> Foreign {
    let kind = draft.kind.unwrap_or(Kind::Untyped);
    let names: std::collections::BTreeSet<String> =
        draft.rows.keys().flat_map(|pairs| pairs.keys().cloned()).collect();
    let metrics = draft.rows.into_iter().map(|(pairs, row)| {
        let value = |name| pairs.get(name).map_or("", String::as_str);
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), value(name))).collect();
        (Labels::new(&all), row.value(kind))
    });
    Foreign { help: draft.help.unwrap_or_default(), kind, metrics: metrics.collect(), name }
}

impl Row {
    fn value(mut self, kind: Kind) -> Value {
        let (sum, count) = (self.sum.unwrap_or_default(), self.count.unwrap_or_default() as u64);
        self.parts.sort_by(|[one, _], [other, _]| one.total_cmp(other));
        match kind {
            Kind::Histogram => {
                // The bucket of all values says how many there are better than a count beside it.
                let all = self.parts.iter().find(|[limit, _]| *limit == f64::INFINITY);
                let count = all.map_or(count, |[_, all]| *all as u64);
                let limits = self.parts.iter().filter(|[limit, _]| limit.is_finite());
                let (mut bounds, mut counts, mut seen) = (Vec::new(), Vec::new(), 0);
                for [limit, cumulated] in limits {
                    bounds.push(*limit);
                    counts.push((*cumulated as u64).saturating_sub(seen));
                    seen = seen.max(*cumulated as u64);
                }
                counts.push(count.saturating_sub(seen));
                Value::Histogram { bounds, counts, sum }
            }
            Kind::Summary => Value::Summary { quantiles: self.parts, sum, count },
            Kind::Counter | Kind::Gauge | Kind::Untyped => {
                Value::Number(self.number.unwrap_or(f64::NAN))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Foreign {
        let Content { mut families, left_out } = parse(text.as_bytes()).unwrap();
        assert_eq!((families.len(), left_out.len()), (1, 0), "{text}");
        families.remove(0)
    }

    #[test]
    fn numbers() {
        let family = one(
            "# HELP a Says \\\\ \\n more.\n# TYPE a counter\na{x=\"1\"} 2\n a { x=\"\\\"\" , y=\"z\", } +Inf\n",
        );
        assert_eq!((family.help.as_str(), family.kind), ("Says \\ \n more.", Kind::Counter));
        let shown: Vec<_> = family
            .metrics
            .iter()
            .map(|(labels, _)| String::from_utf8_lossy(labels.as_bytes()).into_owned())
            .collect();
        assert_eq!(shown, [r#"x="\"",y="z""#, r#"x="1",y="""#]);
        let blanks = one("#  HELP   a \t Some  text.\n# TYPE   a\t Gauge\n# TYPE a\n# HELP a\na 1");
        assert_eq!((blanks.help.as_str(), blanks.kind), ("Some  text.", Kind::Gauge));
        assert_eq!(one("b_sum 1e3").kind, Kind::Untyped);
        assert_eq!(one("# any comment\n#\n# EOF\nb 1").metrics[0].1, Value::Number(1.0));
    }

    #[test]
    fn histograms_and_summaries() {
        let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 5\nh_bucket{le=\"0.5\"} 1\nh_sum 7\nh_count 5\n";
        let wanted = Value::Histogram { bounds: vec![0.5, 1.0], counts: vec![1, 1, 3], sum: 7.0 };
        assert_eq!(one(text).metrics[0].1, wanted);
        // The bucket of all values is believed before a count that is missing, or another.
        for count in ["", "h_count 4\n"] {
            let text = format!(
                "# TYPE h histogram\nh_bucket{{le=\"1\"}} 2\nh_bucket{{le=\"+Inf\"}} 5\n{count}"
            );
            let wanted = Value::Histogram { bounds: vec![1.0], counts: vec![2, 3], sum: 0.0 };
            assert_eq!(one(&text).metrics[0].1, wanted);
        }
        let text = "# TYPE s summary\ns{quantile=\"0.9\"} 2\ns_sum 7\ns_count 5\n";
        let wanted = Value::Summary { quantiles: vec![[0.9, 2.0]], sum: 7.0, count: 5 };
        assert_eq!(one(text).metrics[0].1, wanted);
    }

    #[test]
    fn of_samples_that_stand_twice_or_belong_nowhere_the_rest_is_shown() {
        let histogram = "# TYPE h histogram\nh_sum 1\nh_bucket{le=\"1\"} 2\n";
        let summary = "# TYPE s summary\ns_sum 1\ns_count 2\n";
        for (rest, sample, what) in [
            ("\na{x=\"2\"} 4\na{x=\"1\"} 2\n", "a{x=\"1\"} 7", "a second sample of the same `a`"),
            (histogram, "h_sum 7", "a second sample of the same `h_sum`"),
            (histogram, "h_bucket{le=\"1\"} 7", "a second sample of the same `h_bucket`"),
            (histogram, "h_bucket 7", "`h_bucket` without a label `le`"),
            (histogram, "h 7", "`h` is a histogram, wanted its _bucket, _sum or _count"),
            (summary, "s_count 7", "a second sample of the same `s_count`"),
            (summary, "s 7", "`s` without a label `quantile`"),
        ] {
            let wanted = parse(rest.as_bytes()).unwrap().families;
            let shown = parse(format!("{rest}{sample}").as_bytes()).unwrap();
            assert_eq!((shown.families, shown.left_out), (wanted, vec![format!("line 4: {what}")]));
        }
        assert_eq!(parse("a 1\n".repeat(99).as_bytes()).unwrap().left_out.len(), TOLD);
    }

    #[test]
    fn what_is_not_utf_8() {
        let Content { families, .. } =
            parse(b"# HELP a Gr\xf6\xdfe.\na{x=\"\xc3\xb6\"} 1").unwrap();
        assert_eq!(families[0].help, "Gr\u{fffd}\u{fffd}e.");
        assert_eq!(parse(b"a 1\na{x=\"\xf6\"} 1").unwrap_err(), "line 2: is not UTF-8");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, what) in [
            ("a 1 1441205977284", "line 1: timestamps are not supported"),
            ("a", "line 1: wanted a number behind the name"),
            ("\n1a 2", "line 2: `1a` is no name of a metric"),
            ("a{1x=\"\"} 2", "line 1: `1x` is no name of a label"),
            ("a{x=\"} 2", "line 1: a label's value does not end, or has an escape that is none"),
            (
                "a{x=\"C:\\dir\"} 2",
                "line 1: a label's value does not end, or has an escape that is none",
            ),
            ("a{__name__=\"x\"} 2", "line 1: `__name__` is no name of a label"),
            ("a{x=1} 2", "line 1: wanted a quote behind `=`"),
            ("a{x=\"1\" y=\"2\"} 2", "line 1: wanted `,` or `}` behind a label"),
            ("a{x=\"1\",x=\"2\"} 2", "line 1: the label `x` stands twice"),
            ("a{x", "line 1: wanted `}` or a label"),
            ("a 1\n# TYPE a gauge", "line 2: the TYPE of `a` comes after its samples"),
            ("# TYPE a nonsense", "line 1: `nonsense` is no type of a metric"),
            ("# TYPE a gauge\n# TYPE a gauge", "line 2: a second TYPE for `a`"),
            ("# HELP a y\n# HELP a x", "line 2: a second HELP for `a`"),
            ("# TYPE a summary\na{quantile=\"x\"} 1", "line 2: `x` of `quantile` is no number"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err(), what, "{text}");
        }
    }
}
