//! For `wifi`: wireless devices and the stations they talk to, asked of the kernel over generic
//! netlink (linux/nl80211.h).
//!
//! Must not know what is shown of them.

use super::netlink::{Netlink, array, attribute, attributes, number, text};
use rustix::net::netlink::GENERIC;
use std::io;
use std::time::Instant;

/// A wireless device.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) name: String,
    /// In hertz; 0 where there is none.
    pub(super) frequency: f64,
}

/// The network that a device belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Network {
    pub(super) ssid: String,
    pub(super) bssid: String,
    /// 0 authenticated, 1 associated, 2 member of an ad-hoc network.
    pub(super) status: u32,
}

/// Another end of a link. Times are in seconds, rates in bits a second, the signal in dBm.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Station {
    pub(super) address: String,
    pub(super) connected: f64,
    pub(super) inactive: f64,
    pub(super) receive_rate: f64,
    pub(super) transmit_rate: f64,
    pub(super) signal: f64,
    pub(super) received_bytes: f64,
    pub(super) transmitted_bytes: f64,
    pub(super) received_packets: f64,
    pub(super) transmitted_packets: f64,
    pub(super) retries: f64,
    pub(super) failed: f64,
    pub(super) beacon_loss: f64,
}

/// Of linux/genetlink.h.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// The length of a generic message's own header.
const HEADER: usize = 4;
const GET_INTERFACE: u8 = 5;
const GET_STATION: u8 = 17;
const GET_SCAN: u8 = 32;
const INDEX: u16 = 3;
const NAME: u16 = 4;
const ADDRESS: u16 = 6;
const STATION: u16 = 21;
const FREQUENCY: u16 = 38;
const NETWORK: u16 = 47;

/// The kernel's side of wireless.
pub(super) struct Nl80211 {
    netlink: Netlink,
    family: u16,
}

impl Nl80211 {
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where the kernel has no wireless.
    pub(super) fn open(deadline: Instant) -> io::Result<Self> {
        let mut netlink = Netlink::open(Some(GENERIC))?;
        let question = [&[GET_FAMILY, 1, 0, 0][..], &attribute(FAMILY_NAME, b"nl80211\0")].concat();
        let mut family = None;
        netlink.get(CONTROL, &question, deadline, |_, body| {
            let mut all = attributes(body.get(HEADER..).unwrap_or_default());
            let id = all.find(|(kind, _)| *kind == FAMILY_ID);
            family = id.and_then(|(_, value)| array(value, 0)).map(u16::from_ne_bytes);
        })?;
        let family = family.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { netlink, family })
    }

    /// All devices that have a name.
    pub(super) fn interfaces(&mut self, deadline: Instant) -> io::Result<Vec<Interface>> {
        let mut all = Vec::new();
        self.dump(GET_INTERFACE, &[], deadline, |body| all.extend(interface(body)))?;
        Ok(all)
    }

    /// The network that a device belongs to, if it does.
    pub(super) fn network(&mut self, index: u32, deadline: Instant) -> io::Result<Option<Network>> {
        let mut found = None;
        let device = attribute(INDEX, &index.to_ne_bytes());
        self.dump(GET_SCAN, &device, deadline, |body| {
            found = found.take().or_else(|| network(body))
        })?;
        Ok(found)
    }

    /// The stations that a device talks to.
    pub(super) fn stations(&mut self, index: u32, deadline: Instant) -> io::Result<Vec<Station>> {
        let mut all = Vec::new();
        let device = attribute(INDEX, &index.to_ne_bytes());
        self.dump(GET_STATION, &device, deadline, |body| all.extend(station(body)))?;
        Ok(all)
    }

    fn dump(
        &mut self,
        command: u8,
        rest: &[u8],
        deadline: Instant,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let question = [&[command, 0, 0, 0][..], rest].concat();
        let family = self.family;
        self.netlink.dump(family, &question, deadline, |_, body| {
            take(body.get(HEADER..).unwrap_or_default());
        })
    }
}

fn interface(body: &[u8]) -> Option<Interface> {
    let mut interface = Interface::default();
    for (kind, value) in attributes(body) {
        match kind {
            INDEX => interface.index = number(value, 0)?,
            NAME => interface.name = text(value),
            FREQUENCY => interface.frequency = f64::from(number(value, 0)?) * 1e6,
            _ => {}
        }
    }
    (!interface.name.is_empty()).then_some(interface)
}

