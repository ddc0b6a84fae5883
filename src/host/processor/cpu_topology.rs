//! For the collector `cpu`: throttling of cores and packages, and isolated cpus, of
//! `/sys/devices/system/cpu` (Documentation/ABI/testing/sysfs-devices-system-cpu).
//!
//! Must not know what cpus spend their time on.

use super::cpus;
use crate::host::parse::{integer, number};
use crate::host::root::{KernelFile, Root, read_once};
use crate::host::{Error, Pass};
use crate::metric::{Family, Labels};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) const CORE_THROTTLES: Family = Family::counter(
    "node_cpu_core_throttles_total",
    &["package", "core"],
    "How often a core was slowed down because of its heat.",
);
pub(super) const PACKAGE_THROTTLES: Family = Family::counter(
    "node_cpu_package_throttles_total",
    &["package"],
    "How often a package was slowed down because of its heat.",
);
pub(super) const ISOLATED: Family = Family::gauge(
    "node_cpu_isolated",
    &["cpu"],
    "A cpu that is kept free of the scheduler's choice. Always 1.",
);

/// What is known of the cpus: looked for at the first pass, and when cpus come or go.
pub(super) struct Topology {
    folder: PathBuf,
    cores: Vec<(Labels, KernelFile)>,
    packages: Vec<(Labels, KernelFile)>,
    isolated: Vec<Labels>,
}

impl Topology {
    pub(super) fn new(root: &Root) -> Self {
        let folder = root.sysfs.join("devices/system/cpu");
        Self { folder, cores: Vec::new(), packages: Vec::new(), isolated: Vec::new() }
    }

    /// Looks for counters and isolated cpus. The cpus of a core share its counter, and those of a
    /// package the package's, but where they are counted for each cpu: the one whose folder comes first as
    /// text is taken (`cpu10` before `cpu2`), as node_exporter does.
    pub(super) fn discover(&mut self) {
        let (mut cores, mut packages) = (BTreeMap::new(), BTreeMap::new());
        let mut folders: Vec<_> =
            cpus::folders(&self.folder).into_iter().map(|(_, path)| path).collect();
        folders.sort();
        for cpu in folders {
            let identity = |file| integer(&read_once(&cpu.join("topology").join(file)).ok()?);
            let Some(package) = identity("physical_package_id") else { continue };
            let Some(core) = identity("core_id") else { continue };
            let counter = |file| {
                let path = cpu.join("thermal_throttle").join(file);
                path.exists().then(|| KernelFile::new(path).single())
            };
            if let Some(file) = counter("core_throttle_count") {
                cores.entry((package, core)).or_insert(file);
            }
            if let Some(file) = counter("package_throttle_count") {
                packages.entry(package).or_insert(file);
            }
        }
        let core_labels = |((package, core), file): ((u64, u64), _)| {
            let pairs = [("package", &*package.to_string()), ("core", &*core.to_string())];
            (Labels::new(&pairs), file)
        };
        let package_labels =
            |(package, file): (u64, _)| (Labels::new(&[("package", &package.to_string())]), file);
        self.cores = cores.into_iter().map(core_labels).collect();
        self.packages = packages.into_iter().map(package_labels).collect();
        self.isolated = read_once(&self.folder.join("isolated"))
            .map(|text| cpus::list(&text))
            .unwrap_or_default()
            .into_iter()
            .map(|cpu| Labels::new(&[("cpu", &cpu.to_string())]))
            .collect();
    }

    pub(super) fn emit(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        pass.batch.begin(&ISOLATED);
        for labels in &self.isolated {
            pass.batch.sample_with(labels, 1.0);
        }
        for (family, counters) in
            [(&PACKAGE_THROTTLES, &mut self.packages), (&CORE_THROTTLES, &mut self.cores)]
        {
            pass.batch.begin(family);
            for (labels, file) in counters {
                // A cpu may go at any moment, and its files with it.
                let text = file.read_if_there(pass.buffer);
                if let Some(count) = text.and_then(|text| number(text.trim_ascii())) {
                    pass.batch.sample_with(labels, count);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_cpus_of_a_core_the_first_as_text_is_read() {
        let top = std::env::temp_dir().join(format!("musterd-topology-{}", std::process::id()));
        for cpu in ["cpu2", "cpu10"] {
            let folder = top.join("devices/system/cpu").join(cpu);
            for (file, text) in [
                ("topology/physical_package_id", "0"),
                ("topology/core_id", "2"),
                ("thermal_throttle/core_throttle_count", "5"),
                ("thermal_throttle/package_throttle_count", "5"),
            ] {
                let path = folder.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
        }
        let root = Root {
            procfs: top.join("proc"),
            sysfs: top.clone(),
            rootfs: top.clone(),
            udev_data: top.join("udev"),
        };
        let mut topology = Topology::new(&root);
        topology.discover();
        for counters in [&topology.cores, &topology.packages] {
            let paths: Vec<_> = counters.iter().map(|(_, file)| file.path()).collect();
            assert_eq!(paths.len(), 1);
            assert!(paths[0].starts_with(top.join("devices/system/cpu/cpu10")), "{paths:?}");
        }
        std::fs::remove_dir_all(&top).unwrap();
    }
}
