//! `tapestats`: tape drives, of `/sys/class/scsi_tape/st*/stats`
//! (Documentation/scsi/st.rst, "Statistics").
//!
//! Must not know what is on the tapes.

use crate::host::pattern::Pattern;
use crate::host::readings::{Found, Readings};
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Family, Labels};
use std::path::Path;
use std::sync::Arc;

const DEVICE: &[&str] = &["device"];
const FAMILIES: [Family; 10] = [
    Family::gauge("node_tape_io_now", DEVICE, "Operations under way."),
    Family::counter(
        "node_tape_io_others_total",
        DEVICE,
        "Operations that were neither reads nor writes.",
    ),
    Family::counter(
        "node_tape_io_time_seconds_total",
        DEVICE,
        "Time spent on operations of any kind.",
    ),
    Family::counter("node_tape_read_bytes_total", DEVICE, "Bytes read."),
    Family::counter("node_tape_read_time_seconds_total", DEVICE, "Time spent on reads."),
    Family::counter("node_tape_reads_completed_total", DEVICE, "Reads completed."),
    Family::counter(
        "node_tape_residual_total",
        DEVICE,
        "Reads and writes that moved less than was asked for.",
    ),
    Family::counter("node_tape_write_time_seconds_total", DEVICE, "Time spent on writes."),
    Family::counter("node_tape_writes_completed_total", DEVICE, "Writes completed."),
    Family::counter("node_tape_written_bytes_total", DEVICE, "Bytes written."),
];
const NANO: f64 = 1e-9;
/// The file of each family, and its unit.
const FILES: [(&str, f64); 10] = [
    ("stats/in_flight", 1.0),
    ("stats/other_cnt", 1.0),
    ("stats/io_ns", NANO),
    ("stats/read_byte_cnt", 1.0),
    ("stats/read_ns", NANO),
    ("stats/read_cnt", 1.0),
    ("stats/resid_cnt", 1.0),
    ("stats/write_ns", NANO),
    ("stats/write_cnt", 1.0),
    ("stats/write_byte_cnt", 1.0),
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "tapestats", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    ignored_devices: Pattern,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { ignored_devices } = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |root: &Arc<Root>| {
        let drives = Readings::new(root.sysfs.join("class/scsi_tape"));
        Box::new(TapeStats { drives, ignored: ignored_devices.clone() })
    }))
}

struct TapeStats {
    drives: Readings,
    ignored: Pattern,
}

impl Collector for TapeStats {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let ignored = &self.ignored;
        self.drives.update(|name, path, found| {
            if is_drive(name) && !ignored.matches(name) {
                drive(name, path, found);
            }
        })?;
        self.drives.emit(&FAMILIES, pass.buffer, pass.batch);
        Ok(())
    }
}

/// `st0`; not its other names (`nst0`, `st0a`), which are the same drive.
fn is_drive(name: &str) -> bool {
    let number = name.strip_prefix("st").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn drive(name: &str, path: &Path, found: &mut Found) {
    let labels = Labels::new(&[("device", name)]);
    for (place, (file, scale)) in FILES.iter().enumerate() {
        let path = path.join(file);
        found.absent_is_0(place, &labels, &path);
        found.file(place, &labels, path, *scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_drive_does_not_count_is_0() {
        let top = std::env::temp_dir().join(format!("musterd-tape-{}", std::process::id()));
        std::fs::create_dir_all(top.join("st0/stats")).unwrap();
        std::fs::create_dir_all(top.join("st1")).unwrap();
        std::fs::write(top.join("st0/stats/read_byte_cnt"), "7\n").unwrap();
        let (drives, ignored) =
            (Readings::new(top.clone()), Pattern::try_from(String::new()).unwrap());
        let text = crate::host::one_pass::text_of(&mut TapeStats { drives, ignored });
        std::fs::remove_dir_all(&top).unwrap();
        let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(series.len(), FILES.len(), "{text}");
        assert!(series.iter().all(|line| line.contains("st0")), "{text}");
        assert_eq!(series.iter().filter(|line| line.ends_with(" 7")).count(), 1, "{text}");
    }

    #[test]
    fn drives() {
        let names = ["st0", "st12", "nst0", "st0a", "st", "sda"];
        assert_eq!(names.map(is_drive), [true, true, false, false, false, false]);
    }
}
