//! Waiting for the end of a process that need not be our child, by its pidfd (pidfd_open(2)).
//!
//! Must not know whose process it is.

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor for a process that lives now.
///
/// # Errors
/// What pidfd_open(2) said: `ESRCH` when there is no such process, `ENOSYS` before Linux 5.3.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}

/// A process that is watched.
#[derive(Debug)]
pub struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// Watches the process behind a pidfd.
    ///
    /// # Errors
    /// What epoll_ctl(2) said.
    pub fn new(pidfd: OwnedFd) -> io::Result<Self> {
        // The constructor that took its place is unsafe for the sake of types whose descriptor may
        // change; an `OwnedFd` keeps its own.
        #[allow(deprecated)]
        let watched = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
        Ok(Self(watched))
    }

    /// Returns once the process has ended.
    pub async fn ended(&self) {
        // An error here means that the runtime shuts down; then nobody waits any longer.
        let _ = self.0.readable().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let watch = Watch::new(open(child.id()).unwrap()).unwrap();
        let brief = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(brief, watch.ended()).await.is_err());
        drop(child.stdin.take());
        watch.ended().await;
        assert!(child.wait().unwrap().success());
        assert!(open(0).is_err());
    }
}
