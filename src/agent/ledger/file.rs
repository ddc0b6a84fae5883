//! The file that a ledger lies in: made and sealed, or taken on if its header is that of a ledger.
//!
//! Must not know what is counted.

use super::Ledger;
use crate::agent::faults::Faults;
use musterd_client::layout::{HEADER_SIZE, MAGIC, RECORDS, SLOT_COUNT, SLOTS, VERSION, header};
use musterd_client::memory::Memory;
use musterd_client::write_header;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use std::collections::HashSet;
use std::hash::RandomState;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The kernel's own name for a memory file: no two that exist at the same time share it, whatever
/// is written in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(u64, u64);

impl Ledger {
    /// Makes an empty ledger, sealed, and the file to hand over, which has `name` in the kernel.
    ///
    /// # Errors
    /// What the kernel said, when there is no memory or no descriptor left.
    pub fn create(name: &str, size: usize, max_records: usize) -> io::Result<(Self, OwnedFd)> {
        let size = size.next_multiple_of(4096).max(2 * 4096);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL)
            // Kernels before 6.3 know no NOEXEC_SEAL.
            .or_else(|_| memfd_create(name, flags))?;
        ftruncate(&file, size as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let memory = Memory::map(&file, size)?;
        write_header(&memory, random_identity());
        Ok((Self::over(memory, &file, max_records)?, file))
    }

    /// Takes on a ledger that an agent has kept while there was no daemon.
    ///
    /// # Errors
    /// `InvalidData` when it is not one: not sealed, of a wrong size, with a wrong header, or
    /// retired before.
    pub fn adopt(file: impl AsFd, limit: usize, max_records: usize) -> io::Result<Self> {
        let ledger = Self::restore(file, limit, max_records)?;
        if ledger.is_retired() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has been retired"));
        }
        Ok(ledger)
    }

    /// Takes on a ledger that was kept for the daemon. One that the daemon before has retired is
    /// taken on, too: whether that daemon came to write down its counts, the caller knows.
    ///
    /// # Errors
    /// `InvalidData` when it is not one: not sealed, of a wrong size, or with a wrong header.
    pub fn restore(file: impl AsFd, limit: usize, max_records: usize) -> io::Result<Self> {
        let memory = Memory::map(&file, limit.next_multiple_of(4096).max(2 * 4096))?;
        Self::on(memory, &file, max_records)
    }

    /// As [`Ledger::restore`], of a file that has been mapped already.
    ///
    /// # Errors
    /// `InvalidData` when its header is not that of a ledger.
    pub fn on(memory: Memory, file: &impl AsFd, max_records: usize) -> io::Result<Self> {
        let refuse = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        let pair = |low: usize, high: usize| low as u64 | (high as u64) << 32;
        let expected = [
            (header::MAGIC, u64::from_le_bytes(MAGIC)),
            (header::VERSION_AND_SIZE, pair(VERSION as usize, HEADER_SIZE)),
            (header::SIZE, memory.size() as u64),
            (header::SLOTS, pair(SLOTS, SLOT_COUNT)),
            (header::RECORDS, pair(RECORDS, 0)),
        ];
        if expected.iter().any(|(offset, word)| memory.load(*offset) != *word) {
            return refuse("its header is not that of a ledger");
        }
        Self::over(memory, file, max_records)
    }

    fn over(memory: Memory, file: &impl AsFd, max_records: usize) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self {
            memory,
            file: FileId(stat.st_dev, stat.st_ino),
            parsed: RECORDS,
            values: Vec::new(),
            seen: HashSet::new(),
            hasher: RandomState::new(),
            numbers: Vec::new(),
            histograms: Vec::new(),
            max_records,
            is_given_up: false,
            faults: Faults::default(),
        })
    }

    /// The kernel's name for the file behind it.
    #[must_use]
    pub fn file(&self) -> FileId {
        self.file
    }

    /// The kernel's name for any file that claims to be a ledger.
    ///
    /// # Errors
    /// What fstat(2) said.
    pub fn file_of(file: impl AsFd) -> io::Result<FileId> {
        let stat = fstat(file)?;
        Ok(FileId(stat.st_dev, stat.st_ino))
    }
}

/// Two words that no other ledger has.
pub(in crate::agent) fn random_identity() -> [u64; 2] {
    let mut bytes = [0; 16];
    // Cannot fail for 16 bytes; were it to, the kernel's name of the file still tells ledgers apart.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let (low, high) = bytes.split_at(8);
    [low, high].map(|half| half.try_into().map_or(0, u64::from_le_bytes))
}
