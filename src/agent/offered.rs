//! A file that a client has sent. It may be anything: one whose server does not answer (FUSE, a network) holds
//! whoever asks it, or as much as closes it, and not even SIGKILL ends that. So only its seals are looked at, which
//! no server is asked for, and what is no memory file is closed by a thread that can be spared.
//!
//! Must not know what is in the file.

use super::peer::Peer;
use rustix::fs::fcntl_get_seals;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Files that may be in the midst of being closed at one time.
const CLOSING_LIMIT: usize = 64;
/// How long it takes at most to close a file whose server answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Those that are. Threads of their own tell of the end, some of them never; it is locked for a look.
static CLOSING: Mutex<Closing> = Mutex::new(Closing(Vec::new()));

/// Who has sent a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its process, if that can be seen.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
}

/// A file, of which nothing is known yet.
#[derive(Debug)]
pub struct Offered {
    file: Option<OwnedFd>,
    sender: Sender,
}

/// Files that are being closed: since when, from whom, and whether that has been told.
#[derive(Debug)]
struct Closing(Vec<(Instant, Sender, bool)>);

impl Closing {
    fn begin(&mut self, sender: Sender, now: Instant) {
        self.0.push((now, sender, false));
    }

    /// One of those that began then has ended; which, makes no difference.
    fn end(&mut self, sender: Sender, begun: Instant) {
        let is_it = |(since, from, _): &(Instant, Sender, bool)| (*since, *from) == (begun, sender);
        if let Some(place) = self.0.iter().position(is_it) {
            self.0.swap_remove(place);
        }
    }

    fn overdue(&mut self, now: Instant) -> Vec<Sender> {
        let late = self.0.iter_mut().filter(|(since, _, is_told)| {
            !is_told && now.saturating_duration_since(*since) >= PATIENCE
        });
        let told = late.map(|(_, sender, is_told)| {
            *is_told = true;
            *sender
        });
        told.collect()
    }
}

fn closing() -> MutexGuard<'static, Closing> {
    CLOSING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who has sent files that do not come to be closed. Each is told once.
#[must_use]
pub fn hanging() -> Vec<Sender> {
    closing().overdue(Instant::now())
}

impl Offered {
    /// Takes what a peer has sent.
    #[must_use]
    pub const fn new(file: OwnedFd, peer: &Peer) -> Self {
        Self { file: Some(file), sender: Sender { pid: peer.pid, uid: peer.uid } }
    }

    /// The file, if it is a memory file that can be sealed (memfd_create(2)): then it asks nobody.
    #[must_use]
    pub fn into_memory(mut self) -> Option<OwnedFd> {
        let is_memory = self.file.as_ref().is_some_and(|file| fcntl_get_seals(file).is_ok());
        if is_memory { self.file.take() } else { None }
    }

    /// Whether more may be taken: not while too many do not come to be closed.
    #[must_use]
    pub fn has_room() -> bool {
        closing().0.len() < CLOSING_LIMIT
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        let Some(file) = self.file.take().filter(|file| fcntl_get_seals(file).is_err()) else {
            return;
        };
        let (sender, begun) = (self.sender, Instant::now());
        closing().begin(sender, begun);
        let thread = std::thread::Builder::new().name("close".to_owned()).spawn(move || {
            drop(file);
            closing().end(sender, begun);
        });
        if thread.is_err() {
            // Without a thread the closure was dropped here, and the file with it: there is no other way left.
            closing().end(sender, begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    use std::io::Read;

    fn peer() -> Peer {
        Peer { uid: 7, gid: 7, pid: Some(42), pidfd: None, began: None }
    }

    #[test]
    fn who_has_sent_a_file_that_hangs_is_told_once() {
        let (one, other) = (Sender { pid: Some(1), uid: 7 }, Sender { pid: None, uid: 8 });
        let (mut closing, begun) = (Closing(Vec::new()), Instant::now());
        [one, other, one].into_iter().for_each(|sender| closing.begin(sender, begun));
        closing.end(one, begun);
        assert_eq!(closing.overdue(begun + Duration::from_secs(9)), []);
        let mut told = closing.overdue(begun + PATIENCE);
        told.sort_by_key(|sender| sender.uid);
        assert_eq!(told, [one, other]);
        assert_eq!(closing.overdue(begun + PATIENCE), []);
        closing.end(one, begun);
        closing.end(one, begun);
        assert_eq!(closing.0.len(), 1);
    }

    #[test]
    fn memory_files_are_taken_and_others_are_closed() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("test", flags).unwrap();
        fcntl_add_seals(&memory, SealFlags::SHRINK).unwrap();
        assert!(Offered::new(memory, &peer()).into_memory().is_some());

        let (mut reader, writer) = std::io::pipe().unwrap();
        assert!(Offered::new(writer.into(), &peer()).into_memory().is_none());
        // It ends when the other end has been closed.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        let begun = Instant::now();
        while !closing().0.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
        assert!(Offered::has_room());
    }
}
