//! For tests: writes ledgers by the page `docs/ledger.md`, without the client crate's writer.

#[path = "../../tests/records/mod.rs"]
mod records;

use super::catalog::Catalog;
use super::ledger::{Books, Ledger};
use super::series::{Limits, SeriesTable};
use super::totals::Totals;
use musterd_client::layout::{Kind, SLOTS, Shape, header, journal_pair, names};
use musterd_client::memory::Memory;
pub(super) use records::record as described;
use std::os::fd::AsFd;

/// The daemon's side of one agent's ledgers.
pub(super) struct Desk {
    pub(super) totals: Totals,
    pub(super) retired: Totals,
    pub(super) series: SeriesTable,
    pub(super) catalog: Catalog,
    pub(super) limits: Limits,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            totals: Totals::default(),
            retired: Totals::default(),
            series: SeriesTable::new("a"),
            catalog: Catalog::default(),
            limits: Limits { series: 50, total_series: 1000, label_length: 64, families: 20 },
        }
    }

    /// Adds up, as the registry does.
    pub(super) fn read(&mut self, ledgers: &mut [&mut Ledger]) {
        let mut is_stale = false;
        for ledger in &mut *ledgers {
            let Self { totals, series, catalog, limits, .. } = self;
            is_stale |= ledger.read(&mut Books { totals, series, catalog, limits }).series;
        }
        if is_stale {
            self.add_up_series(ledgers);
        }
        if let Some(durations) = &mut self.totals.durations {
            let retired = self.retired.durations.as_ref().map(|retired| retired.sum);
            durations.sum = retired.unwrap_or_default();
            ledgers.iter().for_each(|ledger| durations.sum.add(ledger.duration_sum()));
        }
    }

    fn add_up_series(&mut self, ledgers: &[&mut Ledger]) {
        self.series.begin_sums();
        for ledger in ledgers {
            ledger.add_sums(&mut self.series);
        }
        self.series.end_sums();
    }

    pub(super) fn retire(&mut self, ledger: Ledger) -> super::faults::Faults {
        let Self { totals, retired, series, catalog, limits } = self;
        let faults = ledger.retire(&mut Books { totals, series, catalog, limits }, retired);
        self.series.drop_gauges(&mut self.catalog);
        self.add_up_series(&[]);
        faults
    }

    /// Its series, as a scrape has them.
    pub(super) fn shown(&self) -> String {
        let mut batch = crate::metric::Batch::new();
        let group = self.catalog.begin(&mut batch);
        self.series.fill(&mut batch, group);
        let mut text = Vec::new();
        crate::exposition::encode(&batch, crate::exposition::Format::OpenMetrics, &mut text);
        String::from_utf8(text).unwrap()
    }
}

/// An agent's side of a ledger.
pub(super) struct Pen(pub(super) Memory);

impl Pen {
    pub(super) fn on(file: impl AsFd) -> Self {
        Self(Memory::map(file, 1 << 20).unwrap())
    }

    /// Publishes a record; where its values begin.
    pub(super) fn append(&self, record: &(Vec<u8>, usize)) -> usize {
        let start = usize::try_from(self.0.load(header::RECORDS_END)).unwrap();
        for (index, word) in record.0.chunks_exact(8).enumerate() {
            self.0.store(start + 8 * index, u64::from_le_bytes(word.try_into().unwrap()));
        }
        self.0.publish(header::RECORDS_END, (start + record.0.len()) as u64);
        start + record.1
    }

    pub(super) fn requests(&self, status: &str, count: u64) -> usize {
        let values = self.append(&counter(names::REQUESTS, &[("status", status)]));
        self.0.store(values, count);
        values
    }

    pub(super) fn begin(&self, slot: usize, at: u64) {
        self.0.store(SLOTS + 8 * slot, at);
    }

    /// Leaves an update in the journal, as an agent does that is killed half-way.
    pub(super) fn journal(&self, pairs: &[(usize, u64)]) {
        for (index, (offset, value)) in pairs.iter().enumerate() {
            self.0.store(journal_pair(index), *offset as u64);
            self.0.store(journal_pair(index) + 8, *value);
        }
        self.0.publish(header::JOURNAL_COUNT, pairs.len() as u64);
    }
}

pub(super) fn counter(name: &str, labels: &[(&str, &str)]) -> (Vec<u8>, usize) {
    record(Kind::Counter as u8, name, labels, None)
}

pub(super) fn gauge(name: &str, labels: &[(&str, &str)]) -> (Vec<u8>, usize) {
    record(Kind::Gauge as u8, name, labels, None)
}

pub(super) fn durations() -> (Vec<u8>, usize) {
    record(Kind::Histogram as u8, names::DURATION, &[], Some(&Shape::durations()))
}

pub(super) fn record(
    kind: u8,
    name: &str,
    labels: &[(&str, &str)],
    shape: Option<&Shape>,
) -> (Vec<u8>, usize) {
    described(kind, name, labels, shape, ["", ""])
}
