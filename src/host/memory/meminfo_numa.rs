//! `meminfo_numa`: memory of each node of a NUMA machine, of `/sys/devices/system/node/node*`
//! (Documentation/ABI/stable/sysfs-devices-node).
//!
//! Must not know how the nodes are laid out.

use super::meminfo;
use crate::host::class::Class;
use crate::host::gathered::Gathered;
use crate::host::parse::{lines, number, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass, if_there};
use crate::metric::{Family, Labels};
use std::sync::Arc;

const NODE: &[&str] = &["node"];
const FAMILIES: [Family; 2] = [
    Family::gauge("node_memory_numa_*", NODE, "The field of that name of the node's meminfo."),
    Family::counter(
        "node_memory_numa_*_total",
        NODE,
        "The field of that name of the node's numastat.",
    ),
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "meminfo_numa", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let nodes = Class::new(root.sysfs.join("devices/system/node"), &[]);
        Box::new(MemInfoNuma { nodes, gathered: Gathered::default() })
    }))
}

struct MemInfoNuma {
    nodes: Class<Node>,
    gathered: Gathered,
}

struct Node {
    number: String,
    meminfo: KernelFile,
    numastat: KernelFile,
}

impl Collector for MemInfoNuma {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let found = self.nodes.update(|name, path| {
            let number = name.strip_prefix("node")?;
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let file = |name: &str| KernelFile::new(path.join(name)).single();
            let node = || Node {
                number: number.to_owned(),
                meminfo: file("meminfo"),
                numastat: file("numastat"),
            };
            is_number.then(|| (Labels::default(), node()))
        });
        if if_there(found)?.is_none() {
            return Ok(());
        }
        self.gathered.clear();
        for node in self.nodes.devices_mut() {
            let Node { number, meminfo, numastat } = &mut node.own;
            let text = meminfo.read(pass.buffer)?;
            gather_meminfo(number, text, &mut self.gathered)?;
            let text = numastat.read(pass.buffer)?;
            gather_numastat(number, text, &mut self.gathered)?;
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

/// `Node 0 MemFree: 53030372 kB`
fn gather_meminfo(node: &str, text: &[u8], gathered: &mut Gathered) -> Result<(), Error> {
    for line in lines(text) {
        let rest =
            crate::host::parse::split_after(line, 2).map(|(_, rest)| rest.trim_ascii_start());
        let field = meminfo::parse(rest.unwrap_or_default())?;
        // `Active(anon)` is `Active_anon`.
        let name: Vec<_> = field
            .name
            .iter()
            .filter(|byte| **byte != b')')
            .map(|byte| if *byte == b'(' { b'_' } else { *byte })
            .collect();
        gathered.add_named(0, &name, &[("node", node)], field.value);
    }
    Ok(())
}

/// `numa_hit 193460335812`
fn gather_numastat(node: &str, text: &[u8], gathered: &mut Gathered) -> Result<(), Error> {
    for line in lines(text) {
        let mut words = words(line);
        let (name, count) = (words.next().unwrap_or_default(), words.next().and_then(number));
        let count = count.ok_or_else(|| {
            let what = "wanted a name and a number";
            Error::Parse(format!("node{node}/numastat: {what}, found {}", quoted(line)))
        })?;
        gathered.add_named(1, name, &[("node", node)], count);
    }
    Ok(())
}
