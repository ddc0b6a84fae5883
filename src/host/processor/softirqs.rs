//! `softirqs`: software interrupts by kind and cpu, of `/proc/softirqs` (proc(5)).
//!
//! Must not know what they are for.

use super::cpu_numbers;
use crate::host::gathered::Gathered;
use crate::host::parse::{lines, number, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const FAMILIES: [Family; 1] = [Family::counter(
    "node_softirqs_functions_total",
    &["cpu", "type"],
    "Software interrupts handled.",
)];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "softirqs", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Softirqs { file: root.proc("softirqs").single(), gathered: Gathered::default() })
    }))
}

struct Softirqs {
    file: KernelFile,
    gathered: Gathered,
}

impl Collector for Softirqs {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        let text = self.file.read(pass.buffer)?;
        let mut lines = lines(text);
        let cpus: Vec<_> = lines.next().map(|line| cpu_numbers(line).collect()).unwrap_or_default();
        for line in lines {
            let mut words = words(line);
            let Some(kind) = words.next().and_then(|word| word.strip_suffix(b":")) else {
                continue;
            };
            let kind = String::from_utf8_lossy(kind);
            for (cpu, word) in cpus.iter().zip(words) {
                let count = number(word).ok_or_else(|| {
                    Error::Parse(format!("softirqs: wanted numbers, found {}", quoted(line)))
                })?;
                self.gathered.add(0, &[("cpu", cpu), ("type", &kind)], count);
            }
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}
