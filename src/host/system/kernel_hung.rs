//! `kernel_hung`: tasks that the kernel has found hanging, of
//! `/proc/sys/kernel/hung_task_detect_count` (Documentation/admin-guide/sysctl/kernel.rst; kernel
//! 6.13 and later).
//!
//! Must not know which tasks they were.

use crate::host::parse::{integer, quoted};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const HUNG: Family = Family::counter(
    "node_kernel_hung_tasks_total",
    &[],
    "Tasks that hung for longer than the kernel's limit, since boot.",
);

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "kernel_hung", families: &[HUNG], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(KernelHung { file: root.proc("sys/kernel/hung_task_detect_count").single() })
    }))
}

struct KernelHung {
    file: KernelFile,
}

impl Collector for KernelHung {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let text = self.file.read(pass.buffer)?.trim_ascii();
        let count = integer(text).ok_or_else(|| {
            Error::Parse(format!("hung_task_detect_count: wanted a number, found {}", quoted(text)))
        })?;
        pass.batch.value(&HUNG, count as f64);
        Ok(())
    }
}
