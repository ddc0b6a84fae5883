//! `udp_queues`: bytes that wait in the queues of UDP sockets, of `/proc/net/udp` and `udp6`
//! (proc_net(5)).
//!
//! For each of these files the kernel walks a table with room for tens of thousands of sockets, however few
//! there are: the dearest reads of a scrape. So it is asked first whether there are any (`/proc/net/sockstat`).
//!
//! Must not know whose sockets they are.

use super::net;
use crate::host::parse::{hexadecimal, lines, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const QUEUES: Family =
    Family::gauge("node_udp_queues", &["queue", "ip"], "Bytes in the queues of all UDP sockets.");
/// Where `tx:rx` stands in a line.
const COLUMN: usize = 4;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "udp_queues", families: &[QUEUES], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let protocol = |ip, sockets, count, key: &'static [u8]| Protocol {
            ip,
            sockets: net::file(root, sockets).records(256),
            count: net::file(root, count).single(),
            key,
        };
        Box::new(UdpQueues([
            protocol("v4", "udp", "sockstat", b"UDP:"),
            protocol("v6", "udp6", "sockstat6", b"UDP6:"),
        ]))
    }))
}

struct UdpQueues([Protocol; 2]);

struct Protocol {
    ip: &'static str,
    sockets: KernelFile,
    /// Where the kernel says how many there are, in a line that begins with `key`.
    count: KernelFile,
    key: &'static [u8],
}

impl Collector for UdpQueues {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        pass.batch.begin(&QUEUES);
        let mut found = false;
        for protocol in &mut self.0 {
            let sums = match protocol.sums(pass.buffer) {
                Err(Error::NoData(_)) => continue,
                sums => sums?,
            };
            found = true;
            for (queue, sum) in ["tx", "rx"].into_iter().zip(sums) {
                pass.batch.sample(&[("queue", queue), ("ip", protocol.ip)], sum as f64);
            }
        }
        if found { Ok(()) } else { Err(Error::NoData("neither net/udp nor net/udp6".to_owned())) }
    }
}

impl Protocol {
    /// What waits to be sent, and to be received, over all sockets.
    fn sums(&mut self, buffer: &mut Vec<u8>) -> Result<[u64; 2], Error> {
        let count = self.count.read(buffer).ok().and_then(|text| sockets(text, self.key));
        // Files that somebody has put in the kernel's place need not agree.
        if count == Some(0) && self.count.is_kernels() {
            return Ok([0, 0]);
        }
        lengths(self.sockets.read(buffer)?)
    }
}

/// How many sockets a line of `/proc/net/sockstat` says are in use.
fn sockets(text: &[u8], key: &[u8]) -> Option<u64> {
    let line = lines(text).find(|line| line.starts_with(key))?;
    let mut words = words(line).skip(1);
    words.find(|word| *word == b"inuse")?;
    std::str::from_utf8(words.next()?).ok()?.parse().ok()
}

/// What waits to be sent, and to be received, by the lines of a file.
fn lengths(text: &[u8]) -> Result<[u64; 2], Error> {
    let mut totals = [0u64; 2];
    for line in lines(text).skip(1) {
        let queues = words(line).nth(COLUMN).and_then(|word| {
            let (tx, rx) = std::str::from_utf8(word).ok()?.split_once(':')?;
            Some([hexadecimal(tx.as_bytes())?, hexadecimal(rx.as_bytes())?])
        });
        let queues = queues.ok_or_else(|| {
            Error::Parse(format!("net/udp: wanted `tx:rx` in column 5, found {}", quoted(line)))
        })?;
        for (total, queue) in totals.iter_mut().zip(queues) {
            *total = total.wrapping_add(queue);
        }
    }
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_summed() {
        let text = b"sl local rem st tx:rx\n 0: a:1 b:2 07 00000015:00000001 x\n 1: a b 07 1:0\n";
        assert_eq!(lengths(text).unwrap(), [22, 1]);
        assert_eq!(lengths(b"sl\n").unwrap(), [0, 0]);
    }

    #[test]
    fn sockets_are_counted_where_the_kernel_says_so() {
        let text =
            b"sockets: used 16\nTCP: inuse 4 orphan 0\nUDP: inuse 2 mem 0\nUDPLITE: inuse 0\n";
        assert_eq!(sockets(text, b"UDP:"), Some(2));
        assert_eq!(sockets(b"UDP6: inuse 0\n", b"UDP6:"), Some(0));
        for text in [&b""[..], b"UDP:\n", b"UDP: inuse\n", b"UDP: inuse x\n", b"UDP: mem 0\n"] {
            assert_eq!(sockets(text, b"UDP:"), None);
        }
    }

    #[test]
    fn what_waits_in_a_socket_is_seen_as_soon_as_there_is_one() {
        let file = |name: &str| KernelFile::new(format!("/proc/self/net/{name}").into());
        let (sockets, count) = (file("udp").records(256), file("sockstat").single());
        let mut protocol = Protocol { ip: "v4", sockets, count, key: b"UDP:" };
        let mut buffer = Vec::new();
        let [_, before] = protocol.sums(&mut buffer).unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&[0; 1000], socket.local_addr().unwrap()).unwrap();
        let [_, after] = protocol.sums(&mut buffer).unwrap();
        assert!(after >= 1000, "{before} before, {after} after");
    }

    #[test]
    fn rubbish() {
        for line in [&b"h\n0: a b 07\n"[..], b"h\n0: a b 07 1\n", b"h\n0: a b 07 x:1\n"] {
            assert!(lengths(line).is_err());
        }
    }
}
