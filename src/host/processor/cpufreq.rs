//! `cpufreq`: how fast the cpus are clocked, and who decides it, of
//! `/sys/devices/system/cpu/cpu*/cpufreq` (Documentation/admin-guide/pm/cpufreq.rst).
//!
//! Must not know about cpus that the kernel does not clock, or that are off.

use super::{FREQUENCY, cpus};
use crate::host::class::{Attribute, Class, Text};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Batch, Family, Labels};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const CPU: &[&str] = &["cpu"];
/// The kernel says kHz.
const KILOHERTZ: f64 = 1e3;

const fn hertz(file: &'static str, name: &'static str, help: &'static str) -> Attribute {
    Attribute { file, family: Family::gauge(name, CPU, help), scale: KILOHERTZ }
}

static ATTRIBUTES: [Attribute; 7] = [
    Attribute { file: "cpufreq/cpuinfo_cur_freq", family: FREQUENCY, scale: KILOHERTZ },
    hertz(
        "cpufreq/cpuinfo_avg_freq",
        "node_cpu_frequency_avg_hertz",
        "The clock rate that the cpu had on average of late.",
    ),
    hertz(
        "cpufreq/cpuinfo_max_freq",
        "node_cpu_frequency_max_hertz",
        "The highest clock rate that the cpu can have.",
    ),
    hertz(
        "cpufreq/cpuinfo_min_freq",
        "node_cpu_frequency_min_hertz",
        "The lowest clock rate that the cpu can have.",
    ),
    hertz(
        "cpufreq/scaling_cur_freq",
        "node_cpu_scaling_frequency_hertz",
        "The clock rate that the kernel has asked for.",
    ),
    hertz(
        "cpufreq/scaling_max_freq",
        "node_cpu_scaling_frequency_max_hertz",
        "The highest clock rate that the kernel may ask for.",
    ),
    hertz(
        "cpufreq/scaling_min_freq",
        "node_cpu_scaling_frequency_min_hertz",
        "The lowest clock rate that the kernel may ask for.",
    ),
];
const GOVERNOR: Family = Family::gauge(
    "node_cpu_scaling_governor",
    &["cpu", "governor"],
    "The governors that there are: 1 for the one that sets the clock rate.",
);
const FAMILIES: [Family; 8] = {
    let [a, b, c, d, e, f, g] = &ATTRIBUTES;
    [a.family, b.family, c.family, d.family, e.family, f.family, g.family, GOVERNOR]
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "cpufreq", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let folder = root.sysfs.join("devices/system/cpu");
        let offline = KernelFile::new(folder.join("offline")).single();
        Box::new(CpuFreq { cpus: Class::new(folder, &ATTRIBUTES), offline })
    }))
}

struct CpuFreq {
    cpus: Class<Governors>,
    /// The list of those that are off: what their files say is what the cpus they share a clock with do.
    offline: KernelFile,
}

/// The governors of a cpu.
struct Governors {
    cpu: String,
    now: Text,
    available: Text,
    /// What `names` was made of.
    listed: String,
    names: BTreeSet<String>,
}

impl Collector for CpuFreq {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let offline = cpus::list(self.offline.read_if_there(pass.buffer).unwrap_or_default());
        let is_on = |name: &str| number(name).is_some_and(|cpu| !is_in(&offline, cpu));
        self.cpus.update_some(is_on, cpu)?;
        self.cpus.read(pass.buffer);
        let is_known = pass.batch.has(FREQUENCY.name);
        self.cpus.emit_some(|family| !is_known || family.name != FREQUENCY.name, pass.batch);
        pass.batch.begin(&GOVERNOR);
        for cpu in self.cpus.devices_mut() {
            cpu.own.emit(pass.buffer, pass.batch);
        }
        Ok(())
    }
}

/// `cpu7`, if it has a clock.
fn cpu(name: &str, path: &Path) -> Option<(Labels, Governors)> {
    let number = number(name)?;
    let folder = path.join("cpufreq");
    folder.is_dir().then(|| {
        let governors = Governors {
            cpu: number.to_owned(),
            now: Text::new(folder.join("scaling_governor")),
            available: Text::new(folder.join("scaling_available_governors")),
            listed: String::new(),
            names: BTreeSet::new(),
        };
        (Labels::new(&[("cpu", number)]), governors)
    })
}

