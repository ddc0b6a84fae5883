//! `tcpstat`: TCP connections by their state, asked of the kernel over sock_diag(7).
//!
//! Must not know whose connections they are.

use super::netlink::{Netlink, number};
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use rustix::net::netlink::SOCK_DIAG;
use std::io;
use std::sync::Arc;
use std::time::Instant;

const STATES: Family = Family::gauge(
    "node_tcp_connection_states",
    &["state"],
    "Connections by their state; and under the states rx_queued_bytes and tx_queued_bytes, what waits.",
);
/// By their numbers (include/net/tcp_states.h).
const NAMES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];
/// Of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// The length of a question (struct inet_diag_req_v2).
const QUESTION: usize = 56;
/// Where what waits stands in an answer (struct inet_diag_msg).
const RECEIVED: usize = 56;
const SENT: usize = 60;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "tcpstat", families: &[STATES], parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|_: &Arc<Root>| Box::new(TcpStat { netlink: None })))
}

struct TcpStat {
    netlink: Option<Netlink>,
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    states: [u64; NAMES.len()],
    received: u64,
    sent: u64,
}

impl Collector for TcpStat {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let counts = self
            .ask(pass.deadline)
            .map_err(|source| Error::Read { path: "netlink sock_diag socket".into(), source })?;
        pass.batch.begin(&STATES);
        for (name, count) in NAMES.into_iter().zip(counts.states) {
            if count > 0 {
                pass.batch.sample(&[("state", name)], count as f64);
            }
        }
        pass.batch.sample(&[("state", "rx_queued_bytes")], counts.received as f64);
        pass.batch.sample(&[("state", "tx_queued_bytes")], counts.sent as f64);
        Ok(())
    }
}

impl TcpStat {
    fn ask(&mut self, deadline: Instant) -> io::Result<Counts> {
        let mut netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => Netlink::open(Some(SOCK_DIAG))?,
        };
        let mut counts = Counts::default();
        for family in [AF_INET, AF_INET6] {
            let result = netlink.dump(BY_FAMILY, &question(family), deadline, |_, body| {
                counts.take(body);
            });
            match result {
                // A machine without IPv6.
                Err(error) if family == AF_INET6 && error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        self.netlink = Some(netlink);
        Ok(counts)
    }
}

/// All connections of a family, in whatever state.
fn question(family: u8) -> Vec<u8> {
    let mut question = vec![family, IPPROTO_TCP, 0, 0];
    question.extend_from_slice(&u32::MAX.to_ne_bytes());
    question.resize(QUESTION, 0);
    question
}

impl Counts {
    fn take(&mut self, body: &[u8]) {
        let (Some(state), Some(received), Some(sent)) =
            (body.get(1), number(body, RECEIVED), number(body, SENT))
        else {
            return;
        };
        let place = usize::from(*state).wrapping_sub(1);
        if let Some(count) = self.states.get_mut(place) {
            *count += 1;
            self.received = self.received.saturating_add(received.into());
            self.sent = self.sent.saturating_add(sent.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn answers_are_counted() {
        let mut counts = Counts::default();
        let mut body = vec![0; 72];
        (body[1], body[RECEIVED], body[SENT]) = (10, 3, 4);
        counts.take(&body);
        body[1] = 77;
        counts.take(&body);
        counts.take(&body[..40]);
        let mut states = [0; NAMES.len()];
        states[9] = 1;
        assert_eq!(counts, Counts { states, received: 3, sent: 4 });
    }

    #[test]
    fn a_listener_is_seen() {
        let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut tcpstat = TcpStat { netlink: None };
        for _ in 0..2 {
            let counts = tcpstat.ask(Instant::now() + Duration::from_secs(9)).unwrap();
            assert!(counts.states[9] >= 1, "{counts:?}");
        }
    }
}
