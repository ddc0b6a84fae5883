//! Lines become updates of a ledger: each counts wholly or not at all, together with its number.
//!
//! Must not know sockets or files; time is told to it.

use super::page::{PAGE_SIZE, Page};
use super::protocol::{Amount, Declared, Event, Named};
use crate::agent::faults::Fault;
use crate::agent::ledger::written::written;
use crate::agent::protocol::Violation;
use crate::agent::totals::{ABORTED, STATUSES, SUCCESS};
use crate::agent::{declaration, known};
use musterd_client::layout::{DURATION_BOUNDS, Kind, SLOT_COUNT, Shape, header, names};
use musterd_client::memory::Memory;
use musterd_client::record::Description;
use musterd_client::write_header;
use musterd_client::writer::{HistogramSeries, Series, Update, Writer};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The category of errors for which there is no room.
const OVERFLOW: &str = "overflow";

/// Writes one program's ledger.
#[derive(Debug)]
pub struct Book {
    writer: Writer,
    page: Page,
    series: HashMap<Named, Place>,
    limits: Limits,
    /// Of the series, those that each program has for its requests, whatever else it counts.
    reserved: usize,
    /// Requests in flight, by what they are called.
    flights: HashMap<String, u8>,
    is_closed: bool,
}

/// What the configuration has to say about a ledger's series.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many there may be.
    pub max_series: usize,
    /// Resolution of the durations of requests.
    pub duration_schema: i32,
}

/// Where a series has its values.
#[derive(Clone, Debug)]
enum Place {
    Counter(Series),
    Fractions(Series),
    Gauge(Series),
    Histogram(HistogramSeries),
}

fn refused(reason: &'static str, text: String) -> Violation {
    Violation { reason, text }
}

impl Book {
    /// Goes on with a ledger, in which there may be records and requests in flight.
    #[must_use]
    pub fn resume(memory: Memory, page: Page, limits: Limits) -> Self {
        let writer = Writer::resume(memory);
        let series = written(writer.memory()).into_iter().filter_map(|record| {
            let place = Place::of(record.kind, Series::at(record.values), record.shape)?;
            let labels = record.labels.into_iter().collect();
            Some((Named { name: record.name, labels }, place))
        });
        let series = series.collect();
        let slots = (0..SLOT_COUNT).filter_map(|slot| u8::try_from(slot).ok());
        let taken = slots.filter(|slot| writer.begun(*slot) != 0);
        let flights = taken.map(|slot| (page.id(slot), slot)).collect();
        let (is_closed, reserved) = (false, 0);
        let mut book = Self { writer, page, series, limits, reserved, flights, is_closed };
        book.reserve();
        book
    }

    /// Makes the series that requests are counted in, before others can take their room.
    fn reserve(&mut self) {
        let words = STATUSES.iter().take(ABORTED).map(|word| (names::REQUESTS, "status", *word));
        let counters = words.chain([(names::ERRORS, "category", OVERFLOW)]);
        for (name, label, value) in counters {
            self.reserved += usize::from(self.counter(name, label, value).is_ok());
        }
        self.reserved += usize::from(self.durations().is_ok());
    }

    /// A book that nobody else reads, to try lines on.
    #[must_use]
    pub fn private(size: usize, limits: Limits) -> Self {
        let memory = Memory::private(size);
        write_header(&memory, [0, 0]);
        Self::resume(memory, Page::over(Memory::private(PAGE_SIZE)), limits)
    }

