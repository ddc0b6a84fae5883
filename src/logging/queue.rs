//! Lines of the log on their way out: a bounded queue, and a thread that writes. A log that takes nothing (a
//! journal that stands still, a pipe that nobody reads) holds up that thread and nobody else. What finds no room
//! or cannot be written is counted, and told of once lines go out again.
//!
//! Must not know what a line says, nor where it goes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Bytes that wait at one time.
const LIMIT: usize = 8 << 20;
/// How long the end of the program waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Where lines are put. A copy is the same queue.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: Sender<Entry>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that wait, or are being written.
    waiting: AtomicUsize,
    /// Lines lost since this was last told of.
    left_out: AtomicU64,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// All lines before it have been written.
    End(Sender<()>),
}

impl Queue {
    /// Starts the thread, which gives each line to `write`.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub(super) fn start(
        write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = channel();
        let state = Arc::new(State::default());
        let theirs = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("log".to_owned());
        thread.spawn(move || write_all(&receiver, &theirs, write))?;
        Ok(Self { sender, state })
    }

    /// Puts a line in, if there is room; never waits.
    pub(super) fn push(&self, line: Vec<u8>) {
        let length = line.len();
        let before = self.state.waiting.fetch_add(length, Ordering::Relaxed);
        if before.saturating_add(length) > LIMIT || self.sender.send(Entry::Line(line)).is_err() {
            self.state.waiting.fetch_sub(length, Ordering::Relaxed);
            self.state.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what is in it has been written, but not for long.
    pub(super) fn flush(&self) {
        let (done, all_written) = channel();
        if self.sender.send(Entry::End(done)).is_ok() {
            let _ = all_written.recv_timeout(LAST_LINES);
        }
    }
}

fn write_all(
    receiver: &Receiver<Entry>,
    state: &State,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) {
    for entry in receiver {
        let line = match entry {
            Entry::Line(line) => line,
            Entry::End(done) => {
                let _ = done.send(());
                continue;
            }
        };
        let written = write(&line);
        state.waiting.fetch_sub(line.len(), Ordering::Relaxed);
        if written.is_err() {
            state.left_out.fetch_add(1, Ordering::Relaxed);
        } else if let left_out @ 1.. = state.left_out.swap(0, Ordering::Relaxed) {
            tracing::warn!(left_out, "{left_out} lines of the log could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    type Lines = Arc<Mutex<Vec<Vec<u8>>>>;

    /// Where a test's lines go, once it lets them.
    fn held_up() -> (Queue, Sender<()>, Lines) {
        let (open, gate) = channel();
        let lines = Lines::default();
        let written = Arc::clone(&lines);
        let mut is_open = false;
        let queue = Queue::start(move |line| {
            if !is_open {
                is_open = true;
                let _ = gate.recv();
            }
            written.lock().unwrap().push(line.to_vec());
            Ok(())
        });
        (queue.unwrap(), open, lines)
    }

    #[test]
    fn a_log_that_takes_nothing_holds_up_nobody_and_loses_what_is_over_the_limit() {
        let (queue, open, lines) = held_up();
        for number in 0..12_u8 {
            queue.push(vec![number; 1 << 20]);
        }
        assert_eq!(queue.state.left_out.load(Ordering::Relaxed), 4);
        open.send(()).unwrap();
        queue.flush();
        let firsts: Vec<_> = lines.lock().unwrap().iter().map(|line| line[0]).collect();
        assert_eq!(firsts, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(queue.state.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(queue.state.left_out.load(Ordering::Relaxed), 0, "they were not told of");
    }

    #[test]
    fn the_end_does_not_wait_for_a_log_that_takes_nothing() {
        let (queue, open, _) = held_up();
        queue.push(b"line".to_vec());
        queue.flush();
        drop(open);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let queue = Queue::start(|_| Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        queue.push(b"line".to_vec());
        queue.flush();
        assert_eq!(queue.state.left_out.load(Ordering::Relaxed), 1);
    }
}
