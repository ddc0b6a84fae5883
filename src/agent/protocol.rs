//! The handshake, without any I/O: bytes in, a [`Hello`] or a [`Violation`] out. Every limit of it
//! stands here.
//!
//! Must not know sockets, or what becomes of an agent.

use crate::names::{NAME_LIMIT, is_name};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// Bytes of a hello, line feed included.
pub const HELLO_LIMIT: usize = 4096;
/// Bytes of what an agent says of itself beside its name.
pub const TEXT_LIMIT: usize = 64;
/// The longest heartbeat interval that is a promise.
const HEARTBEAT_LIMIT: f64 = 86_400.0;

/// Who an agent says that it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello {
    /// Its name: 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub agent: String,
    /// The client library and its version.
    pub client: String,
    /// The agent's own version.
    pub version: String,
    /// What it is built with.
    pub framework: String,
    /// How often it promises to show life.
    pub heartbeat: Option<Duration>,
    /// How it reports.
    pub mode: Mode,
}

/// How an agent reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// In a ledger that is handed over to it.
    #[default]
    Ledger,
    /// In lines, from which the daemon writes a ledger.
    Lines {
        /// What it may go on with by another connection; nothing when this is the only one.
        session: Option<String>,
    },
}

/// What a peer has done wrong, in words for it and for the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The word for `musterd_refused_total{reason}`.
    pub reason: &'static str,
    /// What was wrong and what was wanted.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What the bytes so far amount to.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// The line goes on.
    Incomplete,
    /// A whole hello.
    Hello {
        /// Who it is.
        hello: Hello,
        /// Bytes of the line. In [`Mode::Lines`] others may follow.
        length: usize,
    },
}

#[derive(Deserialize)]
struct Line {
    musterd: u64,
    agent: String,
    client: Option<String>,
    version: Option<String>,
    framework: Option<String>,
    heartbeat_seconds: Option<f64>,
    mode: Option<String>,
    session: Option<String>,
}

/// Reads the first line of a connection from all the bytes that have come so far.
///
/// # Errors
/// What is wrong with it: too long, followed by more, not JSON, of another version, or with a
/// value that cannot be.
pub fn decode(bytes: &[u8]) -> Result<Frame, Violation> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        if bytes.len() >= HELLO_LIMIT {
            let text = format!("a hello of over {HELLO_LIMIT} bytes");
            return Err(Violation { reason: "oversized", text });
        }
        return Ok(Frame::Incomplete);
    };
    let (line, rest) = bytes.split_at(end);
    let hello = parse(line)?;
    if rest.len() > 1 && hello.mode == Mode::Ledger {
        let text = "more than one line; a client says hello and then nothing, unless it has said \
                    \"mode\":\"lines\""
            .to_owned();
        return Err(Violation { reason: "malformed", text });
    }
    Ok(Frame::Hello { hello, length: end + 1 })
}

fn parse(line: &[u8]) -> Result<Hello, Violation> {
    let malformed = |text: String| Violation { reason: "malformed", text };
    let line: Line = serde_json::from_slice(line).map_err(|error| {
        malformed(format!(
            "not a hello: {error}; wanted one line such as {{\"musterd\":1,\"agent\":\"name\"}}"
        ))
    })?;
    if line.musterd != u64::from(musterd_client::layout::VERSION) {
        let text = format!("protocol version {}, this daemon speaks version 1", line.musterd);
        return Err(Violation { reason: "version", text });
    }
    if !is_name(&line.agent) {
        return Err(malformed(format!(
            "agent name {:?}: wanted 1 to {NAME_LIMIT} of A-Z a-z 0-9 _ . -",
            line.agent
        )));
    }
    let text = |key: &str, value: Option<String>| match value {
        Some(value) if value.len() > TEXT_LIMIT => {
            Err(malformed(format!("{key} of {} bytes: at most {TEXT_LIMIT}", value.len())))
        }
        value => Ok(value.unwrap_or_default()),
    };
    let heartbeat = match line.heartbeat_seconds {
        None => None,
        Some(seconds) if seconds > 0.0 && seconds <= HEARTBEAT_LIMIT => {
            Some(Duration::from_secs_f64(seconds))
        }
        Some(seconds) => {
            return Err(malformed(format!(
                "heartbeat_seconds {seconds}: wanted more than 0 and at most {HEARTBEAT_LIMIT}"
            )));
        }
    };
    let mode = match (line.mode.as_deref(), line.session) {
        (None | Some("ledger"), None) => Mode::Ledger,
        (Some("lines"), None) => Mode::Lines { session: None },
        (Some("lines"), Some(session)) if is_name(&session) => {
            Mode::Lines { session: Some(session) }
        }
        (Some("lines"), Some(session)) => {
            return Err(malformed(format!(
                "session {session:?}: wanted 1 to {NAME_LIMIT} of A-Z a-z 0-9 _ . -"
            )));
        }
        (None | Some("ledger"), Some(_)) => {
            return Err(malformed("a session is for \"mode\":\"lines\"".to_owned()));
        }
        (Some(mode), _) => {
            return Err(malformed(format!("mode {mode:?}: wanted \"ledger\" or \"lines\"")));
        }
    };
    Ok(Hello {
        mode,
        agent: line.agent,
        client: text("client", line.client)?,
        version: text("version", line.version)?,
        framework: text("framework", line.framework)?,
        heartbeat,
    })
}

