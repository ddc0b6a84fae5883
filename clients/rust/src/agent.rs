//! [`Agent`] and [`Request`]: what a program uses.

use crate::connection::{Connection, Host, Settings};
use crate::layout::{DURATION_SCHEMAS, Kind, Shape, names};
use crate::memory::Memory;
use crate::own::Declaration;
use crate::series::{Ledgers, Placed};
use crate::writer::{Description, Flight, HistogramSeries, Series, Update, Writer};
use rustix::time::{ClockId, clock_gettime};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Room for the agent's own memory while there is no daemon; the usual size of a ledger.
const PRIVATE_SIZE: usize = 256 << 10;
/// Error categories, and models, after which the next ones count as `overflow`.
const SERIES_LIMIT: usize = 100;
const OVERFLOW: &str = "overflow";
/// Series of an agent's own; far more than ledgers have room for.
const OWN_LIMIT: usize = 10_000;
/// The category of a failure that none was named for.
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
        let hello = serde_json::json!({
            "musterd": crate::layout::VERSION,
            "agent": self.name,
            "client": concat!("rust ", env!("CARGO_PKG_VERSION")),
            "version": self.version,
            "framework": self.framework,
            "heartbeat_seconds": self.heartbeat.map(|interval| interval.as_secs_f64()),
        });
        let settings = Settings { socket: self.socket, hello: hello.to_string() };
        let ledger = Arc::new_cyclic(|weak: &Weak<Shared>| {
            let (weak, settings) = (weak.clone(), settings.clone());
            let open = move |place| {
                let host = Arc::new(Further { shared: weak.clone(), place });
                Some(Connection::start(settings.clone(), host))
            };
            Shared { books: Mutex::new(Books::new(Box::new(open))) }
        });
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
    ledgers: Ledgers,
    requests: [Option<Series>; Status::ALL.len()],
    duration: Option<HistogramSeries>,
    errors: Vec<(Box<str>, Placed)>,
    tokens: Vec<(Box<str>, [Placed; 2])>,
    calls: Vec<Call>,
    own: Vec<(Declaration, Placed)>,
}

/// Calls of one model or tool that ended in one way.
struct Call {
    name: &'static str,
    what: Box<str>,
    outcome: Option<Status>,
    placed: Placed,
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
        books.ledgers.first.heartbeat(begun);
        let flight = books.ledgers.first.begin(begun);
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
        self.ledger.lock().add_tokens(model, [input, output]);
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

    /// Where a series of its own stands, for [`Agent::change`].
    pub(crate) fn declare(&self, declaration: Declaration) -> usize {
        self.ledger.lock().declare(declaration)
    }

    /// Changes a series of its own.
    #[inline]
    pub(crate) fn change(
        &self,
        place: usize,
        gather: impl FnOnce(&mut Writer, &Placed, &mut Update),
    ) {
        let Books { ledgers, own, .. } = &mut *self.ledger.lock();
        if let Some((_, placed)) = own.get(place) {
            ledgers.change(placed, gather);
        }
    }

