//! For the collectors `filesystem`, `btrfs` and `mountstats`: which file systems are mounted where, of
//! `/proc/<pid>/mountinfo` (proc_pid_mountinfo(5)), and whose view of that is taken.
//!
//! Must not know how full a file system is, nor what a server was asked.

use crate::host::Error;
use crate::host::parse::{lines, quoted};
use std::borrow::Cow;
use std::path::Path;

/// Files below `/proc/<pid>` that tell of the host's mounts. The daemon may have mounts of its own (a
/// private /tmp); the first process has the host's. Where that one may not be looked at (hidepid), it is
/// the daemon's own.
pub(super) struct OfHost<T> {
    first: T,
    own: T,
}

impl<T> OfHost<T> {
    /// What `of` makes for a process's folder.
    pub(super) fn new(of: impl Fn(&str) -> T) -> Self {
        Self { first: of("1"), own: of("self") }
    }

    /// Reads the first process's, or else our own.
    ///
    /// # Errors
    /// Those of the second attempt.
    pub(super) fn read<R>(
        &mut self,
        mut read: impl FnMut(&mut T) -> Result<R, Error>,
    ) -> Result<R, Error> {
        read(&mut self.first).or_else(|_| read(&mut self.own))
    }

    /// Whether something is so with either.
    pub(super) fn is(&self, is_it: impl Fn(&T) -> bool) -> bool {
        is_it(&self.first) || is_it(&self.own)
    }
}

/// A line of the file.
#[derive(Debug, PartialEq)]
pub(super) struct Mount<'a> {
    /// As it is written there: node_exporter, too, leaves a blank as `\040`.
    pub(super) device: Cow<'a, str>,
    /// As the process sees it whose file it is.
    pub(super) mount_point: Cow<'a, str>,
    pub(super) kind: Cow<'a, str>,
    pub(super) major: &'a str,
    pub(super) minor: &'a str,
    /// Whether the mount or its file system is read-only.
    pub(super) read_only: bool,
    /// Of a network file system the address of its server, `addr=` (nfs(5)).
    pub(super) address: Option<Cow<'a, str>>,
}

/// Kinds of file systems that answer statfs(2) from the kernel's own memory.
const LOCAL: [&str; 10] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "tmpfs", "ramfs", "devtmpfs"];

impl Mount<'_> {
    /// Whether it answers without any server: its own kind does, and so do all of `mounts` that the way
    /// to it leads through.
    pub(super) fn is_local(&self, mounts: &[Mount<'_>]) -> bool {
        let way = Path::new(&*self.mount_point);
        mounts
            .iter()
            .filter(|other| way.starts_with(&*other.mount_point))
            .all(|other| LOCAL.contains(&&*other.kind))
    }

    /// The mount point as the host sees it, where the host's root is mounted at `root`.
    pub(super) fn point_below(&self, root: &Path) -> &str {
        let root = root.to_str().unwrap_or_default().trim_end_matches('/');
        match self.mount_point.strip_prefix(root) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => &self.mount_point,
        }
    }
}

/// Reads the lines.
pub(super) fn parse(text: &[u8]) -> impl Iterator<Item = Result<Mount<'_>, Error>> {
    lines(text).map(|line| {
        parse_line(line).ok_or_else(|| {
            Error::Parse(format!("mountinfo: wanted a mount, found {}", quoted(line)))
        })
    })
}

/// Options by which a mount or its file system is read-only. The second is that of ext4 from Linux 6.15
/// on, which has met an error and does not call itself `ro` then.
const READ_ONLY: [&[u8]; 2] = [b"ro", b"emergency_ro"];

/// Reads `id parent major:minor root mount-point options [tags…] - kind device super-options`. A single
/// blank stands between two of them, since the device may be empty.
fn parse_line<'a>(line: &'a [u8]) -> Option<Mount<'a>> {
    let mut words = line.split(|&byte| byte == b' ');
    let number = std::str::from_utf8(words.nth(2)?).ok()?;
    let (major, minor) = number.split_once(':')?;
    if [major, minor].iter().any(|part| part.parse::<u32>().is_err()) {
        return None;
    }
    let mount_point = unescape(words.nth(1)?);
    let options = words.next()?;
    words.find(|word| *word == b"-")?;
    let kind = String::from_utf8_lossy(words.next()?);
    let device = String::from_utf8_lossy(words.next()?);
    let super_options = words.next().unwrap_or_default();
    let each = |options: &'a [u8]| options.split(|&byte| byte == b',');
    let read_only =
        each(options).chain(each(super_options)).any(|option| READ_ONLY.contains(&option));
    let address = each(super_options).find_map(|option| option.strip_prefix(b"addr="));
    let address = address.map(String::from_utf8_lossy);
    Some(Mount { device, mount_point, kind, major, minor, read_only, address })
}

