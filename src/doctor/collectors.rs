//! Which collectors give nothing, and why: each is run here once, as the user who asks, and compared
//! with what the daemon says of its own.
//!
//! Must not know what any collector reads.

use super::finding::Finding;
use super::{pass, warn};
use crate::config::Config;
use crate::host::{Error, Pass, Plan};
use crate::metric::Batch;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a run has given.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Samples,
    /// Nothing of the kind is there; why, where that was said.
    Nothing(String),
    Failed(String),
}

/// Runs all collectors that are on. `seen` is what the daemon says: which of its own have worked.
pub(super) fn examine(config: &Config, seen: Option<&BTreeMap<String, bool>>) -> Vec<Finding> {
    let root = Arc::new(config.root.clone());
    let enabled = config.collectors.iter().filter(|plan| plan.enabled);
    let outcomes: Vec<_> = enabled
        .map(|plan: &Plan| {
            let mut collector = (plan.builder)(&root);
            let (mut batch, mut buffer) = (Batch::new(), Vec::new());
            let deadline = Instant::now() + PATIENCE;
            let mut pass = Pass { batch: &mut batch, buffer: &mut buffer, deadline };
            let outcome = match collector.collect(&mut pass) {
                Ok(()) if !batch.is_empty() => Outcome::Samples,
                Ok(()) => Outcome::Nothing(String::new()),
                Err(Error::NoData(why)) => Outcome::Nothing(why),
                Err(error) => Outcome::Failed(error.to_string()),
            };
            (plan.name, outcome)
        })
        .collect();
    judge(&outcomes, seen)
}

fn judge(
    outcomes: &[(&'static str, Outcome)],
    seen: Option<&BTreeMap<String, bool>>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut silent = Vec::new();
    for (name, outcome) in outcomes {
        let daemon = seen.and_then(|seen| seen.get(*name));
        let check = format!("collector {name}");
        match outcome {
            Outcome::Samples if daemon == Some(&false) => {
                let what = "works here, but not in the daemon: its user, or its unit, may not \
                            read what it needs";
                let fix = "journalctl -u musterd names the file; musterd.service says which \
                           capability opens what";
                findings.push(warn(check, what, fix));
            }
            Outcome::Samples => {}
            Outcome::Nothing(why) if why.is_empty() => silent.push((*name).to_owned()),
            Outcome::Nothing(why) => silent.push(format!("{name} ({why})")),
            Outcome::Failed(why) => {
                let fix = format!(
                    "mend what it says, or set enabled = false in [host.collectors.{name}]"
                );
                findings.push(warn(check, why.clone(), fix));
            }
        }
    }
    let giving = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Samples).count();
    let mut what = format!("{giving} of {} give data", outcomes.len());
    if !silent.is_empty() {
        what += &format!("; this machine has nothing for: {}", silent.join(", "));
    }
    findings.insert(0, pass("collectors", what));
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn what_gives_nothing_is_named_with_its_reason() {
        let outcomes = [
            ("cpu", Outcome::Samples),
            ("zfs", Outcome::Nothing("no /proc/spl".to_owned())),
            ("mdadm", Outcome::Nothing(String::new())),
            ("rapl", Outcome::Failed("cannot read /sys/x: Permission denied".to_owned())),
        ];
        let findings = judge(&outcomes, None);
        let wanted = "1 of 4 give data; this machine has nothing for: zfs (no /proc/spl), mdadm";
        assert_eq!(findings[0].what, wanted);
        assert_eq!((findings.len(), findings[1].verdict), (2, Verdict::Warn));
        assert!(findings[1].fix.as_deref().unwrap_or_default().contains("collectors.rapl]"));
        let seen = BTreeMap::from([("cpu".to_owned(), false), ("zfs".to_owned(), false)]);
        let findings = judge(&outcomes, Some(&seen));
        assert!(findings[1].what.contains("not in the daemon"), "{findings:?}");
        assert_eq!(findings.len(), 3, "what has nothing to give may give nothing");
    }

    #[test]
    fn the_defaults_give_data_here() {
        let config = crate::config::load(None).unwrap();
        let findings = examine(&config, None);
        assert!(findings[0].what.contains(" give data"), "{findings:?}");
        assert!(findings.iter().all(|finding| finding.check != "collector cpu"), "{findings:?}");
    }
}
