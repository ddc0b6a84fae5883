//! `time`: the clock, its time zone and the kernel's clock sources.
//!
//! Must not know about the clock's synchronisation.

use super::zone::{Zone, zone_file};
use crate::host::parse::words;
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

const SECONDS: Family = Family::gauge("node_time_seconds", &[], "The time, in Unix time.");
const ZONE: Family = Family::gauge(
    "node_time_zone_offset_seconds",
    &["time_zone"],
    "How far local time is ahead of UTC.",
);
const AVAILABLE: Family = Family::gauge(
    "node_time_clocksource_available_info",
    &["device", "clocksource"],
    "A clock source that the kernel could use. Always 1.",
);
const CURRENT: Family = Family::gauge(
    "node_time_clocksource_current_info",
    &["device", "clocksource"],
    "The clock source that the kernel uses. Always 1.",
);

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "time", families: &[SECONDS, ZONE, AVAILABLE, CURRENT], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let zone = zone_file(root, std::env::var("TZ").ok().as_deref());
        Box::new(Time { zone: Zone::new(root.rootfs.clone(), zone), devices: devices(root) })
    }))
}

struct Time {
    zone: Zone,
    devices: Vec<Device>,
}

/// A clock source device: there is one, `clocksource0`.
struct Device {
    available: Source,
    current: Source,
}

/// A file of names, and their labels as rendered when the file last changed.
struct Source {
    number: String,
    file: KernelFile,
    text: Vec<u8>,
    labels: Vec<Labels>,
}

/// Devices are numbered by their place in the sorted folder, as other exporters do.
fn devices(root: &Root) -> Vec<Device> {
    let folder = root.sysfs.join("devices/system/clocksource");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.as_encoded_bytes().starts_with(b"clocksource"))
        .collect();
    names.sort();
    let source = |number: usize, name: &std::ffi::OsStr, file: &str| Source {
        number: number.to_string(),
        file: KernelFile::new(folder.join(name).join(file)).single(),
        text: Vec::new(),
        labels: Vec::new(),
    };
    let device = |(number, name): (usize, &std::ffi::OsString)| Device {
        available: source(number, name, "available_clocksource"),
        current: source(number, name, "current_clocksource"),
    };
    names.iter().enumerate().map(device).collect()
}

impl Source {
    fn labels(&mut self, buffer: &mut Vec<u8>) -> Result<&[Labels], Error> {
        let text = self.file.read(buffer)?;
        if text != self.text {
            self.text = text.to_vec();
            // A name that stood there twice would be a series twice.
            let names: BTreeSet<_> =
                words(self.text.trim_ascii()).map(String::from_utf8_lossy).collect();
            self.labels = names
                .iter()
                .map(|name| Labels::new(&[("device", &self.number), ("clocksource", name)]))
                .collect();
        }
        Ok(&self.labels)
    }
}

impl Collector for Time {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        pass.batch.value(&SECONDS, now.as_secs_f64());
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let local = self.zone.at(seconds);
        pass.batch.begin(&ZONE);
        pass.batch.sample(&[("time_zone", local.name)], f64::from(local.offset));
        pass.batch.begin(&AVAILABLE);
        for device in &mut self.devices {
            for labels in device.available.labels(pass.buffer)? {
                pass.batch.sample_with(labels, 1.0);
            }
        }
        pass.batch.begin(&CURRENT);
        for device in &mut self.devices {
            for labels in device.current.labels(pass.buffer)? {
                pass.batch.sample_with(labels, 1.0);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_sources_are_rendered_when_they_change() {
        let dir = std::env::temp_dir().join(format!("musterd-time-{}", std::process::id()));
        let folder = dir.join("devices/system/clocksource/clocksource3");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("available_clocksource"), b"a \xc3\x28b\n").unwrap();
        let root = Root {
            procfs: dir.clone(),
            sysfs: dir.clone(),
            rootfs: dir.clone(),
            udev_data: dir.clone(),
        };
        let mut devices = devices(&root);
        let mut buffer = Vec::new();
        let device = &mut devices[0];
        let shown = device.available.labels(&mut buffer).unwrap();
        assert_eq!(shown[0], Labels::new(&[("device", "0"), ("clocksource", "a")]));
        assert_eq!(shown.len(), 2);
        assert!(device.current.labels(&mut buffer).is_err());
        std::fs::write(folder.join("available_clocksource"), "").unwrap();
        assert!(device.available.labels(&mut buffer).unwrap().is_empty());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
