//! Where a declared series is counted: in a row that is there, in a new one, in `overflow`, or nowhere.
//!
//! Must not know ledgers, nor what is counted.

use super::weight::weight_of;
use super::{Buckets, Limits, OVERFLOW, RowId, SeriesTable, Sum, Value};
use crate::agent::catalog::Catalog;
use crate::agent::declaration::Declared;
use crate::agent::faults::{Fault, Faults};
use crate::agent::totals::Durations;
use musterd_client::layout::{Kind, Shape};
use std::sync::Arc;

impl SeriesTable {
    /// Where a ledger's series is counted, which is noted as in use by one ledger more; nothing if it is
    /// refused. `shape` is that of a histogram, shared.
    pub fn place(
        &mut self,
        declared: &Declared<'_>,
        shape: Option<&Arc<Shape>>,
        catalog: &mut Catalog,
        limits: &Limits,
        faults: &mut Faults,
    ) -> Option<RowId> {
        match self.try_place(declared, shape, catalog, limits, faults) {
            Ok(id) => {
                if let Some(row) = self.row_mut(id) {
                    row.live += 1;
                }
                Some(id)
            }
            Err(fault) => {
                self.complain(declared.name, fault, faults);
                None
            }
        }
    }

    fn try_place(
        &mut self,
        declared: &Declared<'_>,
        shape: Option<&Arc<Shape>>,
        catalog: &mut Catalog,
        limits: &Limits,
        faults: &mut Faults,
    ) -> Result<RowId, Fault> {
        let mut found = catalog.find(declared);
        if found == Err(Fault::Conflict) && self.drop_old(declared, catalog, faults) {
            found = catalog.find(declared);
        }
        let found = found?;
        let known = found.and_then(|id| catalog.get(id)).and_then(|entry| entry.known);
        let is_free = |label: &str| known.is_none_or(|known| known.values_of(label).is_none());
        let mut labels = sorted(declared);
        for (label, value) in &mut labels {
            let is_bad = value.len() > limits.label_length || value.contains(char::is_control);
            if is_bad && is_free(label) {
                if declared.kind == Kind::Gauge {
                    return Err(Fault::LabelValue);
                }
                self.complain(declared.name, Fault::LabelValue, faults);
                *value = OVERFLOW;
            }
        }
        if let Some(id) = found.and_then(|family| self.find(family, &labels)) {
            return self.check(id, declared, shape, catalog, limits, faults);
        }
        let weight = weight_of(shape.map(|shape| &**shape));
        if self.is_full(weight, catalog, limits) {
            if declared.kind == Kind::Gauge {
                return Err(Fault::OverLimit);
            }
            for (_, value) in labels.iter_mut().filter(|(label, _)| is_free(label)) {
                *value = OVERFLOW;
            }
            let is_there = found.is_some_and(|family| self.has(family));
            if known.is_none() && (labels.is_empty() || !is_there) {
                return Err(Fault::OverLimit);
            }
            let row = found.and_then(|family| self.find(family, &labels));
            if row.is_none() && self.is_overfull(weight, catalog, limits) {
                return Err(Fault::OverLimit);
            }
            self.complain(declared.name, Fault::OverLimit, faults);
            if let Some(id) = row {
                return self.check(id, declared, shape, catalog, limits, faults);
            }
        }
        let value = value_of(declared.kind, shape).ok_or(Fault::Malformed)?;
        let family = match found {
            Some(family) => family,
            None => catalog.add(declared, limits.families)?,
        };
        Ok(self.push(family, &labels, value, catalog))
    }

    /// Whether a series can take what is declared: its values are of the same kind, and have the same
    /// bounds, or nobody counts in it any more.
    fn check(
        &mut self,
        id: RowId,
        declared: &Declared<'_>,
        shape: Option<&Arc<Shape>>,
        catalog: &mut Catalog,
        limits: &Limits,
        faults: &mut Faults,
    ) -> Result<RowId, Fault> {
        if let Some(shape) = shape {
            self.check_growth(id, shape, catalog, limits)?;
        }
        let row = self.row_mut(id).ok_or(Fault::Conflict)?;
        let fits = match (&mut row.value, declared.kind) {
            (Value::Count { .. }, Kind::Counter)
            | (Value::Sum(_), Kind::FractionCounter)
            | (Value::Gauge(_), Kind::Gauge) => true,
            (Value::Histogram(buckets), Kind::Histogram) => shape
                .filter(|shape| shape.bounds == buckets.current.shape.bounds)
                .map(|shape| buckets.make_room_for(shape))
                .is_some(),
            _ => false,
        };
        if fits {
            let weight = row.value.weight();
            self.weigh(id, weight, catalog);
            return Ok(id);
        }
        if row.live > 0 {
            return Err(Fault::Conflict);
        }
        row.value = value_of(declared.kind, shape).ok_or(Fault::Malformed)?;
        let weight = row.value.weight();
        self.weigh(id, weight, catalog);
        self.complain(declared.name, Fault::Redeclared, faults);
        Ok(id)
    }

    /// Whether there is room for what a series needs to take `shape`, too.
    fn check_growth(
        &self,
        id: RowId,
        shape: &Arc<Shape>,
        catalog: &Catalog,
        limits: &Limits,
    ) -> Result<(), Fault> {
        let Some(row) = self.rows.get(id.0 as usize) else { return Ok(()) };
        let common = match &row.value {
            Value::Histogram(buckets) if buckets.current.shape.bounds == shape.bounds => {
                buckets.current.shape_with(shape)
            }
            _ => Some(Shape::clone(shape)),
        };
        let more = common.map_or(0, |common| weight_of(Some(&common)).saturating_sub(row.weight));
        let is_too_much = more > 0 && self.is_overfull(more, catalog, limits);
        if is_too_much { Err(Fault::OverLimit) } else { Ok(()) }
    }

    /// Forgets series that stand in the way of a new declaration, if they are all of this agent and no
    /// ledger in use has one. Whether there were any.
    fn drop_old(
        &mut self,
        declared: &Declared<'_>,
        catalog: &mut Catalog,
        faults: &mut Faults,
    ) -> bool {
        let Some((family, all)) = catalog.by_stem(declared.stem()) else { return false };
        let own = || self.rows.iter().filter(|row| row.family == family && row.is_series());
        if own().count() != all || own().any(|row| row.live > 0) {
            return false;
        }
        self.drop_rows(catalog, |row| row.family == family);
        self.complain(declared.name, Fault::Redeclared, faults);
        true
    }
}

pub(super) fn sorted<'a>(declared: &Declared<'a>) -> Vec<(&'a str, &'a str)> {
    let given = declared.labels.iter().filter(|(_, value)| !value.is_empty());
    let mut labels: Vec<_> = given.copied().collect();
    labels.sort_unstable();
    labels
}

/// Nothing counted yet; none for a histogram without buckets.
fn value_of(kind: Kind, shape: Option<&Arc<Shape>>) -> Option<Value> {
    Some(match kind {
        Kind::Counter => Value::Count { retired: 0, current: 0 },
        Kind::FractionCounter => Value::Sum(Sum::default()),
        Kind::Gauge => Value::Gauge(None),
        Kind::Histogram => {
            let current = Arc::new(Durations::new(Arc::clone(shape?)));
            Value::Histogram(Box::new(Buckets { retired: None, current, sum: Sum::default() }))
        }
    })
}
