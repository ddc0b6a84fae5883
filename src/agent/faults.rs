//! What can be wrong with a ledger's contents, and how often it was.
//!
//! Must not know what a ledger is.

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A record that is not laid out as the specification says, and whatever comes after it: nothing says
    /// where the next one begins. Or a journal that names what it may not.
    Malformed,
    /// A record of a name that musterd keeps for itself, and which is none that it knows.
    Unknown,
    /// A declaration that breaks a rule for names, units or labels.
    Invalid,
    /// A declaration that differs from the first of its name, or from the buckets in use.
    Conflict,
    /// Not refused: what was kept of a name that its agent, which alone has it, now declares otherwise.
    Redeclared,
    /// A second record of one series in one ledger.
    Duplicate,
    /// A series over the limit, or records that are too many for a ledger.
    OverLimit,
    /// A label value that is too long, or has control characters.
    LabelValue,
    /// A series that the client found no room for.
    NoRoom,
}

/// Each, with the word for `musterd_ledger_faults_total{reason}`.
const WORDS: [(Fault, &str); 9] = [
    (Fault::Malformed, "malformed"),
    (Fault::Unknown, "unknown"),
    (Fault::Invalid, "invalid"),
    (Fault::Conflict, "conflict"),
    (Fault::Redeclared, "redeclared"),
    (Fault::Duplicate, "duplicate"),
    (Fault::OverLimit, "over_limit"),
    (Fault::LabelValue, "label_value"),
    (Fault::NoRoom, "no_room"),
];

impl Fault {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(fault, _)| *fault == self).map_or("", |(_, word)| word)
    }
}

/// How often there was what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults([u64; WORDS.len()]);

impl Faults {
    /// One more of a kind.
    pub fn note(&mut self, fault: Fault) {
        self.add(fault, 1);
    }

    /// Some more of a kind.
    pub fn add(&mut self, fault: Fault, count: u64) {
        if let Some(sum) = self.0.get_mut(fault as usize) {
            *sum = sum.saturating_add(count);
        }
    }

    /// How many of a kind.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(fault as usize).copied().unwrap_or(0)
    }

    /// All of them, by their words.
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        WORDS.iter().map(|(fault, word)| (*word, self.of(*fault)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_word_and_its_place() {
        let mut faults = Faults::default();
        for (place, (fault, word)) in WORDS.iter().enumerate() {
            assert_eq!((*fault as usize, fault.word()), (place, *word));
            faults.add(*fault, place as u64);
        }
        faults.note(Fault::Malformed);
        faults.add(Fault::NoRoom, u64::MAX);
        let counts: Vec<_> = faults.by_reason().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 1, 2, 3, 4, 5, 6, 7, u64::MAX]);
    }
}
