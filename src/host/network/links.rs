//! Whether anything about the network devices has changed, as the kernel tells over rtnetlink(7):
//! asking costs one call, where reading all of `/sys/class/net` costs one for each attribute.
//!
//! Must not know what is shown of a device.

use crate::host::root::Root;
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// The group that is told of devices that come, go or change (RTMGRP_LINK of linux/rtnetlink.h).
const LINK_GROUP: u32 = 1;
/// Trusted for this long. There are changes that are not told: `netdev_group` by way of sysfs, and
/// speed and duplex that are set by hand.
const LONGEST: Duration = Duration::from_secs(60);
/// What was told is thrown away; more of it than this waits for the next pass.
const AT_ONCE: usize = 64;

/// The ear.
pub(super) struct Links {
    socket: Option<OwnedFd>,
    trusted_since: Option<Instant>,
}

impl Links {
    /// Listens, where `/sys` and the socket can be of the same network namespace.
    pub(super) fn new(root: &Root) -> Self {
        let socket = if root.sysfs == Path::new("/sys") { listen().ok() } else { None };
        Self { socket, trusted_since: None }
    }

    /// Listens for the devices of the daemon's own namespace.
    pub(super) fn of_own_namespace() -> Self {
        Self { socket: listen().ok(), trusted_since: None }
    }

    /// Says that all is known of the daemon's own namespace.
    pub(super) fn trust_own(&mut self) {
        self.trusted_since = Some(Instant::now());
    }

    /// Whether anything may have changed since this was last asked.
    pub(super) fn may_have_changed(&mut self) -> bool {
        let Some(socket) = &self.socket else { return true };
        let is_quiet = is_quiet(socket);
        let is_trusted = self.trusted_since.is_some_and(|since| since.elapsed() < LONGEST);
        !(is_quiet && is_trusted)
    }

    /// Says what has been read since: the names and numbers of all devices. They show whether the
    /// socket hears of the namespace that `/sys` is of.
    pub(super) fn trust<'d>(&mut self, mut devices: impl Iterator<Item = (&'d str, Option<f64>)>) {
        let Some(socket) = &self.socket else { return };
        let is_same = devices.all(|(name, number)| {
            let own = name_to_index(socket, name).ok().map(f64::from);
            own.is_some() && own == number
        });
        self.trusted_since = is_same.then(Instant::now);
    }
}

fn listen() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // The family's protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, LINK_GROUP))?;
    Ok(socket)
}

/// Whether nothing has been told. Messages are cut off by the small buffer: that there is one says
/// enough, and an error (messages were lost) says no less.
fn is_quiet(socket: &OwnedFd) -> bool {
    let mut buffer = [0; 16];
    for told in 0..AT_ONCE {
        match recv(socket, buffer.as_mut_slice(), RecvFlags::empty()) {
            Err(Errno::AGAIN) => return told == 0,
            Err(Errno::INTR) | Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(sysfs: &str) -> Root {
        let [procfs, sysfs, rootfs, udev_data] =
            ["/proc", sysfs, "/", "/run/udev/data"].map(Into::into);
        Root { procfs, sysfs, rootfs, udev_data }
    }

    #[test]
    fn devices_of_another_place_are_not_trusted() {
        let mut links = Links::new(&root("/sys"));
        assert!(links.may_have_changed());
        links.trust([("lo", Some(77.0))].into_iter());
        assert!(links.may_have_changed());
        links.trust([("no such", Some(1.0))].into_iter());
        assert!(links.may_have_changed());
        let mut elsewhere = Links::new(&root("/elsewhere"));
        elsewhere.trust([("lo", Some(1.0))].into_iter());
        assert!(elsewhere.may_have_changed());
    }

    #[test]
    fn silence_is_trusted_for_a_while() {
        let mut links = Links::new(&root("/sys"));
        let Some(socket) = &links.socket else { return };
        let own = name_to_index(socket, "lo").ok().map(f64::from);
        links.trust([("lo", own)].into_iter());
        // Devices of the machine may change at any time; not at each of ten.
        assert!((0..10).any(|_| {
            links.trust([("lo", own)].into_iter());
            !links.may_have_changed()
        }));
        links.trusted_since = Instant::now().checked_sub(LONGEST);
        assert!(links.may_have_changed());
    }
}
