//! `fibrechannel`: host adapters of Fibre Channel, of `/sys/class/fc_host`
//! (drivers/scsi/scsi_transport_fc.c in the kernel's sources).
//!
//! Must not know the disks behind them.

use crate::host::parse::{hexadecimal, integer};
use crate::host::readings::{Found, Readings, Value};
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::{Family, Labels};
use std::path::Path;
use std::sync::Arc;

const INFO: Family = Family::gauge(
    "node_fibrechannel_info",
    &[
        "fc_host",
        "dev_loss_tmo",
        "fabric_name",
        "port_id",
        "port_name",
        "port_state",
        "port_type",
        "speed",
        "supported_classes",
        "supported_speeds",
        "symbolic_name",
    ],
    "What the adapter is, and how it is; always 1.",
);
/// The labels of [`INFO`] that are the texts of files; those that are numbers come with `0x`.
const TEXTS: [(&str, bool); 10] = [
    ("dev_loss_tmo", false),
    ("fabric_name", true),
    ("port_id", true),
    ("port_name", true),
    ("port_state", false),
    ("port_type", false),
    ("speed", false),
    ("supported_classes", false),
    ("supported_speeds", false),
    ("symbolic_name", false),
];

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, &["fc_host"], help)
}

const COUNT: usize = 14;
#[rustfmt::skip] // a table
const STATISTICS: [(&str, Family); COUNT] = [
    ("dumped_frames", counter("node_fibrechannel_dumped_frames_total", "Frames thrown away.")),
    ("error_frames", counter("node_fibrechannel_error_frames_total", "Frames with an error.")),
    ("invalid_crc_count", counter("node_fibrechannel_invalid_crc_total", "Frames with a wrong checksum.")),
    ("rx_frames", counter("node_fibrechannel_rx_frames_total", "Frames received.")),
    ("rx_words", counter("node_fibrechannel_rx_words_total", "Words received.")),
    ("tx_frames", counter("node_fibrechannel_tx_frames_total", "Frames sent.")),
    ("tx_words", counter("node_fibrechannel_tx_words_total", "Words sent.")),
    ("seconds_since_last_reset", counter("node_fibrechannel_seconds_since_last_reset_total", "Time since the statistics were reset.")),
    ("invalid_tx_word_count", counter("node_fibrechannel_invalid_tx_words_total", "Words that were not valid.")),
    ("link_failure_count", counter("node_fibrechannel_link_failure_total", "Failures of the link.")),
    ("loss_of_sync_count", counter("node_fibrechannel_loss_of_sync_total", "Times synchronisation was lost.")),
    ("loss_of_signal_count", counter("node_fibrechannel_loss_of_signal_total", "Times the signal was lost.")),
    ("nos_count", counter("node_fibrechannel_nos_total", "Times the link was not operational.")),
    ("fcp_packet_aborts", counter("node_fibrechannel_fcp_packet_aborts_total", "SCSI commands broken off.")),
];
static FAMILIES: [Family; COUNT + 1] = {
    let mut families = [INFO; COUNT + 1];
    let [_, counters @ ..] = &mut families;
    let (mut rest, mut statistics): (&mut [Family], &[_]) = (counters, &STATISTICS);
    while let ([family, families @ ..], [(_, own), more @ ..]) = (rest, statistics) {
        *family = *own;
        (rest, statistics) = (families, more);
    }
    families
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry =
    Entry { name: "fibrechannel", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|root: &Arc<Root>| {
        Box::new(FibreChannel { hosts: Readings::new(root.sysfs.join("class/fc_host")) })
    }))
}

struct FibreChannel {
    hosts: Readings,
}

impl Collector for FibreChannel {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        self.hosts.update(look)?;
        self.hosts.emit(&FAMILIES, pass.buffer, pass.batch);
        Ok(())
    }
}

fn look(name: &str, path: &Path, found: &mut Found) {
    let text = |(label, is_number): (&'static str, bool)| {
        let path = path.join(label);
        (label, if is_number { Value::read_hexadecimal(path) } else { Value::read(path) })
    };
    let own = [("fc_host", Value::Fixed(name.to_owned()))];
    found.info(0, own.into_iter().chain(TEXTS.map(text)).collect());
    let labels = Labels::new(&[("fc_host", name)]);
    for (index, (file, _)) in STATISTICS.iter().enumerate() {
        let path = path.join("statistics").join(file);
        found.absent_is_0(index + 1, &labels, &path);
        found.parsed(index + 1, &labels, path, statistic);
    }
}

/// All bits set: the adapter does not count it.
fn statistic(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    let number = text.strip_prefix(b"0x").map_or_else(|| integer(text), hexadecimal)?;
    (number != u64::MAX).then_some(number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_that_are_not_counted() {
        let texts: [&[u8]; 4] = [b"0x13\n", b"0xffffffffffffffff\n", b"13", b"0x"];
        assert_eq!(texts.map(statistic), [Some(19.0), None, Some(13.0), None]);
    }
}
