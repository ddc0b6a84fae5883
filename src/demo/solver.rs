//! Places queens on chess boards of varying size, so that none attacks another, against a time
//! limit that the largest board exceeds.

use super::chance::Chance;
use musterd_client::Agent;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_millis(40);
const PAUSE: Duration = Duration::from_millis(80);
const SIZES: [u32; 16] = [6, 6, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9, 10, 10, 11, 14];

pub(super) fn run(agent: &Agent) -> String {
    let mut chance = Chance::new();
    let mut solved = 0_u64;
    loop {
        let pick = usize::try_from(chance.below(SIZES.len() as u64)).unwrap_or(0);
        let size = SIZES.get(pick).copied().unwrap_or(8);
        let request = agent.begin();
        let mut search = Search { size, until: Instant::now() + LIMIT, steps: 0 };
        match search.count(0, 0, 0, 0) {
            Some(_) => {
                request.success();
                solved += 1;
                if solved.is_multiple_of(500) {
                    println!("{solved} boards solved");
                }
            }
            None => request.timeout(),
        }
        std::thread::sleep(PAUSE);
    }
}

/// A count of all solutions of one board, given up when its time is over.
struct Search {
    size: u32,
    until: Instant,
    steps: u64,
}

impl Search {
    /// Solutions from this row on; columns and diagonals that are attacked are set bits. `None`
    /// when time is over.
    fn count(&mut self, row: u32, columns: u32, left: u32, right: u32) -> Option<u64> {
        self.steps += 1;
        if self.steps.is_multiple_of(1024) && Instant::now() > self.until {
            return None;
        }
        if row == self.size {
            return Some(1);
        }
        let mut free = !(columns | left | right) & ((1 << self.size) - 1);
        let mut solutions = 0;
        while free != 0 {
            let queen = free & free.wrapping_neg();
            free ^= queen;
            solutions +=
                self.count(row + 1, columns | queen, (left | queen) << 1, (right | queen) >> 1)?;
        }
        Some(solutions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solutions(size: u32, limit: Duration) -> Option<u64> {
        Search { size, until: Instant::now() + limit, steps: 0 }.count(0, 0, 0, 0)
    }

    #[test]
    fn boards_have_the_known_numbers_of_solutions() {
        let long = Duration::from_secs(60);
        assert_eq!([6, 7, 8].map(|size| solutions(size, long)), [Some(4), Some(40), Some(92)]);
        assert_eq!(solutions(14, Duration::ZERO), None);
    }
}
