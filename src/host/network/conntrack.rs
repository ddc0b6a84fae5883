//! `conntrack`: connections that the packet filter keeps track of, of `/proc/sys/net/netfilter`
//! and `/proc/net/stat/nf_conntrack` (Documentation/networking/nf_conntrack-sysctl.rst).
//!
//! Must not know about single connections.

use super::net;
use crate::host::parse::{hexadecimal, integer, lines, quoted, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const ENTRIES: Family =
    Family::gauge("node_nf_conntrack_entries", &[], "Connections that are kept track of.");
const LIMIT: Family =
    Family::gauge("node_nf_conntrack_entries_limit", &[], "Connections that may be kept track of.");

const fn stat(name: &'static str, help: &'static str) -> Family {
    Family::gauge(name, &[], help)
}

/// Columns of `stat/nf_conntrack`, summed over the cpus.
const STATS: [(&[u8], Family); 8] = [
    (b"found", stat("node_nf_conntrack_stat_found", "Entries found by a search.")),
    (b"invalid", stat("node_nf_conntrack_stat_invalid", "Packets that belong to no connection.")),
    (b"ignore", stat("node_nf_conntrack_stat_ignore", "Packets of connections known already.")),
    (b"insert", stat("node_nf_conntrack_stat_insert", "Entries put in.")),
    (
        b"insert_failed",
        stat("node_nf_conntrack_stat_insert_failed", "Entries that were there already."),
    ),
    (
        b"drop",
        stat("node_nf_conntrack_stat_drop", "Packets dropped because no entry could be made."),
    ),
    (
        b"early_drop",
        stat("node_nf_conntrack_stat_early_drop", "Entries dropped to make room for others."),
    ),
    (b"search_restart", stat("node_nf_conntrack_stat_search_restart", "Searches begun anew.")),
];

const FAMILIES: [Family; 10] = {
    let [a, b, c, d, e, f, g, h] = &STATS;
    [ENTRIES, LIMIT, a.1, b.1, c.1, d.1, e.1, f.1, g.1, h.1]
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "conntrack", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(ConnTrack {
            count: root.proc("sys/net/netfilter/nf_conntrack_count").single(),
            max: root.proc("sys/net/netfilter/nf_conntrack_max").single(),
            stat: net::file(root, "stat/nf_conntrack").records(256),
        })
    }))
}

struct ConnTrack {
    count: KernelFile,
    max: KernelFile,
    stat: KernelFile,
}

impl Collector for ConnTrack {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        for (family, file) in [(&ENTRIES, &mut self.count), (&LIMIT, &mut self.max)] {
            let text = file.read(pass.buffer)?.trim_ascii();
            let value = integer(text).ok_or_else(|| {
                Error::Parse(format!("nf_conntrack: wanted a number, found {}", quoted(text)))
            })?;
            pass.batch.value(family, value as f64);
        }
        // A kernel may be built without it.
        let text = match self.stat.read(pass.buffer) {
            Err(Error::NoData(_)) => return Ok(()),
            text => text?,
        };
        for (total, (_, family)) in totals(text)?.into_iter().zip(&STATS) {
            if let Some(total) = total {
                pass.batch.value(family, total as f64);
            }
        }
        Ok(())
    }
}

/// A line of names, then a line of hexadecimal numbers per cpu. `None` for a column that this
/// kernel does not have.
fn totals(text: &[u8]) -> Result<[Option<u64>; STATS.len()], Error> {
    let mut lines = lines(text);
    let names = lines.next().unwrap_or_default();
    let place = |wanted: &[u8]| words(names).position(|name| name == wanted);
    let places = STATS.map(|(name, _)| place(name));
    let mut totals = places.map(|place| place.map(|_| 0));
    for line in lines {
        for (column, word) in words(line).enumerate() {
            let Some(index) = places.iter().position(|place| *place == Some(column)) else {
                continue;
            };
            let value = hexadecimal(word).ok_or_else(|| {
                let found = quoted(line);
                Error::Parse(format!(
                    "stat/nf_conntrack: wanted hexadecimal numbers, found {found}"
                ))
            })?;
            if let Some(Some(total)) = totals.get_mut(index) {
                *total = u64::wrapping_add(*total, value);
            }
        }
    }
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_summed() {
        let text =
            b"entries clashres found new invalid drop\n00000001 0 0a 0 2 3\n00000001 0 01 0 3 3\n";
        let wanted = [Some(11), Some(5), None, None, None, Some(6), None, None];
        assert_eq!(totals(text).unwrap(), wanted);
        assert_eq!(totals(b"").unwrap(), [None; 8]);
    }

    #[test]
    fn rubbish() {
        assert!(totals(b"found\nxyz\n").is_err());
    }
}
