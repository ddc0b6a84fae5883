//! Who is at the other end of a connection, by the kernel's word.
//!
//! Must not believe anything that a peer says.

use crate::pidfd;
use nix::sys::socket::{getsockopt, sockopt};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// A peer, as the kernel knows it.
#[derive(Debug)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its process; `None` when that is in a PID namespace that cannot be seen from here.
    pub pid: Option<u32>,
    /// A descriptor that becomes readable when the process ends; `None` where the kernel has none
    /// to give, or the process is out of sight: the end of the connection then is its end.
    pub pidfd: Option<OwnedFd>,
}

impl Peer {
    /// Asks the kernel: `SO_PEERCRED`, and `SO_PEERPIDFD` (Linux 6.5), which names the very process
    /// that connected even if its PID has been given to another since.
    ///
    /// # Errors
    /// What getsockopt(2) said to `SO_PEERCRED`.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let credentials = getsockopt(socket, sockopt::PeerCredentials)?;
        let pid = u32::try_from(credentials.pid()).ok().filter(|pid| *pid != 0);
        let pidfd = pid.and_then(|_| getsockopt(socket, sockopt::PeerPidfd).ok()).or_else(|| {
            // An older kernel: the PID may be another's by now. A peer that is gone already has
            // closed its connection, which is looked at as well.
            pidfd::open(pid?).ok()
        });
        Ok(Self { uid: credentials.uid(), pid, pidfd })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_kernel_knows_us() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_eq!(peer.pid, Some(std::process::id()));
        assert_eq!(peer.uid, rustix::process::getuid().as_raw());
        let pidfd = peer.pidfd.unwrap();
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&now)).unwrap(), 0, "we are still alive");
    }
}
