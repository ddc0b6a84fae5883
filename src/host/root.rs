//! The only opener of kernel files: below the configured proc, sys, root and udev folders, with
//! bounded reads.
//!
//! Must not know what any file contains.

use super::Error;
use super::kept::Kept;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FsWord, fstat, fstatfs};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// No kernel file that is read whole is larger than this; what is larger is refused.
const LIMIT: usize = 16 << 20;
/// What a first read asks for. Larger than all but a few files, so that one call takes them whole.
const FIRST_READ: usize = 16 << 10;

const PROC_SUPER_MAGIC: FsWord = 0x9fa0;
const SYSFS_MAGIC: FsWord = 0x6265_6572;

/// Where the kernel's files are found. Fixtures stand in for the kernel by other paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// `/proc`.
    pub procfs: PathBuf,
    /// `/sys`.
    pub sysfs: PathBuf,
    /// `/`: the root of the host's file systems.
    pub rootfs: PathBuf,
    /// `/run/udev/data`.
    pub udev_data: PathBuf,
}

impl Root {
    /// A file below `/proc`, to be read at every pass.
    #[must_use]
    pub fn proc(&self, path: impl AsRef<Path>) -> KernelFile {
        KernelFile::new(self.procfs.join(path))
    }

    /// A file below `/sys`, to be read at every pass.
    #[must_use]
    pub fn sys(&self, path: impl AsRef<Path>) -> KernelFile {
        KernelFile::new(self.sysfs.join(path))
    }
}

/// A kernel file that is read at every pass: opened once and read again with pread(2), which
/// makes proc and sysfs produce the text anew. A file that has been removed, or replaced by another
/// of the same name, is opened again, if need be after a second. Where too many descriptors are kept already, it is opened
/// each time.
#[derive(Debug)]
pub struct KernelFile {
    path: PathBuf,
    kept: Option<Kept<File>>,
    shape: Shape,
    /// Of proc or sysfs, whose files say by an error that they have gone.
    is_kernels: bool,
    /// For other files: when it was last seen that the file is still there.
    seen: Option<Instant>,
}

/// A file that is not the kernel's own is looked for again after this time.
const SEEN: Duration = Duration::from_secs(1);

/// How the kernel writes a file: what tells, without another read, that one has taken all of it.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Only a read that gives nothing tells.
    Unknown,
    /// In one go: a read that does not fill the buffer has taken it whole.
    Single,
    /// Record by record, none of them longer than this, as many as fit in a page.
    Records(usize),
}

/// The kernel's buffer for a file that it writes record by record (seq_read_iter() in fs/seq_file.c)
/// is a page, and of pages none is smaller.
const PAGE: usize = 4096;

impl Shape {
    /// Whether a read of `count` bytes where there was `room` for more must have been the last.
    fn ends_with(self, count: usize, room: usize) -> bool {
        match self {
            Self::Unknown => false,
            Self::Single => count < room,
            Self::Records(longest) => count < room && count.saturating_add(longest) <= PAGE,
        }
    }
}

impl KernelFile {
    /// A file at `path`; nothing is opened yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, kept: None, shape: Shape::Unknown, is_kernels: false, seen: None }
    }

    /// The same file, known to be written by the kernel in one go (single_open() in its sources, or
    /// an attribute of sysfs or sysctl), or known to lie on a disk: a read that does not fill the buffer
    /// has taken it whole, and no second one is needed to see that there is no more.
    #[must_use]
    pub fn single(self) -> Self {
        Self { shape: Shape::Single, ..self }
    }

    /// The same file, known to be a table of records (lines, mostly) of at most `longest` bytes. The
    /// kernel gives out as many as fit in a page, so that a read that leaves room for one more has
    /// taken the last. Finding that out by another read can cost as much as the first: the kernel
    /// looks through its tables once more.
    #[must_use]
    pub fn records(self, longest: usize) -> Self {
        Self { shape: Shape::Records(longest), ..self }
    }

    /// Whether what was last read is of the kernel's making: of proc or sysfs.
    #[must_use]
    pub fn is_kernels(&self) -> bool {
        self.is_kernels
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file into `buffer`, in place of what that held.
    ///
    /// # Errors
    /// [`Error::NoData`] where there is no such file, [`Error::Read`] where it cannot be read.
    pub fn read<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], Error> {
        if !self.is_kernels && self.seen.is_none_or(|seen| seen.elapsed() >= SEEN) {
            self.kept.take_if(|file| !fstat(&**file).is_ok_and(|stat| stat.st_nlink > 0));
            self.seen = Some(Instant::now());
        }
        if let Some(file) = &self.kept {
            match read_at_start(file, self.shape, buffer) {
                Ok(length) => return Ok(buffer.get(..length).unwrap_or_default()),
                Err(error) if is_an_answer(&error) => return Err(not_read(&self.path, error)),
                Err(_) => {}
            }
        }
        self.kept = None;
        let file = File::open(&self.path).map_err(|error| not_read(&self.path, error))?;
        let read = read_at_start(&file, self.shape, buffer);
        if read.as_ref().err().is_none_or(is_an_answer) {
            self.is_kernels = made_by_kernel(&file);
            self.kept = Kept::new(file);
        }
        let length = read.map_err(|error| not_read(&self.path, error))?;
        Ok(buffer.get(..length).unwrap_or_default())
    }

    /// For a mount table (`/proc/<pid>/mountinfo`): whether it has been read, and nothing has been mounted or
    /// unmounted since this was last asked. The kernel says so to poll(2) (proc_pid_mounts(5)), which is far
    /// cheaper than the text.
    #[must_use]
    pub fn has_same_mounts(&self) -> bool {
        let Some(file) = self.kept.as_ref().filter(|_| self.is_kernels) else { return false };
        let mut asked = [PollFd::new(&**file, PollFlags::PRI)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&now)) == Ok(0)
    }

    /// As [`KernelFile::read`], with `None` in place of an error: for what is merely absent when
    /// it cannot be read.
    pub fn read_if_there<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        self.read(buffer).ok()
    }
}