/// The answer to a hello that was accepted with a new ledger, whose durations are to be of a schema.
#[must_use]
pub fn welcome_new(size: usize, duration_schema: i32) -> String {
    format!(
        "{{\"musterd\":1,\"ok\":true,\"ledger\":\"new\",\"size\":{size},\
         \"duration_schema\":{duration_schema}}}\n"
    )
}

/// The answer to a hello that came with a ledger in use.
#[must_use]
pub fn welcome_back() -> String {
    "{\"musterd\":1,\"ok\":true,\"ledger\":\"resumed\"}\n".to_owned()
}

/// The answer to a hello in [`Mode::Lines`]; `applied` is the number of the last line that counts.
#[must_use]
pub fn welcome_lines(applied: u64) -> String {
    format!("{{\"musterd\":1,\"ok\":true,\"mode\":\"lines\",\"applied\":{applied}}}\n")
}

/// A hello that is refused, for what it says or for who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The word for `musterd_refused_total{reason}`.
    pub reason: &'static str,
    /// What was wrong and what was wanted, for the peer and for the log.
    pub text: String,
    /// Whether it may be granted another time.
    pub retry: bool,
}

impl Refusal {
    /// The answer to it.
    #[must_use]
    pub fn answer(&self) -> String {
        let Self { text, retry, .. } = self;
        let answer = serde_json::json!({"musterd": 1, "ok": false, "error": text, "retry": retry});
        format!("{answer}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8]) -> &'static str {
        decode(bytes).unwrap_err().reason
    }

    #[test]
    fn a_hello_is_one_line() {
        let line =
            br#"{"musterd":1,"agent":"a-1.B_","client":null,"heartbeat_seconds":1.5,"x":[]}"#;
        assert_eq!(decode(line), Ok(Frame::Incomplete));
        let whole = [line, &b"\n"[..]].concat();
        let Ok(Frame::Hello { hello, length }) = decode(&whole) else { panic!() };
        assert_eq!((length, &hello.mode), (whole.len(), &Mode::Ledger));
        assert_eq!(hello.agent, "a-1.B_");
        assert_eq!(hello.heartbeat, Some(Duration::from_millis(1500)));
        assert_eq!(hello.client, "");
    }

    #[test]
    fn what_is_not_a_hello_is_refused_with_a_reason() {
        assert_eq!(reason(b"\n"), "malformed");
        assert_eq!(reason(b"GET / HTTP/1.1\r\n"), "malformed");
        assert_eq!(reason(b"\xff\xfe\n"), "malformed");
        assert_eq!(reason(b"{\"musterd\":1}\n"), "malformed");
        assert_eq!(reason(b"{\"musterd\":2,\"agent\":\"a\"}\n"), "version");
        assert_eq!(reason(b"{\"musterd\":1,\"agent\":\"a\"}\nmore"), "malformed");
        assert_eq!(reason(&[b'x'; HELLO_LIMIT]), "oversized");
        for name in ["", "a b", "a/b", "ä", "a\\n", &"x".repeat(65)] {
            let line = format!("{{\"musterd\":1,\"agent\":\"{name}\"}}\n");
            assert_eq!(reason(line.as_bytes()), "malformed", "{name}");
        }
        for seconds in ["0", "-1", "1e99", "\"1\""] {
            let line =
                format!("{{\"musterd\":1,\"agent\":\"a\",\"heartbeat_seconds\":{seconds}}}\n");
            assert_eq!(reason(line.as_bytes()), "malformed", "{seconds}");
        }
        let long =
            format!("{{\"musterd\":1,\"agent\":\"a\",\"version\":\"{}\"}}\n", "v".repeat(65));
        assert_eq!(reason(long.as_bytes()), "malformed");
    }

    #[test]
    fn lines_may_follow_where_lines_are_meant() {
        let mode = |text: &str| match decode(
            format!("{{\"musterd\":1,\"agent\":\"a\",{text}}}\n{{").as_bytes(),
        ) {
            Ok(Frame::Hello { hello, .. }) => Ok(hello.mode),
            Ok(Frame::Incomplete) => panic!(),
            Err(violation) => Err(violation.text),
        };
        assert_eq!(mode("\"mode\":\"lines\""), Ok(Mode::Lines { session: None }));
        let session = Some("s-1".to_owned());
        assert_eq!(mode("\"mode\":\"lines\",\"session\":\"s-1\""), Ok(Mode::Lines { session }));
        for (text, words) in [
            ("\"mode\":\"ledger\"", "more than one line"),
            ("\"mode\":\"line\"", "mode \"line\""),
            ("\"mode\":\"lines\",\"session\":\"\"", "session \"\""),
            ("\"session\":\"a\"", "a session is for"),
        ] {
            let error = mode(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn answers_are_one_line_of_json() {
        let text = "a \"b\"\n".to_owned();
        let refusal = Refusal { reason: "malformed", text, retry: true };
        let answers = [welcome_new(4096, 5), welcome_back(), welcome_lines(7), refusal.answer()];
        for answer in answers {
            assert_eq!(answer.matches('\n').count(), 1);
            let value: serde_json::Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(value["musterd"], 1);
        }
    }
}