/// A network of a scan, if the device belongs to it.
fn network(body: &[u8]) -> Option<Network> {
    let (_, inner) = attributes(body).find(|(kind, _)| *kind == NETWORK)?;
    let (mut network, mut status) = (Network::default(), None);
    for (kind, value) in attributes(inner) {
        match kind {
            1 => network.bssid = mac_address(value),
            6 => network.ssid = ssid(value).unwrap_or_default(),
            9 => status = number(value, 0),
            _ => {}
        }
    }
    Some(Network { status: status?, ..network })
}

/// Elements are a number, a length, and so many bytes; number 0 is the name.
fn ssid(mut elements: &[u8]) -> Option<String> {
    loop {
        let [kind, length, rest @ ..] = elements else { return None };
        let (value, after) = rest.split_at_checked(usize::from(*length))?;
        if *kind == 0 {
            return Some(String::from_utf8_lossy(value).into_owned());
        }
        elements = after;
    }
}

fn station(body: &[u8]) -> Option<Station> {
    let mut station = Station::default();
    for (kind, value) in attributes(body) {
        match kind {
            ADDRESS => station.address = mac_address(value),
            STATION => attributes(value).for_each(|(kind, value)| station.take(kind, value)),
            _ => {}
        }
    }
    (!station.address.is_empty()).then_some(station)
}

impl Station {
    /// NL80211_STA_INFO_*.
    fn take(&mut self, kind: u16, value: &[u8]) {
        let short = f64::from(number(value, 0).unwrap_or_default());
        let long = array(value, 0).map_or(0.0, |bytes| u64::from_ne_bytes(bytes) as f64);
        match kind {
            1 => self.inactive = short / 1e3,
            2 => self.received_bytes = self.received_bytes.max(short),
            3 => self.transmitted_bytes = self.transmitted_bytes.max(short),
            7 => self.signal = value.first().map_or(0.0, |byte| f64::from(byte.cast_signed())),
            8 => self.transmit_rate = rate(value),
            9 => self.received_packets = short,
            10 => self.transmitted_packets = short,
            11 => self.retries = short,
            12 => self.failed = short,
            14 => self.receive_rate = rate(value),
            16 => self.connected = short,
            18 => self.beacon_loss = short,
            23 => self.received_bytes = long,
            24 => self.transmitted_bytes = long,
            _ => {}
        }
    }
}

/// NL80211_RATE_INFO_BITRATE32, in units of 100 kbit a second.
fn rate(value: &[u8]) -> f64 {
    let rate = attributes(value).find(|(kind, _)| *kind == 5);
    rate.and_then(|(_, value)| number(value, 0)).map_or(0.0, |rate| f64::from(rate) * 1e5)
}

/// `01:02:03:04:05:06`
pub(super) fn mac_address(bytes: &[u8]) -> String {
    let parts: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_networks() {
        let body = [
            attribute(INDEX, &7u32.to_ne_bytes()),
            attribute(NAME, b"wlan0\0"),
            attribute(FREQUENCY, &2412u32.to_ne_bytes()),
        ];
        let wanted = Interface { index: 7, name: "wlan0".to_owned(), frequency: 2.412e9 };
        assert_eq!(interface(&body.concat()), Some(wanted));
        let inner = [
            attribute(1, &[0, 0x11, 0x22, 0x33, 0x44, 0x55]),
            attribute(6, b"\x01\x02ab\x00\x04home\x03"),
            attribute(9, &1u32.to_ne_bytes()),
        ];
        let (ssid, bssid) = ("home".to_owned(), "00:11:22:33:44:55".to_owned());
        let body = attribute(NETWORK, &inner.concat());
        assert_eq!(network(&body), Some(Network { ssid, bssid, status: 1 }));
        assert_eq!(network(&attribute(NETWORK, &inner[0])), None);
    }

    #[test]
    fn a_station_is_read() {
        let info = [
            attribute(1, &800u32.to_ne_bytes()),
            attribute(7, &[0xe6]),
            attribute(8, &attribute(5, &3280u32.to_ne_bytes())),
            attribute(2, &5u32.to_ne_bytes()),
            attribute(23, &(1u64 << 40).to_ne_bytes()),
        ];
        let body =
            [attribute(ADDRESS, &[1, 2, 3, 4, 5, 6]), attribute(STATION, &info.concat())].concat();
        let station_read = station(&body).unwrap();
        let wanted = Station {
            address: "01:02:03:04:05:06".to_owned(),
            inactive: 0.8,
            signal: -26.0,
            transmit_rate: 328e6,
            received_bytes: (1u64 << 40) as f64,
            ..Station::default()
        };
        assert_eq!(station_read, wanted);
        for end in 0..body.len() {
            let _ = (station(&body[..end]), network(&body[..end]), interface(&body[..end]));
        }
    }
}
