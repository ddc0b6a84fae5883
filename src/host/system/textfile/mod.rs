//! `textfile`: metrics that others have written into files `*.prom` of the folders that the
//! configuration names.
//!
//! What such a file names takes the place of nothing: a family that is there already, or that a
//! file before it describes otherwise, is left out, and `node_textfile_scrape_error` is 1.
//! Must not know what the metrics are.

mod parse;

use crate::host::root::Root;
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Batch, Family, Histogram, Kind, Summary};
use parse::{Content, Foreign, Value};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MTIME: Family = Family::gauge(
    "node_textfile_mtime_seconds",
    &["file"],
    "When the file was last changed; only of files that could be read.",
);
const SCRAPE_ERROR: Family = Family::gauge(
    "node_textfile_scrape_error",
    &[],
    "Whether a folder or a file could not be read, or something in a file was left out.",
);
/// No file is read beyond this.
const LIMIT: u64 = 16 << 20;
/// Sources that come after all collectors have these.
const RESERVED: [&str; 4] = [
    "namedprocess_",
    "node_exporter_build_info",
    "node_scrape_collector_",
    "node_textfile_scrape_error",
];

/// The collector's line in the list.
pub(in crate::host) const ENTRY: Entry =
    Entry { name: "textfile", families: &[MTIME, SCRAPE_ERROR], parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    directories: Vec<String>,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { directories } = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |_: &Arc<Root>| {
        let (directories, files) = (directories.clone(), Table::default());
        Box::new(TextFile { directories, files, complaint: String::new() })
    }))
}

struct TextFile {
    /// Paths, with the wildcards of glob(7).
    directories: Vec<String>,
    files: Table<File>,
    /// What was wrong at the last pass; said once.
    complaint: String,
}

/// A file, as it was when it was last read.
struct File {
    path: String,
    version: Option<Version>,
    content: Result<Content, String>,
}

/// What tells one state of a file from another: inode, size, and when it was changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    size: i64,
    seconds: i64,
    nanoseconds: i64,
}

impl Collector for TextFile {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let mut complaints = Vec::new();
        self.files.begin();
        for path in files(&self.directories, &mut complaints) {
            let file = self.files.meet(path.as_os_str().as_bytes(), || File::new(&path));
            if let Some(file) = file {
                file.update(&path);
            }
        }
        self.files.end();
        pass.batch.begin(&MTIME);
        for file in self.files.rows() {
            if let (Some(version), Ok(_)) = (file.version, &file.content) {
                pass.batch.sample(&[("file", &file.path)], version.seconds as f64);
            }
        }
        self.emit(pass.batch, &mut complaints);
        pass.batch.value(&SCRAPE_ERROR, f64::from(u8::from(!complaints.is_empty())));
        let complaint = complaints.join("; ");
        if complaint != self.complaint {
            if !complaint.is_empty() {
                tracing::warn!(collector = "textfile", "left out: {complaint}");
            }
            self.complaint = complaint;
        }
        Ok(())
    }
}

impl TextFile {
    /// Families by name, each with what all files have of it: the first file that describes one
    /// decides what it is.
    fn emit(&self, batch: &mut Batch, complaints: &mut Vec<String>) {
        let mut families: BTreeMap<&str, Vec<(&File, &Foreign)>> = BTreeMap::new();
        for file in self.files.rows() {
            match &file.content {
                Ok(Content { families: all, left_out }) => {
                    for foreign in all {
                        families.entry(&foreign.name).or_default().push((file, foreign));
                    }
                    complaints.extend(left_out.iter().map(|what| format!("{}: {what}", file.path)));
                }
                Err(what) => complaints.push(format!("{}: {what}", file.path)),
            }
        }
        let mut used = HashSet::new();
        for (name, parts) in families {
            let Some((file, first)) = parts.first() else { continue };
            if RESERVED.iter().any(|prefix| name.starts_with(prefix)) || is_taken(first, batch) {
                complaints.push(format!("{}: `{name}` is exposed already", file.path));
            } else if exposed(first).any(|name| !used.insert(name)) {
                complaints.push(format!("{}: `{name}` is part of another family", file.path));
            } else {
                emit_family(name, &parts, batch, complaints);
            }
        }
    }
}

/// What follows the name of a histogram or summary in the names of its samples.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// The names that a family's samples have.
fn exposed(family: &Foreign) -> impl Iterator<Item = String> {
    let has_parts = matches!(family.kind, Kind::Histogram | Kind::Summary);
    let parts = PARTS.iter().filter(move |_| has_parts);
    std::iter::once("").chain(parts.copied()).map(|part| format!("{}{part}", family.name))
}

