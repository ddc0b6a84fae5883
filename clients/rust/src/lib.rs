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
//! An [`Agent`] is shared by reference between threads and between tasks; a request may begin on one
//! thread and end on another:
//!
//! ```
//! use musterd_client::Agent;
//! use std::time::Duration;
//!
//! let agent = Agent::builder("billing")
//!     .socket("/tmp/no-daemon-needed.sock")
//!     .version(env!("CARGO_PKG_VERSION"))
//!     .heartbeat_every(Duration::from_secs(30))
//!     .start();
//! std::thread::scope(|scope| {
//!     for _ in 0..4 {
//!         let request = agent.begin();
//!         scope.spawn(|| request.success());
//!     }
//! });
//! agent.tokens("small-model", 120, 30);
//! ```
//!
//! Metrics of the agent's own are declared once ([`Agent::counter`], [`Agent::gauge`], [`Agent::sum`],
//! [`Agent::histogram`]) and then cost no more than a request. An agent whose ledger is full is given
//! another, if the daemon allows.
//!
//! What a request costs beside two readings of a clock, and beside the `prometheus` crate, shows
//! `cargo bench -p musterd-client`.
//!
//! The layout of the memory is specified in `docs/ledger.md`; the daemon reads it with this
//! crate's [`layout`] and [`memory`], and writes with its [`writer`] for programs that have no client.

mod agent;
mod buckets;
mod clock;
mod connection;
mod declaration;
pub mod layout;
pub mod memory;
mod own;
pub mod record;
mod series;
mod turn;
pub mod writer;

pub use agent::{Agent, Builder, DEFAULT_SOCKET, Request, Status};
pub use own::{Counter, Declare, Gauge, Histogram, Sum};
pub use record::write_header;
