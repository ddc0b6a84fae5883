//! What is kept from one run to the next: the totals of agents that have gone, in one file that is
//! replaced whole.
//!
//! Must not know what the text means. A full disk loses nothing while the daemon runs: the text is
//! kept in memory and written again later; and where it is killed meanwhile, the next one has the spare.

mod spare;

use crate::agent::registry::Registry;
use crate::clock;
use spare::Spare;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const FILE: &str = "agents.json";
/// A file larger than this was not written by us: `[agents] max_total_series` is what bounds it.
const SIZE_LIMIT: u64 = 1 << 30;

/// A write that takes longer is told of: the disk hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A write under way.
#[derive(Debug)]
struct Writing {
    result: Receiver<Result<(), Unwritten>>,
    begun: Instant,
    /// Whether it has been told of.
    is_told: bool,
}

/// The folder of kept state.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    spare: Spare,
    /// What becomes of the write under way: on a thread of its own, since a disk may be slow, or hang.
    writing: Option<Writing>,
    /// Woken when something has been written: what has changed meanwhile is to be written at once.
    done: Arc<Notify>,
    /// Attempts to write that have failed since the last that did not: the first is logged.
    failures: usize,
    /// Ledgers whose counts have been written.
    written: Vec<String>,
}

impl Store {
    /// Keeps its file in `folder`, and for as long as that cannot be written another in `spare`; both are made when
    /// they are first needed. Whenever the file has been written, `done` is woken, for [`Store::save`] to be
    /// called again.
    #[must_use]
    pub fn new(folder: &Path, spare: &Path, done: Arc<Notify>) -> Self {
        let (file, spare) = (folder.join(FILE), Spare::new(spare));
        Self { file, spare, writing: None, done, failures: 0, written: Vec::new() }
    }

    /// Gives a registry what the run before has kept. A file that cannot be used is moved aside,
    /// so that nothing in it is lost, and said so in the log.
    pub fn restore(&self, registry: &mut Registry) {
        if let Some(text) = self.spare.read(&self.file) {
            match give(registry, self.spare.path(), &text) {
                Ok(()) => return registry.keep_unsaved(),
                Err(fault) => {
                    let file = self.file.display();
                    tracing::error!(
                        "{fault}; totals of agents are those in {file}, which are older"
                    );
                }
            }
        }
        let given = match read_text(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => Err(unusable(&self.file, &error.to_string())),
            Ok(text) => give(registry, &self.file, &text),
        };
        if let Err(fault) = given {
            tracing::error!("{fault}; totals of agents start from zero");
        }
    }

    /// Begins to write what has changed in the registry, if anything has and no write is under
    /// way. Called again and again, so that nothing stays unwritten.
    pub fn save(&mut self, registry: &mut Registry) {
        self.collect(registry);
        if self.writing.is_none() {
            self.begin(registry);
        }
    }

    /// Learns how the write that is under way has gone, once it has.
    fn collect(&mut self, registry: &mut Registry) {
        let Some(writing) = &self.writing else { return };
        match writing.result.try_recv() {
            Err(TryRecvError::Empty) => return self.tell_if_late(Instant::now()),
            Ok(written) => self.note(written, registry),
            Err(TryRecvError::Disconnected) => {
                let error = io::Error::other("the thread that writes has panicked");
                self.note(Err(error.into()), registry);
            }
        }
        self.writing = None;
    }

    /// Begins to write what has changed in the registry, if anything has.
    fn begin(&mut self, registry: &mut Registry) {
        let Some(text) = registry.take_unsaved() else { return };
        let (file, spare, done) = (self.file.clone(), self.spare.clone(), Arc::clone(&self.done));
        let (sender, result) = mpsc::sync_channel(1);
        let write = move || {
            let written = replace(&file, text.as_bytes())
                .map_err(|error| Unwritten { is_spared: spare.write(&file, &text).is_ok(), error });
            let is_written = written.is_ok();
            if is_written {
                // Before the next write, which may need it, can begin.
                spare.remove();
            }
            let _ = sender.send(written);
            // What cannot be written is tried again in a while, not at once.
            if is_written {
                done.notify_one();
            }
        };
        match std::thread::Builder::new().name("store".into()).spawn(write) {
            Ok(_) => {
                self.writing = Some(Writing { result, begun: Instant::now(), is_told: false });
            }
            Err(error) => self.note(Err(error.into()), registry),
        }
    }

