//! Lines as journald takes them, with their fields
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>, systemd.journal-fields(7)).
//!
//! The library for it sends each line itself, and waits for journald to take it. Here a line is made ready, and
//! [`Queue`] sends it.
//!
//! Must not know what is logged.

use super::queue::Queue;
use std::fmt::{Debug, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Puts lines into a queue, one datagram each.
#[derive(Debug)]
pub(super) struct Journal {
    queue: Queue,
}

impl Journal {
    pub(super) const fn new(queue: Queue) -> Self {
        Self { queue }
    }
}

/// What sends a datagram to journald.
///
/// # Errors
/// When there is none.
pub(super) fn sender() -> io::Result<impl FnMut(&[u8]) -> io::Result<()> + Send + 'static> {
    let socket = UnixDatagram::unbound()?;
    // Discarded there; an error here if nobody listens.
    socket.send_to(&[], SOCKET)?;
    Ok(move |datagram: &[u8]| socket.send_to(datagram, SOCKET).map(|_| ()))
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut datagram = Datagram(Vec::with_capacity(512));
        datagram.field("PRIORITY", priority(*metadata.level()));
        datagram.field("SYSLOG_IDENTIFIER", "musterd");
        datagram.field("TARGET", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            datagram.field("CODE_FILE", file);
            datagram.field("CODE_LINE", &line.to_string());
        }
        event.record(&mut datagram);
        self.queue.push(datagram.0);
    }
}

/// syslog(3)'s level. What is usual for a daemon is a notice there.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    }
}

/// Fields, each as its name, a line feed, the length of its value in eight bytes, the value, and a line feed.
struct Datagram(Vec<u8>);

impl Datagram {
    fn field(&mut self, name: &str, value: &str) {
        // journald has upper case, digits and `_`, and keeps names that begin with `_` to itself.
        let name = name.trim_start_matches(|first: char| !first.is_ascii_alphabetic());
        self.0.extend(name.bytes().map(|byte| match byte {
            b'.' => b'_',
            byte => byte.to_ascii_uppercase(),
        }));
        self.0.push(b'\n');
        self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for Datagram {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // To a String it cannot fail, unless the value itself does.
        let _ = write!(text, "{value:?}");
        self.field(field.name(), &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    /// Name and value of each field.
    fn fields(mut datagram: &[u8]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        while let Some(end) = datagram.iter().position(|byte| *byte == b'\n') {
            let (name, rest) = datagram.split_at(end);
            let (length, rest) = rest[1..].split_first_chunk::<8>().unwrap();
            let (value, rest) =
                rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.push((text(name), text(value)));
            datagram = &rest[1..];
        }
        found
    }

    #[test]
    fn a_line_with_fields() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&sent);
        let queue = Queue::start(move |line| {
            kept.lock().unwrap().extend_from_slice(line);
            Ok(())
        });
        let queue = queue.unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::new(queue.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(agent = "a", number = 7, _place.of = ?Some("x\ny"), "two\nlines");
        });
        queue.flush();
        let found = fields(&sent.lock().unwrap());
        let value = |name: &str| {
            found.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(value("MESSAGE"), Some("two\nlines"));
        assert_eq!(value("PRIORITY"), Some("4"));
        assert_eq!(value("SYSLOG_IDENTIFIER"), Some("musterd"));
        assert_eq!(value("AGENT"), Some("a"));
        assert_eq!(value("NUMBER"), Some("7"));
        assert_eq!(value("PLACE_OF"), Some("Some(\"x\\ny\")"));
        assert_eq!(value("CODE_FILE"), Some(file!()));
    }
}
