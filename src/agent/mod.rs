//! Agents: who reports, what their ledgers say, how they fare.
//!
//! In reading order: [`protocol`] (what a hello is), [`peer`] (who is at the other end, by the
//! kernel's word), [`allow`] (who may report), [`label`] (whose a ledger is), [`ledger`] (what is
//! written in the shared memory), [`calls`] (of models and tools), [`buckets`] (of histograms, brought
//! to the same ones), [`totals`] (counts of one agent, added up), [`window`] (the last minutes),
//! [`health`] (what that means), [`registry`] (sole owner of all of it; `kept` is what it leaves to the
//! next run), [`export`] (its families), [`lines`] (programs that have no ledger), [`listener`] (the
//! socket).
//!
//! This room must not know how metrics are written out or who asks for them.

pub mod allow;
pub mod buckets;
pub mod calls;
pub mod export;
pub mod health;
mod kept;
pub mod label;
pub mod ledger;
pub mod lines;
pub mod listener;
pub mod options;
pub mod peer;
pub mod protocol;
pub mod registry;
#[cfg(test)]
mod sample;
pub mod totals;
pub mod window;
