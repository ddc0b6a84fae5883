//! Collectors of the running kernel, the operating system and its services.

mod entropy;
mod filefd;
mod kernel_hung;
mod loadavg;
mod os;
mod pressure;
mod selinux;
mod stat;
mod time;
mod uname;
mod zone;
mod zone_rule;

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] = &[
    entropy::ENTRY,
    filefd::ENTRY,
    kernel_hung::ENTRY,
    loadavg::ENTRY,
    os::ENTRY,
    pressure::ENTRY,
    selinux::ENTRY,
    stat::ENTRY,
    time::ENTRY,
    uname::ENTRY,
];
