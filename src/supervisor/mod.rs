//! Keeps the configured agents running: starts them, restarts them by policy, stops them, and
//! brings their output to the log.
//!
//! Read `policy` and `machine` first: what is done, as one pure table. `runner` carries it out, with
//! processes of the daemon's own, what they write being read by `output`, or with units of `systemd`.
//! `options` is the configuration; `report` is what the rest of the daemon learns. Agents outlive the
//! daemon: a [`Supervisor`] that is dropped leaves them running, and the next one finds them by the
//! records in the run directory, or in systemd. What is to stay down stays down under the next one, too,
//! until the next boot.
//!
//! This room must not know about metrics, ledgers or HTTP, nor whether an agent is well: only
//! whether it runs.

pub mod carrier;
pub mod limits;
pub mod machine;
pub mod options;
mod output;
pub mod policy;
pub mod report;
mod runner;
pub(crate) mod systemd;

use carrier::Carrier;
use machine::{Event, KILL_WAIT};
use options::{Definition, Launch, check_name};
use policy::{Policy, Restart};
use report::{Reports, Statuses};
use runner::{Command, Places, Runner, record};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// What stopping may take beyond the grace and the wait after KILL.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// Grace of agents that are found running and are in the configuration no more.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);

/// There is no agent of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAgent(pub String);

impl fmt::Display for UnknownAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no agent named {:?} in the configuration", self.0)
    }
}

impl std::error::Error for UnknownAgent {}

/// An agent's task, and the way to it.
struct Agent {
    stop_grace: Duration,
    commands: UnboundedSender<Command>,
    task: JoinHandle<()>,
}

/// Sole owner of the agents' tasks. Lives in a tokio runtime. Dropped, it leaves all agents
/// running, as [`Supervisor::detach`] does.
pub struct Supervisor {
    places: Arc<Places>,
    reports: Reports,
    statuses: watch::Sender<Statuses>,
    agents: BTreeMap<Arc<str>, Agent>,
    /// Agents that are in the configuration no more and have not ended yet.
    leaving: BTreeMap<Arc<str>, Agent>,
    /// Whether agents of an earlier daemon have been looked for.
    settled: bool,
}

impl Supervisor {
    /// A supervisor without agents. `run_dir` is where agents are found again after a restart of
    /// the daemon (in `agents/`); if it cannot be used, a warning says so, and agents live no
    /// longer than the daemon. `socket` is the path that agents are given to report to. The other
    /// way to make processes is `carrier`'s.
    #[must_use]
    pub fn new(run_dir: &Path, socket: &Path, carrier: Carrier, reports: Reports) -> Self {
        let folder = run_dir.join("agents");
        let folder = match make_private(&folder) {
            Ok(()) => Some(folder),
            Err(error) => {
                let path = folder.display();
                tracing::warn!("cannot use {path}: {error}; agents will not outlive the daemon");
                None
            }
        };
        let manager = match carrier {
            Carrier::Process => None,
            Carrier::Systemd => Some(Arc::default()),
        };
        Self {
            places: Arc::new(Places { folder, socket: socket.to_owned(), manager }),
            reports,
            statuses: watch::Sender::default(),
            agents: BTreeMap::new(),
            leaving: BTreeMap::new(),
            settled: false,
        }
    }

    /// Makes the agents be those that are defined, at the start and at each reload. New ones are
    /// started, or taken over if they run already; those that are defined no more are stopped;
    /// those whose process would be made differently get a new one; those that were given up are
    /// started; all others are left alone, under their new policy.
    ///
    /// The definitions are those that [`options::resolve`] gives; no name is there twice.
    pub fn apply(&mut self, definitions: Vec<Definition>) {
        self.leaving.retain(|_, agent| !agent.task.is_finished());
        let mut former = std::mem::take(&mut self.agents);
        for definition in definitions {
            let name = definition.name.clone();
            let agent = match former.remove(&name) {
                Some(agent) if !agent.task.is_finished() => {
                    let stop_grace = definition.policy.stop_grace;
                    send(&agent, Command::Define(definition.into()));
                    Agent { stop_grace, ..agent }
                }
                _ => self.add(definition),
            };
            self.agents.insert(name, agent);
        }
        for (name, agent) in former {
            send(&agent, Command::Retire);
            self.leaving.insert(name, agent);
        }
        if !std::mem::replace(&mut self.settled, true) {
            self.retire_orphans();
        }
    }

    /// Begins a task for an agent, which waits for an earlier one of the same name to end.
    fn add(&mut self, definition: Definition) -> Agent {
        let earlier = self.leaving.remove(&definition.name);
        let (commands, receiver) = unbounded_channel();
        let stop_grace = definition.policy.stop_grace;
        let (places, reports) = (self.places.clone(), self.reports.clone());
        let statuses = self.statuses.clone();
        let task = tokio::spawn(async move {
            if let Some(earlier) = earlier {
                // It has been told to end; how it did makes no difference.
                let _ = earlier.task.await;
            }
            let name = definition.name.clone();
            match Runner::new(definition, places, reports, statuses, receiver) {
                Ok(runner) => runner.run().await,
                Err(error) => tracing::error!(agent = %name, "cannot make a pipe: {error}"),
            }
        });
        Agent { stop_grace, commands, task }
    }

