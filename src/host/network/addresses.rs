//! For the collector `netdev`: the addresses of network devices, asked of the kernel over
//! rtnetlink(7). They are those of the daemon's own network namespace: there is no file of them.
//!
//! Must not know about devices' counters.

use crate::host::Error;
use crate::metric::{Batch, Family};
use rustix::net::netdevice::index_to_name;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recv, sendto, socket_with};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

pub(super) const INFO: Family = Family::gauge(
    "node_network_address_info",
    &["device", "address", "netmask", "scope"],
    "An address of a network device, with the length of its network's prefix. Always 1.",
);

const GET_ADDRESS: u16 = 22;
const NEW_ADDRESS: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST_DUMP: u16 = 0x1 | 0x300;
const ATTRIBUTE_ADDRESS: u16 = 1;
const ATTRIBUTE_LOCAL: u16 = 2;
/// The kernel fills no datagram of a dump beyond this.
const DATAGRAM: usize = 32 << 10;

/// The question, and room for the answer.
#[derive(Default)]
pub(super) struct Addresses {
    buffer: Vec<u8>,
}

impl Addresses {
    pub(super) fn emit(&mut self, batch: &mut Batch) -> Result<(), Error> {
        self.ask(batch)
            .map_err(|source| Error::Read { path: "netlink route socket".into(), source })
    }

    fn ask(&mut self, batch: &mut Batch) -> io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None, // the family's protocol 0: NETLINK_ROUTE
        )?;
        sendto(&socket, &request(), SendFlags::empty(), &kernel)?;
        self.buffer.resize(DATAGRAM, 0);
        batch.begin(&INFO);
        loop {
            let (length, _) = recv(&socket, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            for message in messages(self.buffer.get(..length).unwrap_or_default()) {
                match message.kind {
                    NEW_ADDRESS => show(message.body, &socket, batch),
                    DONE => return Ok(()),
                    ERROR => return Err(io::Error::other("the kernel refused to list addresses")),
                    _ => {}
                }
            }
            if length == 0 {
                return Ok(());
            }
        }
    }
}

fn show(body: &[u8], socket: &OwnedFd, batch: &mut Batch) {
    let Some(address) = parse(body) else { return };
    // The device may just have gone.
    let Ok(device) = index_to_name(socket, address.device) else { return };
    let labels = [
        ("device", device.as_str()),
        ("address", &address.ip.to_string()),
        ("netmask", &address.prefix.to_string()),
        ("scope", scope(address.ip)),
    ];
    batch.sample(&labels, 1.0);
}

/// A header (length, kind, flags, sequence, port) and a message that asks for all families.
fn request() -> [u8; 24] {
    let mut request = [0; 24];
    let fields =
        [&24u32.to_ne_bytes()[..], &GET_ADDRESS.to_ne_bytes(), &REQUEST_DUMP.to_ne_bytes()];
    for (slot, byte) in request.iter_mut().zip(fields.concat()) {
        *slot = byte;
    }
    request
}

struct Message<'a> {
    kind: u16,
    body: &'a [u8],
}

/// The messages of a datagram, up to the first that is cut short.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(array(datagram, 0)?) as usize;
        let kind = u16::from_ne_bytes(array(datagram, 4)?);
        let body = datagram.get(16..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, body })
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
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
    let mut attributes = body.get(8..)?;
    while let Some(length) = array(attributes, 0).map(u16::from_ne_bytes) {
        let length = usize::from(length);
        let Some(value) = attributes.get(4..length) else { break };
        match array(attributes, 2).map(u16::from_ne_bytes) {
            Some(ATTRIBUTE_ADDRESS) => address = ip(value),
            Some(ATTRIBUTE_LOCAL) => local = ip(value),
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
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
        Addresses::default().emit(&mut batch).unwrap();
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
        assert_eq!(messages(&[0; 40]).count(), 0);
        assert_eq!(messages(&[255; 40]).count(), 0);
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
