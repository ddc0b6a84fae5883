//! The local time zone: which offset from UTC holds at a given time, of a compiled zone file
//! (RFC 9636, tzfile(5)).
//!
//! Must not know what time it is.

use super::zone_rule::{LocalTime, Yearly};
use crate::host::root::Root;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const UTC: LocalTime<'static> = LocalTime { name: "UTC", offset: 0 };

/// Where the zone's file is: the one that `TZ` names, else `/etc/localtime`, on the host's root.
pub(super) fn zone_file(root: &Root, tz: Option<&str>) -> PathBuf {
    match tz.map(|tz| tz.strip_prefix(':').unwrap_or(tz)) {
        None => root.rootfs.join("etc/localtime"),
        Some("") => root.rootfs.join("usr/share/zoneinfo/UTC"),
        Some(name) => match name.strip_prefix('/') {
            Some(path) => root.rootfs.join(path),
            None => root.rootfs.join("usr/share/zoneinfo").join(name),
        },
    }
}

/// A zone file, read again when it is replaced. Without one, local time is UTC.
pub(super) struct Zone {
    rootfs: PathBuf,
    path: PathBuf,
    read: Option<SystemTime>,
    rules: Rules,
}

impl Zone {
    /// A zone file at `path`, which lies below `rootfs`.
    pub(super) fn new(rootfs: PathBuf, path: PathBuf) -> Self {
        Self { rootfs, path, read: None, rules: Rules::default() }
    }

    /// What holds at `time` (Unix time).
    pub(super) fn at(&mut self, time: i64) -> LocalTime<'_> {
        let modified = self.modified().ok();
        if modified != self.read {
            self.read = modified;
            let text = self.text().unwrap_or_default();
            self.rules = parse(&text).unwrap_or_default();
        }
        self.rules.at(time)
    }

    fn modified(&self) -> io::Result<SystemTime> {
        let data = if self.rootfs == Path::new("/") {
            std::fs::metadata(&self.path)?
        } else {
            open_below(&self.rootfs, &self.path)?.metadata()?
        };
        data.modified()
    }

    fn text(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        open_below(&self.rootfs, &self.path)?.read_to_end(&mut text)?;
        Ok(text)
    }
}

/// Opens a file below the host's root, where links to absolute paths begin, too: `/etc/localtime` is one.
fn open_below(rootfs: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let folder = openat(CWD, rootfs, flags | OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    let below = path.strip_prefix(rootfs).unwrap_or(path);
    match openat2(folder, below, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(file) => Ok(file.into()),
        // Kernels before 5.6, and sandboxes that have not heard of it.
        Err(Errno::NOSYS | Errno::PERM) => File::open(path),
        Err(error) => Err(error.into()),
    }
}

/// A compiled zone.
#[derive(Debug, Default, PartialEq)]
struct Rules {
    /// From when on each kind holds, rising.
    transitions: Vec<(i64, usize)>,
    /// Offset and name.
    kinds: Vec<(i32, String)>,
    /// What holds after the last transition, where the file says it by rule.
    later: Option<Yearly>,
}

impl Rules {
    fn at(&self, time: i64) -> LocalTime<'_> {
        let past = self.transitions.partition_point(|(from, _)| *from <= time);
        if let Some(later) = self.later.as_ref().filter(|_| past == self.transitions.len()) {
            return later.at(time);
        }
        let kind = past.checked_sub(1).and_then(|last| self.transitions.get(last));
        let kind = kind.map_or(0, |(_, kind)| *kind);
        self.kinds.get(kind).map_or(UTC, |(offset, name)| LocalTime { name, offset: *offset })
    }
}

/// Reads from the front of a byte slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

/// Numbers of a file's header.
struct Header {
    version: u8,
    utc_flags: usize,
    standard_flags: usize,
    leap_seconds: usize,
    transitions: usize,
    kinds: usize,
    name_bytes: usize,
}

fn header(reader: &mut Reader<'_>) -> Option<Header> {
    let [b'T', b'Z', b'i', b'f', version] = reader.array()? else { return None };
    reader.take(15)?;
    let mut number = || Some(u32::from_be_bytes(reader.array()?) as usize);
    Some(Header {
        version,
        utc_flags: number()?,
        standard_flags: number()?,
        leap_seconds: number()?,
        transitions: number()?,
        kinds: number()?,
        name_bytes: number()?,
    })
}

