//! `mountstats`: what is done on each NFS mount, of `/proc/<pid>/mountstats` (mountstats(8);
//! nfs_show_stats() in fs/nfs/super.c and xprt_print_stats() in net/sunrpc in the kernel's sources).
//!
//! Must not know how full the mounts are: that is filesystem's.

use crate::host::gathered::Gathered;
use crate::host::parse::{integer, lines, words};
use crate::host::root::{KernelFile, Root};
use crate::host::storage::mounts::{self, OfHost};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::collections::BTreeSet;
use std::sync::Arc;

const MOUNT: &[&str] = &["export", "mountaddr", "protocol"];
const TRANSPORT: &[&str] = &["export", "mountaddr", "protocol", "transport"];
const OPERATION: &[&str] = &["export", "mountaddr", "operation", "protocol"];
const COUNT: usize = 54;
#[rustfmt::skip] // a table
static FAMILIES: [Family; COUNT] = [
    Family::gauge("node_mountstats_nfs_mountpoint_info", &["export", "mountaddr", "mountpoint", "protocol"], "Where the export is mounted; always 1."),
    Family::counter("node_mountstats_nfs_age_seconds_total", MOUNT, "Time since the export was mounted."),
    Family::counter("node_mountstats_nfs_read_bytes_total", MOUNT, "Data read by read(2)."),
    Family::counter("node_mountstats_nfs_write_bytes_total", MOUNT, "Data written by write(2)."),
    Family::counter("node_mountstats_nfs_direct_read_bytes_total", MOUNT, "Data read past the page cache."),
    Family::counter("node_mountstats_nfs_direct_write_bytes_total", MOUNT, "Data written past the page cache."),
    Family::counter("node_mountstats_nfs_total_read_bytes_total", MOUNT, "Data read from the server."),
    Family::counter("node_mountstats_nfs_total_write_bytes_total", MOUNT, "Data written to the server."),
    Family::counter("node_mountstats_nfs_read_pages_total", MOUNT, "Pages read by mmap(2) and the like."),
    Family::counter("node_mountstats_nfs_write_pages_total", MOUNT, "Pages written by mmap(2) and the like."),
    Family::counter("node_mountstats_nfs_event_inode_revalidate_total", MOUNT, "Times attributes of an inode were checked with the server."),
    Family::counter("node_mountstats_nfs_event_dnode_revalidate_total", MOUNT, "Times a directory entry was checked with the server."),
    Family::counter("node_mountstats_nfs_event_data_invalidate_total", MOUNT, "Times the cached data of an inode was thrown away."),
    Family::counter("node_mountstats_nfs_event_attribute_invalidate_total", MOUNT, "Times the cached attributes of an inode were thrown away."),
    Family::counter("node_mountstats_nfs_event_vfs_open_total", MOUNT, "Files and directories opened."),
    Family::counter("node_mountstats_nfs_event_vfs_lookup_total", MOUNT, "Names looked up."),
    Family::counter("node_mountstats_nfs_event_vfs_access_total", MOUNT, "Permissions checked."),
    Family::counter("node_mountstats_nfs_event_vfs_update_page_total", MOUNT, "Pages updated, and written later."),
    Family::counter("node_mountstats_nfs_event_vfs_read_page_total", MOUNT, "Pages read one by one."),
    Family::counter("node_mountstats_nfs_event_vfs_read_pages_total", MOUNT, "Groups of pages read."),
    Family::counter("node_mountstats_nfs_event_vfs_write_page_total", MOUNT, "Pages written one by one."),
    Family::counter("node_mountstats_nfs_event_vfs_write_pages_total", MOUNT, "Groups of pages written."),
    Family::counter("node_mountstats_nfs_event_vfs_getdents_total", MOUNT, "Directories listed."),
    Family::counter("node_mountstats_nfs_event_vfs_setattr_total", MOUNT, "Attributes set."),
    Family::counter("node_mountstats_nfs_event_vfs_flush_total", MOUNT, "Times writes under way were waited for."),
    Family::counter("node_mountstats_nfs_event_vfs_fsync_total", MOUNT, "Times fsync(2) was called."),
    Family::counter("node_mountstats_nfs_event_vfs_lock_total", MOUNT, "Times a lock was asked for."),
    Family::counter("node_mountstats_nfs_event_vfs_file_release_total", MOUNT, "Files closed."),
    Family::counter("node_mountstats_nfs_event_truncation_total", MOUNT, "Files cut short."),
    Family::counter("node_mountstats_nfs_event_write_extension_total", MOUNT, "Files made longer by a write beyond their end."),
    Family::counter("node_mountstats_nfs_event_silly_rename_total", MOUNT, "Files renamed since they were removed while open."),
    Family::counter("node_mountstats_nfs_event_short_read_total", MOUNT, "Times the server gave less than was asked for."),
    Family::counter("node_mountstats_nfs_event_short_write_total", MOUNT, "Times the server took less than it was given."),
    Family::counter("node_mountstats_nfs_event_jukebox_delay_total", MOUNT, "Times the server had to fetch a file from slow storage."),
    Family::counter("node_mountstats_nfs_event_pnfs_read_total", MOUNT, "Reads by parallel NFS."),
    Family::counter("node_mountstats_nfs_event_pnfs_write_total", MOUNT, "Writes by parallel NFS."),
    Family::counter("node_mountstats_nfs_transport_bind_total", TRANSPORT, "Times a local port was bound."),
    Family::counter("node_mountstats_nfs_transport_connect_total", TRANSPORT, "Connections made to the server."),
    Family::gauge("node_mountstats_nfs_transport_idle_time_seconds", TRANSPORT, "Time since the last request."),
    Family::counter("node_mountstats_nfs_transport_sends_total", TRANSPORT, "Requests sent."),
    Family::counter("node_mountstats_nfs_transport_receives_total", TRANSPORT, "Answers received."),
    Family::counter("node_mountstats_nfs_transport_bad_transaction_ids_total", TRANSPORT, "Answers that fit no request."),
    Family::counter("node_mountstats_nfs_transport_backlog_queue_total", TRANSPORT, "Requests that waited for a slot, added up at each request."),
    Family::gauge("node_mountstats_nfs_transport_maximum_rpc_slots", TRANSPORT, "As many requests under way at once as there have been."),
    Family::counter("node_mountstats_nfs_transport_sending_queue_total", TRANSPORT, "Requests that waited to be sent, added up at each request."),
    Family::counter("node_mountstats_nfs_transport_pending_queue_total", TRANSPORT, "Requests that waited for their answer, added up at each request."),
    Family::counter("node_mountstats_nfs_operations_requests_total", OPERATION, "Requests."),
    Family::counter("node_mountstats_nfs_operations_transmissions_total", OPERATION, "Times a request was sent, again and again if need be."),
    Family::counter("node_mountstats_nfs_operations_major_timeouts_total", OPERATION, "Requests whose time had run out."),
    Family::counter("node_mountstats_nfs_operations_sent_bytes_total", OPERATION, "Data sent."),
    Family::counter("node_mountstats_nfs_operations_received_bytes_total", OPERATION, "Data received."),
    Family::counter("node_mountstats_nfs_operations_queue_time_seconds_total", OPERATION, "Time that requests waited to be sent."),
    Family::counter("node_mountstats_nfs_operations_response_time_seconds_total", OPERATION, "Time that requests waited for their answers."),
    Family::counter("node_mountstats_nfs_operations_request_time_seconds_total", OPERATION, "Time that requests took in all."),
];
const INFO: usize = 0;
const AGE: usize = 1;
/// Of the line `bytes:`, in its order.
const BYTES: usize = 2;
const BYTES_COUNT: usize = 8;
/// Of the line `events:`, in its order, but for one that no kernel counts any more.
const EVENTS: usize = 10;
const EVENTS_COUNT: usize = 27;
const NOT_COUNTED: usize = 18;
/// Of a line `xprt:`.
const TRANSPORTS: usize = 36;
/// Of a line below `per-op statistics`, in its order; from the sixth on in milliseconds.
const OPERATIONS: usize = 46;
const OPERATIONS_COUNT: usize = 8;
const FIRST_TIME: usize = 5;
/// Times that the kernel has let run below zero are shown modulo the whole numbers that a float has.
const MANTISSA: u64 = 1 << 53;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "mountstats", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        let tables = OfHost::new(|process| Tables {
            counts: root.proc(format!("{process}/mountstats")),
            mounts: root.proc(format!("{process}/mountinfo")),
        });
        Box::new(MountStats { tables, gathered: Gathered::default() })
    }))
}

