//! Which group a process belongs to: the configured rules in order, else its command name.
//!
//! Pure. Must not know how a command line is read, only when it is needed.

use super::account::Accounts;
use serde::Deserialize;
use std::borrow::Cow;
use std::cell::LazyCell;

/// Where processes go when there are as many groups as there may be.
const OVERFLOW: &str = "other";

/// A regular expression of the configuration, in the syntax of the crate `regex-lite`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(regex_lite::Regex);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match regex_lite::Regex::new(&text) {
            Ok(regex) => Ok(Self(regex)),
            Err(error) => Err(format!("{text:?} is not a regular expression: {error}")),
        }
    }
}

/// A rule that gathers processes under a name. A process must meet every condition that is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Keys")]
pub struct Rule(Keys);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    name: String,
    #[serde(default)]
    comm: Vec<String>,
    #[serde(default)]
    exe: Vec<String>,
    cmdline: Option<Pattern>,
}

impl TryFrom<Keys> for Rule {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        if keys.name.is_empty() {
            return Err("name is empty: a group needs one".to_owned());
        }
        if keys.comm.is_empty() && keys.exe.is_empty() && keys.cmdline.is_none() {
            return Err(format!(
                "group {:?} has no condition: comm, exe or cmdline is wanted",
                keys.name
            ));
        }
        Ok(Self(keys))
    }
}

impl Rule {
    fn takes<F: FnOnce() -> String>(&self, comm: &str, arguments: &LazyCell<String, F>) -> bool {
        let Keys { comm: names, exe, cmdline, .. } = &self.0;
        if !names.is_empty() && !names.iter().any(|name| name == comm) {
            return false;
        }
        if exe.is_empty() && cmdline.is_none() {
            return true;
        }
        let program = arguments.split('\0').next().unwrap_or_default();
        let base = program.rsplit('/').next().unwrap_or_default();
        let is_program = |exe: &String| exe == if exe.contains('/') { program } else { base };
        (exe.is_empty() || exe.iter().any(is_program))
            && cmdline.as_ref().is_none_or(|pattern| {
                pattern.0.is_match(arguments.trim_end_matches('\0').replace('\0', " ").as_str())
            })
    }
}

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

    /// The group of a process by its command name and, where a rule asks, its arguments as
    /// `/proc/<pid>/cmdline` has them.
    pub(super) fn of(&mut self, comm: &[u8], arguments: impl FnOnce() -> Vec<u8>) -> Option<usize> {
        let comm = String::from_utf8_lossy(comm);
        let arguments = LazyCell::new(|| String::from_utf8_lossy(&arguments()).into_owned());
        let rule = self.rules.iter().find(|rule| rule.takes(&comm, &arguments));
        let name = rule.map_or(comm, |rule| Cow::Borrowed(rule.0.name.as_str()));
        let found = self.accounts.find_or_open(&name, self.limit);
        found.or_else(|| {
            self.overflowed += 1;
            self.accounts.find_or_open(OVERFLOW, usize::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Document {
        groups: Vec<Rule>,
    }

    fn rules(text: &str) -> Result<Vec<Rule>, String> {
        toml::from_str::<Document>(text).map(|it| it.groups).map_err(|error| error.to_string())
    }

    fn named(groups: &mut Groups, comm: &str, arguments: &[u8]) -> String {
        let index = groups.of(comm.as_bytes(), || arguments.to_vec()).unwrap();
        groups.accounts.list()[index].name.clone()
    }

    #[test]
    fn the_first_rule_that_is_met_in_full_names_the_group() {
        let rules = rules(
            "[[groups]]\nname = 'etl'\ncomm = ['python3']\ncmdline = 'etl\\.py --day'\n\
             [[groups]]\nname = 'scripts'\nexe = ['python3', '/bin/sh']\n\
             [[groups]]\nname = 'never'\ncomm = ['python3', 'bash']\nexe = ['perl']",
        );
        let mut groups = Groups::new(rules.unwrap(), 10);
        let python = b"/usr/bin/python3\0etl.py\0--day\0";
        assert_eq!(named(&mut groups, "python3", python), "etl");
        assert_eq!(named(&mut groups, "python3", b"/usr/bin/python3\0x.py\0"), "scripts");
        assert_eq!(named(&mut groups, "sh", b"/bin/sh\0-c\0"), "scripts");
        assert_eq!(named(&mut groups, "sh", b"/usr/bin/sh\0-c\0"), "sh");
        assert_eq!(named(&mut groups, "bash", b""), "bash");
        assert_eq!(named(&mut groups, "caf\u{e9}", b"\xff"), "caf\u{e9}");
    }

    #[test]
    fn the_command_line_is_read_only_for_a_rule_that_asks() {
        let rules = rules("[[groups]]\nname = 'a'\ncomm = ['x']\ncmdline = '.'");
        let mut groups = Groups::new(rules.unwrap(), 10);
        assert!(groups.of(b"y", || panic!("not needed")).is_some());
    }

    #[test]
    fn what_finds_no_place_goes_to_other_and_is_counted() {
        let mut groups = Groups::new(Vec::new(), 2);
        for name in ["a", "b", "c", "d", "a"] {
            assert!(groups.of(name.as_bytes(), Vec::new).is_some());
        }
        let names: Vec<_> =
            groups.accounts.list().iter().map(|account| account.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "other"]);
        assert_eq!(groups.overflowed, 2);
    }

    #[test]
    fn wrong_rules_are_refused_with_a_reason() {
        let refused = |text| rules(text).unwrap_err();
        assert!(refused("[[groups]]\nname = 'x'").contains("has no condition"));
        assert!(refused("[[groups]]\nname = ''\ncomm = ['x']").contains("name is empty"));
        assert!(refused("[[groups]]\nname = 'x'\ncmdline = '('").contains("regular expression"));
        assert!(refused("[[groups]]\nname = 'x'\ncom = ['x']").contains("unknown field"));
    }
}
