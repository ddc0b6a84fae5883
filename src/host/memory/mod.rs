//! Collectors of what memory is used for, and of how the kernel manages it.

pub(super) mod meminfo;
mod vmstat;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] = &[meminfo::ENTRY, vmstat::ENTRY];