    /// Stops agents that an earlier daemon has left running and nobody defines any more.
    fn retire_orphans(&mut self) {
        let Some(folder) = self.places.folder.clone() else { return };
        for name in record::names(&folder) {
            if self.agents.contains_key(name.as_str()) || check_name(&name).is_err() {
                continue;
            }
            let path = record::path(&folder, &name);
            match record::Record::read(&path) {
                Ok(Some(record)) => {
                    let agent = self.add(orphan(&name, record.launch));
                    send(&agent, Command::Retire);
                    self.leaving.insert(name.into(), agent);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!("cannot read {}: {error}", path.display()),
            }
        }
    }

    /// Starts an agent that is down; forgives what made it fail.
    ///
    /// # Errors
    /// [`UnknownAgent`].
    pub fn start(&self, name: &str) -> Result<(), UnknownAgent> {
        self.tell(name, Event::Start)
    }

    /// Stops an agent until it is started by name.
    ///
    /// # Errors
    /// [`UnknownAgent`].
    pub fn stop(&self, name: &str) -> Result<(), UnknownAgent> {
        self.tell(name, Event::Stop)
    }

    /// Stops an agent and starts it at once; starts one that is down.
    ///
    /// # Errors
    /// [`UnknownAgent`].
    pub fn restart(&self, name: &str) -> Result<(), UnknownAgent> {
        self.tell(name, Event::Restart)
    }

    fn tell(&self, name: &str, event: Event) -> Result<(), UnknownAgent> {
        let agent = self.agents.get(name).ok_or_else(|| UnknownAgent(name.to_owned()))?;
        send(agent, Command::Event(event));
        Ok(())
    }

    /// The state of all agents as it is now and will be: for `/api` and `/health`.
    #[must_use]
    pub fn statuses(&self) -> watch::Receiver<Statuses> {
        self.statuses.subscribe()
    }

    /// Stops all agents at once and waits until they are down: at most for the longest grace and
    /// the wait after KILL, then says which are not. Those that were to stay down do so under the next
    /// daemon, the others are started by it. Those that systemd runs go on. Once `hurry` is done, all that are
    /// left are killed.
    pub async fn shutdown(mut self, hurry: impl Future<Output = ()>) {
        if self.places.manager.is_some() {
            return self.detach().await;
        }
        let end = Instant::now() + self.longest_stop();
        for agent in self.agents.values() {
            send(agent, Command::Close);
        }
        let mut agents = self.take_all();
        let is_hurried = tokio::select! {
            () = ended(&mut agents, end) => false,
            () = hurry => true,
        };
        if is_hurried {
            for (_, agent) in &agents {
                send(agent, Command::Hurry);
            }
            ended(&mut agents, end.min(Instant::now() + STOP_MARGIN)).await;
        }
        for (name, agent) in agents {
            if !agent.task.is_finished() {
                tracing::error!(agent = %name, "cannot be stopped");
                agent.task.abort();
            }
        }
    }

    /// How long [`Supervisor::shutdown`] takes at most.
    #[must_use]
    pub fn longest_stop(&self) -> Duration {
        if self.places.manager.is_some() {
            return Duration::ZERO;
        }
        let agents = self.agents.values().chain(self.leaving.values());
        let longest = agents.map(|agent| agent.stop_grace).max().unwrap_or_default();
        longest + KILL_WAIT + STOP_MARGIN
    }

    /// Lets go of all agents and leaves them running, to be found by the next daemon.
    pub async fn detach(mut self) {
        let agents = self.take_all();
        for (_, agent) in &agents {
            agent.task.abort();
        }
        for (_, agent) in agents {
            // The end that was asked for.
            let _ = agent.task.await;
        }
    }

    fn take_all(&mut self) -> Vec<(Arc<str>, Agent)> {
        let agents = std::mem::take(&mut self.agents).into_iter();
        agents.chain(std::mem::take(&mut self.leaving)).collect()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for (_, agent) in self.take_all() {
            agent.task.abort();
        }
    }
}

/// Waits for the tasks of agents, until `end` at most.
async fn ended(agents: &mut [(Arc<str>, Agent)], end: Instant) {
    for (_, agent) in agents {
        if !agent.task.is_finished() {
            // Whoever has not ended in time is named afterwards.
            let _ = timeout_at(end, &mut agent.task).await;
        }
    }
}

fn send(agent: &Agent, command: Command) {
    // A task that has ended could not make a pipe, and has said so.
    let _ = agent.commands.send(command);
}

/// A folder that is the owner's alone: environments are written there.
fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let writable = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK);
    writable.map_err(io::Error::from)
}

/// An agent of which only its record is left, to be stopped.
fn orphan(name: &str, launch: Launch) -> Definition {
    let policy = Policy {
        restart: Restart::Never,
        backoff_initial: ORPHAN_GRACE,
        backoff_max: ORPHAN_GRACE,
        backoff_reset: ORPHAN_GRACE,
        start_limit: 1,
        start_interval: ORPHAN_GRACE,
        stop_grace: ORPHAN_GRACE,
    };
    Definition { name: name.into(), launch, policy, autostart: false }
}
