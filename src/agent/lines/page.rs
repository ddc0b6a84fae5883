//! What the daemon notes beside a ledger that it writes itself, so that the next daemon can go on with it:
//! whose it is, of which session and process, and what requests in its slots are called.
//!
//! None of it is a count. A request's name is written before its slot is taken, so that it is there
//! whenever the slot is.

use super::protocol::ID_LIMIT;
use crate::names::NAME_LIMIT;
use musterd_client::layout::SLOT_COUNT;
use musterd_client::memory::Memory;

/// Bytes of a page.
pub const PAGE_SIZE: usize = 8192;

/// Each text is a word with its length, and room for its bytes.
const LABEL: usize = 0;
const LABEL_ROOM: usize = 248;
const SESSION: usize = 256;
const PROCESS: usize = 384;
const PROCESS_ROOM: usize = 96;
const IDS: usize = 512;
const ID_SIZE: usize = 8 + ID_LIMIT;
const _: () =
    assert!(IDS + SLOT_COUNT * ID_SIZE <= PAGE_SIZE && SESSION + 8 + NAME_LIMIT <= PROCESS);

/// A page.
#[derive(Debug)]
pub struct Page(Memory);

impl Page {
    /// Over memory of [`PAGE_SIZE`] bytes.
    #[must_use]
    pub fn over(memory: Memory) -> Self {
        Self(memory)
    }

    /// Notes whose the ledger is.
    pub fn describe(&self, label: &str, session: &str, process: &str) {
        self.store(LABEL, LABEL_ROOM, label);
        self.store(SESSION, NAME_LIMIT, session);
        self.store(PROCESS, PROCESS_ROOM, process);
    }

    /// Whose it is, as the name of a memory file says it.
    #[must_use]
    pub fn label(&self) -> String {
        self.load(LABEL, LABEL_ROOM)
    }

    /// Its session; empty for none.
    #[must_use]
    pub fn session(&self) -> String {
        self.load(SESSION, NAME_LIMIT)
    }

    /// What tells the process that reports from all others; empty if it cannot be seen.
    #[must_use]
    pub fn process(&self) -> String {
        self.load(PROCESS, PROCESS_ROOM)
    }

    /// Notes what a request is called.
    pub fn set_id(&self, slot: u8, id: &str) {
        self.store(id_offset(slot), ID_LIMIT, id);
    }

    /// What the request in a slot is called.
    #[must_use]
    pub fn id(&self, slot: u8) -> String {
        self.load(id_offset(slot), ID_LIMIT)
    }

    /// A text that has no room is cut short; none of these has more than its room.
    fn store(&self, offset: usize, room: usize, text: &str) {
        let bytes = text.as_bytes().get(..room).unwrap_or(text.as_bytes());
        self.0.store(offset, bytes.len() as u64);
        for (index, part) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            self.0.store(offset + 8 + 8 * index, u64::from_le_bytes(word));
        }
    }

    fn load(&self, offset: usize, room: usize) -> String {
        let length = usize::try_from(self.0.load(offset)).unwrap_or(0).min(room);
        let words = (0..length.div_ceil(8)).map(|index| self.0.load(offset + 8 + 8 * index));
        let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        bytes.truncate(length);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn id_offset(slot: u8) -> usize {
    IDS + ID_SIZE * usize::from(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_apart() {
        let page = Page::over(Memory::private(PAGE_SIZE));
        let (label, session) = ("l".repeat(LABEL_ROOM), "s".repeat(NAME_LIMIT));
        page.describe(&label, &session, "boot/12");
        let ids: Vec<_> = (0..128).map(|slot: u8| format!("{slot:0>40}")).collect();
        ids.iter().zip(0..).for_each(|(id, slot)| page.set_id(slot, id));
        page.set_id(7, "a");
        assert_eq!((page.label(), page.session()), (label, session));
        assert_eq!((page.process(), page.id(7)), ("boot/12".to_owned(), "a".to_owned()));
        assert_eq!((page.id(6), page.id(127)), (ids[6].clone(), ids[127].clone()));
        page.0.store(LABEL, u64::MAX);
        assert_eq!(page.label().len(), LABEL_ROOM);
    }
}
