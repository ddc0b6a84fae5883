//! Where an agent's series are: in its first ledger, or, when that is full, in further ones, which come
//! over connections of their own.
//!
//! Must not know what a series is of.

use crate::connection::Connection;
use crate::layout::{Kind, Shape};
use crate::memory::Memory;
use crate::record::Description;
use crate::writer::{Cut, HistogramSeries, Move, Series, Update, Writer};

/// Ledgers after the first; the daemon may allow fewer.
const MORE_LIMIT: usize = 3;

/// A series, wherever it is.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    ledger: usize,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    /// There was no room.
    Nothing,
    One(Series),
    Histogram(Box<HistogramSeries>),
}

impl Placed {
    /// Its value, if it has one alone.
    #[inline]
    pub(crate) fn series(&self) -> Option<Series> {
        match self.values {
            Values::One(series) => Some(series),
            _ => None,
        }
    }

    /// Its buckets, if it has some.
    #[inline]
    pub(crate) fn histogram(&self) -> Option<&HistogramSeries> {
        match &self.values {
            Values::Histogram(histogram) => Some(histogram),
            _ => None,
        }
    }

    /// Whether it is in the first ledger, so that it can be part of an update there.
    #[inline]
    pub(crate) fn is_first(&self) -> bool {
        self.ledger == 0
    }

    /// Whether it is in the same ledger as another.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.ledger == other.ledger
    }

    /// Adds to a counter, as part of an update of its ledger.
    #[inline]
    pub(crate) fn add(&self, count: u64, writer: &Writer, update: &mut Update) {
        if let Some(series) = self.series() {
            writer.add(series, count, update);
        }
    }

    /// Whether it has a place.
    pub(crate) fn is_somewhere(&self) -> bool {
        !matches!(self.values, Values::Nothing)
    }

    /// Goes along with the record that it is in.
    fn follow(&mut self, way: Move, ledger: usize) {
        let moved = self.words().and_then(|(series, _)| way.of(series));
        if let Some(series) = moved {
            self.ledger = ledger;
            match &mut self.values {
                Values::Nothing => {}
                Values::One(own) => *own = series,
                Values::Histogram(histogram) => histogram.move_to(series),
            }
        }
    }

    /// Where its values begin, and how many words they are.
    fn words(&self) -> Option<(Series, usize)> {
        match &self.values {
            Values::Nothing => None,
            Values::One(series) => Some((*series, 1)),
            Values::Histogram(histogram) => Some((histogram.series(), histogram.words())),
        }
    }
}

/// All ledgers of an agent.
pub(crate) struct Ledgers {
    pub(crate) first: Writer,
    more: Vec<More>,
    size: usize,
    /// Asks the daemon for the further ledger of this number.
    open: Box<dyn Fn(usize) -> Option<Connection> + Send>,
}

struct More {
    writer: Writer,
    connection: Option<Connection>,
    /// Records that the daemon has refused to take, and that have been counted as such.
    refused: u64,
    records: u64,
}

impl Ledgers {
    pub(crate) fn new(size: usize, open: Box<dyn Fn(usize) -> Option<Connection> + Send>) -> Self {
        Self { first: Writer::private(size), more: Vec::new(), size, open }
    }

    /// Appends a series where there is room.
    pub(crate) fn place(&mut self, description: &Description<'_>) -> Placed {
        let first = self.first.append_described(description);
        let more = self.more.iter_mut().enumerate();
        let found = first.map(|series| (0, series)).or_else(|| {
            more.into_iter().find_map(|(place, more)| {
                let series = more.writer.append_described(description)?;
                more.records += 1;
                Some((place + 1, series))
            })
        });
        let Some((ledger, series)) = found.or_else(|| self.place_anew(description)) else {
            self.first.refuse(1);
            return Placed { ledger: 0, values: Values::Nothing };
        };
        let values = match description.shape {
            Some(shape) => Values::Histogram(Box::new(HistogramSeries::at(series, shape.clone()))),
            None => Values::One(series),
        };
        Placed { ledger, values }
    }

