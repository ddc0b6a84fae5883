//! `ipvs`: the kernel's load balancer, of `/proc/net/ip_vs` and `/proc/net/ip_vs_stats` (ipvsadm(8);
//! net/netfilter/ipvs/ip_vs_ctl.c in the kernel's sources).
//!
//! Must not know where it is configured.

use super::net;
use crate::host::parse::{hexadecimal, integer, lines, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::table::Table;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Family, Labels};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// In the order of the columns of `ip_vs_stats`.
const TOTALS: [Family; 5] = [
    Family::counter("node_ipvs_connections_total", &[], "Connections made."),
    Family::counter("node_ipvs_incoming_packets_total", &[], "Packets from clients."),
    Family::counter("node_ipvs_outgoing_packets_total", &[], "Packets to clients."),
    Family::counter("node_ipvs_incoming_bytes_total", &[], "Data from clients."),
    Family::counter("node_ipvs_outgoing_bytes_total", &[], "Data to clients."),
];
/// The labels of a backend, in the order of [`Backend`].
const LABELS: [&str; 6] =
    ["local_address", "local_port", "remote_address", "remote_port", "proto", "local_mark"];
/// In the order of the columns of `ip_vs`.
const BACKENDS: [Family; 3] = [
    Family::gauge("node_ipvs_backend_weight", &LABELS, "The backend's weight."),
    Family::gauge("node_ipvs_backend_connections_active", &LABELS, "Active connections."),
    Family::gauge("node_ipvs_backend_connections_inactive", &LABELS, "Inactive connections."),
];
const FAMILIES: [Family; 8] = {
    let ([a, b, c, d, e], [f, g, h]) = (TOTALS, BACKENDS);
    [a, b, c, d, e, f, g, h]
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "ipvs", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    backend_labels: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Label {
    LocalAddress,
    LocalPort,
    RemoteAddress,
    RemotePort,
    Proto,
    LocalMark,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { backend_labels } = serde::Deserialize::deserialize(options)?;
    let all = [
        Label::LocalAddress,
        Label::LocalPort,
        Label::RemoteAddress,
        Label::RemotePort,
        Label::Proto,
        Label::LocalMark,
    ];
    let shown = all.map(|label| backend_labels.contains(&label));
    Ok(Arc::new(move |root: &Arc<Root>| {
        Box::new(IpVs {
            stats: net::file(root, "ip_vs_stats").single(),
            table: net::file(root, "ip_vs"),
            shown,
            backends: Table::default(),
        })
    }))
}

struct IpVs {
    stats: KernelFile,
    table: KernelFile,
    /// Which of the labels.
    shown: [bool; 6],
    /// By their labels; backends that have the same are added up.
    backends: Table<Row>,
}

struct Row {
    labels: Labels,
    numbers: [f64; 3],
}

impl Collector for IpVs {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let totals = totals(self.stats.read(pass.buffer)?)?;
        for (family, total) in TOTALS.iter().zip(totals) {
            pass.batch.value(family, total as f64);
        }
        let text = self.table.read(pass.buffer)?;
        self.take(text)?;
        for (index, family) in BACKENDS.iter().enumerate() {
            pass.batch.begin(family);
            for row in self.backends.rows() {
                let number = row.numbers.get(index).copied().unwrap_or_default();
                pass.batch.sample_with(&row.labels, number);
            }
        }
        Ok(())
    }
}

impl IpVs {
    fn take(&mut self, text: &[u8]) -> Result<(), Error> {
        let mut rows: Vec<(Labels, [f64; 3])> = Vec::new();
        let shown = self.shown;
        parse(text, |texts, numbers| {
            let pairs = LABELS.into_iter().zip(texts).zip(shown);
            let pairs: Vec<_> = pairs.filter(|(_, shown)| *shown).map(|(pair, _)| pair).collect();
            let labels = Labels::new(&pairs);
            match rows.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, sums)) => {
                    sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
                }
                None => rows.push((labels, numbers)),
            }
        })?;
        self.backends.begin();
        for (labels, numbers) in rows {
            let name = labels.as_bytes().to_vec();
            if let Some(row) = self.backends.meet(&name, || Row { labels, numbers }) {
                row.numbers = numbers;
            }
        }
        self.backends.end();
        Ok(())
    }
}

