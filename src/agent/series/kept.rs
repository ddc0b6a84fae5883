//! What is kept of an agent's series from one run of the daemon to the next. Gauges are not: they end
//! with their ledgers.
//!
//! Must not know where it is kept.

use super::placing::sorted;
use super::{Buckets, Key, SeriesTable, Sum, Value};
use crate::agent::catalog::Catalog;
use crate::agent::declaration::Declared;
use crate::agent::exact::ExactSum;
use crate::agent::totals::Durations;
use musterd_client::layout::{Kind, Shape};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The series of one family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::agent) struct KeptFamily {
    name: String,
    help: String,
    unit: String,
    series: Vec<KeptSeries>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptSeries {
    labels: Vec<(String, String)>,
    value: KeptValue,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptValue {
    Count(u64),
    Sum(ExactSum),
    Histogram(Durations),
}

impl SeriesTable {
    /// What is to be kept: what ledgers have counted that have been retired, and which series those in use have:
    /// whichever ledger comes first to the next daemon, names and places stay whose they are.
    pub(in crate::agent) fn kept(&self, catalog: &Catalog) -> Vec<KeptFamily> {
        let mut families: BTreeMap<_, Vec<KeptSeries>> = BTreeMap::new();
        let sorted: BTreeMap<&Key, _> = self.keys.iter().collect();
        for (key, id) in sorted {
            let value = match self.rows.get(id.0 as usize).map(|row| &row.value) {
                Some(Value::Count { retired, .. }) => KeptValue::Count(*retired),
                Some(Value::Sum(sum)) => KeptValue::Sum(sum.retired),
                Some(Value::Histogram(buckets)) => {
                    let nothing = || Durations::new(buckets.current.shape.clone());
                    let retired = buckets.retired.as_deref().cloned();
                    KeptValue::Histogram(retired.unwrap_or_else(nothing))
                }
                _ => continue,
            };
            let series = KeptSeries { labels: key.labels.clone(), value };
            families.entry(key.family).or_default().push(series);
        }
        let described = families.into_iter().filter_map(|(id, series)| {
            let family = catalog.get(id)?;
            // What musterd knows, it describes itself.
            let help = if family.known.is_some() { "" } else { &family.help };
            let (name, help, unit) = (family.name.clone(), help.to_owned(), family.unit.clone());
            Some(KeptFamily { name, help, unit, series })
        });
        described.collect()
    }

    /// Takes in what was kept, however much it is. What cannot be used is named.
    pub(in crate::agent) fn restore(
        &mut self,
        kept: Vec<KeptFamily>,
        catalog: &mut Catalog,
    ) -> Vec<String> {
        let mut unusable = Vec::new();
        for KeptFamily { name, help, unit, series } in kept {
            for KeptSeries { labels, value } in series {
                let labels = labels.iter().map(|(label, value)| (&**label, &**value)).collect();
                let (kind, shape) = match &value {
                    KeptValue::Count(_) => (Kind::Counter, None),
                    KeptValue::Sum(_) => (Kind::FractionCounter, None),
                    KeptValue::Histogram(kept) => {
                        (Kind::Histogram, Some(Shape::clone(&kept.shape)))
                    }
                };
                let (name, help, unit) = (&*name, &*help, &*unit);
                let declared = Declared { name, kind, labels, help, unit, shape };
                if let Err(what) = self.restore_series(&declared, value, catalog) {
                    unusable.push(format!("a series of {name:?}: {what}"));
                }
            }
        }
        unusable
    }

    fn restore_series(
        &mut self,
        declared: &Declared<'_>,
        value: KeptValue,
        catalog: &mut Catalog,
    ) -> Result<(), &'static str> {
        let family = match catalog.find(declared).map_err(|fault| fault.word())? {
            Some(family) => family,
            None => catalog.add(declared, usize::MAX).map_err(|fault| fault.word())?,
        };
        let labels = sorted(declared);
        if self.find(family, &labels).is_some() {
            return Err("stands there twice");
        }
        let value = match value {
            KeptValue::Count(retired) => Value::Count { retired, current: retired },
            KeptValue::Sum(retired) if retired.is_sound() => Value::Sum(Sum::of(retired)),
            KeptValue::Histogram(mut retired) if retired.is_sound() => {
                retired.shape = catalog.share(&retired.shape);
                Value::Histogram(Box::new(Buckets::of(retired)))
            }
            _ => return Err("its value cannot be"),
        };
        self.push(family, &labels, value, catalog);
        Ok(())
    }
}