struct MountStats {
    tables: OfHost<Tables>,
    gathered: Gathered,
}

/// What a process is told of its mounts.
struct Tables {
    counts: KernelFile,
    /// Where the servers' addresses are, which the counts do not say.
    mounts: KernelFile,
}

impl Tables {
    fn read(&mut self, buffer: &mut Vec<u8>, gathered: &mut Gathered) -> Result<(), Error> {
        let counts = self.counts.read(buffer)?.to_vec();
        let mounts = self.mounts.read(buffer).unwrap_or_default();
        gather(&counts, mounts, gathered);
        Ok(())
    }
}

impl Collector for MountStats {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.gathered.clear();
        self.tables.read(|tables| tables.read(pass.buffer, &mut self.gathered))?;
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

/// One mount's lines: `device SERVER:/PATH mounted on /POINT with fstype nfs4 statvers=1.1`, then
/// indented ones. `mounts` is the table of the same mounts.
fn gather(counts: &[u8], mounts: &[u8], gathered: &mut Gathered) {
    let mounts: Vec<_> = mounts::parse(mounts).filter_map(Result::ok).collect();
    let address = |point: &[u8], kind: &[u8]| {
        let point = mounts::unescape(point);
        let is_it = |mount: &&mounts::Mount<'_>| {
            mount.mount_point == point && mount.kind.as_bytes() == kind
        };
        mounts.iter().find(is_it).and_then(|mount| mount.address.as_deref()).unwrap_or_default()
    };
    let mut seen = BTreeSet::new();
    let mut lines = lines(counts).peekable();
    while let Some(line) = lines.next() {
        let mut own = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with(b"device ")) {
            own.push(line);
        }
        let Some((export, mountpoint, kind)) = device(line) else { continue };
        let mount = Mount::of(export, address(mountpoint, kind), &own);
        let labels = [
            ("export", mount.export.as_str()),
            ("mountaddr", &mount.address),
            ("mountpoint", &String::from_utf8_lossy(mountpoint)),
            ("protocol", &mount.protocol),
        ];
        gathered.add(INFO, &labels, 1.0);
        // An export that is mounted twice is counted once.
        let key = (mount.export.clone(), mount.address.clone(), mount.protocol.clone());
        if seen.insert(key) {
            mount.gather(&own, gathered);
        }
    }
}