/// The number of `cpu7`.
fn number(name: &str) -> Option<&str> {
    let number = name.strip_prefix("cpu")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(number)
}

fn is_in(cpus: &[u16], number: &str) -> bool {
    number.parse().is_ok_and(|cpu| cpus.contains(&cpu))
}

impl Governors {
    fn emit(&mut self, buffer: &mut Vec<u8>, batch: &mut Batch) {
        let now = self.now.read(buffer);
        if now.is_empty() {
            return;
        }
        let listed = self.available.read(buffer);
        if listed != self.listed {
            listed.clone_into(&mut self.listed);
            self.names = listed.split_whitespace().map(str::to_owned).collect();
        }
        for name in &self.names {
            let is_now = f64::from(u8::from(name == now));
            batch.sample(&[("cpu", &self.cpu), ("governor", name)], is_now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_cpus_with_a_clock() {
        let top = std::env::temp_dir().join(format!("musterd-cpufreq-{}", std::process::id()));
        for name in ["cpu0/cpufreq", "cpu1", "cpufreq", "cpuidle/cpufreq"] {
            std::fs::create_dir_all(top.join(name)).unwrap();
        }
        let shown = ["cpu0", "cpu1", "cpufreq", "cpuidle"]
            .map(|name| cpu(name, &top.join(name)).map(|(labels, _)| labels));
        std::fs::remove_dir_all(&top).unwrap();
        assert_eq!(shown, [Some(Labels::new(&[("cpu", "0")])), None, None, None]);
    }

    #[test]
    fn what_is_known_of_the_clock_rate_is_left_out() {
        let top =
            std::env::temp_dir().join(format!("musterd-cpufreq-known-{}", std::process::id()));
        std::fs::create_dir_all(top.join("cpu0/cpufreq")).unwrap();
        for file in ["cpuinfo_cur_freq", "cpuinfo_max_freq"] {
            std::fs::write(top.join("cpu0/cpufreq").join(file), "2400000\n").unwrap();
        }
        let offline = KernelFile::new(top.join("offline"));
        let mut collector = CpuFreq { cpus: Class::new(top.clone(), &ATTRIBUTES), offline };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(9);
        for (is_known, series) in [(false, 2), (true, 1)] {
            let (mut batch, buffer) = (Batch::new(), &mut Vec::new());
            let before = if is_known {
                batch.begin(&FREQUENCY);
                batch.sample(&[("cpu", "0")], 1.0);
                batch.len()
            } else {
                0
            };
            collector.collect(&mut Pass { batch: &mut batch, buffer, deadline }).unwrap();
            assert_eq!(batch.len() - before, series);
        }
        std::fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn cpus_come_and_go_with_the_list_of_those_that_are_off() {
        let top = std::env::temp_dir().join(format!("musterd-cpufreq-off-{}", std::process::id()));
        for cpu in ["cpu0", "cpu3"] {
            std::fs::create_dir_all(top.join(cpu).join("cpufreq")).unwrap();
        }
        let offline = KernelFile::new(top.join("offline"));
        let mut collector = CpuFreq { cpus: Class::new(top.clone(), &ATTRIBUTES), offline };
        let mut pass = |offline: &str| -> Vec<String> {
            std::fs::write(top.join("offline"), offline).unwrap();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(9);
            let (batch, buffer) = (&mut Batch::new(), &mut Vec::new());
            collector.collect(&mut Pass { batch, buffer, deadline }).unwrap();
            collector.cpus.devices().map(|cpu| cpu.own.cpu.clone()).collect()
        };
        assert_eq!(pass("\n"), ["0", "3"]);
        assert_eq!(pass("2-4\n"), ["0"]);
        assert_eq!(pass(""), ["0", "3"]);
        std::fs::remove_dir_all(&top).unwrap();
    }
}