/// Whether the batch has one of those names already, or a histogram or summary that the name is a part of.
fn is_taken(family: &Foreign, batch: &Batch) -> bool {
    let mut wholes = PARTS.iter().filter_map(|part| family.name.strip_suffix(part));
    let has_parts = |name| matches!(batch.kind_of(name), Some(Kind::Histogram | Kind::Summary));
    exposed(family).any(|name| batch.has(&name)) || wholes.any(has_parts)
}

fn emit_family(
    name: &str,
    parts: &[(&File, &Foreign)],
    batch: &mut Batch,
    complaints: &mut Vec<String>,
) {
    let Some((_, first)) = parts.first() else { return };
    let help = if first.help.is_empty() {
        let same = parts.iter().filter(|(_, part)| part.help.is_empty());
        let paths: Vec<_> = same.map(|(file, _)| file.path.as_str()).collect();
        format!("Metric read from {}", paths.join(", "))
    } else {
        first.help.clone()
    };
    batch.begin_foreign(name, &help, first.kind);
    let mut seen = HashSet::new();
    for (file, part) in parts {
        if part.help != first.help || part.kind != first.kind {
            complaints.push(format!("{}: `{name}` is described otherwise elsewhere", file.path));
            continue;
        }
        for (labels, value) in &part.metrics {
            if !seen.insert(labels.as_bytes()) {
                complaints.push(format!("{}: a series of `{name}` stands elsewhere", file.path));
                continue;
            }
            match value {
                Value::Number(number) => batch.sample_with(labels, *number),
                Value::Histogram { bounds, counts, sum } => {
                    let histogram = Histogram { bounds, counts, sum: *sum };
                    batch.histogram_with(labels, &histogram);
                }
                Value::Summary { quantiles, sum, count } => {
                    let summary = Summary { quantiles, sum: *sum, count: *count };
                    batch.summary_with(labels, &summary);
                }
            }
        }
    }
}