    fn tell_if_late(&mut self, now: Instant) {
        let Some(writing) = &mut self.writing else { return };
        if !writing.is_told && now.saturating_duration_since(writing.begun) >= PATIENCE {
            writing.is_told = true;
            tracing::error!(
                "{} is being written for over {} s: its disk hangs; until it answers, totals of agents that have \
                 gone are in memory alone",
                self.file.display(),
                PATIENCE.as_secs()
            );
        }
    }

    /// The ledgers, by their names in the store of files, whose counts have been written since this was
    /// last asked.
    pub fn take_written(&mut self) -> Vec<String> {
        std::mem::take(&mut self.written)
    }

    /// Writes what is left, for no longer than `patience`.
    pub fn finish(&mut self, registry: &mut Registry, patience: Duration) {
        let limit = Instant::now() + patience;
        // One may be under way that has not all, and the next has.
        let enough = self.failures + 2;
        loop {
            self.collect(registry);
            let is_late = Instant::now() >= limit;
            if self.writing.is_none() && self.failures < enough && !is_late {
                self.begin(registry);
            }
            if self.writing.is_none() || is_late {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn note(&mut self, written: Result<(), Unwritten>, registry: &mut Registry) {
        if written.is_ok() {
            self.written.extend(registry.saved());
        }
        match written {
            Ok(()) if self.failures > 0 => {
                self.failures = 0;
                tracing::info!("{} is written again", self.file.display());
            }
            Ok(()) => {}
            Err(Unwritten { error, is_spared }) => {
                registry.keep_unsaved();
                if self.failures == 0 {
                    let place = match is_spared {
                        true => format!("in {}", self.spare.path().display()),
                        false => "in memory alone".to_owned(),
                    };
                    let file = self.file.display();
                    tracing::error!(
                        "cannot write {file}: {error}; until it can be, totals of agents are {place}"
                    );
                }
                self.failures = self.failures.saturating_add(1);
            }
        }
    }
}

/// Why the file was not written.
#[derive(Debug)]
struct Unwritten {
    error: io::Error,
    /// Whether the spare has what it should.
    is_spared: bool,
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self { error, is_spared: false }
    }
}

/// Gives a registry what a file has; an agent of it that cannot be used is told of, and the file then kept.
///
/// # Errors
/// What is wrong with all of it, and where the file is now.
fn give(registry: &mut Registry, file: &Path, text: &str) -> Result<(), String> {
    let agents =
        registry.restore(text, clock::monotonic()).map_err(|fault| unusable(file, &fault))?;
    if !agents.is_empty() {
        let aside = move_aside(file);
        for agent in agents {
            tracing::error!("{}: {agent}; {aside}; this agent starts from zero", file.display());
        }
    }
    Ok(())
}

fn unusable(file: &Path, fault: &str) -> String {
    format!("{}: {fault}; {}", file.display(), move_aside(file))
}

fn move_aside(file: &Path) -> String {
    // One that was moved there before stays.
    let first = "json.unusable".to_owned();
    let names = std::iter::once(first).chain((2..).map(|n| format!("json.unusable-{n}")));
    let mut places = names.map(|name| file.with_extension(name));
    let aside = places.find(|place| !place.exists()).unwrap_or_default();
    match fs::rename(file, &aside) {
        Ok(()) => format!("moved to {}", aside.display()),
        Err(error) => format!("cannot be moved aside: {error}"),
    }
}

fn read_text(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > SIZE_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "over 1 GiB"));
    }
    fs::read_to_string(file)
}

