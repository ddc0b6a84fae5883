//! Metrics of an agent's own: [`Counter`], [`Gauge`], [`Histogram`], and what is declared of them.
//!
//! Must not know how a ledger is laid out.

use crate::agent::Agent;
use crate::declaration::Declaration;
use crate::layout::{Kind, Shape};

/// A metric before it is used, described step by step. Names, units and labels that break a rule of
/// `docs/ledger.md` are not exported, and are named by the daemon in `/api/v1/agents`.
///
/// ```
/// use musterd_client::Agent;
///
/// let agent = Agent::builder("billing").socket("/tmp/no-daemon-needed.sock").start();
/// let sent = agent.counter("billing_sent_bytes_total").help("Bytes sent.").unit("bytes").start();
/// let depth = agent.gauge("billing_queue_depth").label("queue", "mail").start();
/// let wait = agent.histogram("billing_wait_seconds").unit("seconds").start();
/// sent.add(512);
/// depth.set(3.0);
/// wait.observe(0.25);
/// ```
#[must_use = "nothing is counted before `start`"]
pub struct Declare<'a, M> {
    agent: &'a Agent,
    declaration: Declaration,
    make: fn(&'a Agent, usize) -> M,
}

impl<'a, M> Declare<'a, M> {
    fn new(agent: &'a Agent, kind: Kind, name: &str, make: fn(&'a Agent, usize) -> M) -> Self {
        let declaration = Declaration {
            kind,
            name: name.to_owned(),
            labels: Vec::new(),
            help: String::new(),
            unit: String::new(),
            shape: (kind == Kind::Histogram).then(Shape::calls),
        };
        Self { agent, declaration, make }
    }

    /// What it counts, in a sentence.
    pub fn help(mut self, help: &str) -> Self {
        help.clone_into(&mut self.declaration.help);
        self
    }

    /// Its unit, in which the name ends: `seconds`, `bytes`.
    pub fn unit(mut self, unit: &str) -> Self {
        unit.clone_into(&mut self.declaration.unit);
        self
    }

    /// One of its labels.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.declaration.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Begins to report it. The same name with the same labels is the same series, however often
    /// it is declared.
    #[must_use]
    pub fn start(mut self) -> M {
        self.declaration.labels.sort_unstable();
        (self.make)(self.agent, self.agent.declare(self.declaration))
    }
}

impl<'a> Declare<'a, Histogram<'a>> {
    /// Its buckets, in place of those for durations of calls: see [`Shape::calls`] and [`Shape::classic`].
    pub fn shape(mut self, shape: Shape) -> Self {
        self.declaration.shape = Some(shape);
        self
    }
}

impl Agent {
    /// A counter of things; its name ends in `_total`.
    pub fn counter(&self, name: &str) -> Declare<'_, Counter<'_>> {
        Declare::new(self, Kind::Counter, name, |agent, place| Counter { agent, place })
    }

    /// A counter of what comes in fractions, such as seconds; its name ends in `_total`.
    pub fn sum(&self, name: &str) -> Declare<'_, Sum<'_>> {
        Declare::new(self, Kind::FractionCounter, name, |agent, place| Sum { agent, place })
    }

    /// A value that goes up and down. It is exported from the first [`Gauge::set`] on.
    pub fn gauge(&self, name: &str) -> Declare<'_, Gauge<'_>> {
        Declare::new(self, Kind::Gauge, name, |agent, place| Gauge { agent, place })
    }

    /// Observations, counted in buckets.
    pub fn histogram(&self, name: &str) -> Declare<'_, Histogram<'_>> {
        Declare::new(self, Kind::Histogram, name, |agent, place| Histogram { agent, place })
    }
}

/// A counter of an agent's own.
#[derive(Clone, Copy)]
pub struct Counter<'a> {
    agent: &'a Agent,
    place: usize,
}

impl Counter<'_> {
    /// Counts some more.
    #[inline]
    pub fn add(&self, count: u64) {
        self.agent.change(self.place, |writer, own, update| own.add(count, writer, update));
    }
}

/// A counter of fractions of an agent's own.
#[derive(Clone, Copy)]
pub struct Sum<'a> {
    agent: &'a Agent,
    place: usize,
}

impl Sum<'_> {
    /// Adds to it. What is below 0, or is not a finite number, counts as nothing.
    #[inline]
    pub fn add(&self, amount: f64) {
        self.agent.change(self.place, |writer, own, update| {
            if let Some(series) = own.series().filter(|_| amount > 0.0 && amount.is_finite()) {
                writer.add_fraction(series, amount, update);
            }
        });
    }
}

/// A gauge of an agent's own.
#[derive(Clone, Copy)]
pub struct Gauge<'a> {
    agent: &'a Agent,
    place: usize,
}

impl Gauge<'_> {
    /// Sets it. Not a number: it is not known, and not exported.
    #[inline]
    pub fn set(&self, value: f64) {
        self.agent.change(self.place, |writer, own, _| {
            if let Some(series) = own.series() {
                writer.set_gauge(series, value);
            }
        });
    }

    /// Adds to it; from nothing, if it was not known.
    #[inline]
    pub fn add(&self, change: f64) {
        self.agent.change(self.place, |writer, own, _| {
            if let Some(series) = own.series() {
                let old = writer.gauge(series);
                writer.set_gauge(series, if old.is_nan() { change } else { old + change });
            }
        });
    }
}

/// A histogram of an agent's own.
#[derive(Clone, Copy)]
pub struct Histogram<'a> {
    agent: &'a Agent,
    place: usize,
}

impl Histogram<'_> {
    /// Counts an observation. One below 0 counts nowhere, nor does what is infinite or not a number.
    #[inline]
    pub fn observe(&self, value: f64) {
        self.agent.change(self.place, |writer, own, update| {
            if let Some(histogram) = own.histogram().filter(|_| value >= 0.0) {
                writer.observe(histogram, value, update);
            }
        });
    }
}
