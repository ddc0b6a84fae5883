//! [`Agent`] and [`Request`]: what a program uses.

mod books;

use crate::connection::{Connection, Host, Settings};
use crate::layout::names;
use crate::memory::Memory;
use crate::own::Declaration;
use crate::series::Placed;
use crate::turn::Turn;
use crate::writer::{Flight, Update, Writer};
use books::Books;
use std::ops::DerefMut;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Series of an agent's own; far more than ledgers have room for.
const OWN_LIMIT: usize = 10_000;
/// How long a ledger that has come waits for a thread that was stopped in the midst of a report.
const ADOPTION_PATIENCE: Duration = Duration::from_secs(60);
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
        books.receive_further(self.place + 1, memory, first);
    }

    fn refused(&self) {
        let Some(shared) = self.shared.upgrade() else { return };
        if let Some(mut books) = shared.books.take_within(ADOPTION_PATIENCE) {
            books.ledgers.note_refusal(self.place);
        }
    }
}

#[cfg(test)]
mod tests;
