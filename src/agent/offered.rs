//! A file that a client has sent. It may be anything: one whose server does not answer (FUSE, a network) holds
//! whoever asks it, or as much as closes it, and not even SIGKILL ends that. So only its seals are looked at, which
//! no server is asked for, and what is no memory file is closed by a thread that can be spared.
//!
//! Must not know what is in the file.

use rustix::fs::fcntl_get_seals;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Files that may be in the midst of being closed at one time.
const CLOSING_LIMIT: usize = 64;

/// How many are.
static CLOSING: AtomicUsize = AtomicUsize::new(0);

/// A file, of which nothing is known yet.
#[derive(Debug)]
pub struct Offered(Option<OwnedFd>);

impl Offered {
    /// Takes what has been sent.
    #[must_use]
    pub const fn new(file: OwnedFd) -> Self {
        Self(Some(file))
    }

    /// The file, if it is a memory file that can be sealed (memfd_create(2)): then it asks nobody.
    #[must_use]
    pub fn into_memory(mut self) -> Option<OwnedFd> {
        let is_memory = self.0.as_ref().is_some_and(|file| fcntl_get_seals(file).is_ok());
        if is_memory { self.0.take() } else { None }
    }

    /// Whether more may be taken: not while too many do not come to be closed.
    #[must_use]
    pub fn has_room() -> bool {
        CLOSING.load(Ordering::Relaxed) < CLOSING_LIMIT
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        let Some(file) = self.0.take().filter(|file| fcntl_get_seals(file).is_err()) else {
            return;
        };
        CLOSING.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::Builder::new().name("close".to_owned());
        let closing = thread.spawn(move || {
            drop(file);
            CLOSING.fetch_sub(1, Ordering::Relaxed);
        });
        if closing.is_err() {
            // Without a thread the closure was dropped here, and the file with it: there is no other way left.
            CLOSING.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    use std::io::Read;
    use std::time::{Duration, Instant};

    #[test]
    fn memory_files_are_taken_and_others_are_closed() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("test", flags).unwrap();
        fcntl_add_seals(&memory, SealFlags::SHRINK).unwrap();
        assert!(Offered::new(memory).into_memory().is_some());

        let (mut reader, writer) = std::io::pipe().unwrap();
        assert!(Offered::new(writer.into()).into_memory().is_none());
        // It ends when the other end has been closed.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        let begun = Instant::now();
        while CLOSING.load(Ordering::Relaxed) != 0 {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
        assert!(Offered::has_room());
    }
}
