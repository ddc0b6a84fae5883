//! Lines without any I/O: bytes in, a [`Line`] or a [`Violation`] out. Every limit of them stands here.
//!
//! Must not know sockets, or what becomes of an event.

use crate::agent::protocol::Violation;
use crate::agent::totals::{ABORTED, STATUSES};
use musterd_client::layout::{
    CLASSIC_LIMIT, HELP_LIMIT, LABEL_LIMIT, LABEL_NAME_LIMIT, LABEL_VALUE_LIMIT, NAME_LIMIT,
    UNIT_LIMIT, names,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Bytes of a line, line feed included. So many may wait for the rest of theirs.
pub const LINE_LIMIT: usize = 4096;
/// Lines that are taken before others have their turn, and one acknowledgement covers.
pub const BATCH_LIMIT: usize = 1024;
/// Bytes of what a request is called.
pub const ID_LIMIT: usize = 40;

/// What the bytes so far begin with.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// The line goes on.
    Incomplete,
    /// A whole line.
    Line {
        /// What it says.
        line: Line,
        /// Its bytes.
        length: usize,
    },
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its number, if it has one that can be read.
    pub seq: Option<u64>,
    /// What has happened, or why the line counts nothing.
    pub event: Result<Event, Violation>,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A request has begun.
    Begin {
        /// What its end will call it.
        id: String,
    },
    /// A request has ended.
    End {
        /// One that has begun.
        id: Option<String>,
        /// Place of its status in [`STATUSES`].
        status: usize,
        /// Of what kind an error was.
        category: Option<String>,
        /// How long it took, where that was measured.
        seconds: Option<f64>,
    },
    /// A counter goes up.
    Count(Declared, Amount),
    /// A gauge is something.
    Set(Declared, f64),
    /// A histogram has one more.
    Observe(Declared, f64, Option<Vec<f64>>),
    /// The program lives.
    Heartbeat,
    /// The program ends on purpose.
    Close,
}

/// By how much a counter goes up. How it is written decides what its counter counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Without a fraction.
    Whole(u64),
    /// With one.
    Fraction(f64),
}

/// A series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// Full name.
    pub name: String,
    /// Labels and their values.
    pub labels: BTreeMap<String, String>,
}

/// A series, and what is said of it when it is new.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Which.
    pub series: Named,
    /// Help text; empty for none.
    pub help: String,
    /// Unit; empty for none.
    pub unit: String,
}

/// What a line may hold; nothing of it is nested deeper than labels are.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    seq: Option<u64>,
    event: String,
    id: Option<String>,
    status: Option<String>,
    category: Option<String>,
    seconds: Option<f64>,
    name: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    value: Option<serde_json::Number>,
    bounds: Option<Vec<f64>>,
    help: Option<String>,
    unit: Option<String>,
}

/// All that is wanted of a line that is refused.
#[derive(Deserialize)]
struct Number {
    seq: Option<u64>,
}

fn malformed(text: String) -> Violation {
    Violation { reason: "malformed", text }
}

/// Reads the first line of the bytes that have come.
///
/// # Errors
/// A line that is too long: nothing tells where the next begins.
pub fn decode(bytes: &[u8]) -> Result<Frame, Violation> {
    let head = bytes.get(..LINE_LIMIT).unwrap_or(bytes);
    match head.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            Ok(Frame::Line { line: parse(head.get(..end).unwrap_or_default()), length: end + 1 })
        }
        None if head.len() < LINE_LIMIT => Ok(Frame::Incomplete),
        None => {
            let text = format!("a line of over {LINE_LIMIT} bytes");
            Err(Violation { reason: "oversized", text })
        }
    }
}

