//! [`Agent`] and [`Request`]: what a program uses.

mod books;
mod reporter;
mod sharing;

use crate::connection::Settings;
use crate::declaration::Declaration;
use crate::layout::names;
use crate::series::Placed;
use crate::writer::{Flight, Update, Writer};
use books::Books;
use reporter::Reporter;
use std::ops::DerefMut;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/musterd/agent.sock";

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It did what was asked.
    Success,
    /// It failed.
    Error,
    /// It took too long.
    Timeout,
    /// Whoever asked no longer wants it.
    Cancelled,
}

impl Status {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Success, "success"),
        (Self::Error, "error"),
        (Self::Timeout, "timeout"),
        (Self::Cancelled, "cancelled"),
    ];
}

/// What an agent says of itself before it starts to report.
#[derive(Clone, Debug)]
pub struct Builder {
    name: String,
    socket: PathBuf,
    version: Option<String>,
    framework: Option<String>,
    heartbeat: Option<Duration>,
}

impl Builder {
    /// The daemon's socket, in place of `MUSTERD_SOCKET` or `/run/musterd/agent.sock`.
    #[must_use]
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = path.into();
        self
    }

    /// The agent's own version.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// What the agent is built with.
    #[must_use]
    pub fn framework(mut self, framework: impl Into<String>) -> Self {
        self.framework = Some(framework.into());
        self
    }

    /// Promises a sign of life (a request's begin or end, or [`Agent::heartbeat`]) at least this
    /// often; silence is then a fault.
    #[must_use]
    pub fn heartbeat_every(mut self, interval: Duration) -> Self {
        self.heartbeat = Some(interval);
        self
    }

    /// Starts reporting. Nothing is waited for: without a daemon the agent counts for itself, and
    /// hands over its counts when one comes. That takes a millisecond where there is one, and dropping the
    /// agent waits for it; `std::process::exit` drops nothing, and so loses what was counted before.
    #[must_use]
    pub fn start(self) -> Agent {
        let hello = serde_json::json!({
            "musterd": crate::layout::VERSION,
            "agent": self.name,
            "client": concat!("rust ", env!("CARGO_PKG_VERSION")),
            "version": self.version,
            "framework": self.framework,
            "heartbeat_seconds": self.heartbeat.map(|interval| interval.as_secs_f64()),
        });
        let settings = Settings { socket: self.socket, hello: hello.to_string() };
        Agent { reporter: sharing::reporter(settings) }
    }
}

/// A program that reports to musterd.
///
/// Shared by reference between threads and tasks; its methods take some tens of nanoseconds, do
/// no system call, allocate nothing (but for a category or model seen for the first time), never
/// fail and never print. Threads take turns; see [`Agent::missed`]. Do not report from a signal
/// handler.
///
/// Objects of one process with the same name, socket and description are one agent, which counts what
/// all of them do and ends with the last of them: however many there are, they take one connection.
///
/// A forked child is an agent of its own from its first report on, with a ledger and a connection
/// of its own. Requests that were in flight at the fork are the parent's.
///
/// ```
/// # let server = async |agent: &musterd_client::Agent| {
/// // In async code a request may be held across an await, and end on another thread.
/// let request = agent.begin();
/// let answer = async { 2 + 2 }.await;
/// if answer == 4 { request.success() } else { request.error("arithmetic") }
/// # };
/// ```
pub struct Agent {
    reporter: Arc<Reporter>,
}

impl Agent {
    /// An agent named `name` (1 to 64 of `A-Z a-z 0-9 _ . -`), to be described further.
    #[must_use]
    pub fn builder(name: impl Into<String>) -> Builder {
        let socket = std::env::var_os("MUSTERD_SOCKET").unwrap_or_else(|| DEFAULT_SOCKET.into());
        Builder {
            name: name.into(),
            socket: socket.into(),
            version: None,
            framework: None,
            heartbeat: None,
        }
    }

    /// An agent with the name that the daemon gave to this process when it started it
    /// (`MUSTERD_AGENT`), else `fallback`.
    #[must_use]
    pub fn from_environment(fallback: &str) -> Self {
        let name = std::env::var("MUSTERD_AGENT").unwrap_or_else(|_| fallback.to_owned());
        Self::builder(name).start()
    }

