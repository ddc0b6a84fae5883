//! Whether anything has come to the machine: the kernel numbers its events of devices, drivers
//! and modules (`/sys/kernel/uevent_seqnum`, lib/kobject_uevent.c), so that one short
//! read tells whether it is worth looking again for what was not there.
//!
//! Must not know what is looked for.

use super::root::{KernelFile, Root};
use std::time::{Duration, Instant};

/// Looked for again after this time without any event: not all that comes is announced.
const LONGEST: Duration = Duration::from_secs(60);

/// The number of the last event.
pub struct Uevents {
    file: KernelFile,
    last: Option<u64>,
}

/// When something was not there.
#[derive(Clone, Copy, Debug)]
pub struct Absence {
    event: u64,
    since: Instant,
}

impl Uevents {
    /// Of the kernel whose sysfs it is. Fixtures have no events, and there nothing is held to be
    /// still absent.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        Self { file: root.sys("kernel/uevent_seqnum").single(), last: None }
    }

    /// Reads the number anew.
    pub fn update(&mut self, buffer: &mut Vec<u8>) {
        let text = self.file.read_if_there(buffer);
        self.last = text.and_then(|text| super::parse::integer(text.trim_ascii()));
    }

    /// Notes that something is not there. `None` where events are not known.
    #[must_use]
    pub fn absence(&self) -> Option<Absence> {
        self.last.map(|event| Absence { event, since: Instant::now() })
    }

    /// Whether what was not there can be expected not to be there yet.
    #[must_use]
    pub fn is_still(&self, absence: Absence) -> bool {
        self.last == Some(absence.event) && absence.since.elapsed() < LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_so_until_something_comes() {
        let top = std::env::temp_dir().join(format!("musterd-uevents-{}", std::process::id()));
        let mut uevents = Uevents { file: KernelFile::new(top.join("uevent_seqnum")), last: None };
        let mut buffer = Vec::new();
        uevents.update(&mut buffer);
        assert!(uevents.absence().is_none());
        std::fs::create_dir_all(&top).unwrap();
        std::fs::write(top.join("uevent_seqnum"), "822\n").unwrap();
        uevents.update(&mut buffer);
        let absence = uevents.absence().unwrap();
        assert!(uevents.is_still(absence));
        std::fs::write(top.join("uevent_seqnum"), "823\n").unwrap();
        uevents.update(&mut buffer);
        assert!(!uevents.is_still(absence));
        let Some(long_ago) = Instant::now().checked_sub(LONGEST) else { return };
        assert!(!uevents.is_still(Absence { event: 823, since: long_ago }));
        std::fs::remove_dir_all(&top).unwrap();
    }
}
