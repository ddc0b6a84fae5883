//! What a network device's driver says of itself: the requests `ETHTOOL_GDRVINFO`,
//! `ETHTOOL_GSTRINGS`, `ETHTOOL_GSTATS` and `ETHTOOL_GLINKSETTINGS` of `SIOCETHTOOL`
//! (linux/ethtool.h).
//!
//! Must not know what its counters mean.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `SIOCETHTOOL` of linux/sockios.h.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const GET_DRIVER: u32 = 0x03;
const GET_STRINGS: u32 = 0x1b;
const GET_STATISTICS: u32 = 0x1d;
const GET_LINK: u32 = 0x4c;
/// The set of strings that are the names of statistics.
const STATISTICS: u32 = 1;
/// The length of a name, its zeros included.
const NAME: usize = 32;
/// No driver has more statistics than this; of one that says so, none are read.
const MOST: usize = 1 << 16;
/// The kernel writes as many as there are at that moment, whatever room it is told of: a device that
/// gets more queues between two questions must not find too little.
const SPARE: usize = 4096;

/// What a driver is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub struct Driver {
    pub driver: String,
    pub version: String,
    pub firmware_version: String,
    pub bus_info: String,
    pub expansion_rom_version: String,
    /// How many counters it has.
    pub statistics: usize,
}

/// Asks a device's driver what it is. `socket` is any socket of the device's namespace.
///
/// # Errors
/// What ioctl(2) said: that there is no such device, or that its driver does not say.
pub fn driver(socket: BorrowedFd<'_>, device: &str) -> io::Result<Driver> {
    // struct ethtool_drvinfo: the request, five texts, twelve bytes of rest, five counts.
    let mut words = [0u64; 25];
    request(socket, device, &mut words, &[GET_DRIVER])?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let text = |index: usize| text(bytes.get(4 + index * NAME..).unwrap_or_default());
    Ok(Driver {
        driver: text(0),
        version: text(1),
        firmware_version: text(2),
        bus_info: text(3),
        expansion_rom_version: text(4),
        statistics: number(&bytes, 180) as usize,
    })
}

/// Asks a driver for its counters, which it had `count` of when it was asked what it is.
///
/// # Errors
/// What ioctl(2) said.
pub fn statistics(
    socket: BorrowedFd<'_>,
    device: &str,
    count: usize,
) -> io::Result<Vec<(String, u64)>> {
    if count == 0 || count > MOST {
        return Ok(Vec::new());
    }
    let told = u32::try_from(count).unwrap_or_default();
    let room = count + SPARE;
    // struct ethtool_gstrings: the request, the set, how many; then the names.
    let mut names = vec![0u64; 2 + room * NAME / 8];
    request(socket, device, &mut names, &[GET_STRINGS, STATISTICS, told])?;
    let names: Vec<u8> = names.iter().flat_map(|word| word.to_ne_bytes()).collect();
    // struct ethtool_stats: the request, how many; then the numbers.
    let mut numbers = vec![0u64; 1 + room];
    request(socket, device, &mut numbers, &[GET_STATISTICS, told])?;
    let given = (number(&names, 8) as usize).min(room);
    let names = names.get(12..).unwrap_or_default().chunks_exact(NAME).map(text);
    let numbers = numbers.into_iter().skip(1);
    Ok(names.zip(numbers).take(given).filter(|(name, _)| !name.is_empty()).collect())
}

/// How a device's link is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether both ends agree on the speed by themselves.
    pub autonegotiates: bool,
    /// The first 32 of what the device can do, as bits `ETHTOOL_LINK_MODE_*_BIT`.
    pub supported: u32,
    /// The first 32 of what it offers to the other end.
    pub advertised: u32,
}

/// Asks how a device's link is set.
///
/// # Errors
/// What ioctl(2) said.
pub fn link(socket: BorrowedFd<'_>, device: &str) -> io::Result<Link> {
    // struct ethtool_link_settings: 48 bytes; then three sets of bits, of up to 127 words each.
    let mut words = [0u64; 6 + 3 * 64];
    request(socket, device, &mut words, &[GET_LINK])?;
    // Asked without a length, the kernel says how long a set is, as a negative number.
    let bytes =
        |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
    let length = bytes(&words).get(15).map_or(0, |length| length.cast_signed().unsigned_abs());
    let told = u32::from_ne_bytes([0, 0, 0, length]);
    words.fill(0);
    request(socket, device, &mut words, &[GET_LINK, 0, 0, told])?;
    let bytes = bytes(&words);
    Ok(Link {
        autonegotiates: bytes.get(11) == Some(&1),
        supported: number(&bytes, 48),
        advertised: number(&bytes, 48 + 4 * usize::from(length)),
    })
}

/// `struct ifreq`, of which this request uses a name and a pointer.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut u64,
    rest: [u64; 2],
}

/// Puts `head` at the start of `data`, and has the kernel write there what it says.
fn request(socket: BorrowedFd<'_>, device: &str, data: &mut [u64], head: &[u32]) -> io::Result<()> {
    let mut name = [0; libc::IFNAMSIZ];
    // The last byte stays zero.
    if device.is_empty() || device.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    name.iter_mut().zip(device.bytes()).for_each(|(to, byte)| *to = byte);
    for (word, pair) in data.iter_mut().zip(head.chunks(2)) {
        let [low, high] = [pair.first(), pair.get(1)].map(|half| half.copied().unwrap_or_default());
        let bytes = [low.to_ne_bytes(), high.to_ne_bytes()].concat();
        *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
    }
    let mut request = Request { name, data: data.as_mut_ptr(), rest: [0; 2] };
    // SAFETY: `request` is as long as `struct ifreq` and outlives the call, and so does `data`. The
    // kernel writes to `data` as much as the structure of the request is long: the callers have made
    // it that long, with room to spare where the length is the driver's to say.
    #[allow(unsafe_code)]
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_ne_bytes)
}

fn text(bytes: &[u8]) -> String {
    let bytes = bytes.get(..NAME).unwrap_or(bytes);
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn a_request_is_as_long_as_the_kernels() {
        assert_eq!(size_of::<Request>(), size_of::<libc::ifreq>());
    }

    #[test]
    fn devices_that_are_not_there_are_errors() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for name in ["", "no-such-dev", "a-name-that-is-far-too-long"] {
            assert!(driver(socket.as_fd(), name).is_err(), "{name}");
        }
        assert_eq!(statistics(socket.as_fd(), "lo", 0).unwrap(), []);
    }

    /// Of whatever devices this machine has.
    #[test]
    fn drivers_have_as_many_counters_as_they_say() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for device in std::fs::read_dir("/sys/class/net").unwrap() {
            let name = device.unwrap().file_name().into_string().unwrap();
            let Ok(found) = driver(socket.as_fd(), &name) else { continue };
            assert!(!found.driver.is_empty(), "{name}");
            let counters = statistics(socket.as_fd(), &name, found.statistics).unwrap();
            assert!(counters.len() <= found.statistics, "{name}");
            if let Ok(link) = link(socket.as_fd(), &name) {
                assert_eq!(link.supported & link.advertised, link.advertised, "{name}: {link:?}");
            }
        }
    }
}
