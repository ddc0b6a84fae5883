//! `nfs`: what this machine has asked of NFS servers, of `/proc/net/rpc/nfs` (nfsstat(8);
//! net/sunrpc/stats.c in the kernel's sources).
//!
//! Must not know about mounts: those are mountstats'.

use super::nfs_methods::{VERSION_2, VERSION_3, VERSION_4_CLIENT};
use crate::host::keyed::Keyed;
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const PACKETS: Family = Family::counter(
    "node_nfs_packets_total",
    &["protocol"],
    "Packets of NFS sent and received, by transport.",
);
const REQUESTS: Family = Family::counter(
    "node_nfs_requests_total",
    &["method", "proto"],
    "Requests made, by procedure and version of NFS.",
);
/// Numbers without labels: the key of their line, their place in it.
#[rustfmt::skip] // a table
const NUMBERS: [(&str, usize, Family); 4] = [
    ("net", 3, Family::counter("node_nfs_connections_total", &[], "TCP connections made.")),
    ("rpc", 0, Family::counter("node_nfs_rpcs_total", &[], "Remote procedure calls made.")),
    ("rpc", 1, Family::counter("node_nfs_rpc_retransmissions_total", &[], "Calls sent again.")),
    ("rpc", 2, Family::counter("node_nfs_rpc_authentication_refreshes_total", &[], "Times the credentials of a call were made anew.")),
];
const FAMILIES: [Family; 6] = {
    let [(.., a), (.., b), (.., c), (.., d)] = NUMBERS;
    [PACKETS, REQUESTS, a, b, c, d]
};
const VERSIONS: [(&str, &str, &[&str]); 3] =
    [("proc2", "2", &VERSION_2), ("proc3", "3", &VERSION_3), ("proc4", "4", &VERSION_4_CLIENT)];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "nfs", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let counts = Keyed::new(&["net", "rpc", "proc2", "proc3", "proc4"]);
        Box::new(Nfs { file: root.proc("net/rpc/nfs").single(), counts })
    }))
}

struct Nfs {
    file: KernelFile,
    counts: Keyed,
}

impl Collector for Nfs {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let text = self.file.read(pass.buffer)?;
        self.counts.update(text, self.file.path())?;
        let (counts, batch) = (&self.counts, &mut *pass.batch);
        batch.begin(&PACKETS);
        for (index, protocol) in [(1, "udp"), (2, "tcp")] {
            batch.sample(&[("protocol", protocol)], counts.get_or_0("net", index));
        }
        for (key, index, family) in &NUMBERS {
            batch.value(family, counts.get_or_0(key, *index));
        }
        batch.begin(&REQUESTS);
        for (key, version, methods) in VERSIONS {
            // The first number says how many there are. An older kernel knows fewer procedures.
            // A version that is not in use has no row.
            let row = counts.row(key).split_first().map_or(&[][..], |(_, row)| row);
            let row = row.iter().copied().chain(std::iter::repeat(0.0));
            for (method, count) in methods.iter().zip(row) {
                batch.sample(&[("method", method), ("proto", version)], count);
            }
        }
        Ok(())
    }
}
