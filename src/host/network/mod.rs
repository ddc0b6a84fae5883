//! Collectors of network devices and of the kernel's network stack.

mod addresses;
mod net;
mod netdev;
mod netstat;
mod sockstat;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] = &[netdev::ENTRY, netstat::ENTRY, sockstat::ENTRY];
