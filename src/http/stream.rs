//! A connection's byte stream that knows what the client is at, and when its time is up.
//!
//! hyper's own time-out for the head of a request runs on an idle connection as well, so that one
//! value would have to be both short (for a client that dribbles) and long (for the pause between
//! two scrapes). Here each phase has its own.
//!
//! Must not know: requests and answers.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a client may take, phase by phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub(super) header: Duration,
    pub(super) write: Duration,
    pub(super) idle: Duration,
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client sends the head of a request, or is expected to after connecting.
    Head,
    /// The daemon makes the answer: no time-out for the client.
    Work,
    /// The answer is on its way: the client is to read it.
    Answer,
    /// Nothing is under way; the client may send another request.
    Idle,
}

/// The phase of one connection and the end of it, shared by its stream and its service.
#[derive(Debug)]
pub(super) struct Clock {
    timeouts: Timeouts,
    phase: Cell<Phase>,
    deadline: Cell<Option<Instant>>,
}

impl Clock {
    /// The clock of a connection that has just been accepted.
    pub(super) fn start(timeouts: Timeouts) -> Rc<Self> {
        let clock = Self { timeouts, phase: Cell::new(Phase::Head), deadline: Cell::new(None) };
        clock.enter(Phase::Head);
        Rc::new(clock)
    }

    pub(super) fn enter(&self, phase: Phase) {
        let limit = match phase {
            Phase::Head => Some(self.timeouts.header),
            Phase::Work => None,
            Phase::Answer => Some(self.timeouts.write),
            Phase::Idle => Some(self.timeouts.idle),
        };
        self.phase.set(phase);
        self.deadline.set(limit.map(|limit| Instant::now() + limit));
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// When the client's time is up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }
}

/// A stream that moves its clock on: the first byte after a pause begins a head, the last byte of
/// an answer taken by the kernel begins a pause.
#[derive(Debug)]
pub(super) struct Timed<S> {
    stream: S,
    clock: Rc<Clock>,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, clock: Rc<Clock>) -> Self {
        Self { stream, clock }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before && self.clock.phase() == Phase::Idle {
            self.clock.enter(Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes the stream once all that it has buffered is written, and it buffers an
    /// answer of one chunk whole: a flush while answering is the end of the answer.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.clock.phase() == Phase::Answer {
            self.clock.enter(Phase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
