//! What the tests of the host's collectors share: a pass over a tree of fixtures.
#![allow(dead_code)] // each test binary uses its part
#![allow(clippy::panic, clippy::unwrap_used)] // a test fails by panicking

use musterd::exposition::{Format, encode};
use musterd::host::root::Root;
use musterd::host::{Collector, Pass, Plan, plan};
use musterd::metric::Batch;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The shipped configuration.
pub(crate) const DEFAULTS: &str = include_str!("../../config/musterd.toml");

/// The collectors of a configuration's `[host.collectors]`.
pub(crate) fn plans(config: &str) -> Vec<Plan> {
    let mut table = DeTable::parse(config).unwrap().into_inner();
    for name in ["host", "collectors"] {
        match table.remove(name).unwrap().into_inner() {
            DeValue::Table(inner) => table = inner,
            other => panic!("{name} is no table: {other:?}"),
        }
    }
    plan(Spanned::new(0..config.len(), table)).unwrap()
}

/// The defaults with some of their lines replaced.
pub(crate) fn changed(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(DEFAULTS.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "no `{from}` in the defaults");
        text.replace(from, to)
    })
}

/// Roots below a folder of fixtures.
pub(crate) fn roots(folder: &Path, udev_data: &str) -> Arc<Root> {
    Arc::new(Root {
        procfs: folder.join("proc"),
        sysfs: folder.join("sys"),
        rootfs: folder.to_owned(),
        udev_data: folder.join(udev_data),
    })
}

/// Collectors, and what they need at each pass.
pub(crate) struct Host {
    collectors: Vec<(&'static str, Box<dyn Collector>)>,
    batch: Batch,
    buffer: Vec<u8>,
}

impl Host {
    /// The collectors of a configuration, but for those named.
    pub(crate) fn new(root: &Arc<Root>, config: &str, without: &[&str]) -> Self {
        let plans = plans(config).into_iter().filter(|plan| !without.contains(&plan.name));
        let collectors = plans.map(|plan| (plan.name, (plan.builder)(root))).collect();
        Self { collectors, batch: Batch::new(), buffer: Vec::new() }
    }

    /// One pass. Every collector must succeed.
    pub(crate) fn pass(&mut self, format: Format) -> String {
        self.batch.clear();
        for (name, collector) in &mut self.collectors {
            let deadline = Instant::now() + Duration::from_secs(5);
            let (batch, buffer) = (&mut self.batch, &mut self.buffer);
            if let Err(error) = collector.collect(&mut Pass { batch, buffer, deadline }) {
                panic!("{name}: {error}");
            }
        }
        let mut out = Vec::new();
        encode(&self.batch, format, &mut out);
        String::from_utf8(out).unwrap()
    }
}
