//! `ethtool`: what the drivers of network devices say of themselves, and what they count
//! (ethtool(8)).
//!
//! Must not know what their counters mean: the names are the drivers'.

use crate::host::directory::Directory;
use crate::host::gathered::Gathered;
use crate::host::pattern::{Filter, Pattern};
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::Family;
use musterd_kernel::ethtool::{driver, link, statistics};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

const DEVICE: &[&str] = &["device"];
const SPEED: &[&str] = &["device", "duplex", "mode"];
#[rustfmt::skip] // a table
const FAMILIES: [Family; 12] = [
    Family::gauge("node_network_autonegotiate", DEVICE, "Whether both ends agree on the speed by themselves."),
    Family::gauge("node_network_autonegotiate_supported", DEVICE, "Whether the device can agree on a speed by itself."),
    Family::gauge("node_network_pause_supported", DEVICE, "Whether the device can ask for a pause, and make one."),
    Family::gauge("node_network_asymmetricpause_supported", DEVICE, "Whether the device can do one of these without the other."),
    Family::gauge("node_network_autonegotiate_advertised", DEVICE, "Whether the device offers to agree on a speed."),
    Family::gauge("node_network_pause_advertised", DEVICE, "Whether the device offers pauses."),
    Family::gauge("node_network_asymmetricpause_advertised", DEVICE, "Whether the device offers pauses in one direction."),
    Family::gauge("node_network_supported_speed_bytes", SPEED, "A speed that the device can have, in bytes a second."),
    Family::gauge("node_network_advertised_speed_bytes", SPEED, "A speed that the device offers, in bytes a second."),
    Family::gauge("node_network_supported_port_info", &["device", "type"], "A kind of port that the device can have; always 1."),
    Family::gauge(
        "node_ethtool_info",
        &["bus_info", "device", "driver", "expansion_rom_version", "firmware_version", "version"],
        "The device's driver; always 1.",
    ),
    Family::untyped("node_ethtool_*", &["device"], "The driver's own counter of that name."),
];
const AUTONEGOTIATE: usize = 0;
const SUPPORTED: usize = 1;
const ADVERTISED: usize = 4;
const SUPPORTED_SPEED: usize = 7;
const ADVERTISED_SPEED: usize = 8;
const PORT: usize = 9;
const INFO: usize = 10;
const COUNTER: usize = 11;
/// Bits of what a link can be (ETHTOOL_LINK_MODE_*_BIT): agreeing, pauses, pauses in one direction.
const ABILITIES: [u32; 3] = [6, 13, 14];
const PORTS: [(u32, &str); 6] =
    [(7, "TP"), (8, "AUI"), (9, "MII"), (10, "FIBRE"), (11, "BNC"), (16, "Backplane")];
/// Speeds in Mbit/s.
#[rustfmt::skip] // a table
const SPEEDS: [(u32, &str, &str, f64); 21] = [
    (0, "half", "10baseT", 10.0), (1, "full", "10baseT", 10.0),
    (2, "half", "100baseT", 100.0), (3, "full", "100baseT", 100.0),
    (4, "half", "1000baseT", 1000.0), (5, "full", "1000baseT", 1000.0),
    (12, "full", "10000baseT", 10_000.0), (15, "full", "2500baseX", 2500.0),
    (17, "full", "1000baseKX", 1000.0), (18, "full", "10000baseKX4", 10_000.0),
    (19, "full", "10000baseKR", 10_000.0), (20, "full", "10000baseR_FEC", 10_000.0),
    (21, "full", "20000baseMLD2", 20_000.0), (22, "full", "20000baseKR2", 20_000.0),
    (23, "full", "40000baseKR4", 40_000.0), (24, "full", "40000baseCR4", 40_000.0),
    (25, "full", "40000baseSR4", 40_000.0), (26, "full", "40000baseLR4", 40_000.0),
    (27, "full", "56000baseKR4", 56_000.0), (28, "full", "56000baseCR4", 56_000.0),
    (29, "full", "56000baseSR4", 56_000.0),
];
const MEGABIT: f64 = 125_000.0;
/// Counters that nearly all drivers have, which are named as other families are.
const COMMON: [(&str, &str); 7] = [
    ("rx_bytes", "received_bytes_total"),
    ("rx_dropped", "received_dropped_total"),
    ("rx_errors", "received_errors_total"),
    ("rx_packets", "received_packets_total"),
    ("tx_bytes", "transmitted_bytes_total"),
    ("tx_errors", "transmitted_errors_total"),
    ("tx_packets", "transmitted_packets_total"),
];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "ethtool", families: &FAMILIES, parse: configure };

#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    device_include: Pattern,
    device_exclude: Pattern,
    metrics_include: Pattern,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let options: Options = serde::Deserialize::deserialize(options)?;
    let filter = Filter { include: options.device_include, exclude: options.device_exclude };
    Ok(Arc::new(move |root: &Arc<Root>| {
        Box::new(Ethtool {
            devices: Directory::new(root.sysfs.join("class/net")),
            filter: filter.clone(),
            metrics_include: options.metrics_include.clone(),
            socket: None,
            gathered: Gathered::default(),
        })
    }))
}

struct Ethtool {
    devices: Directory,
    filter: Filter,
    /// Of the drivers' names, sanitized.
    metrics_include: Pattern,
    socket: Option<OwnedFd>,
    gathered: Gathered,
}

