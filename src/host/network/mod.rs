//! Collectors of network devices and of the kernel's network stack.

mod addresses;
mod arp;
mod bonding;
mod conntrack;
mod infiniband;
mod ipvs;
mod links;
mod lnstat;
mod net;
mod netclass;
mod netdev;
mod netstat;
mod sockstat;
mod softnet;
mod udp_queues;
mod xfrm;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] = &[
    arp::ENTRY,
    bonding::ENTRY,
    conntrack::ENTRY,
    infiniband::ENTRY,
    ipvs::ENTRY,
    lnstat::ENTRY,
    netclass::ENTRY,
    netdev::ENTRY,
    netstat::ENTRY,
    sockstat::ENTRY,
    softnet::ENTRY,
    udp_queues::ENTRY,
    xfrm::ENTRY,
];
