//! Collectors of the running kernel, the operating system and its services.

mod filefd;
mod loadavg;
mod pressure;
mod stat;
mod time;
mod uname;
mod zone;
mod zone_rule;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] =
    &[filefd::ENTRY, loadavg::ENTRY, pressure::ENTRY, stat::ENTRY, time::ENTRY, uname::ENTRY];