/// Whether bytes without a line feed are all of a line: an object that is cut short has no end.
#[must_use]
pub fn is_whole(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

fn parse(line: &[u8]) -> Line {
    match serde_json::from_slice::<Keys>(line) {
        Ok(keys) => Line { seq: keys.seq, event: event(keys) },
        Err(error) => {
            let text = format!(
                "not a line: {error}; wanted one such as {{\"event\":\"end\",\"status\":\"success\",\
                 \"seconds\":1.2}}"
            );
            // As far as it can be read, so that the line is done with.
            let seq = serde_json::from_slice::<Number>(line).ok().and_then(|line| line.seq);
            Line { seq, event: Err(malformed(text)) }
        }
    }
}

/// What the keys say together, if all of them belong to the event.
fn event(mut keys: Keys) -> Result<Event, Violation> {
    if keys.seq == Some(0) {
        return Err(malformed("seq 0: numbers begin with 1".to_owned()));
    }
    let event = match keys.event.as_str() {
        "begin" => Event::Begin { id: id(keys.id.take())?.ok_or_else(|| missing("begin", "id"))? },
        "end" => end(&mut keys)?,
        "count" => {
            let series = declared(&mut keys)?;
            Event::Count(series, amount(keys.value.take())?)
        }
        "set" => Event::Set(declared(&mut keys)?, number("set", &mut keys)?),
        "observe" => {
            let series = declared(&mut keys)?;
            let value = number("observe", &mut keys)?;
            if value < 0.0 {
                return Err(malformed(format!("value {value}: wanted at least 0")));
            }
            Event::Observe(series, value, bounds(keys.bounds.take())?)
        }
        "heartbeat" => Event::Heartbeat,
        "close" => Event::Close,
        other => {
            return Err(malformed(format!(
                "event {other:?}: wanted begin, end, count, set, observe, heartbeat or close"
            )));
        }
    };
    let left = Keys { seq: keys.seq, event: keys.event.clone(), ..Keys::default() };
    if keys != left {
        return Err(malformed(format!("a key that means nothing in {:?}", keys.event)));
    }
    Ok(event)
}

fn missing(event: &str, key: &str) -> Violation {
    malformed(format!("{event} without {key}"))
}

fn id(id: Option<String>) -> Result<Option<String>, Violation> {
    match id {
        Some(id) if id.is_empty() || id.len() > ID_LIMIT => {
            Err(malformed(format!("id of {} bytes: wanted 1 to {ID_LIMIT}", id.len())))
        }
        id => Ok(id),
    }
}

fn end(keys: &mut Keys) -> Result<Event, Violation> {
    let word = keys.status.take().ok_or_else(|| missing("end", "status"))?;
    let known = STATUSES.iter().take(ABORTED).position(|known| *known == word);
    let status = known.ok_or_else(|| {
        malformed(format!("status {word:?}: wanted success, error, timeout or cancelled"))
    })?;
    let category = keys.category.take().filter(|category| !category.is_empty());
    if let Some(category) = &category {
        text("category", category, LABEL_VALUE_LIMIT)?;
    }
    let seconds = keys.seconds.take();
    if let Some(seconds) = seconds.filter(|seconds| *seconds < 0.0) {
        return Err(malformed(format!("seconds {seconds}: wanted at least 0")));
    }
    let id = id(keys.id.take())?;
    if id.is_none() && seconds.is_none() {
        return Err(malformed(
            "end without id and without seconds: wanted the id of a begin, or how long it took"
                .to_owned(),
        ));
    }
    Ok(Event::End { id, status, category, seconds })
}

fn declared(keys: &mut Keys) -> Result<Declared, Violation> {
    let name = keys.name.take().ok_or_else(|| missing(&keys.event, "name"))?;
    identifier("name", &name, NAME_LIMIT)?;
    if [names::REQUESTS, names::ERRORS, names::DURATION].contains(&name.as_str()) {
        return Err(malformed(format!("name {name:?}: begin and end count it")));
    }
    let mut labels = keys.labels.take().unwrap_or_default();
    // An empty value tells nothing apart: that label is not there.
    labels.retain(|_, value| !value.is_empty());
    if labels.len() > LABEL_LIMIT {
        return Err(malformed(format!("{} labels: at most {LABEL_LIMIT}", labels.len())));
    }
    for (label, value) in &labels {
        identifier("label", label, LABEL_NAME_LIMIT)?;
        text("label value", value, LABEL_VALUE_LIMIT)?;
    }
    let help = keys.help.take().unwrap_or_default();
    text("help", &help, HELP_LIMIT)?;
    let unit = keys.unit.take().unwrap_or_default();
    text("unit", &unit, UNIT_LIMIT)?;
    Ok(Declared { series: Named { name, labels }, help, unit })
}

fn identifier(what: &str, word: &str, limit: usize) -> Result<(), Violation> {
    let is_word = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let begins = word.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if is_word && begins && word.len() <= limit {
        return Ok(());
    }
    Err(malformed(format!(
        "{what} {word:?}: wanted A-Z a-z 0-9 _, no digit first, at most {limit} bytes"
    )))
}

fn text(what: &str, text: &str, limit: usize) -> Result<(), Violation> {
    if text.len() > limit {
        return Err(malformed(format!("{what} of {} bytes: at most {limit}", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(malformed(format!("{what} {text:?}: no control characters")));
    }
    Ok(())
}

fn amount(value: Option<serde_json::Number>) -> Result<Amount, Violation> {
    let Some(value) = value else { return Ok(Amount::Whole(1)) };
    match (value.as_u64(), value.as_f64()) {
        (Some(whole), _) => Ok(Amount::Whole(whole)),
        (None, Some(amount)) if amount >= 0.0 => Ok(Amount::Fraction(amount)),
        _ => Err(malformed(format!("value {value}: a counter only goes up"))),
    }
}

fn number(event: &str, keys: &mut Keys) -> Result<f64, Violation> {
    let value = keys.value.take().ok_or_else(|| missing(event, "value"))?;
    value.as_f64().ok_or_else(|| malformed(format!("value {value}: wanted a number")))
}

fn bounds(bounds: Option<Vec<f64>>) -> Result<Option<Vec<f64>>, Violation> {
    let Some(bounds) = bounds else { return Ok(None) };
    let rising = bounds.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
    if bounds.is_empty() || bounds.len() > CLASSIC_LIMIT || !rising {
        return Err(malformed(format!("bounds: wanted 1 to {CLASSIC_LIMIT} numbers that rise")));
    }
    Ok(Some(bounds))
}

/// All lines up to and with this number are in the ledger.
#[must_use]
pub fn acknowledgement(seq: u64) -> String {
    format!("{{\"ack\":{seq}}}\n")
}

/// A line counts nothing, for this reason.
#[must_use]
pub fn refusal(seq: Option<u64>, text: &str) -> String {
    let mut line = match seq {
        Some(seq) => serde_json::json!({"error": text, "seq": seq}).to_string(),
        None => serde_json::json!({"error": text}).to_string(),
    };
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        match decode(format!("{text}\nrest").as_bytes()) {
            Ok(Frame::Line { line, length }) if length == text.len() + 1 => line,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn named(name: &str, labels: &[(&str, &str)]) -> Named {
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Named { name: name.into(), labels }
    }

    #[test]
    fn each_event_is_one_line() {
        let plain =
            |name| Declared { series: named(name, &[]), help: String::new(), unit: String::new() };
        for (text, seq, event) in [
            (r#"{"event":"begin","id":"a","seq":1}"#, Some(1), Event::Begin { id: "a".into() }),
            (
                r#"{"event":"end","id":"a","status":"success"}"#,
                None,
                Event::End { id: Some("a".into()), status: 0, category: None, seconds: None },
            ),
            (
                r#"{"seq":18446744073709551615,"event":"end","status":"timeout","category":"slow","seconds":2}"#,
                Some(u64::MAX),
                Event::End {
                    id: None,
                    status: 2,
                    category: Some("slow".into()),
                    seconds: Some(2.0),
                },
            ),
            (
                r#"{"event":"count","name":"a_total","labels":{"b":"c"},"help":"As.","unit":"a"}"#,
                None,
                Event::Count(
                    Declared {
                        series: named("a_total", &[("b", "c")]),
                        help: "As.".into(),
                        unit: "a".into(),
                    },
                    Amount::Whole(1),
                ),
            ),
            (
                r#"{"event":"count","name":"a_total","value":0.5}"#,
                None,
                Event::Count(plain("a_total"), Amount::Fraction(0.5)),
            ),
            (r#"{"event":"set","name":"a","value":-3}"#, None, Event::Set(plain("a"), -3.0)),
            (
                r#"{"event":"observe","name":"a","value":3,"bounds":[1,2]}"#,
                None,
                Event::Observe(plain("a"), 3.0, Some(vec![1.0, 2.0])),
            ),
            ("{\"event\":\"heartbeat\"}\r", None, Event::Heartbeat),
            (r#"{"event":"close","seq":9}"#, Some(9), Event::Close),
        ] {
            assert_eq!(line(text), Line { seq, event: Ok(event) }, "{text}");
        }
    }

    #[test]
    fn what_counts_nothing_says_why_and_keeps_its_number() {
        let long = format!(r#"{{"event":"begin","id":"{}","seq":1}}"#, "x".repeat(41));
        for (text, words) in [
            (r#"{"event":"end","secs":2,"x":{"y":[]},"seq":1}"#, "unknown field `secs`"),
            (r#"{"event":"go","seq":1}"#, "event \"go\": wanted begin, end"),
            (r#"{"event":"begin","seq":1}"#, "begin without id"),
            (r#"{"event":"begin","id":"","seq":1}"#, "id of 0 bytes"),
            (&long, "id of 41 bytes"),
            (r#"{"event":"begin","id":"a","value":1,"seq":1}"#, "a key that means nothing"),
            (r#"{"event":"end","seq":1,"seconds":1}"#, "end without status"),
            (r#"{"event":"end","status":"aborted","seq":1}"#, "status \"aborted\": wanted"),
            (r#"{"event":"end","status":"error","seq":1}"#, "without id and without seconds"),
            (r#"{"event":"end","status":"error","seconds":-1,"seq":1}"#, "seconds -1"),
            (r#"{"event":"count","seq":1}"#, "count without name"),
            (r#"{"event":"count","name":"1a","seq":1}"#, "no digit first"),
            (r#"{"event":"count","name":"a","value":-1,"seq":1}"#, "only goes up"),
            (r#"{"event":"count","name":"agent_errors_total","seq":1}"#, "begin and end count it"),
            (r#"{"event":"count","name":"a","labels":{"b":"\n"},"seq":1}"#, "no control char"),
            (r#"{"event":"set","name":"a","seq":1}"#, "set without value"),
            (r#"{"event":"observe","name":"a","value":-1,"seq":1}"#, "wanted at least 0"),
            (r#"{"event":"observe","name":"a","value":1,"bounds":[2,1],"seq":1}"#, "that rise"),
        ] {
            let line = line(text);
            assert_eq!(line.seq, Some(1), "{text}");
            let why = line.event.unwrap_err();
            assert_eq!(why.reason, "malformed");
            assert!(why.text.contains(words), "{text}: {}", why.text);
        }
        for text in
            ["", "1", "[]", "{}", "x", r#"{"event":"begin","ID":"a"}"#, "\u{1}", "{\"seq\":"]
        {
            let line = line(text);
            assert!(line.seq.is_none() && line.event.is_err(), "{text}");
        }
        assert!(line(r#"{"event":"heartbeat","seq":0}"#).event.is_err());
    }

    #[test]
    fn a_line_has_an_end_within_reach() {
        assert_eq!(decode(b""), Ok(Frame::Incomplete));
        assert_eq!(decode(&[b'x'; LINE_LIMIT - 1]), Ok(Frame::Incomplete));
        assert_eq!(decode(&[b'x'; LINE_LIMIT]).unwrap_err().reason, "oversized");
        let mut longest = vec![b' '; LINE_LIMIT];
        longest[LINE_LIMIT - 1] = b'\n';
        assert!(matches!(decode(&longest), Ok(Frame::Line { length: LINE_LIMIT, .. })));
        let whole = br#"{"event":"begin","id":"}"}"#;
        assert!(is_whole(whole) && (0..whole.len()).all(|cut| !is_whole(&whole[..cut])));
        let nested = "[".repeat(LINE_LIMIT - 20);
        assert!(line(&format!("{{\"labels\":{nested}")).event.is_err());
    }

    #[test]
    fn answers_are_one_line_of_json() {
        for answer in [acknowledgement(7), refusal(Some(7), "a \"b\"\n"), refusal(None, "x")] {
            assert_eq!(answer.matches('\n').count(), 1);
            assert!(serde_json::from_str::<serde_json::Value>(&answer).is_ok());
        }
    }
}
