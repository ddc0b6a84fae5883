//! `processes`: how many processes and threads there are, and their states, of `/proc/<pid>/stat`
//! and `/proc/<pid>/task` (proc(5)).
//!
//! Must not know one process from another: groups are namedprocess's.

use crate::host::directory::Directory;
use crate::host::gathered::Gathered;
use crate::host::parse::{number, quoted, words};
use crate::host::root::{KernelFile, Root, read_once};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const FAMILIES: [Family; 6] = [
    Family::gauge("node_processes_pids", &[], "Processes."),
    Family::gauge("node_processes_threads", &[], "Threads of all processes."),
    Family::gauge("node_processes_max_processes", &[], "As many process ids there can be."),
    Family::gauge("node_processes_max_threads", &[], "As many threads there can be."),
    Family::gauge(
        "node_processes_state",
        &["state"],
        "Processes by their state, as ps(1) names it.",
    ),
    Family::gauge(
        "node_processes_threads_state",
        &["thread_state"],
        "Threads by their state, as ps(1) names it.",
    ),
];
const PIDS: usize = 0;
const THREADS: usize = 1;
const MAX_PIDS: usize = 2;
const MAX_THREADS: usize = 3;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "processes", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let limit = |name: &str| root.proc(Path::new("sys/kernel").join(name)).single();
        Box::new(Processes {
            folder: Directory::new(root.procfs.clone()),
            limits: [(MAX_PIDS, limit("pid_max")), (MAX_THREADS, limit("threads-max"))],
            gathered: Gathered::default(),
        })
    }))
}

struct Processes {
    folder: Directory,
    limits: [(usize, KernelFile); 2],
    gathered: Gathered,
}

/// How many there are in each state.
type States = BTreeMap<char, u32>;

impl Collector for Processes {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        for (place, file) in &mut self.limits {
            self.gathered.add(*place, &[], limit(file, pass.buffer)?);
        }
        let top = self.folder.path().to_owned();
        let (mut pids, mut threads) = (0.0, 0.0);
        let (mut states, mut thread_states) = (States::new(), States::new());
        for name in self.folder.list()?.iter() {
            if !name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            if Instant::now() >= pass.deadline {
                return Err(Error::Parse("too many processes to count in time".to_owned()));
            }
            let path = top.join(name);
            // A process may have ended since it was listed.
            let Some((state, count)) = stat(&path.join("stat")) else { continue };
            pids += 1.0;
            threads += count;
            *states.entry(state).or_default() += 1;
            let mut tasks = Directory::new(path.join("task"));
            let Ok(tasks) = tasks.list() else { continue };
            for task in tasks.iter() {
                if let Some((state, _)) = stat(&path.join("task").join(task).join("stat")) {
                    *thread_states.entry(state).or_default() += 1;
                }
            }
        }
        self.gathered.add(PIDS, &[], pids);
        self.gathered.add(THREADS, &[], threads);
        for (place, label, states) in [(4, "state", states), (5, "thread_state", thread_states)] {
            for (state, count) in states {
                let mut text = [0; 4];
                self.gathered.add(place, &[(label, state.encode_utf8(&mut text))], count.into());
            }
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

fn limit(file: &mut KernelFile, buffer: &mut Vec<u8>) -> Result<f64, Error> {
    let text = file.read(buffer)?.trim_ascii();
    number(text).ok_or_else(|| {
        let path = file.path().display();
        Error::Parse(format!("{path}: wanted a number, found {}", quoted(text)))
    })
}

/// State and number of threads.
fn stat(path: &Path) -> Option<(char, f64)> {
    parse(&read_once(path).ok()?)
}

/// Behind the name, which is in parentheses and may have any byte in it: the state, and 17 fields
/// later the number of threads.
fn parse(text: &[u8]) -> Option<(char, f64)> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut words = words(text.get(end + 1..)?);
    let state = char::from(*words.next()?.first()?);
    Some((state, number(words.nth(16)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_must_be_there_and_a_number() {
        let path = std::env::temp_dir().join(format!("musterd-limit-{}", std::process::id()));
        let limit = || super::limit(&mut KernelFile::new(path.clone()), &mut Vec::new());
        assert!(matches!(limit(), Err(Error::NoData(_))));
        std::fs::write(&path, "x\n").unwrap();
        assert!(limit().unwrap_err().to_string().ends_with(": wanted a number, found `x`"));
        std::fs::write(&path, "7\n").unwrap();
        assert_eq!(limit().unwrap(), 7.0);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn names_may_be_anything() {
        let text = b"17 (a) b) S 2 0 0 0 -1 2 0 0 0 0 14 0 0 0 20 0 3 0 24";
        assert_eq!(parse(text), Some(('S', 3.0)));
        assert_eq!(parse(b"17 (a"), None);
        assert_eq!(parse(b"17 (a) S 1"), None);
    }
}
