//! Collectors of what the processors do, and of what they are.

mod cpu;
mod cpu_info;
mod cpu_online;
mod cpu_topology;
mod cpu_vulnerabilities;
mod cpufreq;
mod cpus;
mod interrupts;
mod schedstat;
mod softirqs;

use super::Entry;
use super::parse::words;
use crate::metric::Family;

/// The collectors of this folder. What /proc/cpuinfo says of the clock rate, for those who want that, goes before
/// what the driver says, as in node_exporter.
pub(super) const COLLECTORS: &[Entry] = &[
    cpu::ENTRY,
    cpufreq::ENTRY,
    cpu_vulnerabilities::ENTRY,
    interrupts::ENTRY,
    schedstat::ENTRY,
    softirqs::ENTRY,
];

/// Two collectors know it; the second one to come leaves it out.
const FREQUENCY: Family = Family::gauge(
    "node_cpu_frequency_hertz",
    &["package", "core", "cpu"],
    "Clock rate of the cpu: as /proc/cpuinfo has it, with package and core (info = true), else as its driver has it.",
);

/// The numbers in a line of headings that names each cpu there is: `CPU0 CPU2`.
fn cpu_numbers(line: &[u8]) -> impl Iterator<Item = String> {
    let numbers = words(line).filter_map(|word| word.strip_prefix(b"CPU"));
    numbers.map(|number| String::from_utf8_lossy(number).into_owned())
}
