//! Report what an agent does to musterd, by adding to memory that the daemon has handed over: no
//! system call per request, nothing that can block, nothing lost when either side is killed.
//!
//! ```
//! use musterd_client::Agent;
//!
//! let agent = Agent::builder("billing").socket("/tmp/no-daemon-needed.sock").start();
//! let request = agent.begin();
//! // … the work …
//! request.success();
//!
//! match "12x".parse::<u32>() {
//!     Ok(_) => agent.begin().success(),
//!     Err(_) => agent.begin().error("validation"),
//! }
//! ```
//!
//! Metrics of the agent's own are declared once ([`Agent::counter`], [`Agent::gauge`], [`Agent::sum`],
//! [`Agent::histogram`]) and then cost no more than a request. An agent whose ledger is full is given
//! another, if the daemon allows.
//!
//! The layout of the memory is specified in `docs/ledger.md`; the daemon reads it with this
//! crate's [`layout`] and [`memory`], and writes with its [`writer`] for programs that have no client.

mod agent;
mod connection;
pub mod layout;
pub mod memory;
mod own;
mod series;
pub mod writer;

pub use agent::{Agent, Builder, DEFAULT_SOCKET, Request, Status};
pub use own::{Counter, Declare, Gauge, Histogram, Sum};
pub use writer::write_header;
