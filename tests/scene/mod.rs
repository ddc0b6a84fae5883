//! For tests of supervision: a run directory, a supervisor that runs real processes in it, and what it reports.
//! Every wait is for a condition, with a limit that a slow machine does not reach.
// Several tests share it, none of them uses all of it; a test fails by panicking.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::panic)]

use musterd::supervisor::Supervisor;
use musterd::supervisor::carrier::Carrier;
use musterd::supervisor::limits::Limits;
use musterd::supervisor::options::{Definition, Launch};
use musterd::supervisor::policy::{Policy, Reason, Restart};
use musterd::supervisor::report::{Report, Reports, What};
use std::future::pending;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

pub const LIMIT: Duration = Duration::from_secs(60);

/// Everything that any of these tests has logged.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct ToLog;

impl Write for ToLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn log_lines(containing: &str) -> Vec<String> {
    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    log.lines().filter(|line| line.contains(containing)).map(str::to_owned).collect()
}

/// A run directory of its own, a supervisor and what it reports.
pub struct Scene {
    pub dir: PathBuf,
    pub supervisor: Supervisor,
    pub reports: UnboundedReceiver<Report>,
}

impl Scene {
    pub fn new() -> Self {
        static LOGGING: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        LOGGING
            .call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| ToLog).init());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("musterd-supervisor-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self::in_dir(dir)
    }

    pub fn in_dir(dir: PathBuf) -> Self {
        let (sender, reports) = Reports::channel();
        let run = dir.join("run");
        let socket = Path::new("/test/agent.sock");
        let supervisor = Supervisor::new(&run, socket, Carrier::Process, sender);
        Self { dir, supervisor, reports }
    }

    /// The daemon ends, and the next begins.
    pub async fn next_daemon(self) -> Self {
        self.supervisor.detach().await;
        Self::in_dir(self.dir)
    }

    pub async fn end(self) {
        self.supervisor.shutdown(pending()).await;
        std::fs::remove_dir_all(&self.dir).unwrap();
    }

    /// An agent that runs a shell script in the scene's directory.
    pub fn agent(&self, name: &str, script: &str) -> Definition {
        let milliseconds = Duration::from_millis;
        Definition {
            name: name.into(),
            launch: Launch {
                program: "sh".to_owned(),
                arguments: vec!["-c".to_owned(), script.to_owned()],
                directory: self.dir.clone(),
                environment: [("GREETING".to_owned(), "hello".to_owned())].into(),
                user: None,
                limits: Limits::default(),
            },
            policy: Policy {
                restart: Restart::OnFailure,
                backoff_initial: milliseconds(20),
                backoff_max: milliseconds(60),
                backoff_reset: LIMIT,
                start_limit: 0,
                start_interval: LIMIT,
                stop_grace: LIMIT,
            },
            autostart: true,
        }
    }

    /// The next report other than of dropped output.
    pub async fn next(&mut self) -> What {
        timeout(LIMIT, self.reports.recv()).await.unwrap().unwrap().what
    }

    pub async fn started(&mut self) -> u32 {
        match self.next().await {
            What::Started { pid, .. } => pid,
            other => panic!("wanted a start: {other:?}"),
        }
    }

    pub async fn exited(&mut self) -> (Reason, String, Option<Duration>) {
        match self.next().await {
            What::Exited { reason, detail, restarting_in } => (reason, detail, restarting_in),
            other => panic!("wanted an exit: {other:?}"),
        }
    }

    pub async fn state(&self, agent: &str, wanted: &str) {
        let statuses = self.supervisor.statuses();
        until(|| statuses.borrow().get(agent).is_some_and(|status| status.state == wanted)).await;
    }

    /// What a process has written to a file of the scene's directory.
    pub async fn file(&self, name: &str) -> String {
        let path = self.dir.join(name);
        let read = || std::fs::read_to_string(&path).unwrap_or_default();
        until(|| read().ends_with('\n')).await;
        read()
    }

    pub async fn pid_in(&self, name: &str) -> u32 {
        self.file(name).await.trim().parse().unwrap()
    }
}

pub async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, wait).await.expect("the condition holds in time");
}

/// Whether a process lives; one that nobody has waited for does not.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
