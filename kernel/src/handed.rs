//! Files that systemd has handed over (sd_listen_fds(3)): taken as what they are, owned.
//!
//! Must not know what they are for.

use std::env;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first number that systemd gives to a file.
const FIRST: RawFd = 3;
/// More than these are not looked at: a service that asks for as many is not what this is for.
const LIMIT: RawFd = 65_536;

/// Every file with its name, in their order; closed when this program starts another. To be called
/// before anything is opened. A second call gives nothing.
#[must_use]
pub fn files() -> Vec<(String, OwnedFd)> {
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    // Variables that were meant for a parent say nothing.
    if number("LISTEN_PID") != Some(std::process::id()) || IS_TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0);
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    (FIRST..FIRST + count.min(LIMIT))
        .filter_map(|number| Some((names.next().unwrap_or_default().to_owned(), own(number)?)))
        .collect()
}

/// Takes a descriptor that systemd has opened for this process, if it is open.
fn own(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl(2) on a number that may or may not be open touches no memory.
    #[allow(unsafe_code)]
    let is_set = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    // SAFETY: the descriptor is open. It was opened by systemd for this process, which said so in its
    // environment, and each is given out once: nothing else owns it.
    #[allow(unsafe_code)]
    is_set.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_handed_over_to_a_test() {
        assert!(super::files().is_empty());
    }
}
