//! The coordinator of scrapes: requests that arrive while a pass runs wait and are answered
//! together by the next one, provided they ask for the same sources. Rendered once per encoding.
//!
//! Must not know: sockets, HTTP messages, what the families mean.

use crate::instruments::Instruments;
use crate::metric::Batch;
use crate::process::AgentRoot;
use crate::sampler::{AGENTS, Answer, Encoding, Filter, Job, Sampler};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// The name of the daemon's own families among the sources.
pub const OWN: &str = "musterd";

/// The shortest and the longest patience that a request is believed to have. The lower bound keeps
/// one hasty request from leaving the others that share its pass without collectors.
const PATIENCE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3600)];
/// How often a pass is begun anew on a fresh thread when the sampler hangs, before the requests
/// are refused.
const ATTEMPTS: usize = 2;

/// What the daemon adds to each pass, on the runtime thread.
pub trait Fill {
    /// Adds the agents' families if the filter wants [`AGENTS`], and the daemon's own if it wants
    /// [`OWN`]. The batch is empty.
    fn fill(&self, filter: &Filter, batch: &mut Batch);

    /// The agents whose process trees are counted.
    fn agent_roots(&self) -> Vec<AgentRoot>;

    /// Takes note of a pass that has been answered: how many samples it had, and how long it took.
    fn passed(&self, samples: usize, duration: Duration);
}

/// Why a scrape was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// So many are waiting already.
    Busy(usize),
    /// The pass did not come to its end within the time that the request named.
    Late(Duration),
    /// The sampler hangs: in this source, if it is known.
    Stuck(Option<&'static str>),
}

impl Refusal {
    /// The reason in a word, for `musterd_refused_total`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Busy(_) => "limit",
            Self::Late(_) => "late",
            Self::Stuck(_) => "stuck",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(waiting) => write!(f, "{waiting} scrapes are waiting already"),
            Self::Late(patience) => write!(f, "no answer was ready within {patience:?}"),
            Self::Stuck(Some(source)) => write!(f, "the sampler hangs in collector {source}"),
            Self::Stuck(None) => f.write_str("the sampler does not answer"),
        }
    }
}

/// What one request asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which sources.
    pub filter: Filter,
    /// How the answer is written.
    pub encoding: Encoding,
    /// How long the asker waits, where it has said so.
    pub timeout: Option<Duration>,
}

struct Waiter {
    request: Request,
    arrived: Instant,
    reply: oneshot::Sender<Result<Bytes, Refusal>>,
}

/// The one place where scrapes meet. [`Scraper::run`] has to be polled for them to be answered.
pub struct Scraper {
    sampler: RefCell<Sampler>,
    fill: Rc<dyn Fill>,
    instruments: Instruments,
    deadline: Cell<Duration>,
    max_waiting: usize,
    waiting: RefCell<VecDeque<Waiter>>,
    arrived: Notify,
    spare: RefCell<Batch>,
}

impl Scraper {
    /// A coordinator of passes that may take `deadline` each, with at most `max_waiting` requests
    /// waiting for one.
    #[must_use]
    pub fn new(
        sampler: Sampler,
        fill: Rc<dyn Fill>,
        instruments: Instruments,
        deadline: Duration,
        max_waiting: usize,
    ) -> Self {
        Self {
            sampler: RefCell::new(sampler),
            fill,
            instruments,
            deadline: Cell::new(deadline),
            max_waiting,
            waiting: RefCell::default(),
            arrived: Notify::new(),
            spare: RefCell::default(),
        }
    }

    /// Takes other sources and another deadline for the passes to come: after a reload.
    pub fn reconfigure(&self, sampler: Sampler, deadline: Duration) {
        self.sampler.replace(sampler);
        self.deadline.set(deadline);
    }