    /// Shows life. Requests that begin and end do so by themselves.
    #[inline]
    pub fn heartbeat(&self) {
        self.ledger.lock().ledgers.first.heartbeat(now());
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
        let further = self.ledger.lock().ledgers.take_connections();
        further.iter().for_each(Connection::wait_settled);
        self.ledger.lock().ledgers.close();
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

impl Shared {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Books> {
        // Nothing panics while it is held; if something did, the journal has kept the books right.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for Shared {
    fn receive(&self, memory: Memory, duration_schema: Option<i32>, first: bool) {
        self.lock().receive(memory, duration_schema, first);
    }

    fn refused(&self) {}
}

/// A ledger after the first.
struct Further {
    shared: Weak<Shared>,
    place: usize,
}

impl Host for Further {
    fn receive(&self, memory: Memory, _: Option<i32>, first: bool) {
        if let Some(shared) = self.shared.upgrade() {
            let Books { ledgers, errors, tokens, calls, own, .. } = &mut *shared.lock();
            ledgers.receive(self.place + 1, memory, first, placed(errors, tokens, calls, own), &[]);
        }
    }

    fn refused(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.lock().ledgers.note_refusal(self.place);
        }
    }
}

/// Every series that may be in any ledger; the others are always in the first.
fn placed<'a>(
    errors: &'a mut [(Box<str>, Placed)],
    tokens: &'a mut [(Box<str>, [Placed; 2])],
    calls: &'a mut [Call],
    own: &'a mut [(Declaration, Placed)],
) -> impl Iterator<Item = &'a mut Placed> {
    let tokens = tokens.iter_mut().flat_map(|(_, pair)| pair);
    let calls = calls.iter_mut().map(|call| &mut call.placed);
    let own = own.iter_mut().map(|(_, placed)| placed);
    errors.iter_mut().map(|(_, placed)| placed).chain(tokens).chain(calls).chain(own)
}

