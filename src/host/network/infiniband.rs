//! `infiniband`: adapters and their ports, of `/sys/class/infiniband`
//! (Documentation/ABI/stable/sysfs-class-infiniband).
//!
//! Must not know what runs over them.

use crate::host::directory::Directory;
use crate::host::parse::{decimal, number, words};
use crate::host::pattern::{Filter, Pattern};
use crate::host::readings::{Found, Readings, Value};
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::{Family, Labels};
use std::path::Path;
use std::sync::Arc;

const PORT: &[&str] = &["device", "port"];

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, PORT, help)
}

const COUNT: usize = 60;
/// A number's file, what it is multiplied with (data is counted in words of four bytes), and what it
/// tells. Those of `hw_counters` are the driver's own; mlx5 has most of them.
#[rustfmt::skip] // a table
const NUMBERS: [(&str, f64, Family); COUNT] = [
    ("counters/link_downed", 1.0, counter("node_infiniband_link_downed_total", "Times the link went down.")),
    ("counters/link_error_recovery", 1.0, counter("node_infiniband_link_error_recovery_total", "Times the link recovered from an error.")),
    ("counters/multicast_rcv_packets", 1.0, counter("node_infiniband_multicast_packets_received_total", "Multicast packets received.")),
    ("counters/multicast_xmit_packets", 1.0, counter("node_infiniband_multicast_packets_transmitted_total", "Multicast packets sent.")),
    ("counters/port_rcv_constraint_errors", 1.0, counter("node_infiniband_port_constraint_errors_received_total", "Packets received that the port had to throw away.")),
    ("counters/port_xmit_constraint_errors", 1.0, counter("node_infiniband_port_constraint_errors_transmitted_total", "Packets that the port could not send.")),
    ("counters/port_rcv_data", 4.0, counter("node_infiniband_port_data_received_bytes_total", "Data received.")),
    ("counters/port_xmit_data", 4.0, counter("node_infiniband_port_data_transmitted_bytes_total", "Data sent.")),
    ("counters/port_rcv_discards", 1.0, counter("node_infiniband_port_discards_received_total", "Packets received that were thrown away since the port is down or congested.")),
    ("counters/port_xmit_discards", 1.0, counter("node_infiniband_port_discards_transmitted_total", "Packets to be sent that were thrown away since the port is down or congested.")),
    ("counters/port_rcv_errors", 1.0, counter("node_infiniband_port_errors_received_total", "Packets received with an error.")),
    ("counters/port_rcv_packets", 1.0, counter("node_infiniband_port_packets_received_total", "Packets received.")),
    ("counters/port_xmit_packets", 1.0, counter("node_infiniband_port_packets_transmitted_total", "Packets sent.")),
    ("counters/port_xmit_wait", 1.0, counter("node_infiniband_port_transmit_wait_total", "Ticks in which the port had data to send and could not.")),
    ("counters/unicast_rcv_packets", 1.0, counter("node_infiniband_unicast_packets_received_total", "Unicast packets received.")),
    ("counters/unicast_xmit_packets", 1.0, counter("node_infiniband_unicast_packets_transmitted_total", "Unicast packets sent.")),
    ("counters/excessive_buffer_overrun_errors", 1.0, counter("node_infiniband_excessive_buffer_overrun_errors_total", "Times buffers overran one after the other.")),
    ("counters/local_link_integrity_errors", 1.0, counter("node_infiniband_local_link_integrity_errors_total", "Times errors of the link passed their threshold.")),
    ("counters/port_rcv_remote_physical_errors", 1.0, counter("node_infiniband_port_receive_remote_physical_errors_total", "Packets received that were marked bad on their way.")),
    ("counters/port_rcv_switch_relay_errors", 1.0, counter("node_infiniband_port_receive_switch_relay_errors_total", "Packets received that a switch could not pass on.")),
    ("counters/symbol_error", 1.0, counter("node_infiniband_symbol_error_total", "Minor errors of the link.")),
    ("counters/VL15_dropped", 1.0, counter("node_infiniband_vl15_dropped_total", "Packets of the management lane that were dropped.")),
    ("counters_ext/port_multicast_rcv_packets", 1.0, counter("node_infiniband_legacy_multicast_packets_received_total", "Multicast packets received, by the counters of older drivers.")),
    ("counters_ext/port_multicast_xmit_packets", 1.0, counter("node_infiniband_legacy_multicast_packets_transmitted_total", "Multicast packets sent, by the counters of older drivers.")),
    ("counters_ext/port_rcv_data_64", 4.0, counter("node_infiniband_legacy_data_received_bytes_total", "Data received, by the counters of older drivers.")),
    ("counters_ext/port_rcv_packets_64", 1.0, counter("node_infiniband_legacy_packets_received_total", "Packets received, by the counters of older drivers.")),
    ("counters_ext/port_unicast_rcv_packets", 1.0, counter("node_infiniband_legacy_unicast_packets_received_total", "Unicast packets received, by the counters of older drivers.")),
    ("counters_ext/port_unicast_xmit_packets", 1.0, counter("node_infiniband_legacy_unicast_packets_transmitted_total", "Unicast packets sent, by the counters of older drivers.")),
    ("counters_ext/port_xmit_data_64", 4.0, counter("node_infiniband_legacy_data_transmitted_bytes_total", "Data sent, by the counters of older drivers.")),
    ("counters_ext/port_xmit_packets_64", 1.0, counter("node_infiniband_legacy_packets_transmitted_total", "Packets sent, by the counters of older drivers.")),
    ("hw_counters/lifespan", 1e-3, Family::gauge("node_infiniband_lifespan_seconds", PORT, "Time for which the driver gives out the same counts.")),
    ("hw_counters/duplicate_request", 1.0, counter("node_infiniband_duplicate_requests_packets_total", "Requests received that had been executed already.")),
    ("hw_counters/implied_nak_seq_err", 1.0, counter("node_infiniband_implied_nak_seq_errors_total", "Answers received that were further on than the one that was due.")),
    ("hw_counters/local_ack_timeout_err", 1.0, counter("node_infiniband_local_ack_timeout_errors_total", "Times an acknowledgement was waited for in vain, and the packets sent again.")),
    ("hw_counters/np_cnp_sent", 1.0, counter("node_infiniband_np_cnp_packets_sent_total", "Notices of congestion sent.")),
    ("hw_counters/np_ecn_marked_roce_packets", 1.0, counter("node_infiniband_np_ecn_marked_roce_packets_received_total", "RoCE packets received that were marked for congestion.")),
    ("hw_counters/out_of_buffer", 1.0, counter("node_infiniband_out_of_buffer_drops_total", "Packets dropped since the receive queue was empty.")),
    ("hw_counters/out_of_sequence", 1.0, counter("node_infiniband_out_of_sequence_packets_received_total", "Packets received out of order.")),
    ("hw_counters/packet_seq_err", 1.0, counter("node_infiniband_packet_sequence_errors_total", "Refusals received for packets out of order, which were sent again.")),
    ("hw_counters/req_cqe_error", 1.0, counter("node_infiniband_req_cqes_errors_total", "Requests that ended with an error at the one who asked.")),
    ("hw_counters/req_cqe_flush_error", 1.0, counter("node_infiniband_req_cqes_flush_errors_total", "Requests that were flushed with an error at the one who asked.")),
    ("hw_counters/req_remote_access_errors", 1.0, counter("node_infiniband_req_remote_access_errors_total", "Requests that the other side did not permit.")),
    ("hw_counters/req_remote_invalid_request", 1.0, counter("node_infiniband_req_remote_invalid_request_errors_total", "Requests that the other side called invalid.")),
    ("hw_counters/resp_cqe_error", 1.0, counter("node_infiniband_resp_cqes_errors_total", "Requests that ended with an error at the one who answers.")),
    ("hw_counters/resp_cqe_flush_error", 1.0, counter("node_infiniband_resp_cqes_flush_errors_total", "Requests that were flushed with an error at the one who answers.")),
    ("hw_counters/resp_local_length_error", 1.0, counter("node_infiniband_resp_local_length_errors_total", "Requests received that had a wrong length.")),
    ("hw_counters/resp_remote_access_errors", 1.0, counter("node_infiniband_resp_remote_access_errors_total", "Requests received that were not permitted.")),
    ("hw_counters/rnr_nak_retry_err", 1.0, counter("node_infiniband_rnr_nak_retry_packets_received_total", "Refusals received since the other side was not ready, after which it was asked again.")),
    ("hw_counters/roce_adp_retrans", 1.0, counter("node_infiniband_roce_adp_retransmits_total", "Adaptive retransmissions of RoCE.")),
    ("hw_counters/roce_adp_retrans_to", 1.0, counter("node_infiniband_roce_adp_retransmits_timeout_total", "Times adaptive retransmission of RoCE ran out of time.")),
    ("hw_counters/roce_slow_restart", 1.0, counter("node_infiniband_roce_slow_restart_used_total", "Times slow restart of RoCE was used.")),
    ("hw_counters/roce_slow_restart_cnps", 1.0, counter("node_infiniband_roce_slow_restart_cnps_total", "Notices of congestion that slow restart of RoCE made.")),
    ("hw_counters/roce_slow_restart_trans", 1.0, counter("node_infiniband_roce_slow_restart_total", "Times RoCE went over to slow restart.")),
    ("hw_counters/rp_cnp_handled", 1.0, counter("node_infiniband_rp_cnp_packets_handled_total", "Notices of congestion received by which sending was slowed down.")),
    ("hw_counters/rp_cnp_ignored", 1.0, counter("node_infiniband_rp_cnp_ignored_packets_received_total", "Notices of congestion received and ignored.")),
    ("hw_counters/rx_atomic_requests", 1.0, counter("node_infiniband_rx_atomic_requests_total", "Atomic requests received.")),
    ("hw_counters/rx_dct_connect", 1.0, counter("node_infiniband_rx_dct_connect_requests_total", "Requests for a dynamic connection received.")),
    ("hw_counters/rx_icrc_encapsulated", 1.0, counter("node_infiniband_rx_icrc_encapsulated_errors_total", "RoCE packets received with a wrong checksum.")),
    ("hw_counters/rx_read_requests", 1.0, counter("node_infiniband_rx_read_requests_total", "Requests to read received.")),
    ("hw_counters/rx_write_requests", 1.0, counter("node_infiniband_rx_write_requests_total", "Requests to write received.")),
];
const STATE: usize = COUNT;
const PHYSICAL_STATE: usize = COUNT + 1;
const RATE: usize = COUNT + 2;
const INFO: usize = COUNT + 3;
static FAMILIES: [Family; COUNT + 4] = {
    let info = Family::gauge(
        "node_infiniband_info",
        &["device", "board_id", "firmware_version", "hca_type"],
        "What the adapter is; always 1.",
    );
    let mut families = [info; COUNT + 4];
    let (mut rest, mut numbers): (&mut [Family], &[_]) = (&mut families, &NUMBERS);
    while let ([family, families @ ..], [(.., own), more @ ..]) = (rest, numbers) {
        *family = *own;
        (rest, numbers) = (families, more);
    }
    let [.., state, physical, rate, _] = &mut families;
    *state = Family::gauge("node_infiniband_state_id", PORT, "State of the port: 4 is active.");
    *physical = Family::gauge(
        "node_infiniband_physical_state_id",
        PORT,
        "Physical state of the port: 5 is up.",
    );
    *rate = Family::gauge(
        "node_infiniband_rate_bytes_per_second",
        PORT,
        "Speed of the port in bytes a second.",
    );
    families
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "infiniband", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    device_include: Pattern,
    device_exclude: Pattern,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { device_include, device_exclude } = serde::Deserialize::deserialize(options)?;
    let filter = Filter { include: device_include, exclude: device_exclude };
    Ok(Arc::new(move |root: &Arc<Root>| {
        let devices = Readings::new(root.sysfs.join("class/infiniband"));
        Box::new(Infiniband { devices, filter: filter.clone() })
    }))
}

