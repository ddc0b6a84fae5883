//! A server with a fake daemon behind it, and a client that sends what it is told to.
#![allow(dead_code)]

use musterd::host::root::Root;
use musterd::host::{Collector, Error, Pass};
use musterd::http::health::{Check, Report, Status, SystemMetrics};
use musterd::http::{self, Fill, Node, Options, Scraper, Site};
use musterd::instruments::Instruments;
use musterd::metric::{Batch, Family};
use musterd::process::AgentRoot;
use musterd::sampler::{AGENTS, Filter, Sampler};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::LocalOptions;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_local};

pub(crate) const AGENT_UP: Family =
    Family::gauge("agent_up", &["agent"], "Whether the agent lives.");
pub(crate) const GIVEN: Family = Family::gauge("given", &["by"], "What a fake collector gives.");

/// Runs a test on a runtime like the daemon's; fails it rather than let it hang.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(120), test).await };
    runtime.block_on(limited).expect("the test hangs");
}

struct Fake<F>(F);

impl<F: FnMut(&mut Pass<'_>) -> Result<(), Error> + Send> Collector for Fake<F> {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        (self.0)(pass)
    }
}

pub(crate) fn fake(
    run: impl FnMut(&mut Pass<'_>) -> Result<(), Error> + Send + 'static,
) -> Box<dyn Collector> {
    Box::new(Fake(run))
}

pub(crate) fn good(name: &'static str) -> (&'static str, Box<dyn Collector>) {
    let collect = fake(move |pass| {
        pass.batch.begin(&GIVEN);
        pass.batch.sample(&[("by", name)], 1.0);
        Ok(())
    });
    (name, collect)
}

pub(crate) struct FakeFill(pub(crate) Instruments);

impl Fill for FakeFill {
    fn fill(&self, filter: &Filter, batch: &mut Batch) {
        if filter.wants(AGENTS) {
            batch.begin(&AGENT_UP);
            batch.sample(&[("agent", "solver")], 1.0);
        }
        if filter.wants(http::OWN) {
            self.0.fill(batch);
        }
    }

    fn agent_roots(&self) -> Vec<AgentRoot> {
        vec![AgentRoot { name: "solver".to_owned(), pid: 1, start_time: None }]
    }

    fn passed(&self, _: usize, _: Duration) {}
}

/// A host without a kernel.
pub(crate) fn nowhere() -> Arc<Root> {
    let path = std::path::PathBuf::from("/nonexistent");
    let (procfs, sysfs, rootfs) = (path.clone(), path.clone(), path.clone());
    Arc::new(Root { procfs, sysfs, rootfs, udev_data: path })
}

pub(crate) struct FakeNode {
    pub(crate) status: RefCell<Status>,
    pub(crate) ready: RefCell<Result<(), String>>,
    pub(crate) agents: RefCell<serde_json::Value>,
}

impl Node for FakeNode {
    fn health(&self) -> Report {
        let check = Check { status: *self.status.borrow(), message: "as told".to_owned() };
        let checks = BTreeMap::from([("fake".to_owned(), check)]);
        let metrics = SystemMetrics::default();
        Report::new(SystemTime::now(), Duration::from_secs(1), metrics, checks, BTreeMap::new())
    }

    fn agents(&self) -> serde_json::Value {
        self.agents.borrow().clone()
    }

    fn ready(&self) -> Result<(), String> {
        self.ready.borrow().clone()
    }
}

/// What a test may set: patient values that it makes shorter where it wants to see them work.
pub(crate) fn options() -> Options {
    let long = Duration::from_secs(60);
    Options {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        max_connections: 64,
        max_scrapes: 16,
        header_timeout: long,
        write_timeout: long,
        idle_timeout: long,
        drain_timeout: long,
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) instruments: Instruments,
    pub(crate) node: Rc<FakeNode>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(
        options: Options,
        deadline: Duration,
        collectors: Vec<(&'static str, Box<dyn Collector>)>,
    ) -> Self {
        let instruments = Instruments::new(prometheus::Registry::new()).unwrap();
        let node = Rc::new(FakeNode {
            status: RefCell::default(),
            ready: RefCell::new(Ok(())),
            agents: RefCell::new(serde_json::json!([])),
        });
        let scraper = Scraper::new(
            Sampler::start(collectors, None, &nowhere()).unwrap(),
            Rc::new(FakeFill(instruments.clone())),
            instruments.clone(),
            deadline,
            options.max_scrapes,
        );
        let site =
            Site { node: Rc::<FakeNode>::clone(&node), scraper, instruments: instruments.clone() };
        let listeners = http::bind(&options.listen).await.unwrap();
        let address = listeners[0].local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = spawn_local(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            http::serve(listeners, &options, Rc::new(site), shutdown).await;
        });
        Self { address, instruments, node, stop: Some(stop), task }
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub(crate) async fn ended(self) {
        self.task.await.unwrap();
    }

    pub(crate) async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), pending: Vec::new() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.connect().await.get(path).await
    }

    /// The value of one of the daemon's own series, or 0.
    pub(crate) fn own(&self, series: &str) -> f64 {
        own(&self.instruments, series)
    }
}

pub(crate) fn own(instruments: &Instruments, series: &str) -> f64 {
    let mut batch = Batch::new();
    instruments.fill(&mut batch);
    let mut out = Vec::new();
    musterd::exposition::encode(&batch, musterd::exposition::Format::Text, &mut out);
    let text = String::from_utf8(out).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// Waits until something is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pending: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    /// Says that nothing more will be asked.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.request("GET", path, "").await
    }

    pub(crate) async fn request(&mut self, method: &str, path: &str, headers: &str) -> Reply {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await;
        self.reply(method != "HEAD").await
    }

    /// Sends a request that may be refused before it is read whole; the status.
    pub(crate) async fn request_head(&mut self, method: &str, path: &str, headers: &str) -> u16 {
        let _ = self
            .stream
            .write_all(format!("{method} {path} HTTP/1.1\r\n{headers}\r\n").as_bytes())
            .await;
        self.reply(false).await.status
    }

    pub(crate) async fn reply(&mut self, has_body: bool) -> Reply {
        let end = loop {
            if let Some(end) = self.pending.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.more().await, "closed before the head of an answer");
        };
        let head = String::from_utf8(self.pending.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new() };
        if has_body {
            let length = reply.header("content-length").unwrap().parse().unwrap();
            while self.pending.len() < length {
                assert!(self.more().await, "closed before the end of an answer");
            }
            reply.body = self.pending.drain(..length).collect();
        }
        reply
    }

    async fn more(&mut self) -> bool {
        self.stream.read_buf(&mut self.pending).await.unwrap() > 0
    }

    /// Reads until the server closes the connection, in whatever way; the number of bytes.
    pub(crate) async fn closed(mut self) -> usize {
        while matches!(self.stream.read_buf(&mut self.pending).await, Ok(1..)) {}
        self.pending.len()
    }
}
