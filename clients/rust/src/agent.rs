//! [`Agent`] and [`Request`]: what a program uses.

use crate::connection::{Connection, Host, Settings};
use crate::layout::{DURATION_SCHEMAS, Kind, Shape, names};
use crate::memory::Memory;
use crate::writer::{Flight, HistogramSeries, Series, Update, Writer};
use rustix::time::{ClockId, clock_gettime};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Room for the agent's own memory while there is no daemon; the usual size of a ledger.
const PRIVATE_SIZE: usize = 256 << 10;
/// Error categories, and models, after which the next ones count as `other`.
const SERIES_LIMIT: usize = 100;
const OTHER: &str = "other";
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
    /// hands over its counts when one comes.
    #[must_use]
    pub fn start(self) -> Agent {
        let ledger = Arc::new(Shared { books: Mutex::new(Books::new()) });
        let hello = serde_json::json!({
            "musterd": crate::layout::VERSION,
            "agent": self.name,
            "client": concat!("rust ", env!("CARGO_PKG_VERSION")),
            "version": self.version,
            "framework": self.framework,
            "heartbeat_seconds": self.heartbeat.map(|interval| interval.as_secs_f64()),
        });
        let settings = Settings { socket: self.socket, hello: hello.to_string() };
        let connection = Connection::start(settings, ledger.clone());
        Agent { connection: Some(connection), ledger }
    }
}

/// A program that reports to musterd.
///
/// Shared by reference between threads and tasks; its methods take some tens of nanoseconds, do
/// no system call, allocate nothing (but for a category or model seen for the first time), never
/// fail and never print.
pub struct Agent {
    connection: Option<Connection>,
    ledger: Arc<Shared>,
}

struct Shared {
    /// Threads take turns for the few stores of an update, since a ledger has one writer.
    books: Mutex<Books>,
}

/// The ledger, and where in it each series is.
struct Books {
    writer: Writer,
    requests: [Option<Series>; Status::ALL.len()],
    duration: Option<HistogramSeries>,
    errors: Vec<(Box<str>, Option<Series>)>,
    tokens: Vec<(Box<str>, [Option<Series>; 2])>,
    calls: Vec<Call>,
}

