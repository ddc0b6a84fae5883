//! Collectors of what the processors do, and of what they are.

mod cpu;
mod cpu_info;
mod cpu_topology;
mod cpufreq;
mod schedstat;

use super::Entry;
use crate::metric::Family;

/// The collectors of this folder. What the driver says of the clock rate goes before what
/// /proc/cpuinfo says.
pub(super) const COLLECTORS: &[Entry] = &[cpufreq::ENTRY, cpu::ENTRY, schedstat::ENTRY];

/// Two collectors know it; the second one to come leaves it out.
const FREQUENCY: Family = Family::gauge(
    "node_cpu_frequency_hertz",
    &["package", "core", "cpu"],
    "Clock rate of the cpu: as its driver has it, else as /proc/cpuinfo has it, with package and core.",
);
