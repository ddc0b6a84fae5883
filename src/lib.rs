//! musterd: one daemon per node.
#![forbid(unsafe_code)]

pub mod exposition;
pub mod host;
pub mod http;
pub mod instruments;
pub mod metric;
pub mod process;
pub mod sampler;
pub mod units;
