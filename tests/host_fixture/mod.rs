//! What the tests of the host's collectors share: passes over a tree of fixtures.
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
const DEFAULTS: &str = include_str!("../../config/musterd.toml");

/// Collectors that ask the running kernel or a service, not files: no fixture stands in for them.
pub(crate) const LIVE: [&str; 9] = [
    "ethtool",
    "filesystem",
    "logind",
    "network_route",
    "peaks",
    "selinux",
    "systemd",
    "tcpstat",
    "uname",
];

/// The collectors of the shipped configuration, with the options in `changes` (a table for each
/// collector that has other options than the defaults) in place of theirs.
pub(crate) fn plans(changes: &str) -> Vec<Plan> {
    let mut collectors = DeTable::parse(DEFAULTS).unwrap().into_inner();
    for name in ["host", "collectors"] {
        collectors = table(collectors.remove(name).unwrap());
    }
    for (name, options) in DeTable::parse(changes).unwrap().into_inner() {
        let known = collectors.get_mut(name.get_ref().as_ref());
        let known = known.unwrap_or_else(|| panic!("no collector {}", name.get_ref()));
        let DeValue::Table(known) = known.get_mut() else { panic!("no table") };
        for (key, value) in table(options) {
            known.insert(key, value);
        }
    }
    plan(Spanned::new(0..DEFAULTS.len(), collectors)).unwrap()
}

fn table(value: Spanned<DeValue<'_>>) -> DeTable<'_> {
    match value.into_inner() {
        DeValue::Table(table) => table,
        other => panic!("no table: {other:?}"),
    }
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
    /// The collectors of some plans, enabled or not.
    pub(crate) fn new<'p>(root: &Arc<Root>, plans: impl IntoIterator<Item = &'p Plan>) -> Self {
        let plans = plans.into_iter();
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