/// The third line: five hexadecimal numbers.
fn totals(text: &[u8]) -> Result<[u64; 5], Error> {
    let line = lines(text).nth(2).unwrap_or_default();
    let mut totals = [0; 5];
    let mut words = words(line);
    for total in &mut totals {
        *total = words.next().and_then(hexadecimal).ok_or_else(|| {
            Error::Parse(format!(
                "net/ip_vs_stats: wanted five hexadecimal numbers, found {}",
                quoted(line)
            ))
        })?;
    }
    Ok(totals)
}

/// Services with their backends below them:
///
/// ```text
/// TCP  C0A80016:0CEA wlc
///   -> C0A85216:0CEA      Tunnel  100    248        2
/// FWM  10001000 wlc
/// ```
fn parse(text: &[u8], mut backend: impl FnMut([&str; 6], [f64; 3])) -> Result<(), Error> {
    let (mut proto, mut address, mut port, mut mark) = Default::default();
    // Three lines of headings.
    for line in lines(text).skip(3) {
        let wrong =
            || Error::Parse(format!("net/ip_vs: wanted a service or `->`, found {}", quoted(line)));
        let mut words = words(line);
        let first = words.next().unwrap_or_default();
        let second = words.next().ok_or_else(wrong)?;
        match first {
            b"TCP" | b"UDP" | b"SCTP" => {
                proto = String::from_utf8_lossy(first).into_owned();
                (address, port) = endpoint(second).ok_or_else(wrong)?;
                mark = String::new();
            }
            b"FWM" => {
                proto = "FWM".to_owned();
                (address, port) = (String::new(), "0".to_owned());
                mark = String::from_utf8_lossy(second).into_owned();
            }
            b"->" => {
                let (remote, remote_port) = endpoint(second).ok_or_else(wrong)?;
                let mut number = || words.next().and_then(integer).map(|number| number as f64);
                // The way of forwarding stands before the numbers, and is no number.
                number();
                let numbers = [
                    number().ok_or_else(wrong)?,
                    number().ok_or_else(wrong)?,
                    number().ok_or_else(wrong)?,
                ];
                backend([&address, &port, &remote, &remote_port, &proto, &mark], numbers);
            }
            _ => return Err(wrong()),
        }
    }
    Ok(())
}

/// `C0A80016:0CEA`, or `[2001:0db8:…]:0CEA` for IPv6.
fn endpoint(word: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(word).ok()?;
    let (address, port) = text.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?.to_string();
    if let Some(inner) = address.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some((address.to_string(), port));
    }
    let bits = u32::from_str_radix(address, 16).ok().filter(|_| address.len() == 8)?;
    Some((Ipv4Addr::from_bits(bits).to_string(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let of = |text: &str| endpoint(text.as_bytes());
        assert_eq!(of("C0A80016:0CEA"), Some(("192.168.0.22".to_owned(), "3306".to_owned())));
        let six = of("[2001:0db8:0000:0000:0000:0000:0000:0001]:0050");
        assert_eq!(six, Some(("2001:db8::1".to_owned(), "80".to_owned())));
        for rubbish in
            ["", ":", "C0A80016", "C0A8:0CEA", "[]:1", "[2001:1", "x:y", "C0A80016:10CEA"]
        {
            assert_eq!(of(rubbish), None, "{rubbish}");
        }
    }

    #[test]
    fn rubbish_is_told() {
        let parsed =
            |text: &str| parse(text.as_bytes(), |_, _| ()).map_err(|error| error.to_string());
        assert_eq!(parsed("a\nb\nc\n"), Ok(()));
        for text in ["a\nb\nc\nTCP\n", "a\nb\nc\nXYZ 1\n", "a\nb\nc\n-> C0A80016:0CEA Route 1 2\n"]
        {
            assert!(parsed(text).unwrap_err().starts_with("net/ip_vs: wanted a service"), "{text}");
        }
        assert!(totals(b"a\nb\n 1 2 3 4\n").is_err());
        assert_eq!(totals(b"a\nb\n 1 2 3 4 A\n").unwrap(), [1, 2, 3, 4, 10]);
    }
}
