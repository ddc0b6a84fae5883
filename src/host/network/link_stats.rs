//! For `netdev`: the counters of all network devices of the daemon's own network namespace, asked of
//! the kernel over rtnetlink(7): far cheaper than the text of `/proc/net/dev`, and each counter by
//! itself.
//!
//! Must not know what is shown of them.

use super::links::Links;
use super::netlink::{Netlink, array, attributes, number};
use rustix::net::netdevice::index_to_name;
use std::collections::HashMap;
use std::io;
use std::time::Instant;

/// Of linux/rtnetlink.h and linux/if_link.h.
const NEW_STATS: u16 = 92;
const GET_STATS: u16 = 94;
const LINK_64: u16 = 1;
/// What is asked for, as a bit.
const ONLY_LINK_64: u32 = 1;
/// The length of the fixed part of a message (struct if_stats_msg).
const FIXED: usize = 12;
/// The numbers of struct rtnl_link_stats64 that there have been from Linux 4.6 on.
pub(super) const COUNT: usize = 24;

/// The counters of a device, in the order of struct rtnl_link_stats64.
pub(super) type Counters = [u64; COUNT];

/// Where they come from.
pub(super) struct LinkStats {
    netlink: Option<Netlink>,
    /// Whether a device may have another name by now.
    links: Links,
    names: HashMap<u32, String>,
}

impl LinkStats {
    /// Nothing is asked yet.
    pub(super) fn new() -> Self {
        Self { netlink: None, links: Links::of_own_namespace(), names: HashMap::new() }
    }

    /// Whether the kernel can be asked at all.
    pub(super) fn may_ask() -> bool {
        Netlink::open(None).is_ok()
    }

    /// Calls `take` with the name and the counters of each device.
    ///
    /// # Errors
    /// That the kernel refused, or did not answer in time.
    pub(super) fn ask(
        &mut self,
        deadline: Instant,
        mut take: impl FnMut(&str, Counters),
    ) -> io::Result<()> {
        let mut netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => Netlink::open(None)?,
        };
        if self.links.may_have_changed() {
            self.names.clear();
            self.links.trust_own();
        }
        let mut question = [0; FIXED];
        question
            .iter_mut()
            .skip(8)
            .zip(ONLY_LINK_64.to_ne_bytes())
            .for_each(|(to, byte)| *to = byte);
        let mut unknown = Vec::new();
        let names = &self.names;
        netlink.dump(GET_STATS, &question, deadline, |kind, body| {
            if let Some((index, counters)) = parse(body).filter(|_| kind == NEW_STATS) {
                match names.get(&index) {
                    Some(name) => take(name, counters),
                    None => unknown.push((index, counters)),
                }
            }
        })?;
        for (index, counters) in unknown {
            // The device may just have gone.
            let Ok(name) = index_to_name(netlink.socket(), index) else { continue };
            take(&name, counters);
            self.names.insert(index, name);
        }
        self.netlink = Some(netlink);
        Ok(())
    }
}

/// Reads a message: the device's number, and its counters. A newer kernel may have more of them, an
/// older one less.
fn parse(body: &[u8]) -> Option<(u32, Counters)> {
    let index = number(body, 4)?;
    let (_, value) = attributes(body.get(FIXED..)?).find(|(kind, _)| *kind == LINK_64)?;
    let mut counters = [0; COUNT];
    for (place, counter) in counters.iter_mut().enumerate() {
        *counter = array(value, place * 8).map_or(0, u64::from_ne_bytes);
    }
    Some((index, counters))
}

#[cfg(test)]
mod tests {
    use super::super::netlink::attribute;
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_message_is_read() {
        let counters: Vec<u8> = (1u64..=25).flat_map(u64::to_ne_bytes).collect();
        let body = |value: &[u8]| {
            let fixed = [&[0; 4][..], &7u32.to_ne_bytes(), &[0; 4]].concat();
            [fixed, attribute(LINK_64, value)].concat()
        };
        let (index, read) = parse(&body(&counters)).unwrap();
        assert_eq!((index, read[0], read[23]), (7, 1, 24));
        let (_, read) = parse(&body(&counters[..16])).unwrap();
        assert_eq!((read[1], read[2]), (2, 0));
        assert_eq!(parse(&body(&counters)[..9]), None);
    }

    #[test]
    fn the_loopback_device_is_there() {
        let mut stats = LinkStats::new();
        for _ in 0..2 {
            let mut names = Vec::new();
            let deadline = Instant::now() + Duration::from_secs(9);
            stats.ask(deadline, |name, _| names.push(name.to_owned())).unwrap();
            assert!(names.iter().any(|name| name == "lo"), "{names:?}");
        }
    }
}
