//! What a btrfs file system says of its devices: the requests `BTRFS_IOC_FS_INFO`, `BTRFS_IOC_DEV_INFO` and
//! `BTRFS_IOC_GET_DEV_STATS` (linux/btrfs.h). None of them needs a privilege, nor changes anything.
//!
//! Must not know where file systems are mounted.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `BTRFS_IOCTL_MAGIC`.
const MAGIC: u32 = 0x94;
/// Words of `struct btrfs_ioctl_fs_info_args`.
const FILE_SYSTEM: usize = 1024 / 8;
/// Words of `struct btrfs_ioctl_dev_info_args`; the last 128 are the path.
const DEVICE: usize = 4096 / 8;
const PATH: usize = 384;
/// Words of `struct btrfs_ioctl_get_dev_stats`, and how many counters the kernel is asked for.
const STATISTICS: usize = 129;
const ERRORS: usize = 5;
/// Devices have numbers that are not in a row; none has one beyond this.
const MOST: u64 = 4096;

/// A device of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// In the usual form, with dashes.
    pub uuid: String,
    /// The device's file, as it was when it was added; may be outside of what a process can see.
    pub path: Vec<u8>,
    /// Bytes that the file system has of the device.
    pub size: u64,
    /// Those that are allocated.
    pub used: u64,
    /// Errors counted since the file system was made, or since an administrator set them to zero.
    pub errors: Errors,
}

/// Counts of errors of a device, by what the kernel was doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the kernel's
pub struct Errors {
    pub write: u64,
    pub read: u64,
    pub flush: u64,
    pub corruption: u64,
    pub generation: u64,
}

/// Asks the file system that a folder or file lies on for its UUID and its devices.
///
/// # Errors
/// What ioctl(2) said: `ENOTTY` where it is no btrfs.
pub fn devices(of: BorrowedFd<'_>) -> io::Result<(String, Vec<Device>)> {
    let mut system = [0; FILE_SYSTEM];
    request(of, libc::_IOR::<[u64; FILE_SYSTEM]>(MAGIC, 31), &mut system)?;
    let [last, count, first_half, second_half, ..] = system;
    let mut devices = Vec::new();
    for number in 0..=last.min(MOST) {
        if devices.len() as u64 == count {
            break;
        }
        match device(of, number) {
            Ok(device) => devices.push(device),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((uuid(first_half, second_half), devices))
}

fn device(of: BorrowedFd<'_>, number: u64) -> io::Result<Device> {
    let mut device = [0; DEVICE];
    device[0] = number;
    request(of, libc::_IOWR::<[u64; DEVICE]>(MAGIC, 30), &mut device)?;
    let mut errors = [0; STATISTICS];
    [errors[0], errors[1]] = [number, ERRORS as u64];
    request(of, libc::_IOWR::<[u64; STATISTICS]>(MAGIC, 52), &mut errors)?;
    let [_, first_half, second_half, used, size, ..] = device;
    let [_, _, _, write, read, flush, corruption, generation, ..] = errors;
    let path = device.iter().skip(PATH).flat_map(|word| word.to_ne_bytes());
    Ok(Device {
        uuid: uuid(first_half, second_half),
        path: path.take_while(|byte| *byte != 0).collect(),
        size,
        used,
        errors: Errors { write, read, flush, corruption, generation },
    })
}

fn request(of: BorrowedFd<'_>, what: libc::Ioctl, data: &mut [u64]) -> io::Result<()> {
    // SAFETY: the callers' `data` is as long as the structure that `what` says, of plain numbers, and
    // outlives the call; the kernel reads and writes no more than that.
    #[allow(unsafe_code)]
    let result = unsafe { libc::ioctl(of.as_raw_fd(), what, data.as_mut_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sixteen bytes, as the words that hold them.
fn uuid(first_half: u64, second_half: u64) -> String {
    let mut text = String::new();
    for (place, byte) in
        first_half.to_ne_bytes().into_iter().chain(second_half.to_ne_bytes()).enumerate()
    {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn requests_are_the_kernels() {
        assert_eq!(libc::_IOR::<[u64; FILE_SYSTEM]>(MAGIC, 31), 0x8400_941f);
        assert_eq!(libc::_IOWR::<[u64; DEVICE]>(MAGIC, 30), 0xd000_941e);
        assert_eq!(libc::_IOWR::<[u64; STATISTICS]>(MAGIC, 52), 0xc408_9434);
    }

    #[test]
    fn uuids_are_bytes_in_their_order() {
        let half = u64::from_ne_bytes([0x5c, 0xb0, 0x4f, 0xbd, 0x6b, 0x10, 0x47, 0xbd]);
        assert_eq!(uuid(half, half), "5cb04fbd-6b10-47bd-5cb0-4fbd6b1047bd");
    }

    #[test]
    fn what_is_no_btrfs_says_so() {
        let file = std::fs::File::open("/proc").unwrap();
        assert_eq!(devices(file.as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }
}