struct Infiniband {
    devices: Readings,
    filter: Filter,
}

impl Collector for Infiniband {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let filter = &self.filter;
        self.devices.update(|device, path, found| {
            if filter.wants(device) {
                look(device, path, found);
            }
        })?;
        self.devices.emit(&FAMILIES, pass.buffer, pass.batch);
        Ok(())
    }
}

fn look(device: &str, path: &Path, found: &mut Found) {
    let info = vec![
        ("device", Value::Fixed(device.to_owned())),
        ("board_id", Value::read(path.join("board_id"))),
        ("firmware_version", Value::read(path.join("fw_ver"))),
        ("hca_type", Value::read(path.join("hca_type"))),
    ];
    found.info(INFO, info);
    let mut ports = Directory::new(path.join("ports"));
    let Ok(names) = ports.list() else { return };
    for port in names.iter() {
        let path = path.join("ports").join(port);
        let labels = Labels::new(&[("device", device), ("port", &port.to_string_lossy())]);
        // `N/A (no PMA)` is no number, and left out.
        for (place, (file, scale, _)) in NUMBERS.iter().enumerate() {
            found.file(place, &labels, path.join(file), *scale);
        }
        found.parsed(STATE, &labels, path.join("state"), state);
        found.parsed(PHYSICAL_STATE, &labels, path.join("phys_state"), state);
        found.parsed(RATE, &labels, path.join("rate"), rate);
    }
}

