//! Who is at the other end of a connection, by the kernel's word.
//!
//! Must not believe anything that a peer says.

use super::allow::Identity;
use crate::cgroup::unit_of;
use crate::proc_stat;
use crate::{accounts, pidfd};
use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// No file of the kernel's that is read here is longer.
const FILE_LIMIT: u64 = 64 << 10;

/// A peer, as the kernel knows it.
#[derive(Debug)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its process; `None` when that is in a PID namespace that cannot be seen from here.
    pub pid: Option<u32>,
    /// A descriptor that becomes readable when the process ends; `None` where the kernel has none
    /// to give, or the process is out of sight: the end of the connection then is its end.
    pub pidfd: Option<OwnedFd>,
    /// When its process was started, on the clock of ledgers; `None` where that cannot be seen.
    pub began: Option<Duration>,
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
        let (uid, gid) = (credentials.uid(), credentials.gid());
        Ok(Self { uid, gid, pid, pidfd, began: pid.and_then(proc_stat::began) })
    }

    /// All that rules may ask about it, from `/proc`.
    ///
    /// That a PID is the peer's is known by its pidfd, which has not ended after everything was read, and
    /// (before Linux 6.5, where the pidfd is opened by the PID) by the user, who is still the one
    /// that connected.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let mut found = self.pid.ok_or_else(|| "its process cannot be seen from here".to_owned());
        let groups = found.clone().and_then(groups_of);
        let mut executable = found.clone().and_then(executable_of);
        let mut unit = found.clone().and_then(unit_by);
        if let Err(why) = self.is_still_there() {
            found = Err(why);
        }
        let mut gids = vec![self.gid];
        match &found {
            Ok(_) => gids.extend(groups.unwrap_or_default()),
            Err(why) => (executable, unit) = (Err(why.clone()), Err(why.clone())),
        }
        gids.sort_unstable();
        gids.dedup();
        let user_names = accounts::user_names(self.uid);
        let group_names = accounts::group_names(&gids);
        Identity { uid: self.uid, user_names, gids, group_names, executable, unit }
    }

    fn is_still_there(&self) -> Result<(), String> {
        let (Some(pid), Some(pidfd)) = (self.pid, &self.pidfd) else {
            return Err("the kernel cannot name its process for certain".to_owned());
        };
        let owner = fs::metadata(format!("/proc/{pid}")).map(|found| found.uid());
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        let lives = poll(&mut fds, Some(&now)) == Ok(0);
        match owner {
            Ok(owner) if lives && owner == self.uid => Ok(()),
            Ok(owner) if lives => Err(format!("its process is now of user {owner}")),
            _ => Err("it has ended".to_owned()),
        }
    }
}

/// Supplementary groups (proc_pid_status(5)).
fn groups_of(pid: u32) -> Result<Vec<u32>, String> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    Ok(line.split_ascii_whitespace().filter_map(|gid| gid.parse().ok()).collect())
}

/// The path of the program, if what is there is the program: a process may see other files by the
/// same names.
fn executable_of(pid: u32) -> Result<PathBuf, String> {
    let link = format!("/proc/{pid}/exe");
    let failed = |error: io::Error| format!("cannot read {link}: {error}");
    let path = fs::read_link(&link).map_err(failed)?;
    let its = fs::metadata(&link).map_err(failed)?;
    let here = fs::metadata(&path).ok();
    let is_same = here.is_some_and(|here| (here.dev(), here.ino()) == (its.dev(), its.ino()));
    is_same.then_some(path).ok_or_else(|| "another file is in its place by now".to_owned())
}

fn unit_by(pid: u32) -> Result<String, String> {
    let path = format!("/proc/{pid}/cgroup");
    let unit = unit_of(&read(&path)?).map(str::to_owned);
    unit.ok_or_else(|| format!("{path} names none"))
}

fn read(path: &str) -> Result<String, String> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LIMIT).read_to_end(&mut text))
        .map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_kernel_knows_us() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_eq!(peer.pid, Some(std::process::id()));
        assert!(peer.began.is_some_and(|began| began <= crate::clock::monotonic()));
        assert_eq!(peer.uid, rustix::process::getuid().as_raw());
        assert_eq!(peer.gid, rustix::process::getgid().as_raw());
        let identity = peer.identity();
        assert_eq!(identity.executable, Ok(std::env::current_exe().unwrap()));
        assert!(identity.gids.contains(&peer.gid));
    }

    #[test]
    fn of_a_process_that_has_ended_nothing_is_believed() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = pidfd::open(child.id()).ok();
        let peer = Peer { uid: 4_000_000_000, gid: 9, pid: Some(child.id()), pidfd, began: None };
        let own = rustix::process::getuid().as_raw();
        assert_eq!(peer.identity().unit, Err(format!("its process is now of user {own}")));
        child.kill().unwrap();
        // It has ended and is not waited for: its number, and its files, are still there.
        let mut fds = [PollFd::new(peer.pidfd.as_ref().unwrap(), PollFlags::IN)];
        poll(&mut fds, None).unwrap();
        let identity = peer.identity();
        assert_eq!(identity.executable, Err("it has ended".to_owned()));
        assert_eq!((identity.unit, identity.gids), (Err("it has ended".to_owned()), vec![9]));
        child.wait().unwrap();
    }
}
