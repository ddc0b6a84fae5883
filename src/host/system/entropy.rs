//! `entropy`: the kernel's pool of random numbers, of `/proc/sys/kernel/random` (random(4)).
//!
//! Must not know anything else.

use crate::host::parse::{integer, quoted};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const FAMILIES: [Family; 2] = [
    Family::gauge("node_entropy_available_bits", &[], "Bits of entropy in the pool."),
    Family::gauge("node_entropy_pool_size_bits", &[], "Bits that the pool can hold."),
];
const FILES: [&str; 2] = ["entropy_avail", "poolsize"];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "entropy", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let file = |name: &str| root.proc("sys/kernel/random").path().join(name);
        Box::new(Entropy { files: FILES.map(|name| KernelFile::new(file(name)).single()) })
    }))
}

struct Entropy {
    files: [KernelFile; 2],
}

impl Collector for Entropy {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        for (family, file) in FAMILIES.iter().zip(&mut self.files) {
            let text = file.read(pass.buffer)?.trim_ascii();
            let bits = integer(text).ok_or_else(|| {
                Error::Parse(format!("kernel/random: wanted a number, found {}", quoted(text)))
            })?;
            pass.batch.value(family, bits as f64);
        }
        Ok(())
    }
}
