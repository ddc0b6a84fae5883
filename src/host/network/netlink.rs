//! Asking the kernel over netlink(7): a question, and the messages of its answer.
//!
//! The few kinds of messages that are read here are plain enough to be taken apart by hand; a library
//! would bring a model of all the others.
//! Must not know what is asked.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto,
    socket_with,
};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const ERROR: u16 = 2;
const DONE: u16 = 3;
/// NLM_F_REQUEST.
const REQUEST: u16 = 0x1;
/// NLM_F_DUMP: all there is, not one thing.
const DUMP: u16 = 0x300;
/// The kernel fills no datagram of a dump beyond this.
const DATAGRAM: usize = 32 << 10;
/// The length of a message's header.
const HEADER: usize = 16;

/// A socket of one of netlink's families.
pub(super) struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Of the family `protocol`; routing if there is none.
    ///
    /// # Errors
    /// What socket(2) said.
    pub(super) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        Ok(Self { socket, buffer: Vec::new() })
    }

    /// The socket itself, for what else can be asked of it.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Asks for all things of a kind; `take` is called with the kind and body of each message.
    ///
    /// # Errors
    /// That the kernel refused, or did not answer until `deadline`.
    pub(super) fn dump(
        &mut self,
        kind: u16,
        body: &[u8],
        deadline: Instant,
        take: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        self.ask(kind, DUMP, body, deadline, take)
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// As [`Netlink::dump`].
    pub(super) fn get(
        &mut self,
        kind: u16,
        body: &[u8],
        deadline: Instant,
        take: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        // NLM_F_ACK: so that there is an end of this answer, too.
        self.ask(kind, 0x4, body, deadline, take)
    }

    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        deadline: Instant,
        mut take: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = left.max(Duration::from_millis(1));
        set_socket_timeout(&self.socket, Timeout::Recv, Some(patience))?;
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &request(kind, flags, body), SendFlags::empty(), &kernel)?;
        self.buffer.resize(DATAGRAM, 0);
        loop {
            let (length, _) = recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            for message in messages(self.buffer.get(..length).unwrap_or_default()) {
                match message.kind {
                    DONE => return Ok(()),
                    ERROR => return answer(message.body),
                    kind => take(kind, message.body),
                }
            }
            if length == 0 {
                return Ok(());
            }
        }
    }
}

/// An error with the number 0 says that all went well.
fn answer(body: &[u8]) -> io::Result<()> {
    match array(body, 0).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number.wrapping_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A header (length, kind, flags, sequence, port), then the body.
fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let flags = REQUEST | flags;
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], body].concat()
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
        let body = datagram.get(HEADER..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, body })
    })
}

/// The attributes in the rest of a message: their kinds and values, up to the first that is cut
/// short.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(array(rest, 0)?));
        // The upper bits say that it is nested, or in which order its bytes are.
        let kind = u16::from_ne_bytes(array(rest, 2)?) & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// An attribute as it is sent.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or_default();
    let mut out = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// So many bytes from there on.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A number of 32 bits.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

/// A text that ends with a zero.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_are_taken_apart() {
        let inner = [attribute(1, b"ab\0"), attribute(0x8002, &7u32.to_ne_bytes())].concat();
        let datagram = [request(18, 0, &inner), request(3, 0, &[])].concat();
        let all: Vec<_> = messages(&datagram).collect();
        assert_eq!(all.iter().map(|message| message.kind).collect::<Vec<_>>(), [18, 3]);
        let read: Vec<_> = attributes(all[0].body).collect();
        assert_eq!((read[0].0, text(read[0].1).as_str()), (1, "ab"));
        assert_eq!((read[1].0, number(read[1].1, 0)), (2, Some(7)));
        for end in 0..datagram.len() {
            messages(&datagram[..end]).for_each(|message| attributes(message.body).for_each(drop));
        }
        assert_eq!(attributes(&[0; 8]).count(), 0);
    }

    #[test]
    fn refusals_are_errors() {
        assert!(answer(&0i32.to_ne_bytes()).is_ok());
        let error = answer(&(-1i32).to_ne_bytes()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(1));
        assert!(answer(&[]).is_err());
    }
}