    /// The number of the last line that is in the ledger, or that was refused.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.writer.memory().load(header::APPLIED)
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Whether the program has said that it ends.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Says in the ledger that its program has ended on purpose.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.writer.close();
    }

    /// Takes in a line. One with a number that has been seen counts nothing, and is no fault: it was sent
    /// again.
    ///
    /// # Errors
    /// Why it counts nothing. Its number has been noted all the same: sent again, it would be refused again.
    pub fn take(
        &mut self,
        seq: Option<u64>,
        event: Result<Event, Violation>,
        now: Duration,
    ) -> Result<(), Violation> {
        if seq.is_some_and(|seq| seq <= self.applied()) {
            return Ok(());
        }
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let mut update = Update::default();
        let entered = event.and_then(|event| self.enter(event, now, &mut update));
        if let Some(seq) = seq {
            update.set(self.writer.memory(), header::APPLIED, seq);
        }
        self.writer.commit(&update);
        if entered.is_ok() {
            self.writer.heartbeat(now);
        }
        entered
    }

    /// Adds an event to an update; nothing if it is refused.
    fn enter(&mut self, event: Event, now: u64, update: &mut Update) -> Result<(), Violation> {
        if self.is_closed {
            return Err(refused("closed", "nothing counts after close".to_owned()));
        }
        match event {
            Event::Begin { id } => self.begin(id, now, update)?,
            Event::End { id, status, category, seconds } => {
                self.end(id, status, category, seconds, now, update)?;
            }
            Event::Count(series, amount) => self.count(series, amount, update)?,
            Event::Set(series, value) => match self.place(series, Kind::Gauge, None)? {
                Place::Gauge(at) => self.writer.set(at, value, update),
                _ => return Err(other_kind()),
            },
            Event::Observe(series, value, bounds) => {
                let shape = shape_of(&series.series.name, bounds);
                match self.place(series, Kind::Histogram, Some(shape))? {
                    Place::Histogram(at) => self.writer.observe(&at, value, update),
                    _ => return Err(other_kind()),
                }
            }
            Event::Heartbeat => {}
            Event::Close => self.close(),
        }
        Ok(())
    }

    fn begin(&mut self, id: String, now: u64, update: &mut Update) -> Result<(), Violation> {
        if self.flights.contains_key(&id) {
            return Err(refused("id_in_use", format!("request {id:?} has begun and not ended")));
        }
        let slot = self.writer.begin_in(now, update).ok_or_else(|| {
            refused("too_many_requests", format!("{SLOT_COUNT} requests are in flight already"))
        })?;
        self.page.set_id(slot, &id);
        self.flights.insert(id, slot);
        Ok(())
    }

    fn end(
        &mut self,
        id: Option<String>,
        status: usize,
        category: Option<String>,
        seconds: Option<f64>,
        now: u64,
        update: &mut Update,
    ) -> Result<(), Violation> {
        let slot = match &id {
            None => None,
            Some(id) => Some(*self.flights.get(id).ok_or_else(|| {
                refused(
                    "not_in_flight",
                    format!(
                        "no request {id:?} is in flight; one that began before its process \
                             ended has been counted as aborted"
                    ),
                )
            })?),
        };
        let measured = |slot| Duration::from_nanos(now.saturating_sub(self.writer.begun(slot)));
        let seconds =
            seconds.unwrap_or_else(|| slot.map(measured).unwrap_or_default().as_secs_f64());
        // All places are found before anything is added.
        let word = STATUSES.get(status).copied().unwrap_or_default();
        let requests = self.counter(names::REQUESTS, "status", word)?;
        let duration = self.durations()?;
        let has_failed = status != SUCCESS && word != "cancelled";
        let error = match has_failed.then(|| category.as_deref().unwrap_or("other")) {
            None => None,
            Some(category) => Some(
                self.counter(names::ERRORS, "category", category)
                    .or_else(|_| self.counter(names::ERRORS, "category", OVERFLOW))?,
            ),
        };
        if let (Some(slot), Some(id)) = (slot, &id) {
            self.writer.end(self.writer.flight(slot), update);
            self.flights.remove(id);
        }
        self.writer.add(requests, 1, update);
        self.writer.observe(&duration, seconds, update);
        if let Some(error) = error {
            self.writer.add(error, 1, update);
        }
        Ok(())
    }

    fn count(
        &mut self,
        series: Declared,
        amount: Amount,
        update: &mut Update,
    ) -> Result<(), Violation> {
        let kind = match amount {
            Amount::Whole(_) => Kind::Counter,
            Amount::Fraction(_) => Kind::FractionCounter,
        };
        match (self.place(series, kind, None)?, amount) {
            (Place::Counter(at), Amount::Whole(count)) => self.writer.add(at, count, update),
            (Place::Fractions(at), Amount::Fraction(amount)) => {
                self.writer.add_fraction(at, amount, update);
            }
            #[allow(clippy::cast_precision_loss)] // As any sum of doubles.
            (Place::Fractions(at), Amount::Whole(count)) => {
                self.writer.add_fraction(at, count as f64, update);
            }
            _ => return Err(other_kind()),
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, label: &str, value: &str) -> Result<Series, Violation> {
        let labels = BTreeMap::from([(label.to_owned(), value.to_owned())]);
        let series = Named { name: name.to_owned(), labels };
        match self.place(
            Declared { series, help: String::new(), unit: String::new() },
            Kind::Counter,
            None,
        )? {
            Place::Counter(at) => Ok(at),
            _ => Err(other_kind()),
        }
    }

    fn durations(&mut self) -> Result<HistogramSeries, Violation> {
        let series = Named { name: names::DURATION.to_owned(), labels: BTreeMap::new() };
        let declared = Declared { series, help: String::new(), unit: String::new() };
        match self.place(
            declared,
            Kind::Histogram,
            Some(Shape::durations_at(self.limits.duration_schema)),
        )? {
            Place::Histogram(at) => Ok(at),
            _ => Err(other_kind()),
        }
    }

    /// Where a series is, which is added if it is new.
    fn place(
        &mut self,
        declared: Declared,
        kind: Kind,
        shape: Option<Shape>,
    ) -> Result<Place, Violation> {
        let Declared { series, help, unit } = declared;
        if let Some(place) = self.series.get(&series) {
            return Ok(place.clone());
        }
        let labels: Vec<_> =
            series.labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
        let (name, help, unit, shape) = (&*series.name, &*help, &*unit, shape.as_ref());
        if ![names::REQUESTS, names::DURATION].contains(&name) {
            let (labels, shape) = (labels.clone(), shape.cloned());
            let declared = declaration::Declared { name, kind, labels, help, unit, shape };
            known::check(&declared).map_err(|fault| against_rules(name, fault))?;
        }
        let description = Description { kind, name, labels: &labels, help, unit, shape };
        let has_room = self.series.len() < self.limits.max_series + self.reserved;
        let at = has_room.then(|| self.writer.append_described(&description)).flatten();
        let place = at.and_then(|at| Place::of(kind, at, shape.cloned())).ok_or_else(|| {
            refused("no_room", format!("there is no room for one more series: {name}"))
        })?;
        self.series.insert(series, place.clone());
        Ok(place)
    }
}

