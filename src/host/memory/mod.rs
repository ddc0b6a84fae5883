//! Collectors of what memory is used for, and of how the kernel manages it.

mod buddyinfo;
mod ksmd;
pub(super) mod meminfo;
mod meminfo_numa;
mod slabinfo;
mod vmstat;
mod zoneinfo;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] = &[
    buddyinfo::ENTRY,
    ksmd::ENTRY,
    meminfo::ENTRY,
    meminfo_numa::ENTRY,
    slabinfo::ENTRY,
    vmstat::ENTRY,
    zoneinfo::ENTRY,
];
