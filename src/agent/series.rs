//! The series of one agent besides its requests: of families that musterd knows and of those that the
//! agent has declared itself, added up over its ledgers, those in use and those that have been retired.
//! Their number, and the length of label values, are bounded here: what does not fit is counted in series
//! whose labels say `overflow`.
//!
//! Must not know where values come from or how they are exported.

mod kept;
mod placing;
mod weight;

pub(super) use kept::KeptFamily;

use super::catalog::{Catalog, FamilyId};
use super::exact::ExactSum;
use super::faults::{Fault, Faults};
use super::totals::Durations;
use crate::metric::{Batch, Group, Histogram, LabelSet, LabelSets};
use musterd_client::layout::Shape;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use weight::weight_of;

/// The label value of what does not fit.
pub const OVERFLOW: &str = "overflow";
/// Names that are told in `/api/v1/agents`; the counter of faults has all.
const COMPLAINTS: usize = 16;

/// How much agents may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Series of one, those of its ledgers in use and those that are kept; one of many buckets counts as several.
    pub series: usize,
    /// Series of all agents together.
    pub total_series: usize,
    /// Bytes of a label value.
    pub label_length: usize,
    /// Families that agents have declared, over all agents.
    pub families: usize,
}

/// A series' place in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowId(u32);

/// All series of an agent.
#[derive(Debug)]
pub struct SeriesTable {
    agent: String,
    rows: Vec<Row>,
    /// Of all rows, as the limits count them.
    weight: usize,
    /// Of all rows.
    labels: LabelSets,
    keys: HashMap<Key, RowId>,
    /// Rows that are no series any more.
    free: Vec<RowId>,
    /// Names that were refused, and the word for why.
    complaints: BTreeMap<String, &'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    family: FamilyId,
    /// By their names, none empty.
    labels: Vec<(String, String)>,
}

#[derive(Debug)]
struct Row {
    family: FamilyId,
    /// Records of ledgers in use that are counted here: of one ledger more than one where it says `overflow`.
    live: u32,
    labels: LabelSet,
    /// How many series it counts as.
    weight: usize,
    value: Value,
}

#[derive(Debug)]
enum Value {
    /// Of a row that is no series.
    Nothing,
    Count {
        retired: u64,
        current: u64,
    },
    Sum(Sum),
    /// Nothing where no ledger knows.
    Gauge(Option<f64>),
    Histogram(Box<Buckets>),
}

/// A sum of fractions. It is added up anew from its parts each time, so that it is what the next daemon
/// will make of them.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    retired: ExactSum,
    adding: ExactSum,
    shown: f64,
}

#[derive(Debug)]
struct Buckets {
    retired: Option<Arc<Durations>>,
    /// Its own sum is not used. The same as what is retired, in the same memory, while no ledger has it.
    current: Arc<Durations>,
    sum: Sum,
}

impl Sum {
    fn of(retired: ExactSum) -> Self {
        Self { retired, adding: retired, shown: retired.value() }
    }

    /// Shows the sum of what is retired and of the only part in use.
    fn show(&mut self, only: f64) {
        self.shown = self.shown.max(self.retired.plus(only).value());
    }
}

impl Buckets {
    fn of(retired: Durations) -> Self {
        let (sum, retired) = (Sum::of(retired.sum), Arc::new(retired));
        Self { current: Arc::clone(&retired), retired: Some(retired), sum }
    }

    fn retire(&mut self, shape: &Arc<Shape>, words: &[u64]) {
        let current = &self.current.shape;
        let empty = || Arc::new(Durations::new(Arc::clone(current)));
        let retired = Arc::make_mut(self.retired.get_or_insert_with(empty));
        // Those in use stay in use, whichever ledger is retired first.
        retired.make_room_for(current);
        retired.add_words(shape, words);
        self.sum.retired = retired.sum;
    }

    fn make_room_for(&mut self, shape: &Arc<Shape>) {
        if self.current.shape_with(shape).is_some() {
            Arc::make_mut(&mut self.current).make_room_for(shape);
        }
    }

    /// All is retired: one copy is enough.
    fn share(&mut self) {
        if let Some(retired) = self.retired.as_ref().filter(|all| all.has_counts_of(&self.current))
        {
            self.current = Arc::clone(retired);
        }
    }
}

