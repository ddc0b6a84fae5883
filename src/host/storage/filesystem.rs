//! `filesystem`: how full file systems are, of statfs(2) on every mount of the host's first
//! process.
//!
//! Must not know about disks.

use super::mounts::{self, Mount, OfHost};
use super::prober::{Answer, Ask, Prober, Question, Usage, statfs};
use crate::host::pattern::{Filter, Pattern};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Batch, Family, Labels};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After this time the mount table is read again even if nothing has been mounted: the kernel tells of no file
/// system that has met an error and is read-only from then on, nor does statfs(2) of all that are.
const AGAIN: Duration = Duration::from_secs(10);

const LABELS: &[&str] = &["device", "mountpoint", "fstype", "device_error"];

const SIZE: Family = Family::gauge("node_filesystem_size_bytes", LABELS, "Size of a file system.");
const FREE: Family = Family::gauge("node_filesystem_free_bytes", LABELS, "Space that is free.");
const AVAILABLE: Family = Family::gauge(
    "node_filesystem_avail_bytes",
    LABELS,
    "Space that is free for others than root.",
);
const FILES: Family = Family::gauge("node_filesystem_files", LABELS, "Inodes of a file system.");
const FILES_FREE: Family =
    Family::gauge("node_filesystem_files_free", LABELS, "Inodes that are free.");
const PURGEABLE: Family = Family::gauge(
    "node_filesystem_purgeable_bytes",
    LABELS,
    "Space the system could free by itself, which Linux never says: always 0.",
);
const READ_ONLY: Family = Family::gauge(
    "node_filesystem_readonly",
    LABELS,
    "Whether a file system is mounted read-only.",
);
const DEVICE_ERROR: Family = Family::gauge(
    "node_filesystem_device_error",
    LABELS,
    "Whether a file system could not be asked.",
);
const MOUNT_INFO: Family = Family::gauge(
    "node_filesystem_mount_info",
    &["device", "major", "minor", "mountpoint"],
    "A mount, as labels. Always 1.",
);

/// Takes a column's value from an answer.
type ValueOf = fn(&Usage) -> f64;

/// What is exposed of a file system that has answered.
const COLUMNS: [(Family, ValueOf); 6] = [
    (SIZE, |usage| usage.size),
    (FREE, |usage| usage.free),
    (AVAILABLE, |usage| usage.available),
    (FILES, |usage| usage.files),
    (FILES_FREE, |usage| usage.files_free),
    (PURGEABLE, |_| 0.0),
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry {
    name: "filesystem",
    families: &[
        SIZE,
        FREE,
        AVAILABLE,
        FILES,
        FILES_FREE,
        PURGEABLE,
        READ_ONLY,
        DEVICE_ERROR,
        MOUNT_INFO,
    ],
    parse: configure,
};

/// The label `device_error` of a mount that has not answered in time.
const TIMEOUT: &str = "mountpoint timeout";

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    mount_points_include: Pattern,
    mount_points_exclude: Pattern,
    fs_types_include: Pattern,
    fs_types_exclude: Pattern,
    #[serde(with = "crate::units::duration")]
    mount_timeout: Duration,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let options: Options = serde::Deserialize::deserialize(options)?;
    let wanted = Wanted {
        mount_points: Filter {
            include: options.mount_points_include,
            exclude: options.mount_points_exclude,
        },
        kinds: Filter { include: options.fs_types_include, exclude: options.fs_types_exclude },
    };
    let timeout = options.mount_timeout;
    Ok(Arc::new(move |root: &Arc<Root>| {
        Box::new(FileSystems::new(root, wanted.clone(), timeout, Arc::new(statfs)))
    }))
}

/// Which mounts are exposed.
#[derive(Clone)]
struct Wanted {
    mount_points: Filter,
    kinds: Filter,
}

struct FileSystems {
    table: OfHost<KernelFile>,
    root: Arc<Root>,
    wanted: Wanted,
    timeout: Duration,
    prober: Prober,
    /// The text that the rows below were made from, and when it was read. Mounts hardly ever change.
    text: Vec<u8>,
    read: Option<Instant>,
    rows: Vec<Row>,
    /// What to ask for each row.
    questions: Vec<Question>,
    answers: Vec<Answer>,
}

/// A mount that is exposed.
struct Row {
    /// Device, mount point and kind.
    identity: [String; 3],
    /// Those, without an error.
    labels: Labels,
    /// Those, with the text of the error that the mount is in.
    error_labels: Option<(String, Labels)>,
    info: Labels,
    read_only: bool,
}

