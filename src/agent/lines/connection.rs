//! One connection of a program that sends lines: reads them, has them written into the ledger, says how far
//! that has come and what was refused.
//!
//! Must not know how an event is counted. It never waits for a peer that does not read: what cannot be
//! said is left out, but for the last acknowledgement, which says what all before it have said.

use super::book::Book;
use super::protocol::{self, BATCH_LIMIT, Frame, LINE_LIMIT};
use crate::agent::context::Context;
use crate::agent::protocol::{Violation, welcome_lines};
use crate::agent::registry::Key;
use crate::clock;
use crate::pidfd::Watch;
use std::io;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Bytes that are read at once.
const READ_SIZE: usize = 64 << 10;
/// Bytes of answers that may wait for a peer to read.
const ANSWERS_LIMIT: usize = 64 << 10;
/// How long a peer that sends nothing more may take to read what is left for it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is known of one connection.
#[derive(Debug)]
pub struct Lines {
    key: Key,
    book: Book,
    session: Option<String>,
    agent: String,
    /// What has come and has not been taken in.
    pending: Vec<u8>,
    answers: Answers,
}

/// What a peer is still to be told.
#[derive(Debug, Default)]
struct Answers {
    bytes: Vec<u8>,
    /// The number to acknowledge, once there is room to say so.
    applied: Option<u64>,
}

/// Why no more lines are read.
enum End {
    /// The peer has ended its side, or its process has ended.
    Peer,
    /// It has done what cannot be put up with.
    Violation,
    /// Another connection goes on with its session.
    Superseded,
}

impl Lines {
    /// A connection that has said hello, and perhaps more.
    #[must_use]
    pub fn new(
        key: Key,
        book: Book,
        session: Option<String>,
        agent: String,
        pending: Vec<u8>,
    ) -> Self {
        let mut answers = Answers::default();
        answers.bytes.extend(welcome_lines(book.applied()).bytes());
        Self { key, book, session, agent, pending, answers }
    }

    /// What its ledger is called.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }

    /// Whether the program may go on by another connection.
    #[must_use]
    pub fn may_come_back(&self) -> bool {
        self.session.is_some()
    }

    /// Takes in whole lines, up to a batch; whether there may be more of them.
    fn take_batch(&mut self, context: &Context) -> Result<bool, End> {
        let mut taken = 0;
        let mut is_numbered = false;
        let now = clock::monotonic();
        let mut lines = 0;
        let ended = loop {
            if lines >= BATCH_LIMIT {
                break Ok(true);
            }
            let rest = self.pending.get(taken..).unwrap_or_default();
            let (line, length) = match protocol::decode(rest) {
                Ok(Frame::Incomplete) => break Ok(false),
                Ok(Frame::Line { line, length }) => (line, length),
                Err(violation) => {
                    self.refuse(None, &violation, context);
                    break Err(End::Violation);
                }
            };
            (taken, lines) = (taken + length, lines + 1);
            is_numbered |= line.seq.is_some();
            if let Err(violation) = self.book.take(line.seq, line.event, now) {
                self.refuse(line.seq, &violation, context);
            }
        };
        self.pending.drain(..taken);
        self.pending.shrink_to(LINE_LIMIT);
        if is_numbered {
            self.answers.applied = Some(self.book.applied());
        }
        ended
    }

    /// The peer has said all it has to say. Its last line may lack the line feed; of half a line nothing counts,
    /// which is a fault where it cannot come once more.
    fn take_rest(&mut self, context: &Context) {
        let is_whole = protocol::is_whole(&self.pending);
        if is_whole || !(self.pending.is_empty() || self.may_come_back()) {
            self.pending.push(b'\n');
            // A whole one is no violation, and no batch.
            let _ = self.take_batch(context);
        }
    }

    fn refuse(&mut self, seq: Option<u64>, violation: &Violation, context: &Context) {
        context.instruments.refused("lines", violation.reason);
        if let Some(left_out) = context.log_quota.take(Instant::now()) {
            let (agent, reason) = (&self.agent, &violation.text);
            tracing::warn!(agent, seq, reason, left_out, "line refused");
        }
        self.answers.say(&protocol::refusal(seq, &violation.text));
    }
}

impl Answers {
    fn say(&mut self, line: &str) {
        if self.bytes.len() + line.len() <= ANSWERS_LIMIT {
            self.bytes.extend(line.bytes());
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.applied.is_none()
    }

    /// Sends as much as the peer has room for.
    fn send(&mut self, stream: &UnixStream) -> io::Result<()> {
        loop {
            // Last, so that what a batch was refused comes before its acknowledgement; and only when there
            // is room for it, so that it says how far things have come by then.
            if self.bytes.is_empty() {
                let Some(applied) = self.applied.take() else { return Ok(()) };
                self.bytes.extend(protocol::acknowledgement(applied).bytes());
            }
            match stream.try_write(&self.bytes) {
                Ok(sent) => drop(self.bytes.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Reads lines until the connection, or its process, ends.
pub async fn attend(
    stream: &UnixStream,
    lines: &mut Lines,
    watch: Option<&Watch>,
    context: &Context,
) {
    let end = read_lines(stream, lines, watch, context).await;
    if matches!(end, End::Superseded) {
        lines.answers.say(&protocol::refusal(None, "another connection goes on with this session"));
    } else if !lines.may_come_back() && lines.book.in_flight() == 0 {
        // Sent by hand, or by a program that has said all it had to say: the end is on purpose.
        lines.book.close();
    }
    let _ = tokio::time::timeout(LAST_WORDS, async {
        while !lines.answers.is_empty() && lines.answers.send(stream).is_ok() {
            if lines.answers.is_empty() || stream.writable().await.is_err() {
                break;
            }
        }
    })
    .await;
}

async fn read_lines(
    stream: &UnixStream,
    lines: &mut Lines,
    watch: Option<&Watch>,
    context: &Context,
) -> End {
    let mut has_died = false;
    loop {
        if !context.registry.borrow().is_current(lines.key) {
            return End::Superseded;
        }
        let has_more = match lines.take_batch(context) {
            Ok(has_more) => has_more,
            Err(end) => return end,
        };
        // A peer that has gone cannot be told, and may have said more before it went.
        if lines.answers.send(stream).is_err() {
            lines.answers = Answers::default();
        }
        if has_more {
            tokio::task::yield_now().await;
            continue;
        }
        if !has_died {
            has_died = wait(stream, lines, watch).await;
        }
        match read(stream, &mut lines.pending) {
            Ok(1..) => tokio::task::yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !has_died => {}
            // Where the peer has not read all its answers, the kernel gives an error in place of the end.
            Ok(0) | Err(_) => {
                lines.take_rest(context);
                return End::Peer;
            }
        }
    }
}

fn read(stream: &UnixStream, pending: &mut Vec<u8>) -> io::Result<usize> {
    let mut part = [0; READ_SIZE];
    let received = stream.try_read(&mut part)?;
    pending.extend_from_slice(part.get(..received).unwrap_or_default());
    Ok(received)
}

/// Waits until something can be read or said; whether the process has ended. What it said before that is
/// still there to be read.
async fn wait(stream: &UnixStream, lines: &Lines, watch: Option<&Watch>) -> bool {
    let interest = if lines.answers.is_empty() {
        Interest::READABLE
    } else {
        Interest::READABLE | Interest::WRITABLE
    };
    let died = async {
        match watch {
            Some(watch) => watch.ended().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        _ = stream.ready(interest) => false,
        () = died => true,
    }
}