/// Reads a small file once (an attribute that does not change, a device's name), without keeping
/// it open, and trims the white space around it.
///
/// # Errors
/// What open(2) or read(2) said, or that the text is over 16 MiB.
pub fn read_once(path: &Path) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let length = read_at_start(&File::open(path)?, Shape::Unknown, &mut buffer)?;
    buffer.truncate(length);
    Ok(buffer.trim_ascii().to_vec())
}

/// The error of a collector that could not open or read a file.
pub(super) fn not_read(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::NoData(format!("{} does not exist", path.display())),
        _ => Error::Read { path: path.to_owned(), source },
    }
}

/// Whether an error of read(2) is what the device has to say (this link has no speed, this sensor
/// is not ready), not a sign that the device has gone, perhaps to come back under the same name.
fn is_an_answer(error: &io::Error) -> bool {
    let answers =
        [Errno::INVAL, Errno::OPNOTSUPP, Errno::AGAIN, Errno::NODATA, Errno::BUSY, Errno::PERM];
    Errno::from_io_error(error).is_some_and(|error| answers.contains(&error))
}

fn made_by_kernel(file: &File) -> bool {
    fstatfs(file).is_ok_and(|stat| [PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&stat.f_type))
}

/// Reads from the start to the end. The buffer's length is kept at its capacity from one call to
/// the next, so that it is zeroed once; what was read is its first `n` bytes.
fn read_at_start(file: &File, shape: Shape, buffer: &mut Vec<u8>) -> io::Result<usize> {
    if buffer.len() < FIRST_READ {
        buffer.resize(FIRST_READ, 0);
    }
    let mut length = 0;
    loop {
        if length == buffer.len() {
            if length >= LIMIT {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "over 16 MiB"));
            }
            buffer.resize(length * 2, 0);
        }
        let room = buffer.len() - length;
        match file.read_at(buffer.get_mut(length..).unwrap_or_default(), length as u64) {
            Ok(0) => return Ok(length),
            Ok(count) => {
                length += count;
                if shape.ends_with(count, room) {
                    return Ok(length);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_kept_and_read_anew() {
        let mut file = KernelFile::new("/proc/uptime".into());
        let mut buffer = Vec::new();
        let first = file.read(&mut buffer).unwrap().to_vec();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(file.kept.is_some());
        assert_ne!(first, file.read(&mut buffer).unwrap());
    }

    #[test]
    fn a_file_that_is_replaced_is_seen() {
        let dir = std::env::temp_dir().join(format!("musterd-root-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a");
        let mut file = KernelFile::new(path.clone());
        let mut buffer = Vec::new();
        assert!(matches!(file.read(&mut buffer), Err(Error::NoData(_))));
        std::fs::write(&path, "one").unwrap();
        assert_eq!(file.read(&mut buffer).unwrap(), b"one");
        std::fs::write(dir.join("b"), "x".repeat(100_000)).unwrap();
        std::fs::rename(dir.join("b"), &path).unwrap();
        file.seen = None;
        assert_eq!(file.read(&mut buffer).unwrap().len(), 100_000);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