fn parse(text: &[u8]) -> Option<Rules> {
    let mut reader = Reader(text);
    let mut header_now = header(&mut reader)?;
    let mut width = 4;
    if header_now.version >= b'2' {
        // The data of version 1, with 32-bit times, come first: past them.
        reader.take(data_length(&header_now, 4)?)?;
        header_now = header(&mut reader)?;
        width = 8;
    }
    let times = reader.take(header_now.transitions.checked_mul(width)?)?;
    let indices = reader.take(header_now.transitions)?;
    let records = reader.take(header_now.kinds.checked_mul(6)?)?;
    let names = reader.take(header_now.name_bytes)?;
    let transitions = times
        .chunks_exact(width)
        .zip(indices)
        .map(|(time, kind)| (big_endian(time), *kind as usize));
    let kind = |record: &[u8]| {
        let (offset, rest) = record.split_first_chunk::<4>()?;
        let name = names.get(usize::from(*rest.get(1)?)..)?;
        let name = name.split(|&byte| byte == 0).next()?;
        Some((i32::from_be_bytes(*offset), String::from_utf8_lossy(name).into_owned()))
    };
    let kinds = records.chunks_exact(6).map(kind).collect::<Option<_>>()?;
    let rest = header_now.leap_seconds.checked_mul(width + 4)?;
    let rest = rest.checked_add(header_now.standard_flags)?.checked_add(header_now.utc_flags)?;
    reader.take(rest)?;
    // A line of its own at the end of the file, from version 2 on.
    let later = std::str::from_utf8(reader.0).ok().and_then(|footer| Yearly::parse(footer.trim()));
    let rules = Rules { transitions: transitions.collect(), kinds, later };
    (!rules.kinds.is_empty()).then_some(rules)
}

/// How long the data after a header are.
fn data_length(header: &Header, width: usize) -> Option<usize> {
    let times = header.transitions.checked_mul(width + 1)?;
    let kinds = header.kinds.checked_mul(6)?;
    let leap_seconds = header.leap_seconds.checked_mul(width + 4)?;
    [kinds, leap_seconds, header.name_bytes, header.utc_flags, header.standard_flags]
        .into_iter()
        .try_fold(times, usize::checked_add)
}

/// A signed big-endian number of four or eight bytes.
fn big_endian(bytes: &[u8]) -> i64 {
    if let Ok(bytes) = bytes.try_into() {
        return i64::from_be_bytes(bytes);
    }
    bytes.try_into().map_or(0, |bytes| i64::from(i32::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zone file of version 2: nothing in its first part, two kinds and two transitions in its
    /// second.
    fn file(footer: &str) -> Vec<u8> {
        let header = |numbers: [u32; 6]| {
            let mut text = b"TZif2".to_vec();
            text.extend([0; 15]);
            text.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
            text
        };
        let mut text = header([0, 0, 0, 0, 1, 1]);
        text.extend([0; 7]);
        text.extend(header([0, 0, 0, 2, 2, 8]));
        text.extend([1000i64, 2000].iter().flat_map(|time| time.to_be_bytes()));
        text.extend([1, 0]);
        text.extend(3600i32.to_be_bytes());
        text.extend([0, 0]);
        text.extend(7200i32.to_be_bytes());
        text.extend([1, 4]);
        text.extend(b"AAA\0BBB\0");
        text.extend(footer.as_bytes());
        text
    }

    #[test]
    fn transitions_and_what_comes_after() {
        let rules = parse(&file("\n\n")).unwrap();
        let shown = |time| (rules.at(time).name.to_owned(), rules.at(time).offset);
        assert_eq!(shown(0), ("AAA".to_owned(), 3600));
        assert_eq!(shown(1000), ("BBB".to_owned(), 7200));
        assert_eq!(shown(5000), ("AAA".to_owned(), 3600));
        let rules = parse(&file("\nXYZ-3\n")).unwrap();
        assert_eq!(rules.at(5000), LocalTime { name: "XYZ", offset: 10800 });
    }

    #[test]
    fn rubbish_is_utc() {
        let whole = file("\n\n");
        for length in 0..whole.len() - 3 {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        let huge = [&b"TZif2"[..], &[255; 60]].concat();
        assert_eq!(parse(&huge), None);
        assert_eq!(Zone::new("/".into(), "/nonexistent".into()).at(0), UTC);
    }

    #[test]
    fn links_lead_to_files_of_the_host() {
        let top = std::env::temp_dir().join(format!("musterd-zone-{}", std::process::id()));
        for folder in ["etc", "usr/share/zoneinfo"] {
            std::fs::create_dir_all(top.join(folder)).unwrap();
        }
        let link = top.join("etc/localtime");
        std::os::unix::fs::symlink("/usr/share/zoneinfo/Musterd", &link).unwrap();
        let mut zone = Zone::new(top.clone(), link);
        assert_eq!(zone.at(0), UTC);
        std::fs::write(top.join("usr/share/zoneinfo/Musterd"), file("\n\n")).unwrap();
        assert_eq!(zone.at(0), LocalTime { name: "AAA", offset: 3600 });
        std::fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn the_file_is_the_hosts() {
        let root = Root {
            procfs: "/proc".into(),
            sysfs: "/sys".into(),
            rootfs: "/host".into(),
            udev_data: "/run/udev/data".into(),
        };
        for (tz, wanted) in [
            (None, "/host/etc/localtime"),
            (Some(""), "/host/usr/share/zoneinfo/UTC"),
            (Some(":Asia/Tokyo"), "/host/usr/share/zoneinfo/Asia/Tokyo"),
            (Some("/etc/zone"), "/host/etc/zone"),
        ] {
            assert_eq!(zone_file(&root, tz), PathBuf::from(wanted));
        }
    }
}
