//! musterd: one daemon per node.
#![forbid(unsafe_code)]

pub mod exposition;
pub mod host;
pub mod metric;
pub mod process;
