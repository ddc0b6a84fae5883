//! `nfsd`: what the NFS server of this machine has been asked, of `/proc/net/rpc/nfsd` (nfsstat(8);
//! fs/nfsd/stats.c in the kernel's sources).
//!
//! Must not know about clients.

use super::nfs_methods::{VERSION_2, VERSION_3, VERSION_4_SERVER};
use crate::host::keyed::Keyed;
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Batch, Family};
use std::sync::Arc;

const KEYS: &[&str] =
    &["rc", "fh", "io", "th", "ra", "net", "rpc", "proc2", "proc3", "proc4ops", "wdeleg_getattr"];
/// Numbers without labels: the key of their line, their place in it.
#[rustfmt::skip] // a table
const NUMBERS: [(&str, usize, Family); 11] = [
    ("rc", 0, Family::counter("node_nfsd_reply_cache_hits_total", &[], "Repeated requests answered from the reply cache.")),
    ("rc", 1, Family::counter("node_nfsd_reply_cache_misses_total", &[], "Requests whose reply was put into the reply cache.")),
    ("rc", 2, Family::counter("node_nfsd_reply_cache_nocache_total", &[], "Requests whose reply needs no cache.")),
    ("fh", 0, Family::counter("node_nfsd_file_handles_stale_total", &[], "File handles that were stale.")),
    ("io", 0, Family::counter("node_nfsd_disk_bytes_read_total", &[], "Bytes read for clients.")),
    ("io", 1, Family::counter("node_nfsd_disk_bytes_written_total", &[], "Bytes written for clients.")),
    ("th", 0, Family::gauge("node_nfsd_server_threads", &[], "Threads of the server.")),
    ("ra", 0, Family::gauge("node_nfsd_read_ahead_cache_size_blocks", &[], "Size of the read-ahead cache in blocks.")),
    ("ra", 11, Family::counter("node_nfsd_read_ahead_cache_not_found_total", &[], "Reads that the read-ahead cache did not know.")),
    ("net", 3, Family::counter("node_nfsd_connections_total", &[], "TCP connections taken.")),
    ("rpc", 0, Family::counter("node_nfsd_server_rpcs_total", &[], "Remote procedure calls taken.")),
];
const PACKETS: Family = Family::counter(
    "node_nfsd_packets_total",
    &["proto"],
    "Packets of NFS sent and received, by transport.",
);
const ERRORS: Family =
    Family::counter("node_nfsd_rpc_errors_total", &["error"], "Calls refused, by what was wrong.");
const REQUESTS: Family = Family::counter(
    "node_nfsd_requests_total",
    &["method", "proto"],
    "Requests taken, by procedure and version of NFS.",
);
/// Numbers with one label.
const LABELLED: [(&Family, &str, &str, usize, &str); 5] = [
    (&PACKETS, "proto", "net", 1, "udp"),
    (&PACKETS, "proto", "net", 2, "tcp"),
    (&ERRORS, "error", "rpc", 2, "fmt"),
    (&ERRORS, "error", "rpc", 3, "auth"),
    (&ERRORS, "error", "rpc", 4, "cInt"),
];
const FAMILIES: [Family; 14] = {
    let [
        (.., a),
        (.., b),
        (.., c),
        (.., d),
        (.., e),
        (.., f),
        (.., g),
        (.., h),
        (.., i),
        (.., j),
        (.., k),
    ] = NUMBERS;
    [a, b, c, d, e, f, g, h, i, j, k, PACKETS, ERRORS, REQUESTS]
};
/// The first procedure of versions 2 and 3 does nothing, and is not shown.
const VERSIONS: [(&str, &str, usize, &[&str]); 3] = [
    ("proc2", "2", 1, &VERSION_2),
    ("proc3", "3", 1, &VERSION_3),
    ("proc4ops", "4", 0, &VERSION_4_SERVER),
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "nfsd", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Nfsd { file: root.proc("net/rpc/nfsd").single(), counts: Keyed::new(KEYS) })
    }))
}

struct Nfsd {
    file: KernelFile,
    counts: Keyed,
}

impl Collector for Nfsd {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let text = self.file.read(pass.buffer)?;
        self.counts.update(text, self.file.path())?;
        let (counts, batch) = (&self.counts, &mut *pass.batch);
        for (key, index, family) in &NUMBERS {
            batch.value(family, counts.get_or_0(key, *index));
        }
        for family in [&PACKETS, &ERRORS] {
            batch.begin(family);
            for (_, label, key, index, value) in LABELLED.iter().filter(|(of, ..)| *of == family) {
                batch.sample(&[(label, value)], counts.get_or_0(key, *index));
            }
        }
        requests(counts, batch);
        Ok(())
    }
}

fn requests(counts: &Keyed, batch: &mut Batch) {
    batch.begin(&REQUESTS);
    for (key, version, first, methods) in VERSIONS {
        // The first number says how many there are. An older kernel knows fewer procedures.
        // A version that is not in use has no row.
        let row = counts.row(key).split_first().map_or(&[][..], |(_, row)| row);
        let row = row.iter().copied().chain(std::iter::repeat(0.0));
        for (method, count) in methods.iter().zip(row).skip(first) {
            if !method.is_empty() {
                batch.sample(&[("method", method), ("proto", version)], count);
            }
        }
    }
    // An older kernel does not count it.
    let count = counts.get_or_0("wdeleg_getattr", 0);
    batch.sample(&[("method", "WdelegGetattr"), ("proto", "4")], count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Format, encode};
    use std::path::Path;

    #[test]
    fn what_an_older_kernel_does_not_count_is_0() {
        let mut counts = Keyed::new(KEYS);
        counts.update(b"proc2 2 7 8\n", Path::new("nfsd")).unwrap();
        let (mut batch, mut out) = (Batch::new(), Vec::new());
        requests(&counts, &mut batch);
        encode(&batch, Format::Text, &mut out);
        let text = String::from_utf8(out).unwrap();
        for (method, proto, count) in
            [("GetAttr", "2", 8), ("SetAttr", "2", 0), ("WdelegGetattr", "4", 0)]
        {
            let labels = format!(r#"method="{method}",proto="{proto}""#);
            let wanted = format!("node_nfsd_requests_total{{{labels}}} {count}\n");
            assert!(text.contains(&wanted), "no {wanted} in {text}");
        }
    }
}
