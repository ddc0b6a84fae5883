//! What reading the ledgers of 1,000 agents with 200 series each costs, against two floors: a plain copy of
//! their memory, and of what is written in them alone. CPU time of this thread, medians; and whether it
//! matters how much has happened between two scrapes.
//!
//!     cargo bench --bench agents
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a benchmark fails by panicking

#[path = "../tests/records/mod.rs"]
mod records;

use musterd::agent::export;
use musterd::agent::peer::Peer;
use musterd::agent::protocol::{Hello, Mode};
use musterd::agent::registry::Registry;
use musterd::exposition::{Format, encode};
use musterd::metric::Batch;
use musterd_client::layout::{Shape, header, names};
use musterd_client::memory::Memory;
use records::record;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

const AGENTS: u32 = 1000;
const SERIES: usize = 200;
const ROUNDS: usize = 15;

fn main() {
    let mut registry = Registry::new(options());
    let agents: Vec<_> = (0..AGENTS).map(|number| Agent::start(&mut registry, number)).collect();
    let used: usize = agents.iter().map(Agent::used).sum();
    let mut desk = Desk { registry, batch: Batch::new(), out: Vec::new(), at: 2 };
    for _ in 0..3 {
        agents.iter().for_each(|agent| agent.events(SERIES));
        desk.read();
    }
    let samples = desk.batch.len();
    println!("{AGENTS} agents, {SERIES} series each: {samples} samples, {used} bytes of ledgers");
    // In one run with the rest, since the machine may be another's, too.
    let [whole, written] = [Agent::size, Agent::used].map(|size| {
        let mut copy = vec![0; agents.iter().map(size).sum::<usize>() / 8];
        median(|| cpu_time(|| copy_all(&agents, size, &mut copy)))
    });
    println!("  a copy of their memory       {whole:8.2} ms");
    println!("  a copy of what is written    {written:8.2} ms");
    for (title, each) in [
        ("nothing has happened", 0),
        ("10 events of each agent", 10),
        ("each series has changed", SERIES),
        ("10 million events", 10_000_000 / AGENTS as usize),
    ] {
        let happen = || agents.iter().for_each(|agent| agent.events(each));
        let read = median(|| {
            happen();
            cpu_time(|| desk.read())
        });
        let scrape = median(|| {
            happen();
            cpu_time(|| desk.scrape())
        });
        let [to_whole, to_written] = [whole, written].map(|floor| [read / floor, scrape / floor]);
        println!(
            "  {title:<28} {read:8.2} ms, ratios {:.2} and {:.2}; \
             rendered {scrape:8.2} ms, {:.2} and {:.2}",
            to_whole[0], to_written[0], to_whole[1], to_written[1]
        );
    }
    agents.iter().for_each(|agent| agent.events(SERIES));
    let allocations = allocation_counter::measure(|| desk.read()).count_total as f64;
    println!("  {:.4} allocations a series", allocations / f64::from(AGENTS) / SERIES as f64);
}

fn options() -> musterd::agent::options::Options {
    let mut options = musterd::config::parse(&[]).unwrap().agents;
    options.max_ledgers_per_uid = AGENTS as usize;
    options
}

/// The daemon's side.
struct Desk {
    registry: Registry,
    batch: Batch,
    out: Vec<u8>,
    at: u64,
}

impl Desk {
    fn read(&mut self) {
        self.at += 15;
        let now = Duration::from_secs(self.at);
        self.registry.refresh(now);
        self.batch.clear();
        export::fill(&self.registry, now, &mut self.batch);
    }

    fn scrape(&mut self) {
        self.read();
        self.out.clear();
        encode(&self.batch, Format::Text, &mut self.out);
    }
}

/// One agent's side: its ledger, and where its series have their values.
struct Agent {
    memory: Memory,
    series: Vec<Series>,
}

enum Series {
    Counter(usize),
    Gauge(usize),
    /// With how many exponential buckets.
    Histogram(usize, usize),
}

