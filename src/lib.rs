//! musterd: one daemon per node.
#![forbid(unsafe_code)]

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod exposition;
pub mod host;
pub mod http;
pub mod instruments;
pub mod logging;
pub mod metric;
pub mod node;
pub mod notify;
pub mod pidfd;
pub mod process;
pub mod sampler;
pub mod store;
pub mod supervised;
pub mod supervisor;
pub mod units;
