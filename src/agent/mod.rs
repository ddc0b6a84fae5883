//! Agents: who reports, what their ledgers say, how they fare.
//!
//! In reading order: [`protocol`] (what a hello is), [`peer`] (who is at the other end, by the
//! kernel's word), [`allow`] (who may report), [`label`] (whose a ledger is), [`ledger`] (what is
//! written in the shared memory), [`declaration`] (the rules for what agents declare), [`known`] (what
//! musterd knows of itself), [`catalog`] (the families of all agents), [`buckets`] (of histograms,
//! brought to the same ones), [`exact`] (sums that do not depend on an order), [`series`] and [`totals`]
//! (counts of one agent, added up), [`faults`] (what was wrong), [`window`] (the last minutes), [`health`] (what that means), [`registry`] (sole owner of
//! all of it; `kept` is what it leaves to the next run), [`export`] (its families), [`lines`] (programs
//! that have no ledger), [`listener`] (the socket).
//!
//! This room must not know how metrics are written out or who asks for them.

pub mod allow;
pub mod buckets;
pub mod catalog;
pub mod connections;
pub mod context;
pub mod declaration;
pub mod exact;
pub mod export;
pub mod faults;
pub mod health;
mod kept;
pub mod known;
pub mod label;
pub mod ledger;
pub mod lines;
pub mod listener;
pub mod offered;
pub mod options;
pub mod peer;
pub mod protocol;
pub mod registry;
#[cfg(test)]
mod sample;
pub mod series;
pub mod totals;
pub mod window;