impl Agent {
    fn start(registry: &mut Registry, number: u32) -> Self {
        let hello = Hello {
            agent: format!("agent-{number:04}"),
            client: "bench".to_owned(),
            version: String::new(),
            framework: String::new(),
            heartbeat: None,
            mode: Mode::Ledger,
        };
        let peer = Peer { uid: 0, gid: 0, pid: Some(number + 1), pidfd: None, began: None };
        let welcome = registry.connect(hello, &peer, None, Duration::from_secs(1)).unwrap();
        let memory = Memory::map(welcome.file.unwrap(), 1 << 20).unwrap();
        let mut agent = Self { memory, series: Vec::new() };
        agent.declare();
        assert_eq!(agent.series.len(), SERIES);
        agent
    }

    /// What agents have, and more counters and gauges of their own than most.
    fn declare(&mut self) {
        for status in ["success", "error", "timeout", "cancelled"] {
            self.number(1, names::REQUESTS, &[("status", status)]);
        }
        self.number(1, names::ERRORS, &[("category", "other")]);
        self.histogram(names::DURATION, &[], &Shape::durations());
        for model in ["large-model-3", "small-model-3"] {
            for kind in ["input", "output"] {
                self.number(1, names::TOKENS, &[("model", model), ("type", kind)]);
            }
            let labels = [("model", model), ("outcome", "success")];
            self.histogram(names::LLM_DURATION, &labels, &Shape::calls());
        }
        for tool in ["search", "browser", "python", "files"] {
            let labels = [("tool", tool), ("outcome", "success")];
            self.histogram(names::TOOL_DURATION, &labels, &Shape::calls());
        }
        for place in 0..140 {
            let name = format!("billing_things_{}_total", place / 10);
            self.number(1, &name, &[("customer", &format!("customer-{}", place % 10))]);
        }
        for place in 0..38 {
            let name = format!("billing_queue_depth_{}", place / 2);
            self.number(2, &name, &[("queue", &format!("queue-{}", place % 2))]);
        }
        for place in 0..6 {
            let shape = Shape { native_count: 0, ..Shape::durations() };
            let queue = format!("queue-{place}");
            self.histogram("billing_wait_seconds", &[("queue", &queue)], &shape);
        }
    }

    fn number(&mut self, kind: u8, name: &str, labels: &[(&str, &str)]) {
        let values = self.append(&record(kind, name, labels, None, ["What it counts.", ""]));
        let series = if kind == 2 { Series::Gauge(values) } else { Series::Counter(values) };
        self.series.push(series);
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], shape: &Shape) {
        let values = self.append(&record(3, name, labels, Some(shape), ["How long.", ""]));
        self.series.push(Series::Histogram(values, shape.native_count as usize));
    }

    fn append(&self, (bytes, values): &(Vec<u8>, usize)) -> usize {
        let start = self.used();
        for (index, word) in bytes.chunks_exact(8).enumerate() {
            self.memory.store(start + 8 * index, u64::from_le_bytes(word.try_into().unwrap()));
        }
        self.memory.publish(header::RECORDS_END, (start + bytes.len()) as u64);
        start + values
    }

    fn size(&self) -> usize {
        self.memory.size()
    }

    fn used(&self) -> usize {
        usize::try_from(self.memory.load(header::RECORDS_END)).unwrap()
    }

    /// So many events, one series after the other.
    fn events(&self, count: usize) {
        let add = |at: usize| self.memory.store(at, self.memory.load(at) + 1);
        let add_half = |at: usize| {
            let sum = f64::from_bits(self.memory.load(at)) + 0.5;
            self.memory.store(at, sum.to_bits());
        };
        for event in 0..count {
            match self.series[event % SERIES] {
                Series::Counter(at) => add(at),
                Series::Gauge(at) => add_half(at),
                Series::Histogram(at, native) => {
                    add_half(at);
                    if native > 0 {
                        add(at + 8 * (2 + 60 + event % 40));
                    }
                    add(at + 8 * (2 + native + event % 7));
                }
            }
        }
    }
}

fn copy_all(agents: &[Agent], size: fn(&Agent) -> usize, copy: &mut [u64]) {
    let mut place = 0;
    for agent in agents {
        let words = &agent.memory.words()[..size(agent) / 8];
        for (to, word) in copy[place..].iter_mut().zip(words) {
            *to = word.load(std::sync::atomic::Ordering::Relaxed);
        }
        place += words.len();
    }
    black_box(copy);
}

/// Milliseconds of CPU time that it takes.
fn cpu_time(work: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
    };
    let begun = now();
    work();
    now() - begun
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
