//! [`Agent`] and [`Request`]: what a program uses.

use crate::clock::Clock;
use crate::connection::{Connection, Host, Settings};
use crate::layout::{DURATION_SCHEMAS, Kind, Shape, names};
use crate::memory::Memory;
use crate::own::Declaration;
use crate::series::{Ledgers, Placed};
use crate::turn::Turn;
use crate::writer::{Description, Flight, HistogramSeries, Series, Update, Writer};
use std::ops::DerefMut;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Room for the agent's own memory while there is no daemon; the usual size of a ledger.
const PRIVATE_SIZE: usize = 256 << 10;
/// Error categories, and models, after which the next ones count as `overflow`.
const SERIES_LIMIT: usize = 100;
const OVERFLOW: &str = "overflow";
/// Series of an agent's own; far more than ledgers have room for.
const OWN_LIMIT: usize = 10_000;
/// How long a ledger that has come waits for a thread that was stopped in the midst of a report.
const ADOPTION_PATIENCE: Duration = Duration::from_secs(60);
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
        Agent::start(Settings { socket: self.socket, hello: hello.to_string() }, Vec::new())
    }
}

/// A program that reports to musterd.
///
/// Shared by reference between threads and tasks; its methods take some tens of nanoseconds, do
/// no system call, allocate nothing (but for a category or model seen for the first time), never
/// fail and never print. Threads take turns; see [`Agent::missed`]. Do not report from a signal
/// handler.
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
    settings: Settings,
    connection: Option<Connection>,
    ledger: Arc<Shared>,
    /// What this agent is in a forked child.
    in_child: OnceLock<Box<Agent>>,
}

struct Shared {
    /// Threads take turns for the few stores of an update, since a ledger has one writer.
    books: Turn<Books>,
    /// What is declared of the agent's own series, each at its place. Whoever wants both turns takes this
    /// one first.
    declared: Turn<Vec<Declaration>>,
    /// Not 0 in the process that this belongs to, 0 in one that has been forked from it.
    is_ours: Memory,
    missed: AtomicU64,
}

