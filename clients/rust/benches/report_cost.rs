//! What reporting costs, in CPU time of the reporting thread: `cargo bench -p musterd-client`.
//!
//! Two readings of the clock are the floor of any request that is timed; their cost is printed
//! beside it, measured in the same run.

use musterd_client::{Agent, Status};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

const ROUNDS: usize = 9;
const EVENTS: u32 = 1_000_000;

fn main() {
    let agent = Agent::builder("bench").socket("/nonexistent/musterd.sock").start();
    let clock = median(|| {
        black_box(clock_gettime(ClockId::Monotonic));
        black_box(clock_gettime(ClockId::Monotonic));
    });
    let success = median(|| agent.begin().success());
    let error = median(|| agent.begin().error("network"));
    let duration = Duration::from_millis(7);
    let record = median(|| agent.record(Status::Success, black_box(duration), None));
    println!("two readings of the clock          {clock:6.1} ns");
    println!(
        "a request begun and ended          {success:6.1} ns ({:.2} × the clock)",
        success / clock
    );
    println!("a request begun and failed         {error:6.1} ns");
    println!("a finished request, timed elsewhere {record:5.1} ns");
}

/// Nanoseconds of this thread's CPU time an event takes, the median of several rounds.
fn median(event: impl Fn()) -> f64 {
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
    rounds.get(ROUNDS / 2).copied().unwrap_or_default()
}

#[allow(clippy::cast_precision_loss)]
fn thread_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
