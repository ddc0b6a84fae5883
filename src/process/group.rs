//! The groups of processes: what the rules say, and the accounts.
//!
//! Must not know how anything is found out about a process.

use super::account::Accounts;
use super::name::Asked;
use super::rule::Rule;

/// Where processes go when there are as many groups as there may be.
pub(super) const OVERFLOW: &str = "other";

/// The groups: rules, accounts, and how many processes found no place of their own.
#[derive(Debug)]
pub(super) struct Groups {
    rules: Vec<Rule>,
    limit: usize,
    pub(super) accounts: Accounts,
    /// How often a process was put into the group `other` for want of a place.
    pub(super) overflowed: u64,
}

impl Groups {
    pub(super) fn new(rules: Vec<Rule>, limit: usize) -> Self {
        Self { rules, limit, accounts: Accounts::default(), overflowed: 0 }
    }

    /// Whether there is anything to ask a process.
    pub(super) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The group that a process is in by the first rule that takes it.
    pub(super) fn by_rule(&mut self, process: &dyn Asked) -> Option<usize> {
        let name = self.rules.iter().find_map(|rule| rule.name_of(process))?;
        self.by_name(&name)
    }

    /// The group of this name, opened if there is a place for it; else `other`.
    pub(super) fn by_name(&mut self, name: &str) -> Option<usize> {
        let found = self.accounts.find_or_open(name, self.limit);
        found.or_else(|| {
            self.overflowed += 1;
            self.accounts.find_or_open(OVERFLOW, usize::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::Example;
    use super::*;

    fn names(groups: &Groups) -> Vec<&str> {
        groups.accounts.list().iter().map(|account| account.name.as_str()).collect()
    }

    #[test]
    fn the_first_rule_that_is_met_names_the_group() {
        let rules = ["name = 'a'\ncomm = ['x']", "name = 'b'\ncomm = ['x', 'y']"];
        let rules = rules.map(|text| toml::from_str(text).unwrap()).to_vec();
        let mut groups = Groups::new(rules, 10);
        let mut group = |comm| groups.by_rule(&Example { comm, arguments: "" });
        assert_eq!(
            [group("y"), group("x"), group("y"), group("z")],
            [Some(0), Some(1), Some(0), None]
        );
        assert_eq!(names(&groups), ["b", "a"]);
    }

    #[test]
    fn what_finds_no_place_goes_to_other_and_is_counted() {
        let mut groups = Groups::new(Vec::new(), 2);
        for name in ["a", "b", "c", "d", "a"] {
            assert!(groups.by_name(name).is_some());
        }
        assert_eq!(names(&groups), ["a", "b", "other"]);
        assert_eq!(groups.overflowed, 2);
    }
}