/// Replaces a file so that a reader, or a crash, finds the old text or the new one, whole.
fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = file.with_extension("json.new");
    let written = File::create(&new).and_then(|mut out| {
        out.write_all(text)?;
        out.sync_data()
    });
    written.and_then(|()| fs::rename(&new, file)).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_during_a_write_is_written_after_it() {
        let folder = std::env::temp_dir().join(format!("musterd-stored-{}", std::process::id()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let done = Arc::new(Notify::new());
        let mut store = Store::new(&folder, &folder.join("run"), Arc::clone(&done));
        let mut registry = Registry::new(crate::config::parse(&[]).unwrap().agents);
        registry.child_restarts("first");
        store.save(&mut registry);
        registry.child_restarts("second");
        store.save(&mut registry);
        let is_stored = |name| {
            fs::read_to_string(folder.join(FILE)).is_ok_and(|text: String| text.contains(name))
        };
        while !(is_stored("first") && is_stored("second")) {
            let woken =
                async { tokio::time::timeout(Duration::from_secs(60), done.notified()).await };
            runtime.block_on(woken).expect("nothing has been written");
            store.save(&mut registry);
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_spared_for_the_next_daemon() {
        let folder = std::env::temp_dir().join(format!("musterd-spared-{}", std::process::id()));
        let (state, run) = (folder.join("state"), folder.join("run"));
        let registry = || Registry::new(crate::config::parse(&[]).unwrap().agents);
        let has_all = |registry: &mut Registry| {
            registry.keep_unsaved();
            registry.take_unsaved().is_some_and(|text| text.contains("\"restarts\":3"))
        };
        let store = || Store::new(&state, &run, Arc::new(Notify::new()));
        let is_spared = || run.join("agents.spare").exists();
        fs::create_dir_all(&folder).unwrap();
        fs::write(&state, "a file where the folder should be").unwrap();
        let (mut first, mut before) = (store(), registry());
        before.child_restarts("a");
        first.finish(&mut before, Duration::from_secs(60));
        before.child_restarts("a");
        // While one that has not all may be under way.
        first.save(&mut before);
        before.child_restarts("a");
        first.finish(&mut before, Duration::from_secs(60));
        assert!(first.failures >= 4 && is_spared());
        assert!(first.writing.is_none(), "nothing that could yet meet the next daemon's files");

        let (mut next, mut after) = (store(), registry());
        next.restore(&mut after);
        assert!(has_all(&mut after));
        after.keep_unsaved();
        fs::remove_file(&state).unwrap();
        next.finish(&mut after, Duration::from_secs(60));
        assert!(!is_spared() && next.failures == 0);

        let mut last = registry();
        store().restore(&mut last);
        assert!(has_all(&mut last));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_disk_that_hangs_is_told_of_once() {
        let folder = Path::new("/nonexistent");
        let mut store = Store::new(folder, folder, Arc::new(Notify::new()));
        let (_sender, result) = mpsc::sync_channel(1);
        let begun = Instant::now();
        store.writing = Some(Writing { result, begun, is_told: false });
        let is_told = |store: &mut Store, after| {
            store.tell_if_late(begun + after);
            store.writing.as_ref().is_some_and(|writing| writing.is_told)
        };
        assert!(!is_told(&mut store, Duration::from_secs(29)));
        assert!(is_told(&mut store, PATIENCE));
        let mut registry = Registry::new(crate::config::parse(&[]).unwrap().agents);
        store.save(&mut registry);
        assert!(store.writing.is_some(), "it is waited for");
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("musterd-store-{}", std::process::id()));
        let file = folder.join("below").join(FILE);
        replace(&file, b"one").unwrap();
        replace(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.join("below")).unwrap().count(), 1);
        // A folder in its place cannot be replaced; nothing is left behind.
        let blocked = folder.join("blocked");
        fs::create_dir_all(blocked.join("x")).unwrap();
        assert!(replace(&blocked, b"three").is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
