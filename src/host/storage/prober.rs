//! For the collector `filesystem`: asks mounts how full they are, without ever waiting for one that
//! does not answer.
//!
//! statfs(2) on a dead mount (a server that is gone) does not return, and cannot be broken off. So
//! the calls are made by a worker thread that can be spared: it is handed the whole list at once,
//! and wakes its caller when it is through. A worker that is stuck in a call is left behind, and
//! another takes the rest of the list; the mount it is stuck in is not asked again before that call
//! has returned, so that there is at most one thread per dead mount. File systems of this machine's
//! own disks and memory have nobody to wait for: those are asked at once, without the worker.
//!
//! Must not know what is made of the answers.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// No more workers than this are left behind; while so many are stuck, nothing is asked.
const STUCK_LIMIT: usize = 64;

/// How full a file system is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::host) struct Usage {
    pub(in crate::host) size: f64,
    pub(in crate::host) free: f64,
    pub(in crate::host) available: f64,
    pub(in crate::host) files: f64,
    pub(in crate::host) files_free: f64,
}

/// What became of the question.
#[derive(Debug)]
pub(in crate::host) enum Answer {
    Usage(Usage),
    Failed(io::Error),
    /// The mount has not answered in time, now or earlier.
    Stuck,
    /// There was no time or no thread left to ask.
    NotAsked,
}

/// The question; tests ask others.
pub(in crate::host) type Ask = Arc<dyn Fn(&Path) -> io::Result<Usage> + Send + Sync>;

/// A mount to be asked.
#[derive(Clone, Debug)]
pub(in crate::host) struct Question {
    pub(in crate::host) path: Arc<Path>,
    /// Whether it answers without any server, so that the caller can ask it itself.
    pub(in crate::host) is_local: bool,
}

/// Asks the kernel.
pub(in crate::host) fn statfs(path: &Path) -> io::Result<Usage> {
    let stat = rustix::fs::statfs(path)?;
    let block = stat.f_bsize as f64;
    Ok(Usage {
        size: stat.f_blocks as f64 * block,
        free: stat.f_bfree as f64 * block,
        available: stat.f_bavail as f64 * block,
        files: stat.f_files as f64,
        files_free: stat.f_ffree as f64,
    })
}

/// Asks mounts, one after the other.
pub(in crate::host) struct Prober {
    ask: Ask,
    worker: Option<Worker>,
    stuck: Vec<(Arc<Path>, Worker)>,
}

struct Worker {
    desk: Arc<Desk>,
    thread: JoinHandle<()>,
}

/// Where a worker and its caller meet. Never locked during a call.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What is to be asked, in that order.
    questions: Vec<Arc<Path>>,
    /// What has been answered of it, in the same order.
    answers: Vec<io::Result<Usage>>,
    /// When the question under way was asked.
    asked: Option<Instant>,
    /// The worker is no longer wanted.
    dismissed: bool,
}

impl Desk {
    /// A thread that panicked has left nothing half done here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prober {
    pub(in crate::host) fn new(ask: Ask) -> Self {
        Self { ask, worker: None, stuck: Vec::new() }
    }

    /// Asks all of `mounts`, for no longer than `patience` each and until `deadline` in all, and
    /// puts an answer for each into `answers`.
    pub(in crate::host) fn ask(
        &mut self,
        mounts: &[Question],
        patience: Duration,
        deadline: Instant,
        answers: &mut Vec<Answer>,
    ) {
        self.stuck.retain(|(_, worker)| !worker.thread.is_finished());
        answers.clear();
        answers.extend(mounts.iter().map(|mount| {
            if mount.is_local {
                return (self.ask)(&mount.path).map_or_else(Answer::Failed, Answer::Usage);
            }
            let stuck = self.stuck.iter().any(|(path, _)| *path == mount.path);
            if stuck { Answer::Stuck } else { Answer::NotAsked }
        }));
        let is_unasked = |answer: &Answer| matches!(answer, Answer::NotAsked);
        // Each turn gets through the list, or leaves a worker behind.
        while answers.iter().any(is_unasked)
            && self.stuck.len() < STUCK_LIMIT
            && Instant::now() < deadline
        {
            let Some(worker) = self.worker.take().or_else(|| Worker::hire(&self.ask)) else {
                return;
            };
            let unasked = mounts.iter().zip(&*answers).filter(|(_, answer)| is_unasked(answer));
            worker.give(unasked.map(|(mount, _)| Arc::clone(&mount.path)));
            let stuck = worker.wait(patience, deadline);
            let mut slots = answers.iter_mut().filter(|answer| is_unasked(answer));
            for answer in worker.desk.lock().answers.drain(..) {
                if let Some(slot) = slots.next() {
                    *slot = answer.map_or_else(Answer::Failed, Answer::Usage);
                }
            }
            let Some(mount) = stuck else {
                self.worker = Some(worker);
                return;
            };
            if let Some(slot) = slots.next() {
                *slot = Answer::Stuck;
            }
            self.stuck.push((mount, worker));
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        // Those that are stuck have been dismissed already.
        if let Some(worker) = &self.worker {
            worker.dismiss();
        }
    }
}

impl Worker {
    fn hire(ask: &Ask) -> Option<Self> {
        let desk = Arc::new(Desk::default());
        let (theirs, ask) = (Arc::clone(&desk), Arc::clone(ask));
        let name = "statfs".to_owned();
        let thread = Builder::new().name(name).spawn(move || work(&theirs, &*ask)).ok()?;
        Some(Self { desk, thread })
    }

    fn give(&self, questions: impl Iterator<Item = Arc<Path>>) {
        let mut state = self.desk.lock();
        state.answers.clear();
        state.questions.clear();
        state.questions.extend(questions);
        self.desk.changed.notify_all();
    }

