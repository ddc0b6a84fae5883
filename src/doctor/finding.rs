//! What a check has found, and how a list of that is shown.
//!
//! Must not know how anything is found.

use serde::Serialize;
use std::fmt::Write as _;

/// How something is, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Pass,
    /// It works, and could be better, or could not be looked at.
    Warn,
    /// Something does not do what it is there for.
    Fail,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }

    /// Green, yellow, red (console_codes(4), "ECMA-48 Select Graphic Rendition").
    const fn colour(self) -> &'static str {
        match self {
            Self::Pass => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Fail => "\x1b[31m",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: String,
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) what: String,
    /// What to do about it; nothing where all is well.
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn new(
        check: impl Into<String>,
        verdict: Verdict,
        what: impl Into<String>,
        fix: Option<String>,
    ) -> Self {
        Self { check: check.into(), verdict, what: what.into(), fix }
    }
}

/// All findings.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The worst of them.
    verdict: Verdict,
    checks: Vec<Finding>,
}

impl Report {
    pub(super) fn new(checks: Vec<Finding>) -> Self {
        let verdict = checks.iter().map(|finding| finding.verdict).max();
        Self { verdict: verdict.unwrap_or(Verdict::Pass), checks }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.verdict == Verdict::Fail
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// A line for each finding, what to do below it, and a count.
    pub(super) fn text(&self, coloured: bool) -> String {
        let width = self.checks.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Finding { check, verdict, what, fix } in &self.checks {
            let (on, off) = if coloured { (verdict.colour(), "\x1b[0m") } else { ("", "") };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{on}{}{off}  {check:<width$}  {}", verdict.word(), shown(what));
            if let Some(fix) = fix {
                let _ = writeln!(text, "      {:<width$}  → {}", "", shown(fix));
            }
        }
        let count = |verdict| self.checks.iter().filter(|one| one.verdict == verdict).count();
        let counts = [Verdict::Pass, Verdict::Warn, Verdict::Fail].map(count);
        let [passed, warned, failed] = counts;
        let _ = writeln!(text, "{passed} passed, {warned} to look at, {failed} failed");
        text
    }
}

/// Some of it is from outside: a terminal is to show it, not to obey it.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::new(vec![
            Finding::new("clock", Verdict::Pass, "synchronised", None),
            Finding::new("socket", Verdict::Warn, "odd\x1b[2J", Some("mend it".to_owned())),
        ])
    }

    #[test]
    fn the_worst_finding_decides() {
        assert!(!report().has_failed());
        let mut checks = report().checks;
        checks.push(Finding::new("unit", Verdict::Fail, "gone", None));
        assert!(Report::new(checks).has_failed());
        assert!(!Report::new(Vec::new()).has_failed());
    }

    #[test]
    fn a_report_is_a_table() {
        let wanted = "pass  clock   synchronised\n\
                      warn  socket  odd [2J\n              → mend it\n\
                      1 passed, 1 to look at, 0 failed\n";
        assert_eq!(report().text(false), wanted);
        assert!(report().text(true).starts_with("\x1b[32mpass\x1b[0m  clock"));
    }

    #[test]
    fn a_report_is_json() {
        let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(json["verdict"], "warn");
        assert_eq!(json["checks"][1]["fix"], "mend it");
        assert_eq!(json["checks"][0]["fix"], serde_json::Value::Null);
    }
}
