//! `wifi`: wireless devices, the networks they belong to, and the stations they talk to (iw(8)).
//!
//! Must not know how the kernel is asked: that is [`nl80211`](super::nl80211)'s.

use super::nl80211::{Interface, Network, Nl80211, Station, mac_address};
use crate::host::gathered::Gathered;
use crate::host::root::{Root, read_once};
use crate::host::{Builder, Collector, Entry, Error, Pass};
use crate::metric::Family;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const STATION: &[&str] = &["device", "mac_address"];
const FREQUENCY: Family = Family::gauge(
    "node_wifi_interface_frequency_hertz",
    &["device"],
    "The frequency that the device works at.",
);
const INFO: Family = Family::gauge(
    "node_wifi_station_info",
    &["bssid", "device", "mode", "ssid"],
    "The network that the device belongs to; always 1.",
);
/// A family, and what a station has of it.
type Shown = (Family, fn(&Station) -> f64);

#[rustfmt::skip] // a table
const NUMBERS: [Shown; 12] = [
    (Family::counter("node_wifi_station_connected_seconds_total", STATION, "How long the station has been connected."), |station| station.connected),
    (Family::gauge("node_wifi_station_inactive_seconds", STATION, "Time since the station was last heard."), |station| station.inactive),
    (Family::gauge("node_wifi_station_receive_bits_per_second", STATION, "Rate of receiving, of late."), |station| station.receive_rate),
    (Family::gauge("node_wifi_station_transmit_bits_per_second", STATION, "Rate of sending, of late."), |station| station.transmit_rate),
    (Family::counter("node_wifi_station_receive_bytes_total", STATION, "Bytes received from the station."), |station| station.received_bytes),
    (Family::counter("node_wifi_station_transmit_bytes_total", STATION, "Bytes sent to the station."), |station| station.transmitted_bytes),
    (Family::counter("node_wifi_station_received_packets_total", STATION, "Packets received from the station."), |station| station.received_packets),
    (Family::counter("node_wifi_station_transmitted_packets_total", STATION, "Packets sent to the station."), |station| station.transmitted_packets),
    (Family::gauge("node_wifi_station_signal_dbm", STATION, "Strength of the station's signal."), |station| station.signal),
    (Family::counter("node_wifi_station_transmit_retries_total", STATION, "Packets sent again."), |station| station.retries),
    (Family::counter("node_wifi_station_transmit_failed_total", STATION, "Packets that could not be sent."), |station| station.failed),
    (Family::counter("node_wifi_station_beacon_loss_total", STATION, "Times the station's beacon was lost."), |station| station.beacon_loss),
];
static FAMILIES: [Family; 14] = {
    let [
        (a, _),
        (b, _),
        (c, _),
        (d, _),
        (e, _),
        (f, _),
        (g, _),
        (h, _),
        (i, _),
        (j, _),
        (k, _),
        (l, _),
    ] = NUMBERS;
    [a, b, c, d, e, f, g, h, i, j, k, l, FREQUENCY, INFO]
};
const FREQUENCY_PLACE: usize = NUMBERS.len();
const INFO_PLACE: usize = FREQUENCY_PLACE + 1;

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "wifi", families: &FAMILIES, parse: configure };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    fixtures: PathBuf,
}

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let Options { fixtures } = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(move |_: &Arc<Root>| {
        Box::new(Wifi { fixtures: fixtures.clone(), kernel: None, gathered: Gathered::default() })
    }))
}

struct Wifi {
    /// In the kernel's place, if there is such a folder.
    fixtures: PathBuf,
    kernel: Option<Nl80211>,
    gathered: Gathered,
}

/// A device with all that is known of it.
type Device = (Interface, Option<Network>, Vec<Station>);

impl Collector for Wifi {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let devices = if self.fixtures.as_os_str().is_empty() {
            self.ask(pass.deadline).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => Error::NoData("the kernel has no wireless".to_owned()),
                _ => Error::Read { path: "nl80211 netlink socket".into(), source },
            })?
        } else {
            fixtures::read(&self.fixtures)?
        };
        self.gathered.clear();
        for device in &devices {
            gather(device, &mut self.gathered);
        }
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

