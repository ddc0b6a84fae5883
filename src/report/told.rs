//! One request, told in lines (`docs/lines.md`): once the daemon has acknowledged it without a refusal, it counts
//! exactly once, whoever is killed afterwards. (Of a refusal whose answer is lost with its connection, the next
//! attempt learns nothing but that the request is done with.)
//!
//! Must not know where the request comes from.

use super::Ended;
use musterd_client::Status;
use musterd_client::layout::LABEL_VALUE_LIMIT;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Bytes of answers that are read: there are a few short ones.
const ANSWERS_LIMIT: u64 = 64 << 10;
/// How long is waited after the first attempt; then twice as long after each.
const PAUSE: Duration = Duration::from_millis(20);
/// The category of a word that no label can have.
const OVERFLOW: &str = "overflow";

/// What has come of an attempt that the daemon has answered.
#[derive(Debug, PartialEq)]
enum Answer {
    Counted,
    /// Why not, and whether it may be otherwise another time.
    Refused(String, bool),
}

/// Tells of a request, for no longer than `patience`.
///
/// # Errors
/// Why it does not count, to follow the name of the agent.
pub(super) fn tell(
    socket: &Path,
    agent: &str,
    ended: &Ended,
    patience: Duration,
) -> Result<(), String> {
    let text = text_of(agent, ended, &session());
    let (place, limit) = (socket.display(), Instant::now() + patience);
    let mut pause = PAUSE;
    loop {
        let left = limit.saturating_duration_since(Instant::now());
        let why = match attempt(socket, &text, left.max(PAUSE)) {
            Ok(Answer::Counted) => return Ok(()),
            Ok(Answer::Refused(why, false)) => return Err(format!("was refused: {why}")),
            Ok(Answer::Refused(why, true)) => why,
            Err(_) if super::is_absent(socket) => {
                return Err(format!("finds no socket {place}; is musterd running?"));
            }
            Err(error) => {
                format!("{error}; is musterd running, and may this user use its socket {place}?")
            }
        };
        if left <= pause {
            let seconds = patience.as_secs_f64();
            return Err(format!("was not taken by a daemon within {seconds} s: {why}"));
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
}

/// By which the daemon knows, on whatever connection, what it has heard already.
fn session() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("report-{}-{}", std::process::id(), now.as_nanos())
}

/// All there is to say. The end of the program has no number: said once more, it does no harm.
fn text_of(agent: &str, ended: &Ended, session: &str) -> String {
    let client = concat!("musterd ", env!("CARGO_PKG_VERSION"));
    let hello = json!({
        "musterd": 1, "agent": agent, "mode": "lines", "session": session, "client": client,
        "framework": "musterd report",
    });
    let status = match ended.status {
        Status::Success => "success",
        Status::Error => "error",
        Status::Timeout => "timeout",
        Status::Cancelled => "cancelled",
    };
    let is_label =
        |word: &str| word.len() <= LABEL_VALUE_LIMIT && !word.chars().any(char::is_control);
    let category = ended.category.as_deref();
    let end = json!({
        "seq": 1, "event": "end", "status": status, "seconds": ended.duration.as_secs_f64(),
        "category": category.map(|word| if is_label(word) { word } else { OVERFLOW }),
    });
    format!("{hello}\n{end}\n{{\"event\":\"close\"}}\n")
}

fn attempt(socket: &Path, text: &str, patience: Duration) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(text.as_bytes())?;
    answer(BufReader::new(stream.take(ANSWERS_LIMIT)))
}

/// Reads until the request is done with.
fn answer(answers: impl BufRead) -> io::Result<Answer> {
    let mut refused = None;
    for line in answers.lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let is = |key: &str, value: Value| line.get(key) == Some(&value);
        let error = line.get("error").and_then(Value::as_str).map(str::to_owned);
        match error {
            Some(why) if is("ok", false.into()) => {
                return Ok(Answer::Refused(why, !is("retry", false.into())));
            }
            Some(why) if is("seq", 1.into()) => refused = Some(why),
            _ if line.get("ack").is_some() => {
                return Ok(refused.map_or(Answer::Counted, |why| Answer::Refused(why, false)));
            }
            _ => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection has ended without an answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_whether_it_counts() {
        let read = |text: &str| answer(text.as_bytes()).ok();
        let refused = |why: &str, again| Some(Answer::Refused(why.to_owned(), again));
        let welcome = r#"{"musterd":1,"ok":true,"mode":"lines","applied":0}"#;
        assert_eq!(read(&format!("{welcome}\n{{\"ack\":1}}\n")), Some(Answer::Counted));
        let odd = format!("{welcome}\n{{\"error\":\"odd\",\"seq\":1}}\n{{\"ack\":1}}\n");
        assert_eq!(read(&odd), refused("odd", false));
        assert_eq!(read(r#"{"ok":false,"error":"full","retry":true}"#), refused("full", true));
        assert_eq!(read(r#"{"ok":false,"error":"no","retry":false}"#), refused("no", false));
        for none in ["", welcome, "rubbish", "1\n", "{\"ack\"", "[]"] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn what_no_label_can_have_is_said_otherwise() {
        for (category, said) in [
            (Some("net".to_owned()), json!("net")),
            (Some("a\nb".to_owned()), json!(OVERFLOW)),
            (Some("x".repeat(257)), json!(OVERFLOW)),
            (None, Value::Null),
        ] {
            let duration = Duration::from_millis(1500);
            let text = text_of("a", &Ended { status: Status::Error, category, duration }, "s");
            let line: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
            assert_eq!((&line["category"], &line["seconds"]), (&said, &json!(1.5)));
        }
    }
}
