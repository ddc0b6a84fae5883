//! What is declared of a series of an agent's own.
//!
//! Must not know how it is reported, nor the rules for it.

use crate::layout::{Kind, Shape};

/// What is declared of a series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Declaration {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) shape: Option<Shape>,
}
