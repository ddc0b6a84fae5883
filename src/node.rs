//! What this node answers when it is asked: the agents' and the daemon's own families for a
//! scrape, its health, its agents.
//!
//! Must not know sockets or formats, nor when it is asked.

use crate::agent::export;
use crate::agent::health::State;
use crate::agent::registry::Registry;
use crate::clock;
use crate::config::Health as Thresholds;
use crate::host::Pass;
use crate::host::vitals::Vitals;
use crate::http::health::{self, Check, Report, Status, SystemMetrics};
use crate::http::{Fill, OWN};
use crate::instruments::Instruments;
use crate::metric::Batch;
use crate::process::AgentRoot;
use crate::process::own::Own;
use crate::sampler::{AGENTS, Filter};
use crate::supervisor::report::Statuses;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// The last pass that was answered.
#[derive(Clone, Copy)]
struct Scraped {
    at: Instant,
    samples: usize,
    duration: Duration,
}

/// The node, as others see it.
pub struct Node {
    registry: Rc<RefCell<Registry>>,
    instruments: Instruments,
    vitals: RefCell<Vitals>,
    /// What supervision says of each agent that it runs.
    supervision: RefCell<Option<watch::Receiver<Statuses>>>,
    /// The daemon's own process, and a buffer to read its files into.
    own: RefCell<(Own, Vec<u8>)>,
    thresholds: Cell<Thresholds>,
    started: Instant,
    scraped: Cell<Option<Scraped>>,
    /// Why it does not serve yet, or no longer.
    unready: RefCell<Option<&'static str>>,
}

impl Node {
    /// A node that is not ready yet.
    #[must_use]
    pub fn new(
        registry: Rc<RefCell<Registry>>,
        instruments: Instruments,
        vitals: Vitals,
        thresholds: Thresholds,
    ) -> Self {
        Self {
            registry,
            instruments,
            vitals: RefCell::new(vitals),
            supervision: RefCell::default(),
            own: RefCell::default(),
            thresholds: Cell::new(thresholds),
            started: Instant::now(),
            scraped: Cell::new(None),
            unready: RefCell::new(Some("starting")),
        }
    }

    /// Says where to learn what supervision does.
    pub fn set_supervision(&self, statuses: watch::Receiver<Statuses>) {
        self.supervision.replace(Some(statuses));
    }

    /// Says that everything is served.
    pub fn set_ready(&self) {
        self.unready.replace(None);
    }

    /// Says that the daemon is on its way out.
    pub fn set_stopping(&self) {
        self.unready.replace(Some("stopping"));
    }

    /// Takes new thresholds.
    pub fn set_thresholds(&self, thresholds: Thresholds) {
        self.thresholds.set(thresholds);
    }

    /// A line about the node for `systemctl status`.
    #[must_use]
    pub fn status_line(&self) -> String {
        let registry = self.registry.borrow();
        let known = registry.agents().count();
        let troubled =
            registry.agents().filter(|(_, agent)| agent.state().is_some_and(State::is_bad)).count();
        format!("{}; {known} agents known, {troubled} in trouble", self.last_scrape())
    }

    fn last_scrape(&self) -> String {
        match self.scraped.get() {
            Some(Scraped { at, samples, duration }) => format!(
                "last scrape {} s ago: {samples} samples in {} ms",
                at.elapsed().as_secs(),
                duration.as_millis()
            ),
            None => "never scraped".to_owned(),
        }
    }

    fn fill_own(&self, batch: &mut Batch) {
        let mut own = self.own.borrow_mut();
        let (process, buffer) = &mut *own;
        let mark = batch.mark();
        let mut pass = Pass { batch, buffer, deadline: Instant::now() };
        if let Err(error) = process.collect(&mut pass) {
            batch.rollback(mark);
            tracing::debug!(%error, "the daemon's own process_* families are left out");
        }
    }

    fn checks(&self, system: &SystemMetrics) -> BTreeMap<String, Check> {
        let limits = self.thresholds.get();
        let never = f64::INFINITY;
        let uses = [
            (
                "memory",
                system.memory_usage_percent,
                limits.memory_degraded,
                limits.memory_unhealthy,
            ),
            ("disk", system.disk_usage_percent, limits.disk_degraded, limits.disk_unhealthy),
            ("cpu", system.cpu_usage_percent, limits.cpu_degraded, never),
        ];
        let mut checks: BTreeMap<String, Check> = uses
            .into_iter()
            .map(|(name, percent, degraded, unhealthy)| {
                (name.to_owned(), check_use(percent, degraded, unhealthy))
            })
            .collect();
        checks.insert("agents".to_owned(), self.check_agents());
        checks
    }