    /// Begins a request that ends now or much later, on this thread or another.
    #[inline]
    pub fn begin(&self) -> Request<'_> {
        let Some(mut books) = self.books() else {
            return Request { agent: self, begun: 0, flight: None };
        };
        let begun = books.clock.now();
        books.ledgers.first.heartbeat(begun);
        let flight = books.ledgers.first.begin(begun);
        Request { agent: self, begun, flight: Some(flight) }
    }

    /// Reports a request that was timed elsewhere. `category` counts for every status but success
    /// and cancelled.
    #[inline]
    pub fn record(&self, status: Status, duration: Duration, category: Option<&str>) {
        let Some(mut books) = self.books() else { return };
        books.finish(None, status, duration.as_secs_f64(), category);
    }

    /// Reports tokens that a model was sent and has answered with.
    pub fn tokens(&self, model: &str, input: u64, output: u64) {
        let Some(mut books) = self.books() else { return };
        books.add_tokens(model, [input, output]);
    }

    /// Reports a call of a language model that was timed elsewhere.
    pub fn llm_call(&self, model: &str, status: Status, duration: Duration) {
        let Some(mut books) = self.books() else { return };
        books.observe(names::LLM_DURATION, model, Some(status), duration);
    }

    /// Reports how long it took until a model began to answer.
    pub fn first_token(&self, model: &str, duration: Duration) {
        let Some(mut books) = self.books() else { return };
        books.observe(names::FIRST_TOKEN, model, None, duration);
    }

    /// Reports a call of a tool that was timed elsewhere.
    pub fn tool_call(&self, tool: &str, status: Status, duration: Duration) {
        let Some(mut books) = self.books() else { return };
        books.observe(names::TOOL_DURATION, tool, Some(status), duration);
    }

    /// Where a series of its own stands, for [`Agent::change`].
    pub(crate) fn declare(&self, declaration: Declaration) -> usize {
        self.reporter.here().declare(declaration)
    }

    /// Changes a series of its own.
    #[inline]
    pub(crate) fn change(
        &self,
        place: usize,
        gather: impl FnOnce(&mut Writer, &Placed, &mut Update),
    ) {
        let Some(mut books) = self.books() else { return };
        books.change(place, gather);
    }

    /// Shows life. Requests that begin and end do so by themselves.
    #[inline]
    pub fn heartbeat(&self) {
        let Some(mut books) = self.books() else { return };
        let now = books.clock.now();
        books.ledgers.first.heartbeat(now);
    }

    /// Reports that have been lost, because another thread was stopped in the midst of a report for
    /// longer than a second: by a debugger, or by a signal handler that reports. 0 where all is well.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.reporter.here().missed()
    }

    /// Whether a daemon is there right now. Nothing needs to wait for it.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.reporter.here().is_connected()
    }

    #[inline]
    fn books(&self) -> Option<impl DerefMut<Target = Books>> {
        self.reporter.here().books()
    }
}

/// A request in flight. Dropped without a word it counts as cancelled, as the future of an
/// abandoned task is.
#[must_use = "a request that is dropped counts as cancelled"]
pub struct Request<'a> {
    agent: &'a Agent,
    begun: u64,
    flight: Option<Flight>,
}

impl Request<'_> {
    /// It did what was asked.
    #[inline]
    pub fn success(self) {
        self.end(Status::Success, None);
    }

    /// It failed, for a reason of this category: a short word such as `network` or `validation`.
    #[inline]
    pub fn error(self, category: &str) {
        self.end(Status::Error, Some(category));
    }

    /// It took too long.
    #[inline]
    pub fn timeout(self) {
        self.end(Status::Timeout, Some("timeout"));
    }

    /// Whoever asked no longer wants it.
    #[inline]
    pub fn cancel(self) {
        self.end(Status::Cancelled, None);
    }

    /// Ends with a status; `category` counts for every status but success and cancelled.
    #[inline]
    pub fn end(mut self, status: Status, category: Option<&str>) {
        self.finish(status, category);
    }

    #[inline]
    fn finish(&mut self, status: Status, category: Option<&str>) {
        let Some(flight) = self.flight.take() else { return };
        let Some(mut books) = self.agent.books() else { return };
        let ended = books.clock.now();
        // Nanoseconds of any real request are exact in a double.
        #[allow(clippy::cast_precision_loss)]
        let seconds = i64::try_from(ended.saturating_sub(self.begun)).unwrap_or(0) as f64 * 1e-9;
        books.ledgers.first.heartbeat(ended);
        if books.ledgers.first.is_counted(flight) {
            return;
        }
        books.finish(Some(flight), status, seconds, category);
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.finish(Status::Cancelled, None);
    }
}

#[cfg(test)]
mod tests;
