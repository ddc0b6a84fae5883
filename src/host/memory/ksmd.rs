//! `ksmd`: pages that are merged because they are the same, of `/sys/kernel/mm/ksm`
//! (Documentation/admin-guide/mm/ksm.rst).
//!
//! Must not know whose pages they are.

use crate::host::class::{Attribute, Class};
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::sync::Arc;

#[rustfmt::skip] // a table
static ATTRIBUTES: [Attribute; 10] = [
    Attribute { file: "full_scans", family: Family::counter("node_ksmd_full_scans_total", &[], "Times all of the areas were gone through."), scale: 1.0 },
    Attribute { file: "general_profit", family: Family::gauge("node_ksmd_general_profit_bytes", &[], "Memory saved, less what keeping the books takes."), scale: 1.0 },
    Attribute { file: "merge_across_nodes", family: Family::gauge("node_ksmd_merge_across_nodes", &[], "Whether pages of different nodes are merged."), scale: 1.0 },
    Attribute { file: "pages_shared", family: Family::gauge("node_ksmd_pages_shared", &[], "Shared pages in use."), scale: 1.0 },
    Attribute { file: "pages_sharing", family: Family::gauge("node_ksmd_pages_sharing", &[], "Places that share them beyond the first: how much is saved."), scale: 1.0 },
    Attribute { file: "pages_to_scan", family: Family::gauge("node_ksmd_pages_to_scan", &[], "Pages looked at before a rest."), scale: 1.0 },
    Attribute { file: "pages_unshared", family: Family::gauge("node_ksmd_pages_unshared", &[], "Pages that are looked at and are like no other."), scale: 1.0 },
    Attribute { file: "pages_volatile", family: Family::gauge("node_ksmd_pages_volatile", &[], "Pages that change too fast."), scale: 1.0 },
    Attribute { file: "run", family: Family::gauge("node_ksmd_run", &[], "Whether it runs: 0 no, 1 yes, 2 no, and pages are unmerged."), scale: 1.0 },
    Attribute { file: "sleep_millisecs", family: Family::gauge("node_ksmd_sleep_seconds", &[], "How long a rest is."), scale: 1e-3 },
];
static FAMILIES: [Family; 10] = {
    let [a, b, c, d, e, f, g, h, i, j] = &ATTRIBUTES;
    [
        a.family, b.family, c.family, d.family, e.family, f.family, g.family, h.family, i.family,
        j.family,
    ]
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "ksmd", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Ksmd { folder: Class::new(root.sysfs.join("kernel/mm"), &ATTRIBUTES) })
    }))
}

struct Ksmd {
    /// With the one device `ksm`.
    folder: Class<()>,
}

impl Collector for Ksmd {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.folder.update(|name, _| (name == "ksm").then(|| (Labels::default(), ())))?;
        if self.folder.devices().next().is_none() {
            return Err(Error::NoData("/sys/kernel/mm/ksm does not exist".to_owned()));
        }
        self.folder.emit(pass.buffer, pass.batch);
        Ok(())
    }
}
