//! Sorts batches of numbers, and crashes now and then in the midst of one: its supervisor starts
//! it anew, and the batch it was at is counted as aborted.

use super::chance::Chance;
use musterd_client::Agent;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(50);
/// One batch in so many is its last.
const CRASH_ODDS: u64 = 300;

pub(super) fn run(agent: &Agent) -> String {
    let mut chance = Chance::new();
    println!("worker begins");
    loop {
        let request = agent.begin();
        let mut batch: Vec<u64> = (0..chance.below(50_000)).map(|_| chance.number()).collect();
        if chance.below(CRASH_ODDS) == 0 {
            eprintln!("worker crashes with a batch of {} in hand", batch.len());
            std::process::abort();
        }
        batch.sort_unstable();
        if batch.is_empty() {
            request.error("empty_batch")
        } else {
            request.success()
        }
        std::thread::sleep(PAUSE);
    }
}
