//! Whose a ledger is, written where nobody but its maker writes: in the name of the memory file
//! (memfd_create(2)), which stays with it in systemd's file descriptor store.
//!
//! Must not know what is in a ledger, nor how the store is spoken to.

use super::peer::Peer;
use crate::names::is_name;
use rustix::fs::readlink;
use std::os::fd::{AsFd, AsRawFd};

const PREFIX: &str = "musterd-ledger";

/// Whose a ledger is. No two ledgers have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Made up by the daemon that made the ledger.
    nonce: String,
    /// The user who reports.
    pub uid: u32,
    /// The process that reports, if it could be seen.
    pub pid: Option<u32>,
    /// The agent's name.
    pub agent: String,
}

impl Label {
    /// For a ledger that is about to be made.
    #[must_use]
    pub fn new(agent: &str, peer: &Peer) -> Self {
        let mut bytes = [0; 8];
        // Cannot fail for 8 bytes.
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        let nonce = format!("{:016x}", u64::from_le_bytes(bytes));
        Self { nonce, uid: peer.uid, pid: peer.pid, agent: agent.to_owned() }
    }

    /// That of a memory file, if one of us has made it.
    #[must_use]
    pub fn of(file: &impl AsFd) -> Option<Self> {
        let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let name = readlink(link, Vec::new()).ok()?.into_string().ok()?;
        Self::parse(name.strip_prefix("/memfd:")?.strip_suffix(" (deleted)")?)
    }

    /// Whether it names this agent and this peer.
    #[must_use]
    pub fn is_of(&self, agent: &str, peer: &Peer) -> bool {
        self.agent == agent && self.uid == peer.uid && self.pid == peer.pid
    }

    /// From the name for a memory file.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.splitn(5, '.');
        let mut next = || parts.next();
        if next()? != PREFIX {
            return None;
        }
        let nonce = next()?.to_owned();
        let uid = next()?.parse().ok()?;
        let pid = next()?.parse().ok().filter(|pid| *pid != 0);
        let agent = next()?.to_owned();
        (is_nonce(&nonce) && is_name(&agent)).then_some(Self { nonce, uid, pid, agent })
    }

    /// The name for the memory file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let Self { nonce, uid, pid, agent } = self;
        format!("{PREFIX}.{nonce}.{uid}.{}.{agent}", pid.unwrap_or(0))
    }

    /// What the ledger is called in the store, and among the ledgers whose counts are kept. Short:
    /// systemd hands over all names in one variable, which has 128 KiB.
    #[must_use]
    pub fn ledger_name(&self) -> String {
        format!("ledger-{}", self.nonce)
    }

    /// What its process is called in the store.
    #[must_use]
    pub fn process_name(&self) -> String {
        process_name(&self.ledger_name())
    }
}

/// Whether it is what some ledger is called in the store.
#[must_use]
pub fn is_ledger_name(name: &str) -> bool {
    name.strip_prefix("ledger-").is_some_and(is_nonce)
}

fn is_nonce(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the process of a ledger is called in the store.
#[must_use]
pub fn process_name(ledger_name: &str) -> String {
    ledger_name.replacen("ledger-", "process-", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    fn peer() -> Peer {
        Peer { uid: 7, gid: 7, pid: Some(42), pidfd: None, began: None }
    }

    #[test]
    fn a_file_carries_its_label() {
        let label = Label::new("scribe.v-2_a", &peer());
        let file = memfd_create(label.file_name(), MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(Label::of(&file), Some(label.clone()));
        let unseen = Label { pid: None, ..label };
        assert_eq!(Label::parse(&unseen.file_name()), Some(unseen));
        assert!(Label::of(&std::io::stdin()).is_none());
    }

    #[test]
    fn names_fit_what_the_kernel_and_systemd_take() {
        let agent = "a".repeat(crate::names::NAME_LIMIT);
        let label = Label { uid: u32::MAX, pid: Some(u32::MAX), ..Label::new(&agent, &peer()) };
        assert!(label.file_name().len() <= 249);
        assert_eq!(label.process_name().len(), 24);
        assert_ne!(Label::new("a", &peer()), Label::new("a", &peer()));
    }

    #[test]
    fn other_names_are_no_labels() {
        for name in [
            "",
            "musterd-ledger",
            "musterd-ledger.0123456789abcdef.1.2",
            "musterd-ledger.0123456789abcdef.1.2.",
            "musterd-ledger.0123456789abcdeg.1.2.a",
            "musterd-ledger.0123456789abcdef.-1.2.a",
            "musterd-ledger.0123456789abcdef.1.2.a b",
            "other.0123456789abcdef.1.2.a",
        ] {
            assert_eq!(Label::parse(name), None, "{name}");
        }
    }
}