/// The ledger, and where in it each series is.
struct Books {
    ledgers: Ledgers,
    clock: Clock,
    requests: [Option<Series>; Status::ALL.len()],
    duration: Option<HistogramSeries>,
    errors: Vec<(Box<str>, Placed)>,
    tokens: Vec<(Box<str>, [Placed; 2])>,
    calls: Vec<Call>,
    /// In the order they were declared in.
    own: Vec<Placed>,
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
        self.here().ledger.declare(declaration).unwrap_or(usize::MAX)
    }

    /// Changes a series of its own.
    #[inline]
    pub(crate) fn change(
        &self,
        place: usize,
        gather: impl FnOnce(&mut Writer, &Placed, &mut Update),
    ) {
        let Some(mut books) = self.books() else { return };
        let Books { ledgers, own, .. } = &mut *books;
        if let Some(placed) = own.get(place) {
            ledgers.change(placed, gather);
        }
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
        self.here().ledger.missed.load(Ordering::Relaxed)
    }

    /// Whether a daemon is there right now. Nothing needs to wait for it.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.here().connection.as_ref().is_some_and(Connection::is_connected)
    }

    fn start(settings: Settings, declared: Vec<Declaration>) -> Self {
        let ledger = Arc::new_cyclic(|weak: &Weak<Shared>| {
            let (weak, settings) = (weak.clone(), settings.clone());
            let open = move |place| {
                let host = Arc::new(Further { shared: weak.clone(), place });
                Some(Connection::start(settings.clone(), host))
            };
            let mut books = Books::new(Box::new(open));
            declared.iter().for_each(|declaration| books.declare(declaration));
            Shared {
                books: Turn::new(books),
                declared: Turn::new(declared),
                is_ours: Memory::wiped_by_fork(),
                missed: AtomicU64::new(0),
            }
        });
        let connection = Some(Connection::start(settings.clone(), ledger.clone()));
        Self { settings, connection, ledger, in_child: OnceLock::new() }
    }

    /// This agent in this process.
    #[inline]
    fn here(&self) -> &Self {
        if self.ledger.is_ours.load(0) == 0 { self.after_fork() } else { self }
    }

    #[cold]
    fn after_fork(&self) -> &Self {
        let child = self.in_child.get_or_init(|| {
            // Handles that the parent has given out stand for the same series here.
            let declared = self.ledger.declared.take();
            let declared = declared.map_or_else(Vec::new, |declared| declared.clone());
            Box::new(Self::start(self.settings.clone(), declared))
        });
        // A child of this child finds that this has been wiped as well.
        child.here()
    }

    #[inline]
    fn books(&self) -> Option<impl DerefMut<Target = Books>> {
        self.here().ledger.take()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.ledger.is_ours.load(0) == 0 {
            // The thread, and what it may have locked, are in the parent, whose ledger this is.
            std::mem::forget(self.connection.take());
            return;
        }
        // The end is to be noted in the ledger, which may be about to come.
        if let Some(connection) = &self.connection {
            connection.wait_settled();
        }
        let further = self.ledger.take().map(|mut books| books.ledgers.take_connections());
        further.iter().flatten().for_each(Connection::wait_settled);
        if let Some(mut books) = self.ledger.take() {
            books.ledgers.close();
        }
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

impl Shared {
    /// Where a series of the agent's own stands, which is begun if it is new.
    fn declare(&self, declaration: Declaration) -> Option<usize> {
        let mut declared = self.declared.take()?;
        let is_it = |own: &Declaration| {
            (&own.name, &own.labels) == (&declaration.name, &declaration.labels)
        };
        if let Some(place) = declared.iter().position(is_it) {
            return Some(place);
        }
        let mut books = self.take()?;
        if declared.len() >= OWN_LIMIT {
            books.ledgers.first.refuse(1);
            return None;
        }
        books.declare(&declaration);
        declared.push(declaration);
        Some(declared.len() - 1)
    }

    /// Waits for a turn at the books; `None`, which is counted, when none comes.
    #[inline]
    fn take(&self) -> Option<impl DerefMut<Target = Books>> {
        let turn = self.books.take();
        if turn.is_none() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        turn
    }
}

impl Host for Shared {
    fn receive(&self, memory: Memory, duration_schema: Option<i32>, first: bool) {
        if let Some(mut books) = self.books.take_within(ADOPTION_PATIENCE) {
            books.receive(memory, duration_schema, first);
        }
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
        let Some(shared) = self.shared.upgrade() else { return };
        let Some(mut books) = shared.books.take_within(ADOPTION_PATIENCE) else { return };
        let Books { ledgers, errors, tokens, calls, own, .. } = &mut *books;
        ledgers.receive(self.place + 1, memory, first, placed(errors, tokens, calls, own), &[]);
    }

    fn refused(&self) {
        let Some(shared) = self.shared.upgrade() else { return };
        if let Some(mut books) = shared.books.take_within(ADOPTION_PATIENCE) {
            books.ledgers.note_refusal(self.place);
        }
    }
}

/// Every series that may be in any ledger; the others are always in the first.
fn placed<'a>(
    errors: &'a mut [(Box<str>, Placed)],
    tokens: &'a mut [(Box<str>, [Placed; 2])],
    calls: &'a mut [Call],
    own: &'a mut [Placed],
) -> impl Iterator<Item = &'a mut Placed> {
    let tokens = tokens.iter_mut().flat_map(|(_, pair)| pair);
    let calls = calls.iter_mut().map(|call| &mut call.placed);
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
        let clock = Clock::new();
        let mut books = Self { ledgers, clock, requests, duration, errors, tokens, calls, own };
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
        let Self { ledgers, requests, duration, errors, tokens, calls, own, .. } = self;
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
        let counter = self.requests.get(status as usize).copied().flatten();
        if let (Some(flight), Some(counter), Some(duration), false) =
            (flight, counter, &self.duration, failed)
        {
            return self.ledgers.first.end_counted(flight, counter, duration, seconds);
        }
        let error = failed.then(|| self.error_series(category.unwrap_or(OTHER)));
        let error = error.and_then(|place| self.errors.get(place)).map(|(_, placed)| placed);
        let writer = &mut self.ledgers.first;
        let mut update = Update::default();
        if let Some(flight) = flight {
            writer.end(flight, &mut update);
        }
        if let Some(series) = counter {
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
    /// Begins a series of the agent's own; those that it has, it keeps.
    fn declare(&mut self, declaration: &Declaration) {
        let Declaration { kind, name, labels, help, unit, shape } = declaration;
        let labels: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        let shape = shape.as_ref();
        let described = Description { kind: *kind, name, labels: &labels, help, unit, shape };
        self.own.push(self.ledgers.place(&described));
    }
}