impl FileSystems {
    fn new(root: &Arc<Root>, wanted: Wanted, timeout: Duration, ask: Ask) -> Self {
        Self {
            table: OfHost::new(|process| root.proc(format!("{process}/mountinfo"))),
            root: Arc::clone(root),
            wanted,
            timeout,
            prober: Prober::new(ask),
            text: Vec::new(),
            read: None,
            rows: Vec::new(),
            questions: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Brings the rows to what the file says.
    fn update(&mut self, buffer: &mut Vec<u8>) -> Result<(), Error> {
        let is_fresh = self.read.is_some_and(|read| read.elapsed() < AGAIN);
        if is_fresh && self.table.is(KernelFile::has_same_mounts) {
            return Ok(());
        }
        let length = self.table.read(|file| file.read(buffer).map(<[u8]>::len))?;
        let text = buffer.get(..length).unwrap_or_default();
        self.read = None;
        if text == self.text {
            self.read = Some(Instant::now());
            return Ok(());
        }
        let mut rows = Vec::new();
        let mut questions = Vec::new();
        let mounts = mounts::parse(text).collect::<Result<Vec<_>, _>>()?;
        for mount in &mounts {
            let mount_point = mount.point_below(&self.root.rootfs);
            let wanted =
                self.wanted.mount_points.wants(mount_point) && self.wanted.kinds.wants(&mount.kind);
            let row = Row::new(mount, mount_point);
            // The same device can be mounted over itself: one series.
            if wanted && !rows.iter().any(|known: &Row| known.identity == row.identity) {
                let path = self.root.rootfs.join(mount_point.trim_start_matches('/'));
                questions.push(Question { path: path.into(), is_local: mount.is_local(&mounts) });
                rows.push(row);
            }
        }
        self.text = text.to_vec();
        self.rows = rows;
        self.questions = questions;
        self.read = Some(Instant::now());
        Ok(())
    }
}

impl Row {
    fn new(mount: &Mount<'_>, mount_point: &str) -> Self {
        let identity = [&*mount.device, mount_point, &*mount.kind].map(str::to_owned);
        let info = Labels::new(&[
            ("device", &mount.device),
            ("major", mount.major),
            ("minor", mount.minor),
            ("mountpoint", mount_point),
        ]);
        let labels = render(&identity, "");
        Self { identity, labels, error_labels: None, info, read_only: mount.read_only }
    }

    /// The labels with an error's text, rendered when it first appears.
    fn error_labels(&mut self, error: &str) -> &Labels {
        if self.error_labels.as_ref().is_none_or(|(known, _)| known != error) {
            self.error_labels = Some((error.to_owned(), render(&self.identity, error)));
        }
        self.error_labels.as_ref().map_or(&self.labels, |(_, labels)| labels)
    }
}

fn render([device, mount_point, kind]: &[String; 3], error: &str) -> Labels {
    Labels::new(&[
        ("device", device),
        ("mountpoint", mount_point),
        ("fstype", kind),
        ("device_error", error),
    ])
}

/// What the kernel said, in lower case and without the number.
fn error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

impl Collector for FileSystems {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.update(pass.buffer)?;
        self.prober.ask(&self.questions, self.timeout, pass.deadline, &mut self.answers);
        emit(&mut self.rows, &self.answers, pass.batch);
        Ok(())
    }
}

fn emit(rows: &mut [Row], answers: &[Answer], batch: &mut Batch) {
    for (family, value) in &COLUMNS {
        batch.begin(family);
        for (row, answer) in rows.iter().zip(answers) {
            if let Answer::Usage(usage) = answer {
                batch.sample_with(&row.labels, value(usage));
            }
        }
    }
    batch.begin(&MOUNT_INFO);
    for (row, answer) in rows.iter().zip(answers) {
        if let Answer::Usage(_) = answer {
            batch.sample_with(&row.info, 1.0);
        }
    }
    flags(&READ_ONLY, rows, answers, batch, |row, _| row.read_only);
    flags(&DEVICE_ERROR, rows, answers, batch, |_, answer| !matches!(answer, Answer::Usage(_)));
}

/// Families that a mount has whether or not it has answered. One that was not asked has none.
fn flags(
    family: &Family,
    rows: &mut [Row],
    answers: &[Answer],
    batch: &mut Batch,
    flag: fn(&Row, &Answer) -> bool,
) {
    batch.begin(family);
    for (row, answer) in rows.iter_mut().zip(answers) {
        let value = f64::from(flag(row, answer));
        let labels = match answer {
            Answer::NotAsked => continue,
            Answer::Usage(_) => &row.labels,
            Answer::Failed(error) => row.error_labels(&error_text(error)),
            Answer::Stuck => row.error_labels(TIMEOUT),
        };
        batch.sample_with(labels, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::one_pass::text_of;
    use std::io;
    use std::path::{Path, PathBuf};

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text.to_owned()).unwrap()
    }

    /// A folder in place of `/proc`, whose mounts are below `/host`.
    fn proc(name: &str) -> (PathBuf, Arc<Root>) {
        let dir = std::env::temp_dir().join(format!("musterd-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("1")).unwrap();
        let root = Arc::new(Root {
            procfs: dir.clone(),
            sysfs: "/nonexistent".into(),
            rootfs: "/host".into(),
            udev_data: "/nonexistent".into(),
        });
        (dir, root)
    }

    const USAGE: Usage =
        Usage { size: 100.0, free: 50.0, available: 40.0, files: 9.0, files_free: 8.0 };

    #[test]
    fn a_file_system_turns_read_only_without_a_mount() {
        let (dir, root) = proc("filesystem-error");
        let all = || Filter { include: pattern(""), exclude: pattern("") };
        let wanted = Wanted { mount_points: all(), kinds: all() };
        let ask: Ask = Arc::new(|_: &Path| Ok(USAGE));
        let mut collector = FileSystems::new(&root, wanted, Duration::from_secs(9), ask);
        let mut read_only = |options: &str| {
            let text = format!("1 0 8:1 / /host rw - ext4 /dev/sda1 {options}\n");
            std::fs::write(dir.join("1/mountinfo"), text).unwrap();
            let text = text_of(&mut collector);
            let line = text.lines().find(|line| line.starts_with("node_filesystem_readonly{"));
            line.unwrap().ends_with(" 1")
        };
        assert!(!read_only("rw"));
        assert!(read_only("rw,emergency_ro"));
        assert!(read_only("ro"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn mounts_that_answer_fail_and_hang() {
        let (dir, root) = proc("filesystem");
        let text = "1 0 8:1 / /host rw - ext4 /dev/sda1 rw\n\
            2 1 8:2 / /host/data ro - xfs /dev/sdb1 rw\n\
            2 1 8:2 / /host/data ro - xfs /dev/sdb1 rw\n\
            3 1 0:5 / /host/proc rw - proc proc rw\n\
            4 1 0:6 / /host/far rw - nfs4 server:/far rw\n\
            5 1 0:7 / /host/gone rw - nfs4 server:/gone rw\n";
        std::fs::write(dir.join("1/mountinfo"), text).unwrap();
        let wanted = Wanted {
            mount_points: Filter { include: pattern(""), exclude: pattern("^/proc") },
            kinds: Filter { include: pattern(""), exclude: pattern("^tmpfs$") },
        };
        let ask: Ask = Arc::new(|path: &Path| match path.to_str().unwrap() {
            "/host/far" => loop {
                std::thread::park();
            },
            "/host/gone" => Err(io::Error::from_raw_os_error(2)),
            _ => Ok(USAGE),
        });
        let mut collector = FileSystems::new(&root, wanted, Duration::from_millis(250), ask);
        text_of(&mut collector);
        let text = text_of(&mut collector);
        std::fs::remove_dir_all(&dir).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        for wanted in [
            r#"node_filesystem_size_bytes{device="/dev/sda1",mountpoint="/",fstype="ext4",device_error=""} 100"#,
            r#"node_filesystem_avail_bytes{device="/dev/sdb1",mountpoint="/data",fstype="xfs",device_error=""} 40"#,
            r#"node_filesystem_mount_info{device="/dev/sdb1",major="8",minor="2",mountpoint="/data"} 1"#,
            r#"node_filesystem_readonly{device="/dev/sdb1",mountpoint="/data",fstype="xfs",device_error=""} 1"#,
            r#"node_filesystem_device_error{device="/dev/sda1",mountpoint="/",fstype="ext4",device_error=""} 0"#,
            r#"node_filesystem_device_error{device="server:/far",mountpoint="/far",fstype="nfs4",device_error="mountpoint timeout"} 1"#,
            r#"node_filesystem_device_error{device="server:/gone",mountpoint="/gone",fstype="nfs4",device_error="no such file or directory"} 1"#,
        ] {
            assert!(lines.contains(&wanted), "no {wanted} in\n{text}");
        }
        assert_eq!(lines.len(), 2 * 7 + 2 * 4);
    }
}
