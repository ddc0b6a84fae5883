//! `udp_queues`: bytes that wait in the queues of UDP sockets, of `/proc/net/udp` and `udp6`
//! (proc_net(5)).
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
        Box::new(UdpQueues {
            files: [("v4", "udp"), ("v6", "udp6")]
                .map(|(ip, name)| (ip, net::file(root, name).records(256))),
        })
    }))
}

struct UdpQueues {
    files: [(&'static str, KernelFile); 2],
}

impl Collector for UdpQueues {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        pass.batch.begin(&QUEUES);
        let mut found = false;
        for (ip, file) in &mut self.files {
            let text = match file.read(pass.buffer) {
                Err(Error::NoData(_)) => continue,
                text => text?,
            };
            found = true;
            for (queue, length) in ["tx", "rx"].into_iter().zip(lengths(text)?) {
                pass.batch.sample(&[("queue", queue), ("ip", ip)], length as f64);
            }
        }
        if found { Ok(()) } else { Err(Error::NoData("neither net/udp nor net/udp6".to_owned())) }
    }
}

/// What waits to be sent, and to be received, over all sockets.
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
    fn rubbish() {
        for line in [&b"h\n0: a b 07\n"[..], b"h\n0: a b 07 1\n", b"h\n0: a b 07 x:1\n"] {
            assert!(lengths(line).is_err());
        }
    }
}
