//! What an agent writes on its standard output and error: from a pipe, cut into lines, to the log.
//!
//! The pipe is a FIFO in the run directory. The agent holds it open for reading too, so that it
//! does not die of SIGPIPE when the daemon does, and the next daemon finds it by its name; between
//! the two, up to 1 MiB waits in the pipe, and an agent that writes more waits itself. Where a FIFO
//! cannot be made, a plain pipe serves as long as the daemon lives.
//!
//! What is written is the agent's alone and bounded here: the length of a line, lines per second
//! (what is over is dropped, counted and reported) and bytes per second (what is over waits).
//!
//! Must not know why an agent runs, nor when it does not.

use super::report::{Report, Reports, What};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::fcntl_setpipe_size;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// Longest line that is logged whole, in bytes.
const LINE_LIMIT: usize = 8 << 10;
/// What a line that was longer ends with.
const CUT_MARK: &str = " [cut]";
/// What the pipe is asked to hold, in bytes.
const PIPE_SIZE: usize = 1 << 20;
/// What is read at a time.
const READ_SIZE: usize = 16 << 10;
/// How long a line that has no end yet is waited for.
const QUIET: Duration = Duration::from_secs(1);
/// The time over which lines and bytes are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Lines that are logged in a window.
const LINES_PER_WINDOW: u32 = 1000;
/// Bytes that are read in a window.
const BYTES_PER_WINDOW: usize = 4 << 20;

/// One agent's output. Reads for as long as it lives.
#[derive(Debug)]
pub(super) struct Output {
    agent: Arc<str>,
    reports: Reports,
    /// What a new process opens to write to.
    path: PathBuf,
    /// The FIFO there, by its inode: then a process holds the reading side as well.
    fifo: Option<u64>,
    /// A plain pipe's writing side, which `path` leads to.
    _writer: Option<OwnedFd>,
    /// Tells the reader that nobody will write any more.
    close: Arc<Notify>,
    reader: JoinHandle<()>,
}

impl Output {
    /// Opens an agent's output, as `<folder>/<agent>.out` if there is a folder, and begins to log
    /// what arrives.
    ///
    /// # Errors
    /// When not even a plain pipe can be had.
    pub(super) fn open(
        folder: Option<&Path>,
        agent: &Arc<str>,
        reports: Reports,
    ) -> io::Result<Self> {
        let fifo = folder.map(|folder| folder.join(format!("{agent}.out")));
        let opened = fifo.and_then(|path| match open_fifo(&path) {
            Ok((pipe, inode)) => Some((pipe, inode, path)),
            Err(error) => {
                let path = path.display();
                tracing::warn!(
                    %agent, %path,
                    "cannot use {path} for output: {error}; the agent will not outlive the daemon"
                );
                None
            }
        });
        let (pipe, fifo, path, writer) = match opened {
            Some((pipe, inode, path)) => (pipe, Some(inode), path, None),
            None => {
                let (reader, writer) = io::pipe()?;
                let writer = OwnedFd::from(writer);
                let path = format!("/proc/self/fd/{}", writer.as_raw_fd()).into();
                (Receiver::from_owned_fd(reader.into())?, None, path, Some(writer))
            }
        };
        let (close, reader) = read(pipe, agent, &reports);
        let agent = agent.clone();
        Ok(Self { agent, reports, path, fifo, _writer: writer, close, reader })
    }

    /// A new opening of the pipe, for one process: its file flags are its own.
    ///
    /// # Errors
    /// The path, and what open(2) or mkfifo(3) said.
    pub(super) fn for_process(&mut self) -> Result<File, String> {
        let failed = |error| format!("cannot open {}: {error}", self.path.display());
        let found = std::fs::symlink_metadata(&self.path).map(|found| found.ino()).ok();
        if self.fifo.is_some() && self.fifo != found {
            // Someone has removed it; the next daemon is to find what the process writes to.
            let (pipe, inode) = open_fifo(&self.path).map_err(failed)?;
            self.fifo = Some(inode);
            // Of what wrote to the other, what is there is still read.
            self.close.notify_one();
            (self.close, self.reader) = read(pipe, &self.agent, &self.reports);
        }
        let mut options = OpenOptions::new();
        options.read(self.fifo.is_some()).write(true).open(&self.path).map_err(failed)
    }

