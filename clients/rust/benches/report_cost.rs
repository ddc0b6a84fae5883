//! What reporting costs, in CPU time of the reporting thread: `cargo bench -p musterd-client`.
//!
//! Each figure is the least of several rounds, so that what else the machine does at the time does not
//! count; the median stands beside it. Two readings of a clock are the floor of any request that is
//! timed: those of the system's clock are printed, measured in the same run. Beside them is what the
//! `prometheus` crate takes for the same, in its cheapest form (labels looked up beforehand): a
//! counter by status, a histogram of durations and a gauge of requests in flight, which is gone when
//! its process is; and what it takes to hand the same to a bridge for statsd, count and duration in one
//! datagram, without what the bridge takes and whether or not it arrives.

use musterd_client::{Agent, Status};
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts};
use rustix::time::{ClockId, clock_gettime};
use std::cell::RefCell;
use std::hint::black_box;
use std::io::Write;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const ROUNDS: usize = 25;
const EVENTS: u32 = 200_000;

fn main() {
    let agent = Agent::builder("bench").socket("/nonexistent/musterd.sock").start();
    // The client measures the rate of the processor's counter meanwhile.
    let until = Instant::now() + Duration::from_millis(100);
    while Instant::now() < until {
        agent.begin().success();
    }

    let clock = cost(|| {
        black_box(clock_gettime(ClockId::Monotonic));
        black_box(clock_gettime(ClockId::Monotonic));
    });
    let success = cost(|| agent.begin().success());
    let error = cost(|| agent.begin().error("network"));
    let duration = Duration::from_millis(7);
    let record = cost(|| agent.record(Status::Success, black_box(duration), None));
    let peer = peer();
    let datagram = datagram().unwrap_or(Cost { least: f64::NAN, median: f64::NAN });

    let line = |what: &str, cost: Cost| {
        println!("{what:44} {:6.1} ns (median {:.1})", cost.least, cost.median);
    };
    line("two readings of the system's clock", clock);
    line("a request begun and ended", success);
    line("a request begun and failed", error);
    line("a finished request, timed elsewhere", record);
    line("prometheus: counter, histogram, gauge, timed", peer);
    line("statsd: a datagram, timed", datagram);
    println!("a request against prometheus                 {:6.2}", success.least / peer.least);
    println!("a request against statsd                     {:6.2}", success.least / datagram.least);
}

/// What a datagram takes that says what statsd's clients say of a request; nobody reads it.
fn datagram() -> std::io::Result<Cost> {
    let bridge = UdpSocket::bind("127.0.0.1:0")?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(bridge.local_addr()?)?;
    let text = RefCell::new(Vec::new());
    Ok(cost(|| {
        let begun = Instant::now();
        let mut text = text.borrow_mut();
        text.clear();
        let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
        let _ = write!(text, "requests:1|c\nrequest_duration:{milliseconds:.3}|ms");
        // A full queue refuses it, as it would a bridge's.
        let _ = black_box(socket.send(&text));
    }))
}

/// What the `prometheus` crate takes for a request.
fn peer() -> Cost {
    let options = Opts::new("requests_total", "Finished requests.");
    let requests = IntCounterVec::new(options, &["status"]).ok();
    let success = requests.map(|requests| requests.with_label_values(&["success"]));
    let options = HistogramOpts::new("request_duration_seconds", "Durations of requests.");
    let bounds = musterd_client::layout::DURATION_BOUNDS.to_vec();
    let durations = Histogram::with_opts(options.buckets(bounds)).ok();
    let in_flight = IntGauge::new("requests_in_flight", "Requests in flight.").ok();
    let (Some(success), Some(durations), Some(in_flight)) = (success, durations, in_flight) else {
        return Cost { least: f64::NAN, median: f64::NAN };
    };
    cost(|| {
        in_flight.inc();
        let begun = Instant::now();
        durations.observe(begun.elapsed().as_secs_f64());
        success.inc();
        in_flight.dec();
    })
}

/// Nanoseconds of this thread's CPU time that an event takes.
#[derive(Clone, Copy)]
struct Cost {
    least: f64,
    median: f64,
}

fn cost(event: impl Fn()) -> Cost {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = thread_time();
            for _ in 0..EVENTS {
                event();
            }
            (thread_time() - begun) / f64::from(EVENTS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let at = |place: usize| rounds.get(place).copied().unwrap_or(f64::NAN);
    Cost { least: at(0), median: at(ROUNDS / 2) }
}

#[allow(clippy::cast_precision_loss)]
fn thread_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
