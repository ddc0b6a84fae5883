//! What the kernel can do of what the daemon makes use of, and whether its clock is right.
//!
//! Must not know who makes use of it.

use super::finding::Finding;
use super::{fail, pass, warn};
use crate::host::root::Root;
use crate::pidfd;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// How wrong a clock may be that counts as right, in microseconds: rules join what machines say by time.
const LARGE_ERROR: i64 = 1_000_000;

/// A finding for each feature.
pub(super) fn features(root: &Root) -> Vec<Finding> {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let newer = |version: &str| format!("run Linux {version} or later; this is {release}");
    vec![
        match sealed_memory() {
            Ok(()) => pass("kernel: memfd", "memory for ledgers can be made and sealed"),
            Err(error) => {
                let what = format!("memory for ledgers cannot be made: {error}");
                fail("kernel: memfd", what, newer("5.10"))
            }
        },
        match pidfd::open(std::process::id()) {
            Ok(_) => pass("kernel: pidfd", "the end of agents can be waited for"),
            Err(error) => {
                let what = format!("agents cannot be watched, only their connections: {error}");
                warn("kernel: pidfd", what, newer("5.10"))
            }
        },
        match peer_pidfd() {
            Ok(()) => pass("kernel: SO_PEERPIDFD", "peers are known by their very process"),
            Err(error) => {
                let what = format!("peers are known by their PID alone: {error}");
                warn("kernel: SO_PEERPIDFD", what, newer("6.5"))
            }
        },
        pressure(&root.procfs),
        control_groups(&root.sysfs),
    ]
}

fn sealed_memory() -> rustix::io::Result<()> {
    let file = memfd_create("musterd-doctor", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
}

fn peer_pidfd() -> std::io::Result<()> {
    let (ours, _theirs) = UnixStream::pair()?;
    getsockopt(&ours, sockopt::PeerPidfd)?;
    Ok(())
}

fn pressure(procfs: &Path) -> Finding {
    let file = procfs.join("pressure/memory");
    // With psi=0 the file is there, and says so only when it is read.
    let read = std::fs::File::open(&file).and_then(|mut file| file.read(&mut [0; 1]));
    match read {
        Ok(_) => pass("kernel: pressure", "tasks that wait are measured (PSI)"),
        Err(error) => {
            let what = format!("{}: {error}: node_pressure_* will be missing", file.display());
            warn("kernel: pressure", what, "boot with psi=1")
        }
    }
}

fn control_groups(sysfs: &Path) -> Finding {
    if sysfs.join("fs/cgroup/cgroup.controllers").exists() {
        return pass("kernel: cgroup v2", "units can be told apart");
    }
    let what = "no cgroup v2 in /sys/fs/cgroup: limits of units and agents do not work";
    warn("kernel: cgroup v2", what, "boot with systemd.unified_cgroup_hierarchy=1")
}

/// Whether the clock is kept right.
pub(super) fn clock() -> Finding {
    let check = "clock";
    match musterd_kernel::clock() {
        Err(error) => warn(check, format!("cannot be asked for: {error}"), "run this as root"),
        Ok(clock) if !clock.is_synchronised => {
            let fix = "run chrony or systemd-timesyncd: timedatectl set-ntp true";
            warn(check, "not synchronised with any reference", fix)
        }
        Ok(clock) if clock.maxerror > LARGE_ERROR => {
            let what = format!("may be wrong by {:.1} s", clock.maxerror as f64 / 1e6);
            warn(check, what, "look at `chronyc tracking` or `timedatectl timesync-status`")
        }
        Ok(clock) => {
            let millis = clock.maxerror as f64 / 1e3;
            pass(check, format!("synchronised, wrong by {millis:.0} ms at most"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let nowhere = Path::new("/nonexistent");
        assert_eq!(pressure(nowhere).verdict, Verdict::Warn);
        assert_eq!(control_groups(nowhere).verdict, Verdict::Warn);
        // What the tests of agents need is there.
        sealed_memory().unwrap();
    }
}
