//! What an agent counts: where in its ledgers each of its series is, and what is added there.
//!
//! Must not know threads or connections; its owner lets one thread at a time in.

use super::Status;
use crate::clock::Clock;
use crate::connection::Connection;
use crate::declaration::Declaration;
use crate::layout::{DURATION_SCHEMAS, Kind, Shape, names};
use crate::memory::Memory;
use crate::record::Description;
use crate::series::{Ledgers, Placed};
use crate::writer::{Flight, HistogramSeries, Series, Update, Writer};
use std::time::Duration;

/// Room for the agent's own memory while there is no daemon; the usual size of a ledger.
const PRIVATE_SIZE: usize = 256 << 10;
/// Error categories, and models, after which the next ones count as `overflow`.
const SERIES_LIMIT: usize = 100;
const OVERFLOW: &str = "overflow";
/// The category of a failure that none was named for.
const OTHER: &str = "other";

/// The ledger, and where in it each series is.
pub(super) struct Books {
    pub(super) ledgers: Ledgers,
    pub(super) clock: Clock,
    pub(super) requests: [Option<Series>; Status::ALL.len()],
    duration: Option<HistogramSeries>,
    pub(super) errors: Vec<(Box<str>, Placed)>,
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
    pub(super) fn new(open: Box<dyn Fn(usize) -> Option<Connection> + Send>) -> Self {
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

    pub(super) fn receive(&mut self, memory: Memory, duration_schema: Option<i32>, first: bool) {
        if let Some(schema) = duration_schema {
            self.use_duration_schema(schema);
        }
        let Self { ledgers, requests, duration, errors, tokens, calls, own, .. } = self;
        let duration = duration.iter().map(|series| (series.series(), series.words()));
        let requests = requests.iter().flatten().map(|series| (*series, 1));
        let fixed: Vec<_> = requests.chain(duration).collect();
        ledgers.receive(0, memory, first, placed(errors, tokens, calls, own), &fixed);
    }

    /// The same for a ledger after the first.
    pub(super) fn receive_further(&mut self, place: usize, memory: Memory, first: bool) {
        let Self { ledgers, errors, tokens, calls, own, .. } = self;
        ledgers.receive(place, memory, first, placed(errors, tokens, calls, own), &[]);
    }

    pub(super) fn add_tokens(&mut self, model: &str, counts: [u64; 2]) {
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
    pub(super) fn finish(
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
        // An empty label is none, so that word names nothing either.
        let category = category.filter(|word| !word.is_empty()).unwrap_or(OTHER);
        let error = failed.then(|| self.error_series(category));
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

    pub(super) fn observe(
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
    /// Changes a series of the agent's own, by its place among those.
    #[inline]
    pub(super) fn change(
        &mut self,
        place: usize,
        gather: impl FnOnce(&mut Writer, &Placed, &mut Update),
    ) {
        if let Some(placed) = self.own.get(place) {
            self.ledgers.change(placed, gather);
        }
    }

    pub(super) fn declare(&mut self, declaration: &Declaration) {
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
