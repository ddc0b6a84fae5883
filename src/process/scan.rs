//! Reads processes from `/proc`: which there are, and the files of each relative to its own
//! folder, so that all that is read of a process is of one process, whatever becomes of its pid.
//!
//! Must not know what the values are used for.

use super::account::Reading;
use super::stat::{self, Pair, Stat};
use crate::host::Error;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, fstatfs, openat, statat};
use rustix::io::{Errno, Result};
use rustix::path::Arg;
use std::ffi::CStr;
use std::path::PathBuf;

/// What one read asks for: more than any of these files holds, but for a command line, which is
/// cut here.
const READ: usize = 16 << 10;
/// Space for the entries of a folder, filled anew as often as it takes.
const ENTRIES: usize = 32 << 10;
/// `f_type` of a proc file system.
const PROC_MAGIC: rustix::fs::FsWord = 0x9fa0;

/// A process's files cannot be read because it has exited.
pub(super) fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::SRCH)
}

fn is_denied<T>(read: &Result<T>) -> bool {
    matches!(read, Err(Errno::ACCESS | Errno::PERM))
}

/// Reader of a proc file system, or of a folder that stands in for one.
#[derive(Debug)]
pub(super) struct Scanner {
    procfs: PathBuf,
    entries: Vec<u8>,
    /// Whether the size of the folder `fd` is the number of open files (Linux 6.2), which needs
    /// neither a listing nor any permission. Known from the first scan on.
    sized_fds: bool,
    /// How many threads may still be read at this scan.
    threads_left: u64,
    /// Whether a process's bytes or files have been kept from this user.
    pub(super) is_denied: bool,
    /// The name of a file while it is opened.
    path: String,
}

/// The folder `/proc`, open for one scan.
pub(super) struct Proc(OwnedFd);

/// The folder of one process.
pub(super) struct Folder(OwnedFd);

impl Scanner {
    pub(super) fn new(procfs: PathBuf) -> Self {
        Self {
            procfs,
            entries: Vec::with_capacity(ENTRIES),
            sized_fds: false,
            threads_left: 0,
            is_denied: false,
            path: String::new(),
        }
    }

    /// Begins a scan, in which no more than `max_threads` threads are read: opens `/proc` and puts
    /// the pids of all processes into `pids`, in rising order.
    pub(super) fn list(
        &mut self,
        max_threads: usize,
        pids: &mut Vec<u32>,
    ) -> std::result::Result<Proc, Error> {
        pids.clear();
        self.threads_left = max_threads as u64;
        let failed = |error: Errno| Error::Read { path: self.procfs.clone(), source: error.into() };
        let proc = open_folder(CWD, &self.procfs).map_err(failed)?;
        self.sized_fds = is_procfs(&proc) && sizes_fd_folders();
        let mut entries = RawDir::new(&proc, self.entries.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(failed)?;
            let pid = stat::number(entry.file_name().to_bytes());
            pids.extend(pid.and_then(|pid| u32::try_from(pid).ok()));
        }
        pids.sort_unstable();
        Ok(Proc(proc))
    }

