//! The sampler: one named thread that runs the collectors and the process scan against a deadline
//! and renders the answer, so that nothing a kernel file does can hold up the runtime thread.
//!
//! A source that hangs keeps its own lock and the thread that runs it, nothing more: the caller
//! gives the thread up with [`Sampler::replace_thread`], the next one passes over whatever is still
//! locked, and the old one ends as soon as its source returns.
//!
//! Must not know: HTTP, who asks, what the agents' and the daemon's own families are.

mod filter;
mod outcome;
mod render;
mod source;

pub use filter::Filter;
pub use outcome::FAMILIES;
pub use render::Encoding;

use crate::host::root::Root;
use crate::host::uevents::Uevents;
use crate::host::{Collector, Error, Pass};
use crate::metric::{Batch, Labels};
use crate::process::{AgentRoot, Processes};
use bytes::Bytes;
use outcome::Outcome;
use render::Renderer;
use source::{Source, Work};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, mpsc};
use std::time::Instant;
use tokio::sync::oneshot;

/// The name of the process scan among the sources.
pub const PROCESSES: &str = "namedprocess";
/// The name of the agents' families among the sources.
pub const AGENTS: &str = "agents";

/// The scan of the machine's processes, as the sampler sees it.
pub trait ProcessScan: Send {
    /// Scans, and emits the trees of `agents`; the groups too if `groups` is set.
    ///
    /// # Errors
    /// What could not be read or understood; everything it has emitted is then left out.
    fn collect(
        &mut self,
        pass: &mut Pass<'_>,
        agents: &[AgentRoot],
        groups: bool,
    ) -> Result<(), Error>;
}

/// Shared, so that a new sampler goes on with what the one before knows of the processes. At most
/// one of them scans: another, while that one hangs, goes without.
impl ProcessScan for Arc<Mutex<Processes>> {
    fn collect(
        &mut self,
        pass: &mut Pass<'_>,
        agents: &[AgentRoot],
        groups: bool,
    ) -> Result<(), Error> {
        match self.try_lock() {
            Ok(mut processes) => processes.collect(pass, agents, groups),
            Err(TryLockError::Poisoned(processes)) => {
                processes.into_inner().collect(pass, agents, groups)
            }
            Err(TryLockError::WouldBlock) => {
                Err(Error::NoData("an earlier scan of the processes has not ended".to_owned()))
            }
        }
    }
}

/// What one pass is to do.
pub struct Job {
    /// Holds what the runtime thread has put in: the agents' and the daemon's own families.
    pub batch: Batch,
    /// Which sources are asked for.
    pub filter: Filter,
    /// The agents whose process trees are counted.
    pub agents: Vec<AgentRoot>,
    /// How the answer is written, each of them once.
    pub wanted: Vec<Encoding>,
    /// When no further source is begun.
    pub deadline: Instant,
}

/// What one pass has given.
pub struct Answer {
    /// The job's batch, to be filled again.
    pub batch: Batch,
    /// The rendered answers, in the order of [`Job::wanted`].
    pub bodies: Vec<Bytes>,
}

/// A source, behind the lock that a hung one keeps. The lock is only ever tried: at most one
/// living thread runs a source, all others pass over it.
struct Slot {
    name: &'static str,
    labels: Labels,
    source: Mutex<Source>,
}

