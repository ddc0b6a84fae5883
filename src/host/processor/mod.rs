//! Collectors of what the processors do, and of what they are.

mod cpu;
mod cpu_info;
mod cpu_topology;
mod cpufreq;
mod schedstat;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] = &[cpu::ENTRY, cpufreq::ENTRY, schedstat::ENTRY];