/// Turns `\040` and the like, which stand for blanks, tabs, line feeds and backslashes, back.
pub(super) fn unescape(word: &[u8]) -> Cow<'_, str> {
    if !word.contains(&b'\\') {
        return String::from_utf8_lossy(word);
    }
    let (mut plain, mut rest) = (Vec::new(), word);
    while let Some((&byte, after)) = rest.split_first() {
        let octal =
            after.split_at_checked(3).filter(|_| byte == b'\\').and_then(|(digits, after)| {
                let digits = std::str::from_utf8(digits).ok()?;
                Some((u8::from_str_radix(digits, 8).ok()?, after))
            });
        let (byte, after) = octal.unwrap_or((byte, after));
        plain.push(byte);
        rest = after;
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_and_without_tags() {
        let text = b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root ro,errors=x\n\
            40 35 0:25 / /run rw - tmpfs tmpfs rw\n";
        let mounts: Vec<_> = parse(text).collect::<Result<_, _>>().unwrap();
        let wanted = Mount {
            device: "/dev/root".into(),
            mount_point: "/mnt 2".into(),
            kind: "ext3".into(),
            major: "98",
            minor: "0",
            read_only: true,
            address: None,
        };
        assert_eq!(mounts[0], wanted);
        assert_eq!((&*mounts[1].mount_point, mounts[1].read_only), ("/run", false));
    }

    #[test]
    fn a_device_may_be_empty() {
        let mount = parse_line(b"1 0 0:5 / /x rw - tmpfs  ro,size=4k").unwrap();
        assert_eq!((&*mount.device, &*mount.kind, mount.read_only), ("", "tmpfs", true));
    }

    #[test]
    fn only_the_mount_point_is_unescaped() {
        let mount = parse_line(b"1 0 0:5 / /a\\040b rw - cifs //srv/c\\040d rw").unwrap();
        assert_eq!((&*mount.device, &*mount.mount_point), ("//srv/c\\040d", "/a b"));
    }

    #[test]
    fn ext4_that_has_met_an_error_is_read_only() {
        let read_only = |options: &str| {
            let line = format!("1 0 8:1 / / rw - ext4 /dev/sda1 {options}");
            parse_line(line.as_bytes()).unwrap().read_only
        };
        assert!(read_only("rw,emergency_ro,errors=remount-ro"));
        assert!(!read_only("rw,errors=remount-ro"));
    }

    #[test]
    fn our_own_files_stand_in_for_those_of_the_first_process() {
        let mut files = OfHost::new(str::to_owned);
        let mut asked = Vec::new();
        let read = files.read(|process| {
            asked.push(process.clone());
            if process == "1" { Err(Error::NoData("hidden".into())) } else { Ok(7) }
        });
        assert_eq!((read.unwrap(), asked), (7, vec!["1".to_owned(), "self".to_owned()]));
        assert_eq!(files.read(|process| Ok(process.clone())).unwrap(), "1");
    }

    #[test]
    fn addresses_of_servers() {
        let address = |options: &str| {
            let line = format!("36 35 0:42 / /mnt rw - nfs4 srv:/x {options}");
            parse_line(line.as_bytes()).unwrap().address.map(Cow::into_owned)
        };
        assert_eq!(address("rw,mountaddr=10.0.0.1,addr=10.0.0.2"), Some("10.0.0.2".into()));
        assert_eq!(address("rw,clientaddr=10.0.0.1,addr=fe80::1,sec=sys"), Some("fe80::1".into()));
        assert_eq!(address("rw,mountaddr=10.0.0.1"), None);
    }

    #[test]
    fn rubbish() {
        assert_eq!(parse(b"").count(), 0);
        for line in [
            &b"1 2 3"[..],
            b"1 2 x:0 / / rw - a b c",
            b"1 2 0:1 / / rw a b c",
            b"1 2 0:1 / /x rw - ext4",
            b"\xff",
        ] {
            assert!(parse(line).next().unwrap().is_err(), "{line:?}");
        }
        assert_eq!(unescape(b"\\04\\999\\134\\"), "\\04\\999\\\\");
    }

    #[test]
    fn a_mount_below_one_that_needs_a_server_may_hang_too() {
        let text = b"1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /far rw - nfs4 b rw\n\
            3 2 8:3 / /far/disk rw - xfs c rw\n4 1 8:4 / /farther rw - xfs d rw\n";
        let mounts: Vec<_> = parse(text).map(Result::unwrap).collect();
        let local: Vec<_> = mounts.iter().map(|mount| mount.is_local(&mounts)).collect();
        assert_eq!(local, [true, false, false, true]);
    }

    #[test]
    fn the_roots_prefix_is_taken_off() {
        for (mount_point, root, wanted) in [
            ("/", "/", "/"),
            ("/home", "/", "/home"),
            ("/host", "/host", "/"),
            ("/host/home", "/host/", "/home"),
            ("/hostile", "/host", "/hostile"),
            ("/dev/shm", "/host", "/dev/shm"),
        ] {
            let line = format!("1 0 8:1 / {mount_point} rw - ext4 a rw");
            let mount = parse_line(line.as_bytes()).unwrap();
            assert_eq!(mount.point_below(Path::new(root)), wanted);
        }
    }
}
