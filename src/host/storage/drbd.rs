//! `drbd`: replicated block devices, of `/proc/drbd` as DRBD 8 has it (drbd(8), "/proc/drbd").
//!
//! Must not know DRBD 9, which has no such file.

use crate::host::gathered::Gathered;
use crate::host::parse::{integer, lines, words};
use crate::host::root::{KernelFile, Root};
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::sync::Arc;

const DEVICE: &[&str] = &["device"];
const NODE: &[&str] = &["device", "node"];
const KIB: f64 = 1024.0;

const COUNT: usize = 12;
/// The key of the value, what it is multiplied with, and what it is.
#[rustfmt::skip] // a table
const NUMBERS: [(&[u8], f64, Family); COUNT] = [
    (b"ns", KIB, Family::counter("node_drbd_network_sent_bytes_total", DEVICE, "Data sent to the other node.")),
    (b"nr", 1.0, Family::counter("node_drbd_network_received_bytes_total", DEVICE, "Data received from the other node, in the unit that the driver counts in.")),
    (b"dw", KIB, Family::counter("node_drbd_disk_written_bytes_total", DEVICE, "Data written to the local disk.")),
    (b"dr", KIB, Family::counter("node_drbd_disk_read_bytes_total", DEVICE, "Data read from the local disk.")),
    (b"al", 1.0, Family::counter("node_drbd_activitylog_writes_total", DEVICE, "Updates of the activity log.")),
    (b"bm", 1.0, Family::counter("node_drbd_bitmap_writes_total", DEVICE, "Updates of the bitmap.")),
    (b"lo", 1.0, Family::gauge("node_drbd_local_pending", DEVICE, "Requests that the local disk has not answered.")),
    (b"pe", 1.0, Family::gauge("node_drbd_remote_pending", DEVICE, "Requests that the other node has not answered.")),
    (b"ua", 1.0, Family::gauge("node_drbd_remote_unacknowledged", DEVICE, "Requests of the other node that are not acknowledged yet.")),
    (b"ap", 1.0, Family::gauge("node_drbd_application_pending", DEVICE, "Requests that are not finished for their callers.")),
    (b"ep", 1.0, Family::gauge("node_drbd_epochs", DEVICE, "Epochs of writes under way.")),
    (b"oos", KIB, Family::gauge("node_drbd_out_of_sync_bytes", DEVICE, "Data that is known to differ between the nodes.")),
];
const FAMILIES: [Family; COUNT + 3] = {
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
        (.., l),
    ] = NUMBERS;
    [
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        i,
        j,
        k,
        l,
        Family::gauge("node_drbd_connected", DEVICE, "Whether the other node is there."),
        Family::gauge("node_drbd_node_role_is_primary", NODE, "Whether the node may write."),
        Family::gauge(
            "node_drbd_disk_state_is_up_to_date",
            NODE,
            "Whether the node's data is the latest.",
        ),
    ]
};
const CONNECTED: usize = COUNT;
const ROLE: usize = COUNT + 1;
const DISK: usize = COUNT + 2;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "drbd", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(Drbd { file: root.proc("drbd"), gathered: Gathered::default() })
    }))
}

struct Drbd {
    file: KernelFile,
    gathered: Gathered,
}

impl Collector for Drbd {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let text = self.file.read(pass.buffer)?;
        gather(text, &mut self.gathered);
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

/// ` 1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----`, then lines of numbers.
fn gather(text: &[u8], gathered: &mut Gathered) {
    gathered.clear();
    let mut device = String::new();
    for word in lines(text).flat_map(words) {
        let Some(colon) = word.iter().position(|byte| *byte == b':') else { continue };
        let (key, value) =
            (word.get(..colon).unwrap_or_default(), word.get(colon + 1..).unwrap_or_default());
        if value.is_empty() {
            // `version:` begins the file; a number, a device.
            device.clear();
            if let Some(number) = integer(key) {
                device = format!("drbd{number}");
            }
        }
        if device.is_empty() || value.is_empty() {
            continue;
        }
        match key {
            b"cs" => {
                let is_connected = value == b"Connected";
                gathered.add(CONNECTED, &[("device", &device)], f64::from(u8::from(is_connected)));
            }
            b"ro" => halves(ROLE, &device, value, b"Primary", gathered),
            b"ds" => halves(DISK, &device, value, b"UpToDate", gathered),
            _ => {
                let known = NUMBERS.iter().enumerate().find(|(_, (own, ..))| *own == key);
                if let (Some((place, (_, scale, _))), Some(count)) = (known, integer(value)) {
                    gathered.add(place, &[("device", &device)], count as f64 * scale);
                }
            }
        }
    }
}

/// `LOCAL/REMOTE`, each compared with what is wanted.
fn halves(place: usize, device: &str, value: &[u8], wanted: &[u8], gathered: &mut Gathered) {
    for (node, half) in ["local", "remote"].into_iter().zip(value.split(|byte| *byte == b'/')) {
        gathered.add(
            place,
            &[("device", device), ("node", node)],
            f64::from(u8::from(half == wanted)),
        );
    }
}