    /// Reads what is still there, then removes the FIFO: for an agent that will not come back.
    pub(super) async fn close(mut self) {
        self.close.notify_one();
        // It ends by itself, or has failed and said so.
        let _ = (&mut self.reader).await;
        if self.fifo.is_some() {
            // A file that stays behind is used again or does no harm.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Begins to log what arrives.
fn read(pipe: Receiver, agent: &Arc<str>, reports: &Reports) -> (Arc<Notify>, JoinHandle<()>) {
    let close = Arc::new(Notify::new());
    let reader = Reader {
        pipe,
        agent: agent.clone(),
        reports: reports.clone(),
        epoch: Instant::now(),
        lines: Lines::default(),
        rate: Rate::default(),
    };
    (close.clone(), tokio::spawn(reader.run(close)))
}

/// Opens a FIFO to read from and, so that it never ends, to write to; makes it if there is none. And its inode.
fn open_fifo(path: &Path) -> io::Result<(Receiver, u64)> {
    let is_fifo = std::fs::symlink_metadata(path).map(|data| data.file_type().is_fifo());
    if let Ok(false) = is_fifo {
        std::fs::remove_file(path)?;
    }
    if !matches!(is_fifo, Ok(true)) {
        rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?;
    }
    // A path that someone has put a link in the place of must not be followed.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let inode = file.metadata()?.ino();
    let receiver = Receiver::from_file(file)?;
    // A smaller pipe serves too: an agent waits sooner while no daemon reads.
    let _ = fcntl_setpipe_size(&receiver, PIPE_SIZE);
    Ok((receiver, inode))
}

/// The task that reads.
struct Reader {
    pipe: Receiver,
    agent: Arc<str>,
    reports: Reports,
    /// The start of the time that `rate` counts.
    epoch: Instant,
    lines: Lines,
    rate: Rate,
}

impl Reader {
    /// Reads and logs until told to close.
    async fn run(mut self, close: Arc<Notify>) {
        let mut buffer = vec![0; READ_SIZE];
        loop {
            let unfinished = !self.lines.is_empty() || self.rate.dropped > 0;
            let read = tokio::select! {
                read = self.pipe.read(&mut buffer) => read,
                () = sleep(QUIET), if unfinished => {
                    self.finish();
                    continue;
                }
                () = close.notified() => break,
            };
            match read {
                Ok(0) => break,
                Ok(count) => self.take(buffer.get(..count).unwrap_or_default()),
                Err(error) => {
                    tracing::error!(agent = %self.agent, "cannot read its output: {error}");
                    break;
                }
            }
            if self.rate.is_full() {
                sleep_until(self.epoch + self.rate.end()).await;
            }
        }
        // What is in the pipe now, and no more: a process that has left its group may write on.
        for _ in 0..PIPE_SIZE / READ_SIZE {
            match self.pipe.try_read(&mut buffer) {
                Ok(count) if count > 0 => self.take(buffer.get(..count).unwrap_or_default()),
                _ => break,
            }
        }
        self.finish();
        self.tell_dropped(self.rate.dropped);
    }

    fn take(&mut self, bytes: &[u8]) {
        self.turn();
        self.rate.count_bytes(bytes.len());
        let (rate, agent) = (&mut self.rate, &self.agent);
        self.lines.push(bytes, &mut |line| log(rate, agent, line));
    }

    fn finish(&mut self) {
        self.turn();
        let (rate, agent) = (&mut self.rate, &self.agent);
        self.lines.finish(&mut |line| log(rate, agent, line));
    }

    fn turn(&mut self) {
        let dropped = self.rate.turn(self.epoch.elapsed());
        self.tell_dropped(dropped);
    }

    fn tell_dropped(&self, lines: u64) {
        if lines > 0 {
            tracing::warn!(
                target: "agent", agent = %self.agent, lines,
                "{lines} lines dropped: more than {LINES_PER_WINDOW} in a second"
            );
            let what = What::OutputDropped { lines };
            self.reports.send(Report { agent: self.agent.clone(), what });
        }
    }
}

fn log(rate: &mut Rate, agent: &str, line: &str) {
    if rate.admits_line() {
        tracing::info!(target: "agent", agent = %agent, "{line}");
    }
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of a line that has not ended, at most as long as the limit.
    begun: Vec<u8>,
    /// Whether more of it has been left out.
    cut: bool,
}

impl Lines {
    fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    /// Takes what was read; gives each line that ends in it to `log`.
    fn push(&mut self, bytes: &[u8], log: &mut impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = LINE_LIMIT.saturating_sub(self.begun.len());
            let kept = text.get(..room).unwrap_or(text);
            self.begun.extend_from_slice(kept);
            self.cut |= kept.len() < text.len();
            if ended {
                self.finish(log);
            }
        }
    }

    /// Gives the line that has begun to `log`, as if it had ended. Empty lines are left out.
    fn finish(&mut self, log: &mut impl FnMut(&str)) {
        let line = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
        if !line.is_empty() {
            let mut text = String::from_utf8_lossy(line);
            if self.cut {
                text.to_mut().push_str(CUT_MARK);
            }
            log(&text);
        }
        self.begun.clear();
        self.cut = false;
    }
}

/// Counts what passes in a window of time. Times are since the reader's start.
#[derive(Debug, Default)]
struct Rate {
    begun: Duration,
    lines: u32,
    bytes: usize,
    dropped: u64,
}

impl Rate {
    /// Begins a new window if the last is over; says how many lines were dropped in that.
    fn turn(&mut self, now: Duration) -> u64 {
        if now < self.end() {
            return 0;
        }
        let dropped = self.dropped;
        *self = Self { begun: now, ..Self::default() };
        dropped
    }

    fn end(&self) -> Duration {
        self.begun.saturating_add(WINDOW)
    }

    /// Whether a line may be logged; counts it as dropped if not.
    fn admits_line(&mut self) -> bool {
        if self.lines < LINES_PER_WINDOW {
            self.lines += 1;
            return true;
        }
        self.dropped += 1;
        false
    }

    fn count_bytes(&mut self, count: usize) {
        self.bytes = self.bytes.saturating_add(count);
    }

    /// Whether no more may be read in this window.
    fn is_full(&self) -> bool {
        self.bytes >= BYTES_PER_WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut log = |line: &str| seen.push(line.to_owned());
        for piece in pieces {
            lines.push(piece, &mut log);
        }
        lines.finish(&mut log);
        seen
    }

    #[test]
    fn bytes_become_lines_however_they_arrive() {
        assert_eq!(
            lines(&[b"one\ntwo\r\n\n\nthr", b"ee", b"\n", b"four"]),
            ["one", "two", "three", "four"]
        );
        assert_eq!(lines(&[b"", b"\n", b"\r\n"]), [""; 0]);
    }

    #[test]
    fn what_is_not_utf_8_is_replaced() {
        assert_eq!(lines(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }

    #[test]
    fn long_lines_are_cut_and_marked() {
        let whole = "x".repeat(LINE_LIMIT);
        let text = format!("{whole}\n{whole}yy");
        let seen = lines(&[text.as_bytes(), b"zz\nnext\n"]);
        assert_eq!(seen, [whole.clone(), whole + CUT_MARK, "next".to_owned()]);
    }

    #[test]
    fn an_endless_line_takes_no_more_memory() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.push(&[b'x'; 4096], &mut |_| panic!("no line has ended"));
        }
        assert_eq!(lines.begun.len(), LINE_LIMIT);
    }

    #[test]
    fn lines_over_the_rate_are_dropped_and_counted() {
        let mut rate = Rate::default();
        let admitted = (0..1500).filter(|_| rate.admits_line()).count();
        assert_eq!(admitted, 1000);
        assert_eq!(rate.turn(Duration::from_millis(999)), 0);
        assert_eq!(rate.turn(Duration::from_secs(1)), 500);
        assert!(rate.admits_line());
        assert_eq!(rate.turn(Duration::from_secs(2)), 0);
    }

    #[test]
    fn bytes_over_the_rate_wait_for_the_next_window() {
        let mut rate = Rate::default();
        rate.count_bytes(BYTES_PER_WINDOW - 1);
        assert!(!rate.is_full());
        rate.count_bytes(1);
        assert!(rate.is_full());
        rate.turn(Duration::from_secs(1));
        assert!(!rate.is_full());
    }
}
