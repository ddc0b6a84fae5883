//! Who may report: the rules of `[agents] allow`, and what they are held against.
//!
//! Must not know how any of it is found out.

use super::protocol::Refusal;
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;

/// A rule: it admits a peer of whom all its conditions hold. It has at least one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Conditions")]
pub struct Rule(Conditions);

/// As the configuration has them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Conditions {
    user: Option<Account>,
    group: Option<Account>,
    executable: Option<PathBuf>,
    unit: Option<String>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "wanted a name or a number")]
enum Account {
    Number(u32),
    Name(String),
}

impl TryFrom<Conditions> for Rule {
    type Error = String;

    fn try_from(conditions: Conditions) -> Result<Self, String> {
        if conditions == Conditions::default() {
            return Err(
                "a rule without a condition would admit everybody; wanted at least one of \
                 user, group, executable and unit"
                    .to_owned(),
            );
        }
        if conditions.executable.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err("executable: wanted a path that begins with \"/\"".to_owned());
        }
        Ok(Self(conditions))
    }
}

/// A peer, as rules see it. What could not be found out says why, and no condition on it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Its user, by number.
    pub uid: u32,
    /// The user's names.
    pub user_names: Vec<String>,
    /// All its groups, by number.
    pub gids: Vec<u32>,
    /// The groups' names.
    pub group_names: Vec<String>,
    /// The program that it runs.
    pub executable: Result<PathBuf, String>,
    /// The systemd unit that it belongs to.
    pub unit: Result<String, String>,
}

/// Holds a peer against all rules, any of which admits it. Without rules all are admitted.
///
/// # Errors
/// That none does, with what is known of the peer.
pub fn check(rules: &[Rule], identity: &Identity) -> Result<(), Refusal> {
    if rules.is_empty() || rules.iter().any(|Rule(conditions)| conditions.hold(identity)) {
        return Ok(());
    }
    let text = format!("no rule of [agents] allow admits {identity}");
    Err(Refusal { reason: "not_allowed", text, retry: false })
}

impl Conditions {
    fn hold(&self, peer: &Identity) -> bool {
        let user = self.user.as_ref();
        let group = self.group.as_ref();
        user.is_none_or(|user| user.is_among(&[peer.uid], &peer.user_names))
            && group.is_none_or(|group| group.is_among(&peer.gids, &peer.group_names))
            && self.executable.as_ref().is_none_or(|path| peer.executable.as_ref() == Ok(path))
            && self.unit.as_ref().is_none_or(|unit| peer.unit.as_ref() == Ok(unit))
    }
}

impl Account {
    fn is_among(&self, numbers: &[u32], names: &[String]) -> bool {
        match self {
            Self::Number(number) => numbers.contains(number),
            Self::Name(name) => names.contains(name),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}, groups {:?}", self.uid, self.gids)?;
        match &self.executable {
            Ok(path) => write!(f, ", executable {}", path.display())?,
            Err(error) => write!(f, ", executable unknown ({error})")?,
        }
        match &self.unit {
            Ok(unit) => write!(f, ", unit {unit}"),
            Err(error) => write!(f, ", unit unknown ({error})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<Vec<Rule>, String> {
        #[derive(Deserialize)]
        struct Section {
            allow: Vec<Rule>,
        }
        let section = toml::from_str::<Section>(&format!("allow = [{text}]"));
        section.map(|section| section.allow).map_err(|error| error.to_string())
    }

    fn ann() -> Identity {
        Identity {
            uid: 7,
            user_names: vec!["ann".into()],
            gids: vec![70, 71],
            group_names: vec!["staff".into()],
            executable: Ok("/usr/bin/python3.13".into()),
            unit: Ok("billing.service".into()),
        }
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold_and_any_rule_admits() {
        let admits = |text: &str| check(&rules(text).unwrap(), &ann()).is_ok();
        for text in [
            "",
            "{user = 7}",
            "{user = 'ann'}",
            "{group = 71}",
            "{group = 'staff'}",
            "{unit = 'billing.service', executable = '/usr/bin/python3.13'}",
            "{user = 'bob'}, {user = 'ann', unit = 'billing.service'}",
        ] {
            assert!(admits(text), "{text}");
        }
        for text in [
            "{user = 70}",
            "{user = 'bob'}",
            "{group = 7}",
            "{unit = 'billing'}",
            "{executable = '/usr/bin/python3'}",
            "{user = 'ann', group = 'wheel'}",
            "{user = 'ann', unit = 'other.service'}, {user = 8}",
        ] {
            assert!(!admits(text), "{text}");
        }
    }

    #[test]
    fn what_could_not_be_found_out_fulfils_nothing_and_is_told() {
        let why = "it has ended".to_owned();
        let peer = Identity { executable: Err(why.clone()), unit: Err(why), ..ann() };
        let rules = rules("{executable = '/a'}, {unit = ''}").unwrap();
        let refusal = check(&rules, &peer).unwrap_err();
        assert_eq!((refusal.reason, refusal.retry), ("not_allowed", false));
        assert_eq!(
            refusal.text,
            "no rule of [agents] allow admits user 7, groups [70, 71], executable unknown (it has \
             ended), unit unknown (it has ended)"
        );
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused() {
        for (text, words) in [
            ("{}", "would admit everybody"),
            ("{uid = 7}", "unknown field `uid`"),
            ("{user = -1}", "wanted a name or a number"),
            ("{executable = 'python3'}", "begins with \"/\""),
        ] {
            let error = rules(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
