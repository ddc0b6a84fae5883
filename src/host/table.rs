//! What a collector keeps per device or field from pass to pass (labels, decisions, values), found
//! again by name.
//!
//! Must not know what is kept.

/// Rows in the order of the file they come from. Since that order hardly ever changes, the next
/// row is nearly always the one that the next line is about, and finding it is one comparison.
#[derive(Debug)]
pub(super) struct Table<T> {
    rows: Vec<(Box<[u8]>, T)>,
    /// Rows before this one have been met in the pass that is under way.
    met: usize,
    changed: bool,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), met: 0, changed: false }
    }
}

impl<T> Table<T> {
    /// Begins a pass.
    pub(super) fn begin(&mut self) {
        self.met = 0;
        self.changed = false;
    }

    /// The row of that name, made if it is new. `None` if the pass has met the name before: a
    /// name that stands twice would be a series exposed twice.
    pub(super) fn meet(&mut self, name: &[u8], make: impl FnOnce() -> T) -> Option<&mut T> {
        let here = self.met;
        if self.rows.get(here).is_none_or(|(known, _)| **known != *name) {
            let (before, after) = self.rows.split_at_mut_checked(here)?;
            match after.iter().position(|(known, _)| **known == *name) {
                Some(distance) => after.get_mut(..=distance)?.rotate_right(1),
                None if before.iter().any(|(known, _)| **known == *name) => return None,
                None => {
                    self.rows.insert(here, (name.into(), make()));
                    self.changed = true;
                }
            }
        }
        self.met += 1;
        self.rows.get_mut(here).map(|(_, row)| row)
    }

    /// Ends a pass: forgets the rows it has not met. Says whether rows have come or gone.
    pub(super) fn end(&mut self) -> bool {
        self.changed |= self.rows.len() != self.met;
        self.rows.truncate(self.met);
        self.changed
    }

    /// The rows, in the order in which the last pass met them.
    pub(super) fn rows(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().map(|(_, row)| row)
    }

    /// As [`Table::rows`], to be changed.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.rows.iter_mut().map(|(_, row)| row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(table: &mut Table<u32>, names: &[&str], made: &mut u32) -> (Vec<u32>, bool) {
        table.begin();
        for name in names {
            table.meet(name.as_bytes(), || {
                *made += 1;
                *made
            });
        }
        let changed = table.end();
        (table.rows().copied().collect(), changed)
    }

    #[test]
    fn rows_are_found_again_in_any_order() {
        let (mut table, mut made) = (Table::default(), 0);
        assert_eq!(pass(&mut table, &["a", "b", "c"], &mut made), (vec![1, 2, 3], true));
        assert_eq!(pass(&mut table, &["a", "b", "c"], &mut made), (vec![1, 2, 3], false));
        assert_eq!(pass(&mut table, &["c", "a", "b"], &mut made), (vec![3, 1, 2], false));
        assert_eq!(pass(&mut table, &["c", "b"], &mut made), (vec![3, 2], true));
        assert_eq!(pass(&mut table, &["c", "a", "b"], &mut made), (vec![3, 4, 2], true));
        assert_eq!(pass(&mut table, &[], &mut made), (vec![], true));
    }

    #[test]
    fn a_name_counts_once_a_pass() {
        let (mut table, mut made) = (Table::default(), 0);
        for _ in 0..2 {
            assert_eq!(pass(&mut table, &["a", "a", "b", "a"], &mut made).0, [1, 2]);
        }
    }
}
