//! Collectors of block devices, arrays of them, and file systems, local and over the network.

mod diskstats;
mod filesystem;
mod mounts;
mod nvme;
pub(super) mod prober;
mod tapestats;
mod udev;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] =
    &[diskstats::ENTRY, filesystem::ENTRY, nvme::ENTRY, tapestats::ENTRY];
