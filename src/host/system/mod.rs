//! Collectors of the running kernel, the operating system and its services.

mod cgroups;
mod entropy;
mod filefd;
mod kernel_hung;
mod loadavg;
mod logind;
mod os;
mod peaks;
mod pressure;
mod processes;
mod selinux;
mod stat;
mod sysctl;
mod systemd;
mod textfile;
mod time;
mod timex;
mod uname;
mod zone;
mod zone_rule;

use super::Entry;

/// The collectors of this folder. Whatever files of others name must not take the place of what all
/// the others have: so that comes last.
pub(super) const COLLECTORS: &[Entry] = &[
    cgroups::ENTRY,
    entropy::ENTRY,
    filefd::ENTRY,
    kernel_hung::ENTRY,
    loadavg::ENTRY,
    logind::ENTRY,
    os::ENTRY,
    peaks::ENTRY,
    pressure::ENTRY,
    processes::ENTRY,
    selinux::ENTRY,
    stat::ENTRY,
    sysctl::ENTRY,
    systemd::ENTRY,
    time::ENTRY,
    timex::ENTRY,
    uname::ENTRY,
    textfile::ENTRY,
];