impl Books {
    fn new(open: Box<dyn Fn(usize) -> Option<Connection> + Send>) -> Self {
        let mut ledgers = Ledgers::new(PRIVATE_SIZE, open);
        let first = &mut ledgers.first;
        let requests = Status::ALL
            .map(|(_, word)| first.append(Kind::Counter, names::REQUESTS, &[("status", word)], ""));
        let (shape, room) = (Shape::durations(), duration_room());
        let duration = first.append_histogram_with_room(shape, room, names::DURATION, &[], "");
        let (errors, tokens, calls, own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut books = Self { ledgers, requests, duration, errors, tokens, calls, own };
        books.error_series(OTHER);
        books
    }

    /// Keeps durations in the resolution that the daemon wants. They are reshaped before the daemon
    /// sees them: in memory of this process alone, or in a ledger that it has retired.
    fn use_duration_schema(&mut self, schema: i32) {
        if let Some(duration) = self.duration.take() {
            let (shape, room) = (Shape::durations_at(schema), duration_room());
            let first = &self.ledgers.first;
            self.duration = Some(first.reshape(duration, shape, room, names::DURATION));
        }
    }

    fn receive(&mut self, memory: Memory, duration_schema: Option<i32>, first: bool) {
        if let Some(schema) = duration_schema {
            self.use_duration_schema(schema);
        }
        let Self { ledgers, requests, duration, errors, tokens, calls, own } = self;
        let duration = duration.iter().map(|series| (series.series(), series.words()));
        let requests = requests.iter().flatten().map(|series| (*series, 1));
        let fixed: Vec<_> = requests.chain(duration).collect();
        ledgers.receive(0, memory, first, placed(errors, tokens, calls, own), &fixed);
    }

    fn add_tokens(&mut self, model: &str, counts: [u64; 2]) {
        let place = self.token_place(model);
        let Some((_, [sent, answered])) = self.tokens.get(place) else { return };
        let [sent_count, answered_count] = counts;
        // One update, unless they are in two ledgers.
        let together = sent.is_beside(answered);
        self.ledgers.change(sent, |writer, sent, update| {
            sent.add(sent_count, writer, update);
            if together {
                answered.add(answered_count, writer, update);
            }
        });
        if !together {
            self.ledgers.change(answered, |writer, answered, update| {
                answered.add(answered_count, writer, update);
            });
        }
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
        let error = failed.then(|| self.error_series(category.unwrap_or(OTHER)));
        let error = error.and_then(|place| self.errors.get(place)).map(|(_, placed)| placed);
        let writer = &mut self.ledgers.first;
        let mut update = Update::default();
        if let Some(flight) = flight {
            writer.end(flight, &mut update);
        }
        if let Some(series) = self.requests.get(status as usize).copied().flatten() {
            writer.add(series, 1, &mut update);
        }
        if let Some(duration) = &self.duration {
            writer.observe(duration, seconds, &mut update);
        }
        if let Some(here) = error.filter(|placed| placed.is_first()) {
            here.add(1, writer, &mut update);
        }
        writer.commit(&update);
        if let Some(elsewhere) = error.filter(|placed| !placed.is_first()) {
            self.ledgers.change(elsewhere, |writer, placed, update| placed.add(1, writer, update));
        }
    }

    fn observe(
        &mut self,
        name: &'static str,
        what: &str,
        outcome: Option<Status>,
        duration: Duration,
    ) {
        let place = self.call(name, what, outcome);
        let Some(call) = self.calls.get(place) else { return };
        self.ledgers.change(&call.placed, |writer, placed, update| {
            if let Some(histogram) = placed.histogram() {
                writer.observe(histogram, duration.as_secs_f64(), update);
            }
        });
    }

    /// Where a call stands, which is added if it is new; one too many counts as `overflow`.
    fn call(&mut self, name: &'static str, what: &str, outcome: Option<Status>) -> usize {
        let is_it = |call: &Call, what: &str| {
            (call.name, &*call.what, call.outcome) == (name, what, outcome)
        };
        if let Some(place) = self.calls.iter().position(|call| is_it(call, what)) {
            return place;
        }
        if self.calls.len() >= SERIES_LIMIT && what != OVERFLOW {
            return self.call(name, OVERFLOW, outcome);
        }
        let of = if name == names::TOOL_DURATION { "tool" } else { "model" };
        let ended = outcome.and_then(|outcome| Status::ALL.get(outcome as usize));
        let labels = [(of, what), ("outcome", ended.map_or("", |(_, word)| word))];
        let labels = if outcome.is_some() { &labels[..] } else { &labels[..1] };
        let shape = Shape::calls();
        let placed = self.ledgers.place_known(Kind::Histogram, name, labels, Some(&shape));
        self.calls.push(Call { name, what: what.into(), outcome, placed });
        self.calls.len() - 1
    }

    /// Where a category stands, which is added if it is new.
    fn error_series(&mut self, category: &str) -> usize {
        if let Some(place) = self.errors.iter().position(|(name, _)| **name == *category) {
            return place;
        }
        if self.errors.len() >= SERIES_LIMIT && category != OVERFLOW {
            return self.error_series(OVERFLOW);
        }
        let labels = [("category", category)];
        let placed = self.ledgers.place_known(Kind::Counter, names::ERRORS, &labels, None);
        if !placed.is_somewhere() {
            // Its failures are counted with those that have no category: that one has been there first.
            return 0;
        }
        self.errors.push((category.into(), placed));
        self.errors.len() - 1
    }

    /// Where a model stands, which is added if it is new.
    fn token_place(&mut self, model: &str) -> usize {
        if let Some(place) = self.tokens.iter().position(|(name, _)| **name == *model) {
            return place;
        }
        if self.tokens.len() >= SERIES_LIMIT && model != OVERFLOW {
            return self.token_place(OVERFLOW);
        }
        let placed = ["input", "output"].map(|kind| {
            let labels = [("model", model), ("type", kind)];
            self.ledgers.place_known(Kind::Counter, names::TOKENS, &labels, None)
        });
        self.tokens.push((model.into(), placed));
        self.tokens.len() - 1
    }

    /// Where a series of the agent's own stands, which is added if it is new.
    fn declare(&mut self, declaration: Declaration) -> usize {
        let is_it = |own: &Declaration| {
            (&own.name, &own.labels) == (&declaration.name, &declaration.labels)
        };
        if let Some(place) = self.own.iter().position(|(own, _)| is_it(own)) {
            return place;
        }
        if self.own.len() >= OWN_LIMIT {
            self.ledgers.first.refuse(1);
            return usize::MAX;
        }
        let Declaration { kind, name, labels, help, unit, shape } = &declaration;
        let labels: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        let shape = shape.as_ref();
        let described = Description { kind: *kind, name, labels: &labels, help, unit, shape };
        let placed = self.ledgers.place(&described);
        self.own.push((declaration, placed));
        self.own.len() - 1
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