    /// Appends to a ledger that is asked for.
    fn place_anew(&mut self, description: &Description<'_>) -> Option<(usize, Series)> {
        if self.more.len() >= MORE_LIMIT {
            return None;
        }
        let mut writer = Writer::private(self.size);
        let series = writer.append_described(description)?;
        let connection = (self.open)(self.more.len());
        self.more.push(More { writer, connection, refused: 0, records: 1 });
        Some((self.more.len(), series))
    }

    /// Makes one update, of the ledger that a series is in.
    #[inline]
    pub(crate) fn change(
        &mut self,
        placed: &Placed,
        gather: impl FnOnce(&mut Writer, &Placed, &mut Update),
    ) {
        if let Some(writer) = self.writer_mut(placed.ledger) {
            let mut update = Update::default();
            gather(writer, placed, &mut update);
            writer.commit(&update);
        }
    }

    /// A ledger has come, the first of its number or in place of one that has been retired. `all` are the
    /// series that may be in it, `fixed` those that are in the first one always.
    pub(crate) fn receive<'a>(
        &mut self,
        ledger: usize,
        memory: Memory,
        first: bool,
        all: impl Iterator<Item = &'a mut Placed>,
        fixed: &[(Series, usize)],
    ) {
        let mut here: Vec<_> = all.filter(|placed| placed.ledger == ledger).collect();
        // Further ones will be as large.
        self.size = memory.size();
        let Some(writer) = self.writer_mut(ledger) else { return };
        if !first {
            let words = here.iter().filter_map(|placed| placed.words());
            writer.forget(&words.chain(fixed.iter().copied()).collect::<Vec<_>>());
        }
        let cut = writer.cut(memory.size());
        writer.move_into(memory);
        for cut in cut {
            self.paste(&cut, ledger, &mut here);
        }
    }

    fn writer_mut(&mut self, ledger: usize) -> Option<&mut Writer> {
        match ledger.checked_sub(1) {
            None => Some(&mut self.first),
            Some(place) => self.more.get_mut(place).map(|more| &mut more.writer),
        }
    }

    /// Gives a record that has been cut off another place, and tells whoever is in it.
    fn paste(&mut self, cut: &Cut, from: usize, here: &mut [&mut Placed]) {
        let mut found = None;
        // Not into the one that is being cut.
        for ledger in (1..=MORE_LIMIT).filter(|ledger| *ledger != from) {
            if ledger == self.more.len() + 1 {
                let (writer, place) = (Writer::private(self.size), ledger - 1);
                let connection = (self.open)(place);
                self.more.push(More { writer, connection, refused: 0, records: 0 });
            }
            let Some(more) = self.more.get_mut(ledger - 1) else { break };
            if let Some(way) = more.writer.paste(cut) {
                more.records += 1;
                found = Some((ledger, way));
                break;
            }
        }
        let Some((ledger, way)) = found else {
            self.first.refuse(1);
            let is_in = |placed: &Placed| placed.words().is_some_and(|(series, _)| cut.has(series));
            here.iter_mut().filter(|placed| is_in(placed)).for_each(|placed| {
                placed.values = Values::Nothing;
            });
            return;
        };
        // Whoever has gone already is in another ledger, where offsets are others.
        let left = here.iter_mut().filter(|placed| placed.ledger == from);
        left.for_each(|placed| placed.follow(way, ledger));
    }

    /// The daemon has no further ledger to give: its series are told of in the first.
    pub(crate) fn note_refusal(&mut self, place: usize) {
        if let Some(more) = self.more.get_mut(place) {
            self.first.refuse(more.records - more.refused);
            more.refused = more.records;
        }
    }

    /// The connections of further ledgers. They end when they are dropped, which must not be here: their
    /// threads may be waiting for their turn.
    pub(crate) fn take_connections(&mut self) -> Vec<Connection> {
        self.more.iter_mut().filter_map(|more| more.connection.take()).collect()
    }

    /// Says that the agent has ended its ledgers on purpose.
    pub(crate) fn close(&mut self) {
        self.first.close();
        self.more.iter_mut().for_each(|more| more.writer.close());
    }

    /// A series of a name that musterd knows.
    pub(crate) fn place_known(
        &mut self,
        kind: Kind,
        name: &str,
        labels: &[(&str, &str)],
        shape: Option<&Shape>,
    ) -> Placed {
        self.place(&Description { kind, name, labels, help: "", unit: "", shape })
    }
}
