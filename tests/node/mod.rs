//! For tests: a daemon of this build in a process of its own, with a folder and a port of its own.
// Several tests share it, none of them uses all of it; a test may unwrap.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used)]
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything takes on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that goes with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("musterd-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A daemon, killed when it is dropped.
pub struct Node {
    pub folder: Folder,
    pub address: SocketAddr,
    /// What its environment has besides this process's.
    pub environment: Vec<(&'static str, PathBuf)>,
    child: Option<Child>,
    log: Arc<Mutex<String>>,
}

impl Node {
    /// Starts one with `more` after its own settings, and waits until it is ready.
    pub fn start(more: &str) -> Self {
        let mut node = Self::unstarted();
        node.configure(more);
        node.launch();
        node
    }

    /// One that is to be configured and launched.
    pub fn unstarted() -> Self {
        let (folder, address) = (Folder::new(), free_address());
        Self { folder, address, environment: vec![], child: None, log: Arc::default() }
    }

    /// Its settings, and `more`. How full the machine is does not make it unhealthy.
    pub fn configure(&self, more: &str) {
        let folder = self.folder.0.display();
        let address = self.address;
        let text = format!(
            "http.listen = ['{address}']\n\
             paths.run = '{folder}/run'\npaths.state = '{folder}/state'\n\
             agents.socket = '{folder}/agent.sock'\n\
             health = {{ memory_unhealthy = 100, disk_unhealthy = 100 }}\n{more}"
        );
        fs::write(self.config(), text).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.folder.0.join("musterd.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.0.join("agent.sock")
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
        command.arg("run").arg("--config").arg(self.config());
        command.envs(self.environment.iter().cloned());
        command
    }

    pub fn launch(&mut self) {
        let mut child = self.command().stderr(Stdio::piped()).spawn().unwrap();
        let (stderr, log) = (child.stderr.take().unwrap(), self.log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *log.lock().unwrap() += &(line + "\n");
            }
        });
        self.adopt(child);
    }

    /// As [`Node::launch`], with its log going elsewhere.
    pub fn launch_with_log(&mut self, log: impl Into<Stdio>) {
        let child = self.command().stderr(log).spawn().unwrap();
        self.adopt(child);
    }

    fn adopt(&mut self, child: Child) {
        self.child = Some(child);
        until("the daemon is ready", || self.get("/-/ready").is_some_and(|body| body.0 == 200));
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: &str) {
        send(self.pid(), signal);
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for it to end by itself: its exit code, or minus the signal.
    pub fn wait(&mut self) -> i32 {
        let status = self.child.take().unwrap().wait().unwrap();
        status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn until_logged(&self, text: &str) {
        until(text, || self.log().contains(text));
    }

    /// Status and body; `None` while nobody listens.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    pub fn metrics(&self) -> Metrics {
        let (status, body) = self.get("/metrics").unwrap();
        assert_eq!(status, 200, "{body}");
        Metrics(body)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
    }
}

/// A scrape.
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of a family's series whose labels hold all of `parts`; `None` when there is none.
    pub fn sum(&self, family: &str, parts: &[&str]) -> Option<f64> {
        let values: Vec<f64> = self
            .0
            .lines()
            .filter_map(|line| {
                let rest = line.strip_prefix(family)?;
                let (labels, value) = rest.rsplit_once(' ')?;
                let whole = labels.is_empty() || labels.starts_with('{');
                (whole && parts.iter().all(|part| labels.contains(part)))
                    .then(|| value.parse().unwrap())
            })
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }
}

/// An address that nobody listens on: on a loopback host of its own, so that no other test is
/// given the same before the daemon has bound it.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let host = NEXT.fetch_add(1, Ordering::Relaxed);
    let host = std::net::Ipv4Addr::new(127, 1 + high % 250, low, u8::try_from(host).unwrap());
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

pub fn send(pid: u32, signal: &str) {
    let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "never came about: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
