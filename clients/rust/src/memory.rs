//! The memory of a ledger as words that may change under our eyes: the one file with unsafe code,
//! so that what else has no safe wrapper is here too: the processor's counter.
//!
//! Must not know what the words mean.
#![allow(unsafe_code)]

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words shared with another process, or private ones in their place.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping is owned by this value alone, is reached through atomic words only, and
// stays where it is until the value is dropped; nothing in it belongs to a thread.
unsafe impl Send for Memory {}
// SAFETY: as above; shared access is by atomic loads and stores.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps a whole memory file, readable and writable, shared with all who hold it.
    ///
    /// # Errors
    /// `InvalidData` when the file is not sealed against shrinking and growing (its holder could
    /// then make reading it fatal), is empty, or is larger than `limit` bytes; else what the
    /// kernel said.
    pub fn map(file: impl AsFd, limit: usize) -> io::Result<Self> {
        let wanted = SealFlags::SHRINK | SealFlags::GROW;
        let refuse = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let seals =
            fcntl_get_seals(&file).map_err(|_| refuse("not a memory file that can be sealed"))?;
        if !seals.contains(wanted) {
            return Err(refuse("not sealed against shrinking and growing"));
        }
        let size = usize::try_from(fstat(&file)?.st_size).unwrap_or(0);
        if size < 8 || size > limit {
            return Err(refuse(&format!("{size} bytes, wanted 8 to {limit}")));
        }
        Self::map_shared(&file, 0, size)
    }

    /// Maps `size` bytes of a file that is the caller's own, from `offset`, a multiple of 4096. Nobody else
    /// may be able to shorten it: whoever then touches the memory is killed (SIGBUS).
    ///
    /// # Errors
    /// `InvalidData` when the file is not that long; else what the kernel said.
    pub fn map_own(file: impl AsFd, offset: u64, size: usize) -> io::Result<Self> {
        let length = u64::try_from(fstat(&file)?.st_size).unwrap_or(0);
        if size < 8 || length < offset.saturating_add(size as u64) {
            let what = format!("{length} bytes, wanted {size} from {offset}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Self::map_shared(&file, offset, size)
    }

    fn map_shared(file: &impl AsFd, offset: u64, size: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory.
        let start =
            unsafe { mmap(std::ptr::null_mut(), size, access, MapFlags::SHARED, file, offset) }?;
        Self::mapped(start, size)
    }

    fn mapped(start: *mut c_void, size: usize) -> io::Result<Self> {
        let start = NonNull::new(start.cast::<AtomicU64>())
            .ok_or_else(|| io::Error::other("mmap gave address 0"))?;
        Ok(Self { start, words: size / 8 })
    }

    fn anonymous(size: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), size, access, MapFlags::PRIVATE) }?;
        Self::mapped(start, size)
    }

    /// Memory of this process alone, all zero. Of no size when the kernel has none to give.
    #[must_use]
    pub fn private(bytes: usize) -> Self {
        let none = Self { start: NonNull::dangling(), words: 0 };
        Self::anonymous(bytes / 8 * 8).unwrap_or(none)
    }

    /// All words.
    #[inline]
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` is page-aligned (or there are no words) and the start of `words` mapped
        // words that stay mapped for as long as `self` lives, and the file behind them, if there is
        // one, is sealed or nobody else's, so none can vanish. Others may write them at any time, which
        // atomic words allow.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.words().len() * 8
    }

    #[inline]
    fn word(&self, offset: usize) -> Option<&AtomicU64> {
        offset.is_multiple_of(8).then(|| self.words().get(offset / 8)).flatten()
    }

    /// The word at a byte offset; 0 where there is none.
    #[inline]
    #[must_use]
    pub fn load(&self, offset: usize) -> u64 {
        self.word(offset).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// As [`Memory::load`]; what was stored before this word was published is seen after it.
    #[inline]
    #[must_use]
    pub fn load_published(&self, offset: usize) -> u64 {
        self.word(offset).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Stores a word at a byte offset; nothing where there is none.
    #[inline]
    pub fn store(&self, offset: usize, value: u64) {
        if let Some(word) = self.word(offset) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// As [`Memory::store`]; whoever sees this word sees all that was stored before it.
    #[inline]
    pub fn publish(&self, offset: usize, value: u64) {
        if let Some(word) = self.word(offset) {
            word.store(value, Ordering::Release);
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.words > 0 {
            // SAFETY: this value owns the mapping, and no reference into it outlives the value.
            // A failure leaves the memory mapped, which does no harm.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), self.words * 8) };
        }
    }
}

/// The processor's time stamp counter; `None` where there is none.
#[inline]
pub(crate) fn processor_ticks() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 processor has this instruction, which reads a register.
        Some(unsafe { std::arch::x86_64::_rdtsc() })
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// A mark of the process that has made it, by which a process that is forked from that knows that it is another.
/// Where the kernel cannot help (before Linux 4.14, or when it has no memory to give), none is another.
#[derive(Debug)]
pub struct Origin(Memory);

impl Origin {
    /// The mark of this process.
    #[must_use]
    pub fn mark() -> Self {
        let memory = Memory::private(8);
        memory.store(0, 1);
        if memory.words > 0 {
            // SAFETY: the memory is ours; a child finds zeros in it, as its reader below expects.
            let _ = unsafe { madvise(memory.start.as_ptr().cast(), 8, Advice::LinuxWipeOnFork) };
        }
        Self(memory)
    }

    /// Whether this process has made it.
    #[inline]
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.0.words().first().is_none_or(|word| word.load(Ordering::Relaxed) != 0)
    }
}

/// Runs `child` in a forked process, and says whether it gave `true`.
#[cfg(test)]
pub(crate) fn in_forked_child(child: impl FnOnce() -> bool) -> bool {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    // SAFETY: the child does what a child of a program with threads may: libc makes its allocator
    // usable in it.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: ends the process at once, as is due for a part of a test's program.
            unsafe { nix::libc::_exit(i32::from(!right.unwrap_or(false))) }
        }
        ForkResult::Parent { child } => {
            matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};

    #[test]
    fn a_mark_is_of_one_process() {
        let (mark, none) = (Origin::mark(), Origin(Memory::private(0)));
        assert!(mark.is_here() && none.is_here());
        assert!(in_forked_child(|| !mark.is_here() && Origin::mark().is_here() && none.is_here()));
        assert!(mark.is_here());
    }

    #[test]
    fn only_sealed_files_of_a_bearable_size_are_mapped() {
        let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, 8192).unwrap();
        assert!(Memory::map(&file, 8192).is_err());
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        assert!(Memory::map(&file, 4096).is_err());
        assert!(Memory::map(std::fs::File::open("/dev/zero").unwrap(), 4096).is_err());
        let one = Memory::map(&file, 8192).unwrap();
        let other = Memory::map(&file, 8192).unwrap();
        one.store(8184, 7);
        assert_eq!(other.load(8184), 7);
        one.store(8192, 7);
        one.store(3, 7);
        assert_eq!((one.load(8192), one.load(3), one.load(0)), (0, 0, 0));
    }
}
