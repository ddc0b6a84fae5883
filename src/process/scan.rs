//! Reads processes from `/proc`: which there are, and the files of each relative to its own
//! folder, so that all that is read of a process is of one process, whatever becomes of its pid.
//!
//! Must not know what the values are used for.

use super::account::{self, Reading, States};
use super::stat::{self, Pair, Stat, Status};
use super::threads::Thread;
use crate::host::Error;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, fstatfs, openat, statat};
use rustix::io::{Errno, Result};
use rustix::path::Arg;
use std::ffi::CStr;
use std::io::Read;
use std::path::PathBuf;

/// What one read asks for: more than any of these files holds.
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

/// What is read of a process besides what every process is asked for.
pub(super) struct Extent<'t> {
    /// Its number, and where its threads go.
    pub(super) threads: Option<(u32, &'t mut Vec<Thread>)>,
    /// Whether its share of memory that it has with others.
    pub(super) proportional: bool,
}

/// What a process's threads have in all.
#[derive(Clone, Copy, Default)]
struct InAll {
    states: States,
    switches: Pair,
}

impl InAll {
    fn and(mut self, thread: Status) -> Self {
        self.states.add(thread.state);
        self.switches = account::sum(self.switches, thread.switches);
        self
    }
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

    /// Reads what [`Stat`] lacks of a process: its files open and bytes read and written, and with
    /// `extent` its swapped memory and context switches too, and what else this asks for. What may
    /// not be read or is not understood is `None`.
    ///
    /// # Errors
    /// That the process has exited meanwhile.
    pub(super) fn read_rest(
        &mut self,
        folder: &Folder,
        stat: Stat,
        extent: Option<Extent<'_>>,
        buffer: &mut Vec<u8>,
    ) -> Result<Reading> {
        let status = match extent {
            Some(_) => unless_gone(folder.read(c"status", buffer))?.and_then(stat::parse_status),
            None => None,
        };
        // Not every kernel has this file, so that its absence does not mean an exit.
        let io = folder.read(c"io", buffer).map(stat::parse_io);
        let open_fds = self.count_fds(folder);
        self.is_denied |= is_denied(&io) || is_denied(&open_fds);
        let (io, open_fds) = (io.ok().flatten(), unless_gone(open_fds)?);
        let mut reading = Reading { io, open_fds, ..Reading::of(stat) };
        let Some(extent) = extent else { return Ok(reading) };
        reading.swapped_bytes = status.map(|status| status.swapped_bytes);
        let in_all = if stat.threads > 1 || extent.threads.is_some() {
            self.read_threads(folder, stat.threads, extent.threads, buffer)
        } else {
            status.map(|status| InAll::default().and(status))
        };
        if let Some(InAll { states, switches }) = in_all {
            (reading.states, reading.switches) = (states, Some(switches));
        }
        if extent.proportional {
            let rollup = folder.read(c"smaps_rollup", buffer).map(stat::parse_proportional);
            self.is_denied |= is_denied(&rollup);
            reading.proportional = match rollup {
                // What has no memory of its own shares none: kernel threads, and who has exited.
                Err(Errno::SRCH) => Some([0; 2]),
                rollup => rollup.ok().flatten(),
            };
        }
        Ok(reading)
    }

    /// What the threads of a process have in all: its own `status` is the main thread's alone. With
    /// `threads` each is read by itself as well. `None` where they are more than may still be read at
    /// this scan, or one of them cannot be read.
    ///
    /// Threads that have exited are not in the sum of switches, which may fall; an account adds growth
    /// alone, so that at most the growth of one interval is missed.
    fn read_threads(
        &mut self,
        folder: &Folder,
        count: u64,
        mut threads: Option<(u32, &mut Vec<Thread>)>,
        buffer: &mut Vec<u8>,
    ) -> Option<InAll> {
        self.threads_left = self.threads_left.checked_sub(count)?;
        let mut in_all = InAll::default();
        let tasks = open_folder(&folder.0, c"task").ok()?;
        let mut entries = RawDir::new(&tasks, self.entries.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let tid = stat::number(entry.ok()?.file_name().to_bytes());
            let Some(tid) = tid.and_then(|tid| u32::try_from(tid).ok()) else { continue };
            let status = match &mut threads {
                Some((pid, threads)) => task(&tasks, tid)
                    .and_then(|folder| folder.thread(*pid, tid, buffer))
                    .map(|(status, thread)| {
                        threads.push(thread);
                        status
                    }),
                None => {
                    self.path.clear();
                    self.path.push_str(itoa::Buffer::new().format(tid));
                    self.path.push_str("/status");
                    parsed(read_whole(&tasks, self.path.as_str(), buffer), stat::parse_status)
                }
            };
            match status {
                Ok(status) => in_all = in_all.and(status),
                // It has exited since it was listed.
                Err(error) if is_gone(error) => {}
                Err(_) => return None,
            }
        }
        Some(in_all)
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
        task(&self.0, pid)
    }
}

/// The folder of a process in `/proc`, or that of a thread in the process's `task`.
fn task(at: impl AsFd, number: u32) -> Result<Folder> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, itoa::Buffer::new().format(number), flags, Mode::empty()).map(Folder)
}

impl Folder {
    /// Reads a file of the process.
    pub(super) fn read<'b>(&self, name: &CStr, buffer: &'b mut Vec<u8>) -> Result<&'b [u8]> {
        read_whole(&self.0, name, buffer)
    }

    /// Reads a file of the process that may be long, up to `limit` bytes.
    pub(super) fn read_long(&self, name: &CStr, limit: u64) -> std::io::Result<Vec<u8>> {
        let file = openat(&self.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut text = Vec::new();
        std::fs::File::from(file).take(limit).read_to_end(&mut text)?;
        Ok(text)
    }

    /// The thread whose folder this is, with its status.
    fn thread(&self, pid: u32, tid: u32, buffer: &mut Vec<u8>) -> Result<(Status, Thread)> {
        let (name, stat) = parsed(self.read(c"stat", buffer), stat::parse_stat)?;
        let name = String::from_utf8_lossy(name).into_owned();
        let status = parsed(self.read(c"status", buffer), stat::parse_status)?;
        let io = self.read(c"io", buffer).ok().and_then(stat::parse_io);
        let waits_in = self.read(c"wchan", buffer).ok().and_then(stat::parse_wchan);
        let waits_in = waits_in.map(|name| String::from_utf8_lossy(name).into_owned());
        let reading = Reading { io, switches: Some(status.switches), ..Reading::of(stat) };
        Ok((status, Thread { pid, tid, name, reading, waits_in }))
    }
}

/// What has been read, understood.
fn parsed<'t, T>(text: Result<&'t [u8]>, parse: impl Fn(&'t [u8]) -> Option<T>) -> Result<T> {
    parse(text?).ok_or(Errno::BADMSG)
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