/// Export, mount point and kind of an NFS mount.
fn device(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let words: Vec<_> = words(line).collect();
    let [b"device", export, b"mounted", b"on", mountpoint, b"with", b"fstype", kind, ..] = *words
    else {
        return None;
    };
    matches!(kind, b"nfs" | b"nfs4").then_some((export, mountpoint, kind))
}

/// What the series of a mount have for labels.
struct Mount {
    export: String,
    address: String,
    protocol: String,
}

impl Mount {
    fn of(export: &[u8], address: &str, lines: &[&[u8]]) -> Self {
        let transport = lines.iter().find_map(|line| line.trim_ascii().strip_prefix(b"xprt:"));
        let protocol = words(transport.unwrap_or_default()).next().unwrap_or_default();
        Self {
            export: String::from_utf8_lossy(export).into_owned(),
            address: address.to_owned(),
            protocol: String::from_utf8_lossy(protocol).into_owned(),
        }
    }

    fn gather(&self, lines: &[&[u8]], gathered: &mut Gathered) {
        let labels = [
            ("export", self.export.as_str()),
            ("mountaddr", &self.address),
            ("protocol", &self.protocol),
        ];
        let (mut transports, mut is_operations) = (0, false);
        for line in lines {
            let mut words = words(line);
            let key = words.next().unwrap_or_default();
            let protocol = if key == b"xprt:" { words.next().unwrap_or_default() } else { b"" };
            let numbers: Option<Vec<_>> = words.map(integer).collect();
            let numbers = numbers.unwrap_or_default();
            match key {
                b"per-op" => is_operations = true,
                b"age:" => {
                    if let Some(age) = numbers.first() {
                        gathered.add(AGE, &labels, *age as f64);
                    }
                }
                b"bytes:" => {
                    for (index, count) in numbers.iter().take(BYTES_COUNT).enumerate() {
                        gathered.add(BYTES + index, &labels, *count as f64);
                    }
                }
                b"events:" => {
                    let counts = numbers.iter().take(EVENTS_COUNT).enumerate();
                    let counts = counts.filter(|(index, _)| *index != NOT_COUNTED);
                    for (index, (_, count)) in counts.enumerate() {
                        gathered.add(EVENTS + index, &labels, *count as f64);
                    }
                }
                b"xprt:" => {
                    self.gather_transport(protocol, &numbers, transports, gathered);
                    transports += 1;
                }
                key if is_operations => {
                    if let Some(operation) = key.strip_suffix(b":") {
                        self.gather_operation(operation, &numbers, gathered);
                    }
                }
                _ => {}
            }
        }
    }