/// Values of the finest durations: a record with room for them can take any other resolution.
fn duration_room() -> usize {
    Shape::durations_at(*DURATION_SCHEMAS.end()).words()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::in_forked_child;

    fn agent() -> Agent {
        Agent::builder("parent").socket("/nonexistent/musterd.sock").start()
    }

    fn count(agent: &Agent, status: Status) -> u64 {
        let books = agent.books().unwrap();
        books.requests[status as usize].map_or(0, |series| books.ledgers.first.value(series))
    }

    #[test]
    fn a_forked_child_counts_for_itself() {
        let agent = agent();
        agent.begin().success();
        let mut in_flight = Some(agent.begin());
        // As if another thread, which the child does not have, were reporting just then.
        let turn = agent.ledger.books.take();
        let child_is_right = in_forked_child(|| {
            let none_yet = count(&agent, Status::Success) == 0;
            agent.begin().error("network");
            // This one is the parent's.
            in_flight.take().unwrap().success();
            let counts = (count(&agent, Status::Error), count(&agent, Status::Success));
            let grandchild_is_right = in_forked_child(|| count(&agent, Status::Error) == 0);
            none_yet && counts == (1, 0) && agent.missed() == 0 && grandchild_is_right
        });
        drop(turn);
        assert!(child_is_right);
        in_flight.take().unwrap().success();
        assert_eq!((count(&agent, Status::Success), count(&agent, Status::Error)), (2, 0));
    }

    #[test]
    fn a_child_that_ends_an_agent_leaves_the_parents_alone() {
        let mut agent = Some(agent());
        assert!(in_forked_child(|| {
            drop(agent.take());
            true
        }));
        let agent = agent.unwrap();
        assert!(!agent.books().unwrap().ledgers.first.is_closed());
        agent.begin().success();
        assert_eq!(count(&agent, Status::Success), 1);
    }

    #[test]
    fn what_finds_no_turn_is_missed_and_counted() {
        let agent = agent();
        let turn = agent.ledger.books.take();
        agent.begin().success();
        drop(turn);
        assert_eq!((agent.missed(), count(&agent, Status::Success)), (1, 0));
    }

    #[test]
    fn agents_and_requests_go_between_threads() {
        fn goes<T: Send + Sync>(_: &T) {}
        let agent = agent();
        goes(&agent);
        let answer = async {
            let request = agent.begin();
            std::future::ready(()).await;
            request.success();
        };
        fn is_sent<T: Send>(_: &T) {}
        is_sent(&answer);
        goes(&agent.begin());
    }

    #[test]
    fn every_end_counts_once() {
        let agent = agent();
        let requests: Vec<_> = (0..300).map(|_| agent.begin()).collect();
        for (number, request) in requests.into_iter().enumerate() {
            match number % 3 {
                0 => request.success(),
                1 => request.timeout(),
                _ => drop(request),
            }
        }
        let counts = [Status::Success, Status::Timeout, Status::Cancelled]
            .map(|status| count(&agent, status));
        assert_eq!(counts, [100; 3]);
    }
}