    fn dismiss(&self) {
        self.desk.lock().dismissed = true;
        self.desk.changed.notify_all();
    }

    /// Waits until all is answered, or until a mount takes too long: that one is returned, and the
    /// worker dismissed. No mount may use up more than half of the time that is left, so that the
    /// others get their turn.
    fn wait(&self, patience: Duration, deadline: Instant) -> Option<Arc<Path>> {
        let begun = Instant::now();
        let mut state = self.desk.lock();
        while state.answers.len() < state.questions.len() {
            let asked = state.asked.unwrap_or(begun);
            let half = deadline.saturating_duration_since(asked) / 2;
            let left = (asked + patience.min(half)).saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.dismissed = true;
                let late = state.answers.len();
                return state.questions.get(late).cloned();
            }
            let woken = self.desk.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }
}

/// A worker's life.
fn work(desk: &Desk, ask: &(dyn Fn(&Path) -> io::Result<Usage> + Send + Sync)) {
    let mut state = desk.lock();
    while !state.dismissed {
        let Some(path) = state.questions.get(state.answers.len()).cloned() else {
            state.asked = None;
            desk.changed.notify_all();
            state = desk.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.asked = Some(Instant::now());
        drop(state);
        let answer = ask(&path);
        state = desk.lock();
        state.answers.push(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Long enough for a busy machine.
    const TIME: Duration = Duration::from_secs(20);
    const PATIENCE: Duration = Duration::from_millis(250);

    /// A file system whose mounts below `/dead` do not answer while the gate is shut.
    struct Fake {
        open: Mutex<bool>,
        opened: Condvar,
        calls: AtomicUsize,
        inside: AtomicUsize,
    }

    impl Fake {
        fn ask(self: Arc<Self>) -> Ask {
            Arc::new(move |path: &Path| {
                self.calls.fetch_add(1, Ordering::SeqCst);
                if path.starts_with("/dead") {
                    self.inside.fetch_add(1, Ordering::SeqCst);
                    let open = self.opened.wait_while(self.open.lock().unwrap(), |open| !*open);
                    drop(open);
                    self.inside.fetch_sub(1, Ordering::SeqCst);
                }
                if path.starts_with("/gone") {
                    return Err(io::Error::from(io::ErrorKind::NotFound));
                }
                Ok(Usage { size: 1.0, ..Usage::default() })
            })
        }
    }

    fn fake() -> Arc<Fake> {
        let (calls, inside) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Fake { open: Mutex::new(false), opened: Condvar::new(), calls, inside })
    }

    fn ask(prober: &mut Prober, mounts: &[&str], time: Duration) -> String {
        ask_patiently(prober, mounts, PATIENCE, time)
    }

    fn ask_patiently(
        prober: &mut Prober,
        mounts: &[&str],
        patience: Duration,
        time: Duration,
    ) -> String {
        let question = |mount: &&str| Question { path: Path::new(mount).into(), is_local: false };
        let mounts: Vec<_> = mounts.iter().map(question).collect();
        let mut answers = Vec::new();
        prober.ask(&mounts, patience, Instant::now() + time, &mut answers);
        let letter = |answer: &Answer| match answer {
            Answer::Usage(_) => 'u',
            Answer::Failed(_) => 'f',
            Answer::Stuck => 's',
            Answer::NotAsked => '-',
        };
        answers.iter().map(letter).collect()
    }

    #[test]
    fn all_answer() {
        let mut prober = Prober::new(fake().ask());
        for _ in 0..3 {
            assert_eq!(ask(&mut prober, &["/", "/gone", "/home"], TIME), "ufu");
        }
        assert_eq!(ask(&mut prober, &[], TIME), "");
        assert!(prober.stuck.is_empty());
    }

    #[test]
    fn a_dead_mount_costs_one_thread_and_waits_once() {
        let fake = fake();
        let mut prober = Prober::new(Arc::clone(&fake).ask());
        let mounts = ["/", "/dead/a", "/home", "/dead/b", "/srv"];
        let begun = Instant::now();
        assert_eq!(ask(&mut prober, &mounts, TIME), "ususu");
        assert!(begun.elapsed() >= 2 * PATIENCE && begun.elapsed() < TIME / 2);
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(ask(&mut prober, &mounts, TIME), "ususu");
        }
        assert!(begun.elapsed() < 20 * PATIENCE);
        assert_eq!(fake.inside.load(Ordering::SeqCst), 2);
        assert_eq!(prober.stuck.len(), 2);
        assert_eq!(fake.calls.load(Ordering::SeqCst), 3 + 2 + 20 * 3);

        *fake.open.lock().unwrap() = true;
        fake.opened.notify_all();
        let begun = Instant::now();
        while ask(&mut prober, &mounts, TIME) != "uuuuu" {
            assert!(begun.elapsed() < TIME);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(prober.stuck.is_empty());
    }

    #[test]
    fn the_deadline_holds() {
        let mut prober = Prober::new(fake().ask());
        let begun = Instant::now();
        let (patience, time) = (10 * TIME, Duration::from_secs(2));
        let mounts = ["/dead/a", "/dead/b", "/", "/home"];
        let shown = ask_patiently(&mut prober, &mounts, patience, time);
        assert!(begun.elapsed() < patience);
        assert!(shown.starts_with('s'), "{shown}");
        assert_eq!(ask(&mut prober, &["/"], Duration::ZERO), "-");
    }

    #[test]
    fn the_kernel_answers() {
        let usage = statfs(Path::new("/proc")).unwrap();
        assert_eq!(usage.size, 0.0);
        assert!(statfs(Path::new("/nonexistent")).is_err());
    }
}