    /// Behind the protocol the port; then what differs between them, and the same for both.
    fn gather_transport(
        &self,
        protocol: &[u8],
        numbers: &[u64],
        transport: usize,
        gathered: &mut Gathered,
    ) {
        let (bind, connect, idle, rest) = match (protocol, numbers) {
            (b"udp", [_, bind, rest @ ..]) => (bind, &0, &0, rest),
            (_, [_, bind, connect, _, idle, rest @ ..]) => (bind, connect, idle, rest),
            _ => return,
        };
        let [sends, receives, bad, _, backlog, rest @ ..] = rest else { return };
        // Of RDMA there is other news than slots.
        let (slots, sending, pending) = match (protocol, rest) {
            (b"tcp" | b"udp", [slots, sending, pending, ..]) => (slots, sending, pending),
            _ => (&0, &0, &0),
        };
        let values = [bind, connect, idle, sends, receives, bad, backlog, slots, sending, pending];
        let (protocol, transport) = (String::from_utf8_lossy(protocol), transport.to_string());
        let labels = [
            ("export", self.export.as_str()),
            ("mountaddr", &self.address),
            ("protocol", &protocol),
            ("transport", &transport),
        ];
        for (index, value) in values.into_iter().enumerate() {
            gathered.add(TRANSPORTS + index, &labels, *value as f64);
        }
    }

    fn gather_operation(&self, operation: &[u8], numbers: &[u64], gathered: &mut Gathered) {
        let operation = String::from_utf8_lossy(operation);
        let labels = [
            ("export", self.export.as_str()),
            ("mountaddr", &self.address),
            ("operation", &operation),
            ("protocol", &self.protocol),
        ];
        for (index, number) in numbers.iter().take(OPERATIONS_COUNT).enumerate() {
            let is_time = index >= FIRST_TIME;
            let value = if is_time { (number % MANTISSA) as f64 / 1e3 } else { *number as f64 };
            gathered.add(OPERATIONS + index, &labels, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Format, encode};
    use crate::metric::Batch;

    #[test]
    fn only_nfs_is_taken() {
        let line = b"device a:/b mounted on /c with fstype nfs4 statvers=1.1";
        assert_eq!(device(line), Some((&b"a:/b"[..], &b"/c"[..], &b"nfs4"[..])));
        assert_eq!(device(b"device x mounted on /c with fstype ext4"), None);
        assert_eq!(device(b"device a:/b mounted on /c with"), None);
    }

    #[test]
    fn addresses_are_those_of_the_mount_table() {
        let counts = b"device srv:/a mounted on /mnt\\0401 with fstype nfs4 statvers=1.1\n\
            \topts:\trw,mountaddr=10.0.0.9\n\
            device srv:/b mounted on /gone with fstype nfs statvers=1.1\n";
        let mounts = b"36 35 0:42 / /mnt\\0401 rw - nfs srv:/a rw,addr=10.0.0.1\n\
            rubbish\n\
            37 35 0:43 / /mnt\\0401 rw - nfs4 srv:/a rw,addr=10.0.0.2\n";
        let mut gathered = Gathered::default();
        gather(counts, mounts, &mut gathered);
        let (mut batch, mut text) = (Batch::new(), Vec::new());
        gathered.emit(&FAMILIES, &mut batch);
        encode(&batch, Format::Text, &mut text);
        let text = String::from_utf8(text).unwrap();
        let info = |export: &str, address: &str, point: &str| {
            format!(
                "node_mountstats_nfs_mountpoint_info{{export=\"{export}\",mountaddr=\"{address}\",\
                 mountpoint=\"{point}\",protocol=\"\"}} 1\n"
            )
        };
        assert!(text.contains(&info("srv:/a", "10.0.0.2", "/mnt\\\\0401")), "{text}");
        assert!(text.contains(&info("srv:/b", "", "/gone")), "{text}");
    }

    #[test]
    fn places_are_those_of_the_table() {
        let names =
            [INFO, AGE, BYTES, EVENTS, TRANSPORTS, OPERATIONS].map(|place| FAMILIES[place].name);
        let ends = [
            "mountpoint_info",
            "age_seconds_total",
            "nfs_read_bytes_total",
            "event_inode_revalidate_total",
            "transport_bind_total",
            "operations_requests_total",
        ];
        assert!(names.iter().zip(ends).all(|(name, end)| name.ends_with(end)), "{names:?}");
    }
}