impl Collector for Ethtool {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let failed = |source| Error::Read { path: "ethtool socket".into(), source };
        if self.socket.is_none() {
            let flags = SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None);
            self.socket = Some(socket.map_err(|error| failed(error.into()))?);
        }
        let Some(socket) = &self.socket else { return Ok(()) };
        self.gathered.clear();
        for name in self.devices.list()?.iter() {
            let Some(name) = name.to_str().filter(|name| self.filter.wants(name)) else { continue };
            if Instant::now() >= pass.deadline {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
            let asked = gather(socket, name, &self.metrics_include, &mut self.gathered);
            match asked {
                Err(error) if !says_nothing(&error) => return Err(failed(error)),
                _ => {}
            }
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

/// Many devices are no links, and have nothing to say of one.
fn gather_link(socket: &OwnedFd, name: &str, gathered: &mut Gathered) {
    let Ok(link) = link(socket.as_fd(), name) else { return };
    let device = ("device", name);
    let has = |bits: u32, bit: u32| bits & (1 << bit) != 0;
    gathered.add(AUTONEGOTIATE, &[device], f64::from(u8::from(link.autonegotiates)));
    for (place, bits) in [(SUPPORTED, link.supported), (ADVERTISED, link.advertised)] {
        for (index, bit) in ABILITIES.into_iter().enumerate() {
            gathered.add(place + index, &[device], f64::from(u8::from(has(bits, bit))));
        }
    }
    for (place, bits) in [(SUPPORTED_SPEED, link.supported), (ADVERTISED_SPEED, link.advertised)] {
        for (_, duplex, mode, speed) in SPEEDS.iter().filter(|(bit, ..)| has(bits, *bit)) {
            gathered.add(place, &[device, ("duplex", duplex), ("mode", mode)], speed * MEGABIT);
        }
    }
    for (_, kind) in PORTS.iter().filter(|(bit, _)| has(link.supported, *bit)) {
        gathered.add(PORT, &[device, ("type", kind)], 1.0);
    }
}

/// Whether a device has a driver that does not answer, or is none, or has gone.
fn says_nothing(error: &io::Error) -> bool {
    let nothing = [Errno::OPNOTSUPP, Errno::NODEV, Errno::PERM, Errno::INVAL];
    Errno::from_io_error(error).is_some_and(|error| nothing.contains(&error))
}

fn gather(
    socket: &OwnedFd,
    name: &str,
    metrics_include: &Pattern,
    gathered: &mut Gathered,
) -> io::Result<()> {
    gather_link(socket, name, gathered);
    let found = driver(socket.as_fd(), name)?;
    let labels = [
        ("bus_info", found.bus_info.as_str()),
        ("device", name),
        ("driver", &found.driver),
        ("expansion_rom_version", &found.expansion_rom_version),
        ("firmware_version", &found.firmware_version),
        ("version", &found.version),
    ];
    gathered.add(INFO, &labels, 1.0);
    for (counter, value) in statistics(socket.as_fd(), name, found.statistics)? {
        let counter = sanitized(&counter);
        if !metrics_include.is_set() || metrics_include.matches(&counter) {
            let shown = shown(&counter);
            gathered.add_named(COUNTER, shown.as_bytes(), &[("device", name)], value as f64);
        }
    }
    Ok(())
}

/// A counter's name with nothing but letters, digits and underscores: one of these stands for each run of
/// other characters and the underscores around it.
fn sanitized(name: &str) -> String {
    let is_other = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let (mut clean, mut rest) = (String::new(), name);
    while let Some((before, others)) = rest.find(is_other).and_then(|at| rest.split_at_checked(at))
    {
        clean.push_str(before.trim_end_matches('_'));
        clean.push('_');
        rest = others.trim_start_matches(is_other).trim_start_matches('_');
    }
    clean + rest
}

/// A counter's sanitized name in a family's: lower case, with words for `rx` and `tx`. (A part that follows
/// one that has been replaced stays as it is, as it always has.)
fn shown(name: &str) -> String {
    if let Some((_, known)) = COMMON.iter().find(|(known, _)| *known == name) {
        return (*known).to_owned();
    }
    let clean = name.to_lowercase().trim_start_matches('_').to_owned();
    let replaced = [("rx", "received"), ("tx", "transmitted")];
    replaced.iter().fold(clean, |text, (short, long)| {
        let mut parts = text.split('_').map(str::to_owned).collect::<Vec<_>>();
        let mut was_replaced = false;
        for part in &mut parts {
            was_replaced = part == short && !was_replaced;
            if was_replaced {
                *part = (*long).to_owned();
            }
        }
        parts.join("_")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_other_characters_become_one_underscore() {
        for (name, wanted) in [
            ("a_ - _b", "a_b"),
            ("a__-_-b", "a__b"),
            ("__a__", "__a__"),
            ("[1]", "_1_"),
            ("é", "_"),
        ] {
            assert_eq!(sanitized(name), wanted);
        }
    }

    #[test]
    fn names_are_shown_as_they_always_have_been() {
        for (name, wanted) in [
            ("rx_queue_0_bytes", "received_queue_0_bytes"),
            ("rx0_drops", "rx0_drops"),
            ("tx_xdp_tx", "transmitted_xdp_transmitted"),
            ("tx_tx_timeouts", "transmitted_tx_timeouts"),
            ("tx0_tx_timeouts", "tx0_transmitted_timeouts"),
            ("rx_bytes", "received_bytes_total"),
            ("Port.TX-errors", "port_transmitted_errors"),
            ("RX_bytes", "received_bytes"),
            ("  [3]: x", "3_x"),
            ("rx-drops ", "received_drops_"),
            ("__tx__", "transmitted__"),
        ] {
            assert_eq!(shown(&sanitized(name)), wanted);
        }
    }
}