    /// Reads what [`Stat`] lacks of a process: its files open and bytes read and written, and
    /// with `whole` its swapped memory and context switches too. What may not be read or is not
    /// understood is `None`.
    ///
    /// # Errors
    /// That the process has exited meanwhile.
    pub(super) fn read_rest(
        &mut self,
        folder: &Folder,
        stat: Stat,
        whole: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<Reading> {
        let status = match whole {
            true => unless_gone(folder.read(c"status", buffer))?.and_then(stat::parse_status),
            false => None,
        };
        // Not every kernel has this file, so that its absence does not mean an exit.
        let io = folder.read(c"io", buffer).map(stat::parse_io);
        let open_fds = self.count_fds(folder);
        self.is_denied |= is_denied(&io) || is_denied(&open_fds);
        let (io, open_fds) = (io.ok().flatten(), unless_gone(open_fds)?);
        let switches = match status {
            Some(_) if stat.threads > 1 => self.sum_switches(folder, stat.threads, buffer),
            status => status.map(|status| status.switches),
        };
        let swapped_bytes = status.map(|status| status.swapped_bytes);
        Ok(Reading { stat, swapped_bytes, switches, io, open_fds, fd_limit: None })
    }

    /// The context switches of all threads: the process's own `status` has the main thread's alone.
    /// `None` where the threads are more than may still be read at this scan.
    ///
    /// Threads that have exited are not in the sum, which may fall; an account adds growth alone,
    /// so that at most the growth of one interval is missed.
    fn sum_switches(&mut self, folder: &Folder, count: u64, buffer: &mut Vec<u8>) -> Option<Pair> {
        self.threads_left = self.threads_left.checked_sub(count)?;
        let threads = open_folder(&folder.0, c"task").ok()?;
        let [mut voluntary, mut involuntary] = [0_u64; 2];
        let mut entries = RawDir::new(&threads, self.entries.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let Some(thread) = stat::number(entry.ok()?.file_name().to_bytes()) else { continue };
            self.path.clear();
            self.path.push_str(itoa::Buffer::new().format(thread));
            self.path.push_str("/status");
            // A thread that has exited since it was listed is passed over.
            let text = read_whole(&threads, self.path.as_str(), buffer).ok();
            let [by_itself, by_force] =
                text.and_then(stat::parse_status).map_or([0; 2], |it| it.switches);
            voluntary = voluntary.saturating_add(by_itself);
            involuntary = involuntary.saturating_add(by_force);
        }
        Some([voluntary, involuntary])
    }

    fn count_fds(&mut self, folder: &Folder) -> Result<u64> {
        if self.sized_fds {
            return fd_folder_size(&folder.0, c"fd");
        }
        count_entries(open_folder(&folder.0, c"fd")?, &mut self.entries)
    }
}

impl Proc {
    pub(super) fn folder(&self, pid: u32) -> Result<Folder> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.0, itoa::Buffer::new().format(pid), flags, Mode::empty()).map(Folder)
    }
}

impl Folder {
    /// Reads a file of the process.
    pub(super) fn read<'b>(&self, name: &CStr, buffer: &'b mut Vec<u8>) -> Result<&'b [u8]> {
        read_whole(&self.0, name, buffer)
    }
}

/// Reads a file with one call; the kernel gives these files whole.
fn read_whole(at: impl AsFd, path: impl Arg, buffer: &mut Vec<u8>) -> Result<&[u8]> {
    let file = openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if buffer.len() < READ {
        buffer.resize(READ, 0);
    }
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, buffer.as_mut_slice()))?;
    Ok(buffer.get(..length).unwrap_or_default())
}

/// The number of open files of this very process, by `/proc/self/fd`.
pub(super) fn own_fds(entries: &mut Vec<u8>) -> Result<u64> {
    match fd_folder_size(CWD, c"/proc/self/fd")? {
        0 => {
            entries.reserve(ENTRIES);
            // Less the one that lists them.
            let count = count_entries(open_folder(CWD, c"/proc/self/fd")?, entries)?;
            Ok(count.saturating_sub(1))
        }
        count => Ok(count),
    }
}

fn sizes_fd_folders() -> bool {
    fd_folder_size(CWD, c"/proc/self/fd").is_ok_and(|size| size > 0)
}

fn fd_folder_size(folder: impl AsFd, path: &CStr) -> Result<u64> {
    Ok(u64::try_from(statat(folder, path, AtFlags::empty())?.st_size).unwrap_or(0))
}

fn open_folder(at: impl AsFd, path: impl Arg) -> Result<OwnedFd> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn count_entries(folder: OwnedFd, space: &mut Vec<u8>) -> Result<u64> {
    let mut entries = RawDir::new(folder, space.spare_capacity_mut());
    let mut count = 0;
    while let Some(entry) = entries.next() {
        count += u64::from(!entry?.file_name().to_bytes().starts_with(b"."));
    }
    Ok(count)
}

fn is_procfs(folder: impl AsFd) -> bool {
    fstatfs(folder).is_ok_and(|stat| stat.f_type == PROC_MAGIC)
}

fn unless_gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_gone(error) => Err(error),
        Err(_) => Ok(None),
    }
}
