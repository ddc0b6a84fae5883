//! Lines, for programs that cannot use a client (`docs/lines.md`): what they say is written into a ledger
//! that the daemon keeps for them, so that behind it all is as with any other ledger.
//!
//! In reading order: [`protocol`] (what a line is), [`page`] and [`folder`] (where such a ledger
//! lies, so that it outlives the daemon), [`book`] (a line becomes an update), [`connection`].

pub mod book;
pub mod connection;
pub mod folder;
pub mod page;
pub mod protocol;