impl SeriesTable {
    /// No series yet.
    #[must_use]
    pub fn new(agent: &str) -> Self {
        Self {
            agent: agent.to_owned(),
            rows: Vec::new(),
            weight: 0,
            labels: LabelSets::default(),
            keys: HashMap::new(),
            free: Vec::new(),
            complaints: BTreeMap::new(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Names that were refused or shortened since the agent was last started, and why.
    #[must_use]
    pub fn complaints(&self) -> &BTreeMap<String, &'static str> {
        &self.complaints
    }

    /// Forgets what was refused: another process may do better.
    pub fn forget_complaints(&mut self) {
        self.complaints.clear();
    }

    /// Counts a fault, and keeps the name that it is about.
    pub fn complain(&mut self, name: &str, fault: Fault, faults: &mut Faults) {
        faults.note(fault);
        if self.complaints.len() < COMPLAINTS && !self.complaints.contains_key(name) {
            self.complaints.insert(name.to_owned(), fault.word());
        }
    }

    /// Forgets all: the agent itself is forgotten.
    pub fn clear(&mut self, catalog: &mut Catalog) {
        self.drop_rows(catalog, |_| true);
    }

    fn drop_rows(&mut self, catalog: &mut Catalog, is_it: impl Fn(&Row) -> bool) {
        let (rows, free, weight) = (&mut self.rows, &mut self.free, &mut self.weight);
        let had = self.keys.len();
        self.keys.retain(|key, id| {
            let Some(row) = rows.get_mut(id.0 as usize).filter(|row| is_it(row)) else {
                return true;
            };
            row.value = Value::Nothing;
            free.push(*id);
            catalog.row_removed(key.family);
            let gone = std::mem::take(&mut row.weight);
            *weight = weight.saturating_sub(gone);
            catalog.reweigh(gone, 0);
            false
        });
        if self.keys.len() < had {
            let old = std::mem::take(&mut self.labels);
            for row in self.rows.iter_mut().filter(|row| row.is_series()) {
                row.labels = self.labels.add_from(&old, row.labels);
            }
        }
    }

    fn has(&self, family: FamilyId) -> bool {
        self.rows.iter().any(|row| row.family == family && row.is_series())
    }

    fn find(&self, family: FamilyId, labels: &[(&str, &str)]) -> Option<RowId> {
        self.keys.get(&Key::new(family, labels)).copied()
    }

    fn push(
        &mut self,
        family: FamilyId,
        labels: &[(&str, &str)],
        value: Value,
        catalog: &mut Catalog,
    ) -> RowId {
        let agent = std::iter::once(("agent", self.agent.as_str()));
        let rendered = self.labels.add(agent.chain(labels.iter().copied()));
        let weight = value.weight();
        let row = Row { family, live: 0, labels: rendered, weight: 0, value };
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(place) = self.row_mut(id) {
                    *place = row;
                }
                id
            }
            None => {
                self.rows.push(row);
                RowId(u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.keys.insert(Key::new(family, labels), id);
        catalog.row_added(family);
        self.weigh(id, weight, catalog);
        id
    }

    fn row_mut(&mut self, id: RowId) -> Option<&mut Row> {
        self.rows.get_mut(id.0 as usize)
    }

    /// Adds to a counter.
    pub fn count(&mut self, id: RowId, more: u64) {
        if let Some(Value::Count { current, .. }) = self.row_mut(id).map(|row| &mut row.value) {
            *current = current.saturating_add(more);
        }
    }

    /// The buckets of a histogram, to add to; its sum is not among them.
    pub fn buckets(&mut self, id: RowId) -> Option<&mut Durations> {
        match &mut self.row_mut(id)?.value {
            Value::Histogram(buckets) => Some(Arc::make_mut(&mut buckets.current)),
            _ => None,
        }
    }

    /// Shows what a ledger has in a gauge or a sum, if that is the only ledger in use with the series: then
    /// nothing is to be added up anew. Whether it is.
    pub fn show_only(&mut self, id: RowId, value: f64) -> bool {
        let Some(row) = self.row_mut(id).filter(|row| row.live == 1) else { return false };
        match &mut row.value {
            Value::Gauge(shown) => *shown = Some(value).filter(|value| !value.is_nan()),
            Value::Sum(sum) => sum.show(value),
            Value::Histogram(buckets) => buckets.sum.show(value),
            Value::Count { .. } | Value::Nothing => {}
        }
        true
    }

    /// Begins to add up anew what is no whole number: gauges, and sums.
    pub fn begin_sums(&mut self) {
        for row in &mut self.rows {
            match &mut row.value {
                Value::Gauge(value) => *value = None,
                Value::Sum(sum) => sum.adding = sum.retired,
                Value::Histogram(buckets) => buckets.sum.adding = buckets.sum.retired,
                Value::Count { .. } | Value::Nothing => {}
            }
        }
    }

    /// Adds what one ledger has. A gauge that is not a number is not known to it.
    pub fn add_sum(&mut self, id: RowId, value: f64) {
        match self.row_mut(id).map(|row| &mut row.value) {
            Some(Value::Gauge(sum)) if !value.is_nan() => *sum = Some(sum.unwrap_or(0.0) + value),
            Some(Value::Sum(sum)) => sum.adding.add(value),
            Some(Value::Histogram(buckets)) => buckets.sum.adding.add(value),
            _ => {}
        }
    }

    /// Shows what has been added up.
    pub fn end_sums(&mut self) {
        for row in &mut self.rows {
            match &mut row.value {
                // Both infinities have no sum.
                Value::Gauge(value) => *value = value.filter(|value| !value.is_nan()),
                Value::Sum(sum) => sum.shown = sum.shown.max(sum.adding.value()),
                Value::Histogram(buckets) => {
                    buckets.sum.shown = buckets.sum.shown.max(buckets.sum.adding.value());
                }
                Value::Count { .. } | Value::Nothing => {}
            }
        }
    }

    /// Takes over for good what a ledger has in a series: its word. It is in use by one ledger less.
    pub fn retire(&mut self, id: RowId, word: u64) {
        let Some(row) = self.row_mut(id) else { return };
        row.live = row.live.saturating_sub(1);
        match &mut row.value {
            Value::Count { retired, .. } => *retired = retired.saturating_add(word),
            Value::Sum(sum) => sum.retired.add(f64::from_bits(word)),
            Value::Histogram(_) | Value::Gauge(_) | Value::Nothing => {}
        }
    }

    /// The same of a histogram: its words, which have the buckets of `shape`.
    pub fn retire_histogram(&mut self, id: RowId, shape: &Arc<Shape>, words: &[u64]) {
        let Some(row) = self.row_mut(id) else { return };
        row.live = row.live.saturating_sub(1);
        if let Value::Histogram(buckets) = &mut row.value {
            buckets.retire(shape, words);
            if row.live == 0 {
                buckets.share();
            }
        }
    }

    /// Forgets the gauges that no ledger in use has.
    pub fn drop_gauges(&mut self, catalog: &mut Catalog) {
        let is_over = |row: &Row| row.live == 0 && matches!(row.value, Value::Gauge(_));
        if self.rows.iter().any(is_over) {
            self.drop_rows(catalog, is_over);
        }
    }

    /// Emits all of them.
    pub fn fill(&self, batch: &mut Batch, group: Group) {
        let mut writer = batch.fill_group(group, &self.labels);
        for row in &self.rows {
            let (family, labels) = (row.family.place(), row.labels);
            match &row.value {
                Value::Count { current, .. } => {
                    writer.number(family, labels, *current as f64);
                }
                Value::Sum(sum) => writer.number(family, labels, sum.shown),
                Value::Gauge(Some(value)) => writer.number(family, labels, *value),
                Value::Histogram(buckets) => {
                    let Buckets { current, sum, .. } = &**buckets;
                    let histogram = Histogram { sum: sum.shown, ..current.as_histogram() };
                    writer.histogram(family, labels, &histogram);
                }
                Value::Gauge(None) | Value::Nothing => {}
            }
        }
    }

    /// The counters of a family, each with the value of its first label.
    pub fn counts(&self, name: &str, catalog: &Catalog) -> impl Iterator<Item = (&str, u64)> {
        let family = catalog.by_stem(super::declaration::stem(name)).map(|(family, _)| family);
        self.keys.iter().filter(move |(key, _)| Some(key.family) == family).filter_map(
            |(key, id)| {
                let label = key.labels.first().map_or("", |(_, value)| value);
                match self.rows.get(id.0 as usize)?.value {
                    Value::Count { current, .. } => Some((label, current)),
                    _ => None,
                }
            },
        )
    }
}

impl Value {
    fn weight(&self) -> usize {
        match self {
            Self::Histogram(buckets) => weight_of(Some(&buckets.current.shape)),
            Self::Nothing | Self::Count { .. } | Self::Sum(_) | Self::Gauge(_) => weight_of(None),
        }
    }
}

impl Row {
    fn is_series(&self) -> bool {
        !matches!(self.value, Value::Nothing)
    }
}

impl Key {
    fn new(family: FamilyId, labels: &[(&str, &str)]) -> Self {
        let owned = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
        Self { family, labels: owned.collect() }
    }
}

impl Durations {
    /// As a batch takes it: its classic buckets, since no text format can carry others.
    #[must_use]
    pub fn as_histogram(&self) -> Histogram<'_> {
        Histogram { bounds: &self.shape.bounds, counts: &self.classic, sum: self.sum.value() }
    }
}

#[cfg(test)]
mod tests;
