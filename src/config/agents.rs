//! `[[agent]]` entries, one at a time, so that a fault has a place.
//!
//! What is wrong with one is said without what stands there: environments and arguments hold secrets, and
//! a fault is shown in the log, by systemd and over HTTP.
//!
//! Must not know how an agent is run.

use super::fault::{self, Fault};
use super::layers::{IntoInnerWithSpan, place, place_of};
use crate::supervisor::options::{self, AgentEntry, Defaults, Definition};
use serde::Deserialize;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

const NO_TABLE: &str = "agent is no array of tables, wanted [[agent]] above the keys of each agent";

/// What `agent` of the whole configuration, `all`, stands for.
pub(super) fn resolve(
    agent: Option<Spanned<DeValue<'_>>>,
    all: &DeTable<'_>,
    defaults: &Defaults,
) -> Result<Vec<Definition>, Fault> {
    let Some((span, agent)) = agent.map(IntoInnerWithSpan::into_inner_with_span) else {
        return Ok(Vec::new());
    };
    let DeValue::Array(entries) = agent else {
        return Err(Fault::At(place(&span), NO_TABLE.to_owned()));
    };
    let mut definitions: Vec<Definition> = Vec::new();
    for entry in entries {
        let (span, entry) = entry.into_inner_with_span();
        let start = place(&span);
        let DeValue::Table(table) = entry else {
            return Err(Fault::At(start, NO_TABLE.to_owned()));
        };
        let entry = read(&table, span)?;
        let definition = options::resolve(&entry, defaults).map_err(|fault| {
            let text = format!("agent {:?}: {}", entry.name, fault.text);
            Fault::At(place_of_keys(&fault.keys, &table, all).or(start), text)
        })?;
        if definitions.iter().any(|other| other.name == definition.name) {
            let text = format!("a second [[agent]] named {:?}", definition.name);
            return Err(Fault::At(start, text));
        }
        definitions.push(definition);
    }
    Ok(definitions)
}

fn read(table: &DeTable<'_>, span: Range<usize>) -> Result<AgentEntry, Fault> {
    let start = place(&span);
    let read = AgentEntry::deserialize(toml::Deserializer::from(Spanned::new(span, table.clone())));
    read.map_err(|error| {
        let at = error.span().and_then(|span| place(&span)).or(start);
        Fault::At(at, without_value(table, &error))
    })
}

/// What is wrong, and with which key, but not what stands there.
fn without_value(table: &DeTable<'_>, error: &Error) -> String {
    let message = error.message();
    let names_a_key = ["missing field ", "unknown field ", "duplicate field "];
    if names_a_key.iter().any(|start| message.starts_with(start)) {
        return message.to_owned();
    }
    let key = error.span().and_then(|span| key_at(table, &span));
    let key = key.unwrap_or_else(|| "agent".to_owned());
    match fault::wanted(message) {
        Some(wanted) => format!("{key} is not as it should be, wanted {wanted}"),
        None => format!("{key} is not as it should be"),
    }
}

/// The dotted key whose value has a span.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let is_within = value.span().start <= span.start && span.end <= value.span().end;
        let below = match value.get_ref() {
            DeValue::Table(below) => key_at(below, span),
            _ => None,
        };
        let name = key.get_ref();
        below.map(|below| format!("{name}.{below}")).or_else(|| is_within.then(|| name.to_string()))
    })
}

/// Where the first of some keys stands: in the entry, or in the defaults.
fn place_of_keys(keys: &[&str], entry: &DeTable<'_>, all: &DeTable<'_>) -> Option<usize> {
    let own = keys.iter().find_map(|key| place_of(entry, key));
    let default = |key| place_of(all, &format!("agents.supervision.{key}"));
    own.or_else(|| keys.iter().find_map(default))
}
