//! What every connection of an agent needs.
//!
//! Must not know what happens on one.

use super::connections::Connections;
use super::lines::folder::Folder;
use super::registry::Registry;
use crate::instruments::Instruments;
use crate::quota::Quota;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// What every connection needs.
#[derive(Clone)]
pub struct Context {
    /// Whom to tell.
    pub registry: Rc<RefCell<Registry>>,
    /// Where refusals are counted.
    pub instruments: Instruments,
    /// Woken when something has happened that should be kept or looked at soon.
    pub changed: Rc<Notify>,
    /// Which connections are open.
    pub connections: Rc<Connections>,
    /// How long a client may take to say who it is.
    pub hello_timeout: Duration,
    /// Lines about refusals.
    pub log_quota: Rc<Quota>,
    /// Where ledgers are kept of programs that send lines.
    pub lines: Folder,
}

/// A quota for lines about refusals: all are counted, these are also described.
#[must_use]
pub fn refusal_quota() -> Rc<Quota> {
    Rc::new(Quota::new(20, Duration::from_secs(10)))
}
