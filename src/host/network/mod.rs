//! Collectors of network devices and of the kernel's network stack.

mod addresses;
mod arp;
mod bonding;
mod conntrack;
mod ethtool;
mod infiniband;
mod ipvs;
mod link_stats;
mod links;
mod lnstat;
pub(super) mod net;
mod netclass;
mod netdev;
mod netlink;
mod netstat;
mod network_route;
mod nl80211;
mod qdisc;
mod sockstat;
mod softnet;
mod tcpstat;
mod udp_queues;
mod wifi;
mod xfrm;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] = &[
    arp::ENTRY,
    bonding::ENTRY,
    conntrack::ENTRY,
    ethtool::ENTRY,
    infiniband::ENTRY,
    ipvs::ENTRY,
    lnstat::ENTRY,
    netclass::ENTRY,
    netdev::ENTRY,
    netstat::ENTRY,
    network_route::ENTRY,
    qdisc::ENTRY,
    sockstat::ENTRY,
    softnet::ENTRY,
    tcpstat::ENTRY,
    udp_queues::ENTRY,
    wifi::ENTRY,
    xfrm::ENTRY,
];
