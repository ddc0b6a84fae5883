//! For `mdadm`: what `/proc/mdstat` says of software RAID arrays (md(4), drivers/md/md.c in the
//! kernel's sources).
//!
//! ```text
//! md6 : active raid1 sdb2[2](F) sdc[1](S) sda2[0]
//!       195310144 blocks [2/1] [U_]
//!       [=>...................]  recovery =  8.5% (16775552/195310144) finish=17.0min
//! ```
//!
//! Must not know what is shown of them.

use crate::host::parse::{integer, words};

/// What an array is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Active,
    Inactive,
    Recovering,
    Resync,
    Check,
    /// It takes another shape: a level, or number of disks.
    Reshape,
    /// It has lost more disks than it can do without.
    Broken,
}

/// An array, as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Array {
    pub(super) state: State,
    /// Disks that carry data.
    pub(super) active: u64,
    /// Disks that the array is to have.
    pub(super) required: u64,
    pub(super) failed: u64,
    pub(super) spare: u64,
    /// Blocks of 1 KiB.
    pub(super) blocks: u64,
    pub(super) synced: u64,
}

/// The arrays with their names, in the order of the file. What stands below an array's first line is
/// indented.
pub(super) fn arrays(text: &[u8]) -> impl Iterator<Item = (&[u8], Array)> {
    let mut lines = text.split(|byte| *byte == b'\n').peekable();
    std::iter::from_fn(move || {
        loop {
            let Some((name, mut array)) = first_line(lines.next()?) else { continue };
            let disks = array.active + array.failed + array.spare;
            while let Some(line) = lines.next_if(|line| line.first() == Some(&b' ')) {
                array.take(line, disks);
            }
            return Some((name, array));
        }
    })
}

/// `NAME : STATE [(read-only)] [LEVEL] DISK[NUMBER](F)…`: the disks without a mark are active, as far
/// as this line knows.
fn first_line(line: &[u8]) -> Option<(&[u8], Array)> {
    let mut words = words(line);
    let (name, colon, state) = (words.next()?, words.next()?, words.next()?);
    let state = match state {
        _ if colon != b":" => return None,
        b"active" => State::Active,
        b"inactive" => State::Inactive,
        b"broken" => State::Broken,
        _ => return None,
    };
    let mut array = Array { state, ..Array::default() };
    for disk in words.filter(|word| word.contains(&b'[')) {
        let marks = |mark: &[u8]| disk.windows(mark.len()).any(|part| part == mark);
        let kind = match (marks(b"(F)"), marks(b"(S)")) {
            (true, _) => &mut array.failed,
            (_, true) => &mut array.spare,
            _ => &mut array.active,
        };
        *kind = kind.saturating_add(1);
    }
    Some((name, array))
}

impl Array {
    /// Takes what another line says: how large the array is, or how far it is.
    fn take(&mut self, line: &[u8], disks: u64) {
        let mut words = words(line).peekable();
        let first = words.next().unwrap_or_default();
        if let Some(blocks) = integer(first).filter(|_| words.peek() == Some(&&b"blocks"[..])) {
            (self.blocks, self.synced) = (blocks, blocks);
            let is_active = self.state != State::Inactive;
            // Levels without redundancy have no `[2/1]`: all of their disks must be there, and count as active, as
            // in node_exporter, until the array is gone.
            let known = words.filter_map(|word| pair(word, b'[', b']')).last();
            let (required, active) = known.unwrap_or((disks, disks));
            (self.required, self.active) = if is_active { (required, active) } else { (0, 0) };
        } else if let Some((state, _)) =
            SYNC.iter().map(|(word, state)| (*state, *word)).find(|(_, word)| has_sync(line, word))
        {
            self.state = state;
            let done = crate::host::parse::words(line).find_map(|word| pair(word, b'(', b')'));
            // Neither DELAYED nor PENDING has begun.
            self.synced = done.map_or(0, |(done, _)| done);
        }
    }
}

/// What a line says that tells how far an array is, and the state it means.
const SYNC: [(&[u8], State); 4] = [
    (b"recovery", State::Recovering),
    (b"resync", State::Resync),
    (b"check", State::Check),
    (b"reshape", State::Reshape),
];

/// Whether the line has `WORD=` or `WORD =`.
fn has_sync(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len()).position(|part| part == word).is_some_and(|start| {
        let rest = line.get(start + word.len()..).unwrap_or_default();
        rest.trim_ascii_start().first() == Some(&b'=')
    })
}

/// `[2/1]`, `(5/10)`.
fn pair(word: &[u8], open: u8, close: u8) -> Option<(u64, u64)> {
    let inner = word.strip_prefix(&[open])?.strip_suffix(&[close])?;
    let slash = inner.iter().position(|byte| *byte == b'/')?;
    Some((integer(inner.get(..slash)?)?, integer(inner.get(slash + 1..)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Array {
        let mut arrays = arrays(text.as_bytes());
        let (name, array) = arrays.next().unwrap();
        assert_eq!((name, arrays.next()), (&b"md7"[..], None));
        array
    }

    #[test]
    fn an_array_that_recovers() {
        let array = only(
            "Personalities : [raid1]\n\
             md7 : active raid1 sdb2[2](F) sdc[1](S) sda2[0]\n      \
             1000 blocks super 1.2 [2/1] [U_]\n      \
             [=>...]  recovery =  8.5% (85/1000) finish=17.0min speed=1K/sec\n      \
             bitmap: 0/30 pages [0KB], 65536KB chunk\n\nunused devices: <none>\n",
        );
        let wanted = Array {
            state: State::Recovering,
            active: 1,
            required: 2,
            failed: 1,
            spare: 1,
            blocks: 1000,
            synced: 85,
        };
        assert_eq!(array, wanted);
    }

    #[test]
    fn other_states() {
        let raid0 =
            only("md7 : active (read-only) raid0 sdb[2] sdd[1]\n   322560 blocks 512k chunks\n");
        assert_eq!((raid0.active, raid0.required, raid0.synced), (2, 2, 322_560));
        let failed = only("md7 : active raid0 sda1[0](F) sdb1[1]\n   9 blocks 512k chunks\n");
        assert_eq!((failed.active, failed.required, failed.failed), (2, 2, 1));
        let broken = only("md7 : broken raid0 sda1[0] sdb1[1]\n   9 blocks 512k chunks\n");
        assert_eq!((broken.state, broken.required, broken.blocks), (State::Broken, 2, 9));
        let waits =
            only("md7 : active raid1 sdb[2] sdd[1]\n   99 blocks [2/2] [UU]\n  resync=DELAYED\n");
        assert_eq!((waits.state, waits.blocks, waits.synced), (State::Resync, 99, 0));
        let inactive = only("md7 : inactive sdb[2](S) sda[0]\n   79 blocks super external:imsm\n");
        assert_eq!((inactive.state, inactive.active, inactive.required), (State::Inactive, 0, 0));
        assert_eq!(inactive.spare, 1);
        let grows =
            only("md7 : active raid5 sda[0]\n 9 blocks [3/3] [UUU]\n [>.] reshape = 1% (4/9)\n");
        assert_eq!((grows.state, grows.synced), (State::Reshape, 4));
    }

    #[test]
    fn rubbish_is_no_array() {
        for text in ["", "\n\n", "md7", "md7 :", "md7 : what", "md7 active raid1", " md7 x active"]
        {
            assert_eq!(arrays(text.as_bytes()).count(), 0, "{text}");
        }
        only("md7 : active\n blocks\n [/] (x/y) [2/\n 18446744073709551616 blocks [9/]\n resync\n");
    }
}