/// Calls of one model or tool that ended in one way.
struct Call {
    name: &'static str,
    what: Box<str>,
    outcome: Option<Status>,
    series: Option<HistogramSeries>,
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
        let begun = now();
        let mut books = self.ledger.lock();
        books.writer.heartbeat(begun);
        let flight = books.writer.begin(begun);
        Request { agent: self, begun, flight: Some(flight) }
    }

    /// Reports a request that was timed elsewhere. `category` counts for every status but success
    /// and cancelled.
    #[inline]
    pub fn record(&self, status: Status, duration: Duration, category: Option<&str>) {
        let mut books = self.ledger.lock();
        books.finish(None, status, duration.as_secs_f64(), category);
    }

    /// Reports tokens that a model was sent and has answered with.
    pub fn tokens(&self, model: &str, input: u64, output: u64) {
        let mut books = self.ledger.lock();
        let [sent, answered] = books.token_series(model);
        let mut update = Update::default();
        for (series, count) in [(sent, input), (answered, output)] {
            if let Some(series) = series {
                books.writer.add(series, count, &mut update);
            }
        }
        books.writer.commit(&update);
    }

    /// Reports a call of a language model that was timed elsewhere.
    pub fn llm_call(&self, model: &str, status: Status, duration: Duration) {
        self.ledger.lock().observe(names::LLM_DURATION, model, Some(status), duration);
    }

    /// Reports how long it took until a model began to answer.
    pub fn first_token(&self, model: &str, duration: Duration) {
        self.ledger.lock().observe(names::FIRST_TOKEN, model, None, duration);
    }

    /// Reports a call of a tool that was timed elsewhere.
    pub fn tool_call(&self, tool: &str, status: Status, duration: Duration) {
        self.ledger.lock().observe(names::TOOL_DURATION, tool, Some(status), duration);
    }

    /// Shows life. Requests that begin and end do so by themselves.
    #[inline]
    pub fn heartbeat(&self) {
        self.ledger.lock().writer.heartbeat(now());
    }

    /// Whether a daemon is there right now. Nothing needs to wait for it.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_connected)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The end is to be noted in the ledger, which may be about to come.
        if let Some(connection) = &self.connection {
            connection.wait_settled();
        }
        self.ledger.lock().writer.close();
        self.connection = None;
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
        let ended = now();
        // Nanoseconds of any real request are exact in a double.
        #[allow(clippy::cast_precision_loss)]
        let seconds = ended.saturating_sub(self.begun) as f64 / 1e9;
        let mut books = self.agent.ledger.lock();
        books.writer.heartbeat(ended);
        if books.writer.is_counted(flight) {
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

impl Shared {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Books> {
        // Nothing panics while it is held; if something did, the journal has kept the books right.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for Shared {
    fn receive(&self, memory: Memory, duration_schema: Option<i32>, first: bool) {
        let mut books = self.lock();
        if let Some(schema) = duration_schema {
            books.use_duration_schema(schema);
        }
        if first {
            books.writer.move_into(memory);
        } else {
            let values = books.values();
            books.writer.start_anew(memory, &values);
        }
    }
}

impl Books {
    fn new() -> Self {
        let mut writer = Writer::private(PRIVATE_SIZE);
        let requests = Status::ALL.map(|(_, word)| {
            writer.append(Kind::Counter, names::REQUESTS, &[("status", word)], "")
        });
        let (shape, room) = (Shape::durations(), duration_room());
        let duration = writer.append_histogram_with_room(shape, room, names::DURATION, &[], "");
        let (errors, tokens, calls) = (Vec::new(), Vec::new(), Vec::new());
        let mut books = Self { writer, requests, duration, errors, tokens, calls };
        books.error_series(OTHER);
        books
    }

    /// Keeps durations in the resolution that the daemon wants. They are reshaped before the daemon
    /// sees them: in memory of this process alone, or in a ledger that it has retired.
    fn use_duration_schema(&mut self, schema: i32) {
        if let Some(duration) = self.duration.take() {
            let (shape, room) = (Shape::durations_at(schema), duration_room());
            self.duration = Some(self.writer.reshape(duration, shape, room, names::DURATION));
        }
    }

    /// All values, by where they begin and how many words they are.
    fn values(&self) -> Vec<(Series, usize)> {
        let errors = self.errors.iter().filter_map(|(_, series)| *series);
        let tokens = self.tokens.iter().flat_map(|(_, pair)| pair.iter().copied().flatten());
        let single = self.requests.iter().copied().flatten().chain(errors).chain(tokens);
        let calls = self.calls.iter().filter_map(|call| call.series.as_ref());
        let histograms = self.duration.iter().chain(calls).map(|h| (h.series(), h.words()));
        single.map(|series| (series, 1)).chain(histograms).collect()
    }

    #[inline]
    fn finish(
        &mut self,
        flight: Option<Flight>,
        status: Status,
        seconds: f64,
        category: Option<&str>,
    ) {
        let failed = matches!(status, Status::Error | Status::Timeout);
        let error = if failed { self.error_series(category.unwrap_or(OTHER)) } else { None };
        let mut update = Update::default();
        if let Some(flight) = flight {
            self.writer.end(flight, &mut update);
        }
        if let Some(series) = self.requests.get(status as usize).copied().flatten() {
            self.writer.add(series, 1, &mut update);
        }
        if let Some(duration) = &self.duration {
            self.writer.observe(duration, seconds, &mut update);
        }
        if let Some(series) = error {
            self.writer.add(series, 1, &mut update);
        }
        self.writer.commit(&update);
    }

    fn observe(
        &mut self,
        name: &'static str,
        what: &str,
        outcome: Option<Status>,
        duration: Duration,
    ) {
        let Some(place) = self.call(name, what, outcome) else { return };
        let mut update = Update::default();
        if let Some(series) = self.calls.get(place).and_then(|call| call.series.as_ref()) {
            self.writer.observe(series, duration.as_secs_f64(), &mut update);
        }
        self.writer.commit(&update);
    }

    /// Where a call stands, which is added if it is new; one too many counts as `other`.
    fn call(&mut self, name: &'static str, what: &str, outcome: Option<Status>) -> Option<usize> {
        let is_it = |call: &Call, what: &str| {
            (call.name, &*call.what, call.outcome) == (name, what, outcome)
        };
        if let Some(place) = self.calls.iter().position(|call| is_it(call, what)) {
            return Some(place);
        }
        if self.calls.len() >= SERIES_LIMIT && what != OTHER {
            return self.call(name, OTHER, outcome);
        }
        let of = if name == names::TOOL_DURATION { "tool" } else { "model" };
        let ended = outcome.and_then(|outcome| Status::ALL.get(outcome as usize));
        let labels = [(of, what), ("outcome", ended.map_or("", |(_, word)| word))];
        let labels = if outcome.is_some() { &labels[..] } else { &labels[..1] };
        let series = self.writer.append_histogram(Shape::calls(), name, labels, "");
        self.calls.push(Call { name, what: what.into(), outcome, series });
        Some(self.calls.len() - 1)
    }

    fn error_series(&mut self, category: &str) -> Option<Series> {
        if let Some((_, series)) = self.errors.iter().find(|(name, _)| **name == *category) {
            return *series;
        }
        if self.errors.len() >= SERIES_LIMIT && category != OTHER {
            return self.error_series(OTHER);
        }
        let labels = [("category", category)];
        let series = self.writer.append(Kind::Counter, names::ERRORS, &labels, "");
        self.errors.push((category.into(), series));
        if series.is_none() && category != OTHER { self.error_series(OTHER) } else { series }
    }

    fn token_series(&mut self, model: &str) -> [Option<Series>; 2] {
        if let Some((_, series)) = self.tokens.iter().find(|(name, _)| **name == *model) {
            return *series;
        }
        if self.tokens.len() >= SERIES_LIMIT && model != OTHER {
            return self.token_series(OTHER);
        }
        let series = ["input", "output"].map(|kind| {
            let labels = [("model", model), ("type", kind)];
            self.writer.append(Kind::Counter, names::TOKENS, &labels, "")
        });
        self.tokens.push((model.into(), series));
        series
    }
}

/// Values of the finest durations: a record with room for them can take any other resolution.
fn duration_room() -> usize {
    Shape::durations_at(*DURATION_SCHEMAS.end()).words()
}

/// Nanoseconds of `CLOCK_MONOTONIC`: read in user space, no system call.
#[inline]
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