impl Place {
    /// None for a histogram without buckets.
    fn of(kind: Kind, at: Series, shape: Option<Shape>) -> Option<Self> {
        Some(match kind {
            Kind::Counter => Self::Counter(at),
            Kind::FractionCounter => Self::Fractions(at),
            Kind::Gauge => Self::Gauge(at),
            Kind::Histogram => Self::Histogram(HistogramSeries::at(at, shape?)),
        })
    }
}

fn against_rules(name: &str, fault: Fault) -> Violation {
    let what = match fault {
        Fault::Unknown => "musterd keeps this name for itself, or knows it with other labels",
        _ => "wanted a counter's name to end in _total, no other's, and each in its unit",
    };
    refused(fault.word(), format!("{name}: {what} (docs/ledger.md)"))
}

fn other_kind() -> Violation {
    let text =
        "this series is of another kind: it began with another event, or its first value was a \
                whole number"
            .to_owned();
    refused("other_kind", text)
}

/// The buckets of a new histogram: for the series that musterd knows those of its clients, for others
/// from 2^-20 to 2^40, each 19 % wide, so that seconds and bytes have their place.
fn shape_of(name: &str, bounds: Option<Vec<f64>>) -> Shape {
    if [names::LLM_DURATION, names::FIRST_TOKEN, names::TOOL_DURATION].contains(&name) {
        return Shape::calls();
    }
    Shape {
        schema: 2,
        first: -79,
        native_count: 240,
        zero_threshold: 1.0 / f64::from(1 << 20),
        bounds: bounds.unwrap_or_else(|| DURATION_BOUNDS.to_vec()),
    }
}

#[cfg(test)]
mod tests;
