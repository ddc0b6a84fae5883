//! `qdisc`: the queues in which packets wait to be sent, asked of the kernel over rtnetlink(7)
//! (tc(8)).
//!
//! Must not know about classes and filters: only what is at a device's root.

use super::netlink::{Netlink, attributes, number, text};
use crate::host::gathered::Gathered;
use crate::host::pattern::{Filter, Pattern};
use crate::host::root::{Root, read_once};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::Family;
use rustix::net::netdevice::index_to_name;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

const QUEUE: &[&str] = &["device", "kind"];
const FAMILIES: [Family; 7] = [
    Family::counter("node_qdisc_bytes_total", QUEUE, "Bytes sent."),
    Family::counter("node_qdisc_packets_total", QUEUE, "Packets sent."),
    Family::counter("node_qdisc_drops_total", QUEUE, "Packets dropped."),
    Family::counter("node_qdisc_requeues_total", QUEUE, "Packets that the device took back."),
    Family::counter("node_qdisc_overlimits_total", QUEUE, "Packets that came over the limit."),
    Family::gauge("node_qdisc_current_queue_length", QUEUE, "Packets that wait to be sent."),
    Family::gauge("node_qdisc_backlog", QUEUE, "Bytes that wait to be sent."),
];
/// Of linux/rtnetlink.h.
const NEW_QDISC: u16 = 36;
const GET_QDISC: u16 = 38;
const KIND: u16 = 1;
const STATISTICS: u16 = 7;
/// Of linux/gen_stats.h, within the statistics.
const BASIC: u16 = 1;
const QUEUED: u16 = 3;
/// The parent of what is at a device's root (TC_H_ROOT).
const ROOT: u32 = u32::MAX;
/// The length of the fixed part of a message (struct tcmsg).
const FIXED: usize = 20;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "qdisc", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    device_include: Pattern,
    device_exclude: Pattern,
    fixtures: PathBuf,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { device_include, device_exclude, fixtures } =
        serde::Deserialize::deserialize(options)?;
    let filter = Filter { include: device_include, exclude: device_exclude };
    Ok(Arc::new(move |_: &Arc<Root>| {
        let (filter, fixtures) = (filter.clone(), fixtures.clone());
        Box::new(Qdisc { filter, fixtures, netlink: None, gathered: Gathered::default() })
    }))
}

struct Qdisc {
    filter: Filter,
    /// In the kernel's place, if there is such a folder.
    fixtures: PathBuf,
    netlink: Option<Netlink>,
    gathered: Gathered,
}

/// A queue, as the kernel says it; the keys are those of fixtures.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Queue {
    iface_name: String,
    kind: String,
    bytes: u64,
    packets: u32,
    drops: u32,
    requeues: u32,
    overlimits: u32,
    qlen: u32,
    backlog: u32,
}

impl Collector for Qdisc {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let queues = if self.fixtures.as_os_str().is_empty() {
            self.ask(pass.deadline)
                .map_err(|source| Error::Read { path: "netlink route socket".into(), source })?
        } else {
            let path = self.fixtures.join("results.json");
            let text = read_once(&path).map_err(|source| Error::Read { path, source })?;
            serde_json::from_slice(&text).map_err(|error| Error::Parse(error.to_string()))?
        };
        self.gathered.clear();
        for queue in queues.iter().filter(|queue| self.filter.wants(&queue.iface_name)) {
            let labels = [("device", queue.iface_name.as_str()), ("kind", &queue.kind)];
            let numbers = [
                queue.bytes as f64,
                queue.packets.into(),
                queue.drops.into(),
                queue.requeues.into(),
                queue.overlimits.into(),
                queue.qlen.into(),
                queue.backlog.into(),
            ];
            for (place, value) in numbers.into_iter().enumerate() {
                self.gathered.add(place, &labels, value);
            }
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

impl Qdisc {
    fn ask(&mut self, deadline: Instant) -> io::Result<Vec<Queue>> {
        let mut netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => Netlink::open(None)?,
        };
        let mut found = Vec::new();
        netlink.dump(GET_QDISC, &[0; FIXED], deadline, |kind, body| {
            if kind == NEW_QDISC {
                found.extend(parse(body));
            }
        })?;
        let mut queues = Vec::new();
        for (device, mut queue) in found {
            // The device may just have gone.
            if let Ok(name) = index_to_name(netlink.socket(), device) {
                queue.iface_name = name;
                queues.push(queue);
            }
        }
        self.netlink = Some(netlink);
        Ok(queues)
    }
}

/// Reads a message about a queue that is at a device's root: the device, and the queue.
fn parse(body: &[u8]) -> Option<(u32, Queue)> {
    let (device, parent) = (number(body, 4)?, number(body, 12)?);
    if parent != ROOT {
        return None;
    }
    let mut queue = Queue::default();
    for (kind, value) in attributes(body.get(FIXED..)?) {
        match kind {
            KIND => queue.kind = text(value),
            STATISTICS => attributes(value).for_each(|(kind, value)| queue.take(kind, value)),
            _ => {}
        }
    }
    Some((device, queue))
}

impl Queue {
    /// Takes one of the statistics.
    fn take(&mut self, kind: u16, value: &[u8]) {
        let at = |place| number(value, place).unwrap_or_default();
        match kind {
            BASIC => {
                self.bytes = super::netlink::array(value, 0).map_or(0, u64::from_ne_bytes);
                self.packets = at(8);
            }
            QUEUED => {
                (self.qlen, self.backlog, self.drops) = (at(0), at(4), at(8));
                (self.requeues, self.overlimits) = (at(12), at(16));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::netlink::attribute;
    use super::*;

    #[test]
    fn a_message_is_read() {
        let basic = [&7u64.to_ne_bytes()[..], &8u32.to_ne_bytes()].concat();
        let queued: Vec<u8> = (1u32..=5).flat_map(u32::to_ne_bytes).collect();
        let statistics = [attribute(BASIC, &basic), attribute(QUEUED, &queued)].concat();
        let body = |parent: u32| {
            let fixed = [&[0; 4][..], &3u32.to_ne_bytes(), &[0; 4], &parent.to_ne_bytes(), &[0; 4]];
            [&fixed.concat()[..], &attribute(KIND, b"fq\0"), &attribute(STATISTICS, &statistics)]
                .concat()
        };
        let (device, queue) = parse(&body(ROOT)).unwrap();
        let wanted = Queue {
            iface_name: String::new(),
            kind: "fq".to_owned(),
            bytes: 7,
            packets: 8,
            qlen: 1,
            backlog: 2,
            drops: 3,
            requeues: 4,
            overlimits: 5,
        };
        assert_eq!((device, queue), (3, wanted));
        assert_eq!(parse(&body(1)), None);
        let whole = body(ROOT);
        for end in 0..whole.len() {
            let _ = parse(&whole[..end]);
        }
    }
}
