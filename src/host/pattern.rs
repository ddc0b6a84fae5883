//! Regular expressions in collectors' options.

use regex_lite::Regex;
use serde::Deserialize;

/// A regular expression; the empty one stands for none.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pattern(Option<Regex>);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        match Regex::new(&text) {
            Ok(regex) => Ok(Self(Some(regex))),
            Err(error) => Err(format!("`{text}` is not a regular expression: {error}")),
        }
    }
}

impl Pattern {
    /// Whether there is an expression at all.
    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Whether there is an expression and it matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

/// As [`Pattern`], of which the whole text must be a match.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct WholePattern(Pattern);

impl TryFrom<String> for WholePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // By itself first, so that what is wrong is told of what was written.
        let pattern = Pattern::try_from(text.clone())?;
        if !pattern.is_set() {
            return Ok(Self(pattern));
        }
        Pattern::try_from(format!("^(?:{text})$")).map(Self)
    }
}

impl WholePattern {
    /// Whether there is an expression and the whole text is a match.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }
}

/// Which devices are wanted: where `include` is set, those it matches; else all but those that
/// `exclude` matches.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) include: Pattern,
    pub(super) exclude: Pattern,
}

impl Filter {
    /// Whether a device is wanted. Costs a match: ask once per device, and keep the answer.
    pub(super) fn wants(&self, name: &str) -> bool {
        if self.include.is_set() { self.include.matches(name) } else { !self.exclude.matches(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_whole_pattern_matches_the_whole_text() {
        let whole = |text: &str| WholePattern::try_from(text.to_owned());
        assert!(whole("a|bc").unwrap().matches("bc"));
        assert!(!whole("a|bc").unwrap().matches("abc"));
        assert!(!whole("").unwrap().matches(""));
        assert!(whole("a)(b").unwrap_err().starts_with("`a)(b` is not a regular expression"));
    }

    #[test]
    fn include_comes_before_exclude() {
        let filter =
            |include, exclude| Filter { include: pattern(include), exclude: pattern(exclude) };
        assert!(filter("", "").wants("sda"));
        assert!(!filter("", "^sd").wants("sda"));
        assert!(filter("^sda$", "^sd").wants("sda"));
        assert!(!filter("^sda$", "").wants("sdb"));
    }

    #[test]
    fn a_bad_expression_is_told() {
        let error = Pattern::try_from("a(".to_owned()).unwrap_err();
        assert!(error.starts_with("`a(` is not a regular expression: "), "{error}");
    }
}
