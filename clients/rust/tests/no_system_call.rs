//! Reporting makes no system call: a thread that the kernel would end at the first one (seccomp's
//! strict mode, prctl(2)) reports, and lives.
//!
//! That mode also forbids the processor's own clock, by which `Agent::begin` reads the time in user
//! space; so what is tried here is everything but that reading.

use musterd_client::{Agent, Status};
use rustix::thread::{SecureComputingMode, set_secure_computing_mode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static DONE: AtomicU64 = AtomicU64::new(0);
const REQUESTS: u64 = 10_000;

#[test]
fn a_thread_without_system_calls_can_report() {
    let agent = Agent::builder("strict").socket("/nonexistent/musterd.sock").start();
    // Never dropped: its thread would have to be joined by the one that may not.
    let agent: &'static Agent = Box::leak(Box::new(agent));
    // The first time allocates a category's, or a model's, series.
    agent.record(Status::Error, Duration::ZERO, Some("io"));
    agent.tokens("small", 1, 1);
    std::thread::spawn(move || {
        set_secure_computing_mode(SecureComputingMode::Strict).unwrap();
        for _ in 0..REQUESTS {
            agent.record(Status::Success, Duration::from_micros(3), None);
            agent.record(Status::Timeout, Duration::from_millis(3), Some("io"));
            agent.tokens("small", 10, 20);
            DONE.fetch_add(1, Ordering::Relaxed);
        }
        // Even the end of a thread is a system call.
        loop {
            std::hint::spin_loop();
        }
    });
    let limit = Instant::now() + Duration::from_secs(60);
    while DONE.load(Ordering::Relaxed) < REQUESTS {
        assert!(Instant::now() < limit, "ended after {} requests", DONE.load(Ordering::Relaxed));
        std::thread::sleep(Duration::from_millis(5));
    }
}