impl Slot {
    fn new(name: &'static str, work: Work) -> Self {
        let labels = Labels::new(&[("collector", name)]);
        Self { name, labels, source: Mutex::new(Source::new(name, work)) }
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Source>> {
        match self.source.try_lock() {
            Ok(source) => Some(source),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn wanted(&self, filter: &Filter) -> bool {
        filter.wants(self.name) || self.name == PROCESSES && filter.wants(AGENTS)
    }
}

struct Order {
    job: Job,
    reply: oneshot::Sender<Answer>,
}

/// The handle of the sampler thread. Dropped, it lets the thread end.
pub struct Sampler {
    slots: Arc<[Slot]>,
    root: Arc<Root>,
    orders: mpsc::Sender<Order>,
}

impl Sampler {
    /// Starts the thread with the enabled collectors, in the order they are to be run, and the
    /// process scan, which comes last. The kernel below `root` is asked whether anything has come
    /// that a collector has missed before.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        collectors: Vec<(&'static str, Box<dyn Collector>)>,
        processes: Option<Box<dyn ProcessScan>>,
        root: &Arc<Root>,
    ) -> io::Result<Self> {
        let hosts = collectors.into_iter().map(|(name, host)| Slot::new(name, Work::Host(host)));
        let scan = processes.map(|scan| Slot::new(PROCESSES, Work::Processes(scan)));
        let slots: Arc<[Slot]> = hosts.chain(scan).collect();
        let orders = spawn(&slots, root)?;
        Ok(Self { slots, root: Arc::clone(root), orders })
    }

    /// The names of the sources, as a filter may name them.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.slots.iter().map(|slot| slot.name)
    }

    /// Orders a pass. The receiver ends without an answer if the thread has ended.
    #[must_use]
    pub fn submit(&self, job: Job) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        // A failed send drops the reply, which the receiver sees.
        let _ = self.orders.send(Order { job, reply });
        answer
    }

    /// The source that runs at this moment, or hangs, and keeps the thread from answering.
    #[must_use]
    pub fn busy_with(&self) -> Option<&'static str> {
        self.slots.iter().find(|slot| slot.try_lock().is_none()).map(|slot| slot.name)
    }

    /// Gives up the thread and starts another one with the same sources. What the old one has
    /// begun is lost; it ends when the source that it runs returns. Since each thread given up
    /// holds a source that the next ones pass over, there are never more of them than sources.
    ///
    /// # Errors
    /// When the new thread cannot be started; then nothing has changed.
    pub fn replace_thread(&mut self) -> io::Result<()> {
        self.orders = spawn(&self.slots, &self.root)?;
        Ok(())
    }
}

fn spawn(slots: &Arc<[Slot]>, root: &Root) -> io::Result<mpsc::Sender<Order>> {
    let (orders, inbox) = mpsc::channel::<Order>();
    let slots = Arc::clone(slots);
    let mut bench = Bench::new(root);
    std::thread::Builder::new().name("sampler".to_owned()).spawn(move || {
        for Order { job, reply } in inbox {
            let given_up = || reply.is_closed();
            if let Some(answer) = bench.pass(&slots, job, &given_up) {
                // Whoever waited may have gone in the meantime.
                let _ = reply.send(answer);
            }
        }
    })?;
    Ok(orders)
}

/// What the thread keeps from pass to pass.
struct Bench {
    buffer: Vec<u8>,
    uevents: Uevents,
    outcomes: Vec<Outcome>,
    build: Labels,
    renderer: Renderer,
}

impl Bench {
    fn new(root: &Root) -> Self {
        Self {
            buffer: Vec::new(),
            uevents: Uevents::new(root),
            outcomes: Vec::new(),
            build: outcome::build_labels(),
            renderer: Renderer::default(),
        }
    }

    /// Runs the sources and renders. `None` when there is nobody to answer, or no answer.
    fn pass(&mut self, slots: &[Slot], job: Job, given_up: &dyn Fn() -> bool) -> Option<Answer> {
        let Job { mut batch, filter, agents, wanted, deadline } = job;
        self.outcomes.clear();
        self.uevents.update(&mut self.buffer);
        for (index, slot) in slots.iter().enumerate() {
            if given_up() {
                return None;
            }
            if !slot.wanted(&filter) {
                continue;
            }
            let start = Instant::now();
            let free = (start < deadline).then(|| slot.try_lock()).flatten();
            let Some(mut source) = free else {
                self.outcomes.push(Outcome { slot: index, success: false, duration: None });
                continue;
            };
            let mut pass = Pass { batch: &mut batch, buffer: &mut self.buffer, deadline };
            let success = source.run(&mut pass, &filter, &agents, &self.uevents);
            let duration = Some(start.elapsed());
            self.outcomes.push(Outcome { slot: index, success, duration });
        }
        outcome::emit(&self.outcomes, slots, &self.build, &mut batch);
        match self.renderer.render(&batch, &wanted) {
            Ok(bodies) => Some(Answer { batch, bodies }),
            Err(error) => {
                tracing::error!("cannot compress the answer to a scrape: {error}");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
