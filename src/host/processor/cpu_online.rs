//! For the collector `cpu`: which cpus are on, of `/sys/devices/system/cpu/cpu*/online`
//! (Documentation/ABI/testing/sysfs-devices-system-cpu).
//!
//! Must not know what cpus spend their time on.

use super::cpus;
use crate::host::Pass;
use crate::host::looked::Looked;
use crate::host::root::{KernelFile, Root};
use crate::metric::{Family, Labels};
use std::path::{Path, PathBuf};

pub(super) const ONLINE: Family = Family::gauge(
    "node_cpu_online",
    &["cpu"],
    "Whether a cpu is on. Of no cpu where the first one cannot be switched off.",
);

/// The cpus that can be switched on and off: also those that /proc/stat leaves out for being off.
pub(super) struct Online {
    folder: PathBuf,
    looked: Looked,
    cpus: Vec<(Labels, KernelFile)>,
}

impl Online {
    pub(super) fn new(root: &Root) -> Self {
        let folder = root.sysfs.join("devices/system/cpu");
        Self { folder, looked: Looked::default(), cpus: Vec::new() }
    }

    /// `has_changed`: cpus have come or gone since the last pass.
    pub(super) fn emit(&mut self, has_changed: bool, pass: &mut Pass<'_>) {
        if self.looked.is_due(has_changed) {
            self.cpus = discover(&self.folder);
        }
        pass.batch.begin(&ONLINE);
        for (labels, file) in &mut self.cpus {
            let text = file.read_if_there(pass.buffer).unwrap_or_default();
            let is_on = text.trim_ascii() == b"1";
            pass.batch.sample_with(labels, f64::from(u8::from(is_on)));
        }
    }
}

fn discover(folder: &Path) -> Vec<(Labels, KernelFile)> {
    if !folder.join("cpu0/online").exists() {
        return Vec::new();
    }
    let cpu = |(number, path): (u64, PathBuf)| {
        let file = KernelFile::new(path.join("online")).single();
        (Labels::new(&[("cpu", &number.to_string())]), file)
    };
    cpus::folders(folder).into_iter().map(cpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Batch;
    use std::time::{Duration, Instant};

    fn pass(online: &mut Online, has_changed: bool) -> String {
        let (mut batch, mut out) = (Batch::new(), Vec::new());
        let deadline = Instant::now() + Duration::from_secs(9);
        let mut pass = Pass { batch: &mut batch, buffer: &mut Vec::new(), deadline };
        online.emit(has_changed, &mut pass);
        crate::exposition::encode(&batch, crate::exposition::Format::Text, &mut out);
        let text = String::from_utf8(out).unwrap();
        let samples = text.lines().filter_map(|line| line.strip_prefix("node_cpu_online"));
        samples.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn cpus_of_sysfs_if_the_first_can_be_switched_off() {
        let top = std::env::temp_dir().join(format!("musterd-online-{}", std::process::id()));
        for cpu in ["cpu0", "cpu1", "cpu2", "cpu10", "cpuidle"] {
            std::fs::create_dir_all(top.join(cpu)).unwrap();
        }
        std::fs::write(top.join("cpu2/online"), "0\n").unwrap();
        std::fs::write(top.join("cpu10/online"), "1\n").unwrap();
        let mut online = Online { folder: top.clone(), looked: Looked::default(), cpus: vec![] };
        assert_eq!(pass(&mut online, true), "");
        std::fs::write(top.join("cpu0/online"), "1\n").unwrap();
        let shown = r#"{cpu="0"} 1 {cpu="1"} 0 {cpu="2"} 0 {cpu="10"} 1"#;
        assert_eq!(pass(&mut online, true), shown);
        std::fs::write(top.join("cpu2/online"), "1\n").unwrap();
        assert_eq!(pass(&mut online, false), shown.replace(r#""2"} 0"#, r#""2"} 1"#));
        std::fs::remove_dir_all(&top).unwrap();
    }
}
