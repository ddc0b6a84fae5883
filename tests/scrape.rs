//! Concurrent scrapes: they share passes, are bounded, and survive a sampler that hangs.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod web;

use bytes::Bytes;
use musterd::exposition::Format;
use musterd::host::Collector;
use musterd::http::{Refusal, Request, Scraper};
use musterd::instruments::Instruments;
use musterd::sampler::{Encoding, Filter, Sampler};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use web::{FakeFill, fake, good, own, run, until};

const LONG: Duration = Duration::from_secs(60);
const TEXT: Encoding = Encoding { format: Format::Text, gzip: false };

/// A collector that counts its calls and waits for leave to return, whatever the deadline.
struct Gate {
    calls: Arc<AtomicU32>,
    leave: mpsc::Sender<()>,
}

impl Gate {
    fn new() -> (Self, Box<dyn Collector>) {
        let (leave, wait) = mpsc::channel::<()>();
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let collector = fake(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            // The test's end is leave too.
            let _ = wait.recv();
            Ok(())
        });
        (Self { calls, leave }, collector)
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

struct Room {
    scraper: Rc<Scraper>,
    instruments: Instruments,
}

impl Room {
    fn new(
        deadline: Duration,
        max_waiting: usize,
        collectors: Vec<(&'static str, Box<dyn Collector>)>,
    ) -> Self {
        let instruments = Instruments::new(prometheus::Registry::new()).unwrap();
        let fill = Rc::new(FakeFill(instruments.clone()));
        let sampler = Sampler::start(collectors, None, &web::nowhere()).unwrap();
        let scraper =
            Rc::new(Scraper::new(sampler, fill, instruments.clone(), deadline, max_waiting));
        let driver = Rc::clone(&scraper);
        spawn_local(async move { driver.run().await });
        Self { scraper, instruments }
    }

    /// Begins a scrape and lets it take its place among those that wait.
    async fn scrape(
        &self,
        query: &str,
        encoding: Encoding,
        timeout: Option<Duration>,
    ) -> JoinHandle<Result<Bytes, Refusal>> {
        let filter = Filter::parse(query, &self.scraper.names()).unwrap();
        let scraper = Rc::clone(&self.scraper);
        let request = Request { filter, encoding, timeout };
        let task = spawn_local(async move { scraper.scrape(request).await });
        yield_now().await;
        task
    }

    fn refused(&self, reason: &str) -> f64 {
        let series = format!("musterd_refused_total{{reason=\"{reason}\",what=\"scrapes\"}}");
        own(&self.instruments, &series)
    }
}

fn shows(body: &Bytes, line: &str) -> bool {
    std::str::from_utf8(body).unwrap().lines().any(|seen| seen == line)
}

#[test]
fn those_that_wait_share_the_next_pass() {
    run(async {
        let (gate, slow) = Gate::new();
        let room = Room::new(LONG, 16, vec![("slow", slow), good("good")]);
        let first = room.scrape("", TEXT, None).await;
        until(|| gate.calls() == 1).await;
        let mut waiting = Vec::new();
        for gzip in [false, true, false, false, true] {
            let encoding = Encoding { format: Format::Text, gzip };
            waiting.push((gzip, room.scrape("", encoding, None).await));
        }
        let other = room.scrape("exclude[]=good", TEXT, None).await;
        for _ in 0..3 {
            gate.leave.send(()).unwrap();
        }
        first.await.unwrap().unwrap();
        let mut plain = Vec::new();
        for (gzip, task) in waiting {
            let body = task.await.unwrap().unwrap();
            assert_eq!(body.starts_with(&[0x1f, 0x8b]), gzip);
            if !gzip {
                plain.push(body);
            }
        }
        assert!(plain.iter().all(|body| body.as_ptr() == plain[0].as_ptr()), "rendered once");
        let body = other.await.unwrap().unwrap();
        assert!(!shows(&body, "node_scrape_collector_success{collector=\"good\"} 1"));
        assert_eq!(gate.calls(), 3, "one pass for the first, one for the five, one for the other");
        assert_eq!(own(&room.instruments, "musterd_scrape_pass_duration_seconds_count"), 3.0);
    });
}

#[test]
fn those_that_wait_are_bounded() {
    run(async {
        let (gate, slow) = Gate::new();
        let room = Room::new(LONG, 2, vec![("slow", slow)]);
        let first = room.scrape("", TEXT, None).await;
        until(|| gate.calls() == 1).await;
        let second = room.scrape("", TEXT, None).await;
        let third = room.scrape("", TEXT, None).await;
        let refused = room.scrape("", TEXT, None).await.await.unwrap();
        assert_eq!(refused, Err(Refusal::Busy(2)));
        assert_eq!(room.refused("limit"), 1.0);
        // Whoever goes away makes room.
        third.abort();
        assert!(third.await.unwrap_err().is_cancelled());
        let fourth = room.scrape("", TEXT, None).await;
        for _ in 0..2 {
            gate.leave.send(()).unwrap();
        }
        for task in [first, second, fourth] {
            task.await.unwrap().unwrap();
        }
        assert_eq!(gate.calls(), 2);
    });
}

#[test]
fn a_hung_collector_costs_one_wait_and_nothing_else() {
    run(async {
        let (gate, hung) = Gate::new();
        let room = Room::new(Duration::from_secs(1), 16, vec![("hung", hung), good("good")]);
        for _ in 0..3 {
            let body = room.scrape("", TEXT, None).await.await.unwrap().unwrap();
            assert!(shows(&body, "node_scrape_collector_success{collector=\"hung\"} 0"));
            assert!(shows(&body, "node_scrape_collector_success{collector=\"good\"} 1"));
            assert!(shows(&body, "given{by=\"good\"} 1"));
        }
        assert_eq!(gate.calls(), 1, "it is not begun again while it hangs");
        // The first call, and all those to come.
        drop(gate.leave);
        loop {
            let body = room.scrape("", TEXT, None).await.await.unwrap().unwrap();
            if shows(&body, "node_scrape_collector_success{collector=\"hung\"} 1") {
                break;
            }
        }
    });
}

#[test]
fn a_sampler_that_does_not_answer_is_refused_in_time_with_a_reason() {
    run(async {
        let (gate, slow) = Gate::new();
        let (also, slower) = Gate::new();
        let deadline = Duration::from_secs(1);
        let room = Room::new(deadline, 16, vec![("slow", slow), ("slower", slower)]);
        let refused = room.scrape("", TEXT, None).await.await.unwrap();
        assert_eq!(refused, Err(Refusal::Stuck(Some("slow"))));
        assert_eq!((gate.calls(), also.calls()), (1, 1), "one for each attempt");
        assert_eq!(room.refused("stuck"), 1.0);
        let body = room.scrape("", TEXT, None).await.await.unwrap().unwrap();
        assert!(shows(&body, "node_scrape_collector_success{collector=\"slower\"} 0"));
    });
}

#[test]
fn who_has_named_a_time_is_answered_within_it() {
    run(async {
        let (gate, slow) = Gate::new();
        let room = Room::new(LONG, 16, vec![("slow", slow), good("good")]);
        let patient = room.scrape("", TEXT, None).await;
        until(|| gate.calls() == 1).await;
        let start = Instant::now();
        let hasty = room.scrape("", TEXT, Some(Duration::from_secs(1))).await;
        assert_eq!(hasty.await.unwrap(), Err(Refusal::Late(Duration::from_millis(900))));
        assert!(start.elapsed() < LONG / 2);
        assert_eq!(room.refused("late"), 1.0);
        gate.leave.send(()).unwrap();
        patient.await.unwrap().unwrap();
        // With the pass its own, a hung collector leaves it time for a second attempt.
        let timeout = Some(Duration::from_secs(8));
        let body = room.scrape("", TEXT, timeout).await.await.unwrap().unwrap();
        assert!(shows(&body, "node_scrape_collector_success{collector=\"good\"} 1"));
        assert!(start.elapsed() < LONG / 2);
    });
}

#[test]
fn other_sources_take_over_after_a_reload() {
    run(async {
        let room = Room::new(LONG, 16, vec![good("old")]);
        room.scrape("", TEXT, None).await.await.unwrap().unwrap();
        room.scraper
            .reconfigure(Sampler::start(vec![good("new")], None, &web::nowhere()).unwrap(), LONG);
        assert_eq!(room.scraper.names(), ["agents", "musterd", "new"]);
        let body = room.scrape("", TEXT, None).await.await.unwrap().unwrap();
        assert!(shows(&body, "given{by=\"new\"} 1") && !shows(&body, "given{by=\"old\"} 1"));
    });
}