    /// One agent in trouble degrades a node; a node none of whose agents works is unhealthy.
    fn check_agents(&self) -> Check {
        let registry = self.registry.borrow();
        let states: Vec<(&str, State)> = registry
            .agents()
            .filter_map(|(name, agent)| Some((name, agent.state()?)))
            .filter(|(_, state)| *state != State::Stopped)
            .collect();
        let bad: Vec<String> = states
            .iter()
            .filter(|(_, state)| state.is_bad() || *state == State::Degraded)
            .map(|(name, state)| format!("{name} is {}", state.word()))
            .collect();
        let all_bad = !states.is_empty() && states.iter().all(|(_, state)| state.is_bad());
        let status = match bad.len() {
            0 => Status::Healthy,
            _ if all_bad => Status::Unhealthy,
            _ => Status::Degraded,
        };
        let message = if bad.is_empty() {
            format!("{} agents, none in trouble", states.len())
        } else {
            format!("{} of {} agents: {}", bad.len(), states.len(), bad.join(", "))
        };
        Check { status, message }
    }
}

fn check_use(percent: Option<f64>, degraded: f64, unhealthy: f64) -> Check {
    let Some(percent) = percent else {
        return Check { status: Status::Degraded, message: "cannot be measured".to_owned() };
    };
    let (status, limit) = if percent >= unhealthy {
        (Status::Unhealthy, unhealthy)
    } else if percent >= degraded {
        (Status::Degraded, degraded)
    } else {
        return Check { status: Status::Healthy, message: format!("{percent:.1} % in use") };
    };
    Check { status, message: format!("{percent:.1} % in use, over {limit} %") }
}

impl Fill for Node {
    fn fill(&self, filter: &Filter, batch: &mut Batch) {
        if filter.wants(AGENTS) {
            let now = clock::monotonic();
            let mut registry = self.registry.borrow_mut();
            log_changes(&registry.refresh(now));
            export::fill(&registry, now, batch);
        }
        if filter.wants(OWN) {
            self.instruments.fill(batch);
            self.fill_own(batch);
        }
    }

    fn agent_roots(&self) -> Vec<AgentRoot> {
        self.registry.borrow().roots()
    }

    fn passed(&self, samples: usize, duration: Duration) {
        self.scraped.set(Some(Scraped { at: Instant::now(), samples, duration }));
    }
}

impl crate::http::Node for Node {
    fn health(&self) -> Report {
        let now = clock::monotonic();
        log_changes(&self.registry.borrow_mut().refresh(now));
        let vitals = self.vitals.borrow_mut().read();
        let system = SystemMetrics {
            memory_usage_percent: vitals.memory_usage_percent,
            cpu_usage_percent: vitals.cpu_usage_percent,
            disk_usage_percent: vitals.disk_usage_percent,
        };
        let checks = self.checks(&system);
        let agents = self
            .registry
            .borrow()
            .agents()
            .filter_map(|(name, agent)| {
                let judged = agent.judgement()?;
                let (state, reason) = (judged.state.word().to_owned(), judged.reason.clone());
                Some((name.to_owned(), health::Agent { state, reason }))
            })
            .collect();
        Report::new(SystemTime::now(), self.started.elapsed(), system, checks, agents)
    }

    fn agents(&self) -> serde_json::Value {
        let now = clock::monotonic();
        let mut registry = self.registry.borrow_mut();
        log_changes(&registry.refresh(now));
        let supervision = self.supervision.borrow();
        let statuses = supervision.as_ref().map(|statuses| statuses.borrow());
        let agents: Vec<_> = registry
            .agents()
            .map(|(name, agent)| {
                let mut described = export::describe(&registry, name, agent, now);
                let status = statuses.as_ref().and_then(|statuses| statuses.get(name));
                if let Some(fields) = described.as_object_mut() {
                    fields.insert("supervision".to_owned(), serde_json::json!(status));
                }
                described
            })
            .collect();
        serde_json::json!({ "agents": agents })
    }

    fn ready(&self) -> Result<(), String> {
        match *self.unready.borrow() {
            None => Ok(()),
            Some(why) => Err(why.to_owned()),
        }
    }
}

/// Says whose health has changed, once.
pub fn log_changes(changes: &[crate::agent::registry::Change]) {
    for change in changes {
        let (agent, state, reason) = (&change.agent, change.state.word(), &change.reason);
        let was = change.was.map_or_else(String::new, |was| format!(", was {}", was.word()));
        if change.state.is_bad() || change.state == State::Degraded {
            tracing::warn!(agent, state, "agent {agent} is {state}{was}: {reason}");
        } else {
            tracing::info!(agent, state, "agent {agent} is {state}{was}: {reason}");
        }
    }
}