/// The files `*.prom` of all folders, sorted.
fn files(directories: &[String], complaints: &mut Vec<String>) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for pattern in directories {
        let found = glob::glob(pattern).map(|paths| paths.filter_map(Result::ok).collect());
        let mut folders: Vec<_> = found.unwrap_or_default();
        if folders.is_empty() {
            folders.push(PathBuf::from(pattern));
        }
        for folder in folders {
            match std::fs::read_dir(&folder) {
                Ok(entries) => {
                    let paths = entries.flatten().map(|entry| entry.path());
                    all.extend(
                        paths.filter(|path| path.as_os_str().as_bytes().ends_with(b".prom")),
                    );
                }
                Err(error) => complaints.push(format!("{}: {error}", folder.display())),
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

impl File {
    fn new(path: &Path) -> Self {
        let path = path.to_string_lossy().into_owned();
        Self { path, version: None, content: Err(String::new()) }
    }

    /// Reads it again if it has changed.
    fn update(&mut self, path: &Path) {
        match read(path, self.version) {
            Ok(None) => {}
            Ok(Some((version, text))) => {
                self.version = Some(version);
                self.content = parse::parse(&text);
            }
            Err(what) => (self.version, self.content) = (None, Err(what)),
        }
    }
}

/// The text of a file that is not as `known` says. Opened so that nothing that is no file (a pipe)
/// can hold it up.
fn read(path: &Path, known: Option<Version>) -> Result<Option<(Version, Vec<u8>)>, String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(path, flags, Mode::empty()).map_err(|error| error.to_string())?;
    let stat = fstat(&file).map_err(|error| error.to_string())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("is no file".to_owned());
    }
    let version = Version {
        inode: stat.st_ino,
        size: stat.st_size,
        seconds: stat.st_mtime,
        nanoseconds: i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    };
    if known == Some(version) {
        return Ok(None);
    }
    let mut text = Vec::new();
    std::fs::File::from(file)
        .take(LIMIT + 1)
        .read_to_end(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > LIMIT {
        return Err(format!("is larger than {} MiB", LIMIT >> 20));
    }
    Ok(Some((version, text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Format, encode};
    use std::time::{Duration, Instant};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("musterd-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.join(name), text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn collector(folder: &Folder) -> TextFile {
        let directories = vec![folder.0.to_str().unwrap().to_owned()];
        TextFile { directories, files: Table::default(), complaint: String::new() }
    }

    /// What is shown besides the files' own times.
    fn shown(collector: &mut TextFile) -> String {
        let mut batch = Batch::new();
        batch.value(&Family::gauge("own", &[], "Own."), 1.0);
        let deadline = Instant::now() + Duration::from_secs(9);
        let mut pass = Pass { batch: &mut batch, buffer: &mut Vec::new(), deadline };
        collector.collect(&mut pass).unwrap();
        let mut out = Vec::new();
        encode(&batch, Format::Text, &mut out);
        let text = String::from_utf8(out).unwrap();
        let lines =
            text.lines().filter(|line| !line.contains("mtime") && !line.starts_with("# HELP node"));
        lines.collect::<Vec<_>>().join("\n")
    }

    const OWN: &str = "# HELP own Own.\n# TYPE own gauge\nown 1\n";
    const END: &str = "# TYPE node_textfile_scrape_error gauge\nnode_textfile_scrape_error";

    #[test]
    fn files_are_shown_as_they_are() {
        let folder = Folder::new("textfile-shown");
        folder.write("a.prom", "# HELP a A.\n# TYPE a counter\na{x=\"1\"} 2\n");
        folder.write("b.prom", "# HELP a A.\n# TYPE a counter\na{y=\"1\"} 3\n");
        folder.write("c.txt", "rubbish");
        let mut collector = collector(&folder);
        let both = "# HELP a A.\n# TYPE a counter\na{x=\"1\"} 2\na{y=\"1\"} 3\n";
        assert_eq!(shown(&mut collector), format!("{OWN}{both}{END} 0"));
        folder.write("b.prom", "b 1\n");
        let path = folder.0.join("b.prom");
        let one = "# HELP a A.\n# TYPE a counter\na{x=\"1\"} 2\n";
        let two = format!("# HELP b Metric read from {}\n# TYPE b untyped\nb 1\n", path.display());
        assert_eq!(shown(&mut collector), format!("{OWN}{one}{two}{END} 0"));
    }

    #[test]
    fn names_that_only_look_like_parts_of_another_are_shown() {
        let folder = Folder::new("textfile-parts");
        let text = "# HELP a A.\n# TYPE a gauge\na 1\n# HELP a_count A.\n# TYPE a_count gauge\na_count 2\n\
                    # HELP a_total A.\n# TYPE a_total counter\na_total 3\n# HELP own_sum A.\n# TYPE own_sum gauge\nown_sum 4\n\
                    # HELP own_total A.\n# TYPE own_total counter\nown_total 5\n";
        folder.write("a.prom", text);
        assert_eq!(shown(&mut collector(&folder)), format!("{OWN}{text}{END} 0"));
    }

    #[test]
    fn what_cannot_be_shown_is_left_out() {
        let folder = Folder::new("textfile-left-out");
        let mut collector = collector(&folder);
        assert_eq!(shown(&mut collector), format!("{OWN}{END} 0"));
        folder.write("a.prom", "# HELP a A.\na 1\nown 7\n");
        folder.write("b.prom", "# HELP a Other.\na{x=\"1\"} 1\n");
        folder.write("c.prom", "c 1 1441205977284\nc2 1\n");
        folder
            .write("d.prom", "# HELP a A.\na 9\nnamedprocess_x 1\nnode_textfile_scrape_error 7\n");
        let a = "# HELP a A.\n# TYPE a untyped\na 1\n";
        assert_eq!(shown(&mut collector), format!("{OWN}{a}{END} 1"));
        for part in [
            "b.prom: `a` is described otherwise",
            "d.prom: a series of `a`",
            "`own` is exposed already",
            "`node_textfile_scrape_error` is exposed already",
            "c.prom: line 1: timestamps",
            "`namedprocess_x` is exposed already",
        ] {
            assert!(collector.complaint.contains(part), "{part}: {}", collector.complaint);
        }
    }

    #[test]
    fn of_a_sample_that_stands_twice_the_first_is_shown() {
        let folder = Folder::new("textfile-twice");
        folder.write("a.prom", "# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"1\"} 0\n");
        let mut collector = collector(&folder);
        let a = "# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\n";
        assert_eq!(shown(&mut collector), format!("{OWN}{a}{END} 1"));
        let what = "a.prom: line 4: a second sample of the same `a`";
        assert!(collector.complaint.ends_with(what), "{}", collector.complaint);
    }

    #[test]
    fn what_is_no_file_does_not_hold_it_up() {
        let folder = Folder::new("textfile-pipe");
        std::fs::create_dir(folder.0.join("folder.prom")).unwrap();
        let pipe = folder.0.join("pipe.prom");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let mut collector = collector(&folder);
        assert_eq!(shown(&mut collector), format!("{OWN}{END} 1"));
        assert!(collector.complaint.contains("pipe.prom: is no file"), "{}", collector.complaint);
    }

    #[test]
    fn folders_may_have_wildcards() {
        let folder = Folder::new("textfile-glob");
        for name in ["one", "two"] {
            std::fs::create_dir(folder.0.join(name)).unwrap();
            folder.write(&format!("{name}/x.prom"), &format!("{name} 1\n"));
        }
        let pattern = folder.0.join("*").to_str().unwrap().to_owned();
        let mut complaints = Vec::new();
        assert_eq!(files(&[pattern], &mut complaints).len(), 2);
        assert!(complaints.is_empty());
        files(&["/nonexistent/*".to_owned()], &mut complaints);
        assert_eq!(complaints.len(), 1);
    }
}