impl Wifi {
    fn ask(&mut self, deadline: Instant) -> io::Result<Vec<Device>> {
        let mut kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => Nl80211::open(deadline)?,
        };
        let mut devices = Vec::new();
        for interface in kernel.interfaces(deadline)? {
            let network = kernel.network(interface.index, deadline)?;
            let stations = kernel.stations(interface.index, deadline)?;
            devices.push((interface, network, stations));
        }
        self.kernel = Some(kernel);
        Ok(devices)
    }
}

fn gather((interface, network, stations): &Device, gathered: &mut Gathered) {
    let device = ("device", interface.name.as_str());
    gathered.add(FREQUENCY_PLACE, &[device], interface.frequency);
    if let Some(Network { ssid, bssid, status }) = network {
        let mode = match status {
            0 | 1 => "client",
            2 => "ad-hoc",
            _ => "unknown",
        };
        gathered.add(INFO_PLACE, &[("bssid", bssid), device, ("mode", mode), ("ssid", ssid)], 1.0);
    }
    for station in stations {
        for (place, (_, number)) in NUMBERS.iter().enumerate() {
            let labels = [device, ("mac_address", station.address.as_str())];
            gathered.add(place, &labels, number(station));
        }
    }
}

/// Files in place of the kernel, for tests.
mod fixtures {
    use super::{Device, Error, Interface, Network, Path, Station, mac_address, read_once};

    #[derive(serde::Deserialize)]
    struct InterfaceFile {
        #[serde(default)]
        name: String,
        #[serde(default)]
        frequency: f64,
    }

    #[derive(serde::Deserialize)]
    struct NetworkFile {
        ssid: String,
        bssid: String,
        status: u32,
    }

    /// Times in nanoseconds.
    #[derive(serde::Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct StationFile {
        hardwareaddr: String,
        connected: f64,
        inactive: f64,
        receivebitrate: f64,
        transmitbitrate: f64,
        signal: f64,
        transmitretries: f64,
        transmitfailed: f64,
        beaconloss: f64,
    }

    /// `interfaces.json`, and below the folder of each device that has a name `bss.json` and
    /// `stationinfo.json`, if they are there.
    pub(super) fn read(folder: &Path) -> Result<Vec<Device>, Error> {
        let interfaces: Vec<InterfaceFile> =
            json(&folder.join("interfaces.json"))?.unwrap_or_default();
        let mut devices = Vec::new();
        for InterfaceFile { name, frequency } in
            interfaces.into_iter().filter(|file| !file.name.is_empty())
        {
            let own = folder.join(&name);
            let network =
                json(&own.join("bss.json"))?.map(|NetworkFile { ssid, bssid, status }| Network {
                    ssid,
                    bssid: mac_address(&base64(&bssid)),
                    status,
                });
            let stations: Vec<StationFile> =
                json(&own.join("stationinfo.json"))?.unwrap_or_default();
            let stations = stations.into_iter().map(|file| Station {
                address: mac_address(&base64(&file.hardwareaddr)),
                connected: file.connected / 1e9,
                inactive: file.inactive / 1e9,
                receive_rate: file.receivebitrate,
                transmit_rate: file.transmitbitrate,
                signal: file.signal,
                retries: file.transmitretries,
                failed: file.transmitfailed,
                beacon_loss: file.beaconloss,
                ..Station::default()
            });
            let interface = Interface { index: 0, name, frequency: frequency * 1e6 };
            devices.push((interface, network, stations.collect()));
        }
        Ok(devices)
    }

    fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
        match read_once(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| Error::Parse(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path: path.to_owned(), source }),
        }
    }

    /// The bytes of a text in base 64 (RFC 4648); other characters are passed over.
    fn base64(text: &str) -> Vec<u8> {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
        for digit in text.bytes().filter_map(|byte| ALPHABET.iter().position(|own| *own == byte)) {
            bits = bits << 6 | u32::try_from(digit).unwrap_or_default();
            count += 6;
            if count >= 8 {
                count -= 8;
                out.push(u8::try_from(bits >> count & 0xff).unwrap_or_default());
            }
        }
        out
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn base64_is_read() {
            assert_eq!(super::base64("AQIDBAUG"), [1, 2, 3, 4, 5, 6]);
            assert_eq!(super::base64("/w=="), [255]);
        }
    }
}
