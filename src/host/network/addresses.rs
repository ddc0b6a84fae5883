//! For the collector `netdev`: the addresses of network devices, asked of the kernel over
//! rtnetlink(7). They are those of the daemon's own network namespace: there is no file of them.
//!
//! Must not know about devices' counters.

use super::netlink::{Netlink, array, attributes};
use crate::host::Error;
use crate::metric::{Batch, Family};
use rustix::net::netdevice::index_to_name;
use std::io;
use std::net::IpAddr;
use std::time::Instant;

pub(super) const INFO: Family = Family::gauge(
    "node_network_address_info",
    &["device", "address", "netmask", "scope"],
    "An address of a network device, with the length of its network's prefix. Always 1.",
);

/// Of linux/rtnetlink.h.
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// The length of the fixed part of a message (struct ifaddrmsg).
const FIXED: usize = 8;

/// The question.
#[derive(Default)]
pub(super) struct Addresses {
    netlink: Option<Netlink>,
}

impl Addresses {
    pub(super) fn emit(&mut self, deadline: Instant, batch: &mut Batch) -> Result<(), Error> {
        self.ask(deadline, batch)
            .map_err(|source| Error::Read { path: "netlink route socket".into(), source })
    }

    fn ask(&mut self, deadline: Instant, batch: &mut Batch) -> io::Result<()> {
        let mut netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => Netlink::open(None)?,
        };
        let mut addresses = Vec::new();
        netlink.dump(GET_ADDRESS, &[0; FIXED], deadline, |kind, body| {
            if kind == NEW_ADDRESS {
                addresses.extend(parse(body));
            }
        })?;
        batch.begin(&INFO);
        for address in &addresses {
            // The device may just have gone.
            let Ok(device) = index_to_name(netlink.socket(), address.device) else { continue };
            let labels = [
                ("device", device.as_str()),
                ("address", &address.ip.to_string()),
                ("netmask", &address.prefix.to_string()),
                ("scope", scope(address.ip)),
            ];
            batch.sample(&labels, 1.0);
        }
        self.netlink = Some(netlink);
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
struct Address {
    device: u32,
    ip: IpAddr,
    prefix: u8,
}

/// Reads a message about an address: family, prefix, flags, scope, device, then attributes. On a
/// point-to-point link `ADDRESS` is the peer's and `LOCAL` our own; elsewhere they are the same.
fn parse(body: &[u8]) -> Option<Address> {
    let prefix = *body.get(1)?;
    let device = u32::from_ne_bytes(array(body, 4)?);
    let (mut address, mut local) = (None, None);
    for (kind, value) in attributes(body.get(FIXED..)?) {
        match kind {
            ADDRESS => address = ip(value),
            LOCAL => local = ip(value),
            _ => {}
        }
    }
    Some(Address { device, ip: local.or(address)?, prefix })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = array::<4>(bytes, 0).filter(|_| bytes.len() == 4).map(IpAddr::from);
    v4.or_else(|| array::<16>(bytes, 0).filter(|_| bytes.len() == 16).map(IpAddr::from))
}

/// How far an address reaches. Loopback counts as `link-local`.
fn scope(ip: IpAddr) -> &'static str {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_loopback() || link_local {
        "link-local"
    } else if ip.is_unspecified() || ip.is_multicast() {
        ""
    } else {
        "global"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_has_its_address() {
        let mut batch = Batch::new();
        let deadline = Instant::now() + std::time::Duration::from_secs(9);
        Addresses::default().emit(deadline, &mut batch).unwrap();
        let family = batch.families().next().unwrap();
        let texts: Vec<_> =
            family.samples().map(|sample| String::from_utf8_lossy(sample.labels)).collect();
        let wanted = r#"device="lo",address="127.0.0.1",netmask="8",scope="link-local""#;
        assert!(texts.iter().any(|text| text == wanted), "{texts:?}");
    }

    #[test]
    fn rubbish() {
        for body in [&b""[..], &[0; 7], &[0; 8], &[9; 40], &[0; 40]] {
            assert_eq!(parse(body), None);
        }
    }

    #[test]
    fn scopes() {
        for (ip, wanted) in [
            ("::1", "link-local"),
            ("169.254.1.1", "link-local"),
            ("fe80::1", "link-local"),
            ("192.0.2.1", "global"),
            ("2001:db8::1", "global"),
            ("0.0.0.0", ""),
        ] {
            assert_eq!(scope(ip.parse().unwrap()), wanted);
        }
    }
}
