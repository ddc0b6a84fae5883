//! Collectors of network devices and of the kernel's network stack.

mod addresses;
mod arp;
mod conntrack;
mod net;
mod netdev;
mod netstat;
mod sockstat;
mod softnet;
mod udp_queues;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] = &[
    arp::ENTRY,
    conntrack::ENTRY,
    netdev::ENTRY,
    netstat::ENTRY,
    sockstat::ENTRY,
    softnet::ENTRY,
    udp_queues::ENTRY,
];
