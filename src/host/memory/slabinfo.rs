//! `slabinfo`: the caches of the kernel's allocator, of `/proc/slabinfo` (slabinfo(5)), which only root may read.
//!
//! Must not know what is in them.

use crate::host::gathered::Gathered;
use crate::host::parse::{lines, number, quoted, words};
use crate::host::pattern::{Filter, Pattern};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::Family;
use std::sync::Arc;

const SLAB: &[&str] = &["slab"];
/// In the order of the columns.
const FAMILIES: [Family; 5] = [
    Family::gauge("node_slabinfo_active_objects", SLAB, "Objects in use."),
    Family::gauge("node_slabinfo_objects", SLAB, "Objects allocated, in use or not."),
    Family::gauge("node_slabinfo_object_size_bytes", SLAB, "Size of an object."),
    Family::gauge("node_slabinfo_objects_per_slab", SLAB, "Objects in a slab."),
    Family::gauge("node_slabinfo_pages_per_slab", SLAB, "Pages that a slab takes."),
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "slabinfo", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    slabs_include: Pattern,
    slabs_exclude: Pattern,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { slabs_include, slabs_exclude } = serde::Deserialize::deserialize(options)?;
    let filter = Filter { include: slabs_include, exclude: slabs_exclude };
    Ok(Arc::new(move |root: &Arc<Root>| {
        Box::new(Slabinfo {
            file: root.proc("slabinfo"),
            filter: filter.clone(),
            gathered: Gathered::default(),
        })
    }))
}

struct Slabinfo {
    file: KernelFile,
    filter: Filter,
    gathered: Gathered,
}

impl Collector for Slabinfo {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        let text = self.file.read(pass.buffer)?;
        for line in lines(text).filter(|line| !line.starts_with(b"#")) {
            let mut words = words(line);
            let name = String::from_utf8_lossy(words.next().unwrap_or_default());
            // The first line of all is the file's version.
            if line.starts_with(b"slabinfo - version") || !self.filter.wants(&name) {
                continue;
            }
            for place in 0..FAMILIES.len() {
                let value = words.next().and_then(number).ok_or_else(|| {
                    let what = "wanted a name and five numbers";
                    Error::Parse(format!("slabinfo: {what}, found {}", quoted(line)))
                })?;
                self.gathered.add(place, &[("slab", &name)], value);
            }
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}