    /// The names that a filter may name.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        [AGENTS, OWN].into_iter().chain(self.sampler.borrow().names()).collect()
    }

    /// Waits for a pass and takes its answer.
    ///
    /// # Errors
    /// When the request is refused; it is counted.
    pub async fn scrape(&self, request: Request) -> Result<Bytes, Refusal> {
        let answer = self.wait(request).await;
        if let Err(refusal) = &answer {
            self.instruments.refused("scrapes", refusal.reason());
        }
        answer
    }

    async fn wait(&self, mut request: Request) -> Result<Bytes, Refusal> {
        let [shortest, longest] = PATIENCE;
        request.timeout = request.timeout.map(|timeout| timeout.clamp(shortest, longest));
        let patience = request.timeout.map(patience);
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.borrow_mut();
            waiting.retain(|waiter| !waiter.reply.is_closed());
            if waiting.len() >= self.max_waiting {
                return Err(Refusal::Busy(self.max_waiting));
            }
            waiting.push_back(Waiter { request, arrived: Instant::now(), reply });
        }
        self.arrived.notify_one();
        let answer = match patience {
            Some(patience) => {
                timeout(patience, answer).await.map_err(|_| Refusal::Late(patience))?
            }
            None => answer.await,
        };
        answer.unwrap_or(Err(Refusal::Stuck(None)))
    }

    /// Makes the passes. It never ends, and there is to be one of it.
    pub async fn run(&self) -> Infallible {
        loop {
            self.arrived.notified().await;
            while let Some(group) = self.next_group() {
                self.serve(group).await;
            }
        }
    }

    /// Takes the requests that the next pass answers: the one that has waited longest, and all
    /// that ask for the same sources. Whoever has gone is left out.
    fn next_group(&self) -> Option<Vec<Waiter>> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|waiter| !waiter.reply.is_closed());
        let filter = waiting.front()?.request.filter.clone();
        let (group, rest) =
            waiting.drain(..).partition(|waiter: &Waiter| waiter.request.filter == filter);
        *waiting = rest;
        Some(group.into())
    }

    async fn serve(&self, mut group: Vec<Waiter>) {
        let mut stuck = None;
        for _ in 0..ATTEMPTS {
            group.retain(|waiter| !waiter.reply.is_closed());
            let Some(first) = group.first() else { return };
            let filter = first.request.filter.clone();
            let mut wanted: Vec<Encoding> = Vec::new();
            for waiter in &group {
                if !wanted.contains(&waiter.request.encoding) {
                    wanted.push(waiter.request.encoding);
                }
            }
            match self.pass(filter, wanted.clone(), budget(self.deadline.get(), &group)).await {
                Ok(bodies) => return distribute(group, &wanted, &bodies),
                Err(source) => stuck = source,
            }
        }
        for waiter in group {
            let _ = waiter.reply.send(Err(Refusal::Stuck(stuck)));
        }
    }

    /// One pass. If the sampler does not answer, its thread is replaced and the source that it
    /// hangs in is the error.
    async fn pass(
        &self,
        filter: Filter,
        wanted: Vec<Encoding>,
        budget: Duration,
    ) -> Result<Vec<Bytes>, Option<&'static str>> {
        let start = Instant::now();
        let mut batch = self.spare.take();
        batch.clear();
        self.fill.fill(&filter, &mut batch);
        let agents = self.fill.agent_roots();
        let deadline = start + budget;
        let job = Job { batch, filter, agents, wanted, deadline: deadline.into_std() };
        let answer = self.sampler.borrow().submit(job);
        match timeout_at(deadline + budget / 4, answer).await {
            Ok(Ok(Answer { batch, bodies })) => {
                self.instruments.pass(start.elapsed());
                self.fill.passed(batch.len(), start.elapsed());
                self.spare.replace(batch);
                Ok(bodies)
            }
            Ok(Err(_)) | Err(_) => Err(self.give_up()),
        }
    }

    fn give_up(&self) -> Option<&'static str> {
        let mut sampler = self.sampler.borrow_mut();
        let source = sampler.busy_with();
        tracing::error!(
            collector = source.unwrap_or("none"),
            "sampler thread does not answer and is replaced"
        );
        if let Err(error) = sampler.replace_thread() {
            tracing::error!("cannot start another sampler thread: {error}");
        }
        source
    }
}

/// How long a request is let wait, of the time-out that its asker has named: long enough to be
/// of use, short enough for the refusal to arrive.
fn patience(timeout: Duration) -> Duration {
    timeout.mul_f64(0.9)
}

/// How long a pass may collect: the configured deadline, or less where a request has less
/// patience left. A pass is found to hang at five quarters of this; two thirds leave time for the
/// second attempt.
fn budget(deadline: Duration, group: &[Waiter]) -> Duration {
    let left = |waiter: &Waiter| {
        let patience = patience(waiter.request.timeout?);
        Some(patience.saturating_sub(waiter.arrived.elapsed()).mul_f64(2.0 / 3.0))
    };
    group.iter().filter_map(left).min().map_or(deadline, |left| left.min(deadline))
}

fn distribute(group: Vec<Waiter>, wanted: &[Encoding], bodies: &[Bytes]) {
    for waiter in group {
        let index = wanted.iter().position(|encoding| *encoding == waiter.request.encoding);
        let body = index.and_then(|index| bodies.get(index)).cloned();
        let _ = waiter.reply.send(body.ok_or(Refusal::Stuck(None)));
    }
}