/// `4: ACTIVE`
fn state(text: &[u8]) -> Option<f64> {
    number(text.split(|byte| *byte == b':').next()?)
}

/// `40 Gb/sec (4X QDR)`, or without what is in brackets.
fn rate(text: &[u8]) -> Option<f64> {
    let mut words = words(text.trim_ascii());
    let (speed, unit) = (decimal(words.next()?)?, words.next()?);
    (unit == b"Gb/sec").then_some(speed * 1e9 / 8.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::one_pass::text_of;

    #[test]
    fn devices_are_left_out() {
        let top = std::env::temp_dir().join(format!("musterd-infiniband-{}", std::process::id()));
        for device in ["mlx5_0", "mana_0"] {
            std::fs::create_dir_all(top.join(device).join("ports")).unwrap();
        }
        let pattern = |text: &str| Pattern::try_from(text.to_owned()).unwrap();
        let filter = Filter { include: pattern(""), exclude: pattern("^mana") };
        let mut collector = Infiniband { devices: Readings::new(top.clone()), filter };
        let text = text_of(&mut collector);
        std::fs::remove_dir_all(&top).unwrap();
        assert!(text.contains("mlx5_0") && !text.contains("mana_0"), "{text}");
    }

    #[test]
    fn states_and_rates() {
        assert_eq!((state(b"4: ACTIVE\n"), state(b"ACTIVE"), state(b"")), (Some(4.0), None, None));
        assert_eq!(rate(b"2.5 Gb/sec (1X SDR)"), Some(312_500_000.0));
        assert_eq!(rate(b"100 Gb/sec\n"), Some(12_500_000_000.0));
        assert_eq!((rate(b"40"), rate(b"x Gb/sec"), rate(b"1 Mb/sec")), (None, None, None));
    }
}
