//! `sockstat`: sockets in use, of `/proc/net/sockstat` and `/proc/net/sockstat6`.
//!
//! Must not know about single sockets.

use super::net;
use crate::host::parse::{lines, number, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass, if_there};
use crate::metric::{Batch, Family};
use std::sync::Arc;

const FIELD: Family =
    Family::gauge("node_sockstat_*", &[], "A field of /proc/net/sockstat or sockstat6.");

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "sockstat", families: &[FIELD], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let files = ["sockstat", "sockstat6"].map(|name| net::file(root, name).single());
        Box::new(SockStat { files, page_size: rustix::param::page_size(), name: Vec::new() })
    }))
}

struct SockStat {
    files: [KernelFile; 2],
    page_size: usize,
    /// The part of a metric's name that is being put together.
    name: Vec<u8>,
}

impl Collector for SockStat {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        for file in &mut self.files {
            // A kernel without IPv6 has no sockstat6, one without IP none of them.
            if let Some(text) = if_there(file.read(pass.buffer))? {
                emit(text, self.page_size, &mut self.name, pass.batch)?;
            }
        }
        Ok(())
    }
}

/// Emits every `name value` pair of every line `PROTOCOL: name value name value …`. Memory that
/// the kernel counts in pages (`mem`) is given in bytes, too; its count may be below zero for a while.
fn emit(text: &[u8], page_size: usize, name: &mut Vec<u8>, batch: &mut Batch) -> Result<(), Error> {
    for line in lines(text) {
        let unreadable = || {
            Error::Parse(format!("sockstat: wanted `name: name number …`, found {}", quoted(line)))
        };
        let mut words = words(line);
        let protocol = words.next().and_then(|word| word.strip_suffix(b":"));
        let protocol = protocol.ok_or_else(unreadable)?;
        while let Some(field) = words.next() {
            let value = words.next().and_then(number).ok_or_else(unreadable)?;
            name.clear();
            name.extend_from_slice(protocol);
            name.push(b'_');
            name.extend_from_slice(field);
            batch.begin_named(&FIELD, name);
            batch.sample(&[], value);
            if field == b"mem" {
                name.extend_from_slice(b"_bytes");
                batch.begin_named(&FIELD, name);
                batch.sample(&[], value * page_size as f64);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Format, encode};

    fn text(input: &[u8]) -> Result<String, Error> {
        let (mut batch, mut out) = (Batch::new(), Vec::new());
        emit(input, 4096, &mut Vec::new(), &mut batch)?;
        encode(&batch, Format::Text, &mut out);
        let lines = String::from_utf8(out).unwrap();
        Ok(lines.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn pairs() {
        let shown = text(b"sockets: used 5\nTCP: inuse 3 mem 2\n").unwrap();
        let wanted = "node_sockstat_sockets_used 5 node_sockstat_TCP_inuse 3 \
            node_sockstat_TCP_mem 2 node_sockstat_TCP_mem_bytes 8192";
        assert_eq!(shown, wanted);
        let below = text(b"UDP: mem -1\n").unwrap();
        assert_eq!(below, "node_sockstat_UDP_mem -1 node_sockstat_UDP_mem_bytes -4096");
        assert_eq!(text(b"").unwrap(), "");
    }

    #[test]
    fn rubbish() {
        for input in [&b"TCP inuse 3"[..], b"TCP: inuse", b"TCP: inuse x", b"\xff: \xff \xff"] {
            assert!(text(input).is_err());
        }
    }
}
