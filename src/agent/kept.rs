//! What is kept of agents from one run of the daemon to the next, as text and back.
//!
//! Must not know where the text is kept.

use super::series::KeptFamily;
use super::totals::{Durations, Totals};
use crate::names::is_name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// 2: errors, tokens and calls are series like any other.
const VERSION: u32 = 2;

/// One agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// The user that its name belongs to.
    pub(super) uid: Option<u32>,
    /// Ledgers in use, whose counts are not among the totals.
    pub(super) live: usize,
    pub(super) totals: Totals,
    pub(super) series: Vec<KeptFamily>,
    pub(super) restarts: u64,
    pub(super) exits: BTreeMap<String, u64>,
    /// Sessions of lines, with the number of the last line that is among the totals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) sessions: Vec<(String, u64)>,
}

impl Kept {
    fn is_sound(&self) -> bool {
        self.totals.durations.as_ref().is_none_or(Durations::is_sound)
    }
}

/// What a text holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) agents: Vec<(String, Kept)>,
    /// What is wrong with entries that cannot be used.
    pub(super) unusable: Vec<String>,
    /// Ledgers whose counts are among the totals, by their names in the store of files.
    pub(super) folded: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<Agent> {
    version: u32,
    #[serde(default)]
    folded: Vec<String>,
    agents: BTreeMap<String, Agent>,
}

pub(super) fn write<'a>(
    agents: impl Iterator<Item = (&'a str, Kept)>,
    folded: &[String],
) -> String {
    let folded = folded.to_vec();
    let agents = agents.map(|(name, kept)| (name.to_owned(), kept)).collect();
    // Nothing in it can fail to be written: keys are strings, and sums are finite.
    serde_json::to_string(&File { version: VERSION, folded, agents }).unwrap_or_default()
}

/// One bad entry costs no other agent its totals.
///
/// # Errors
/// What is wrong with the text as a whole.
pub(super) fn read(text: &str) -> Result<Reading, String> {
    let file: File<serde_json::Value> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    if file.version != VERSION {
        return Err(format!("version {}, this daemon writes {VERSION}", file.version));
    }
    let mut reading = Reading { folded: file.folded, ..Reading::default() };
    for (name, kept) in file.agents {
        match serde_json::from_value::<Kept>(kept) {
            Ok(kept) if !kept.is_sound() => {
                reading.unusable.push(format!("{name:?}: durations without all their buckets"));
            }
            Ok(kept) if is_name(&name) => reading.agents.push((name, kept)),
            Ok(_) => reading.unusable.push(format!("{name:?}: no name of an agent")),
            Err(error) => reading.unusable.push(format!("{name:?}: {error}")),
        }
    }
    Ok(reading)
}
