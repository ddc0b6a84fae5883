//! The vocabulary every room shares: what a family is, and the [`Batch`] that one pass fills.
//!
//! This module knows nothing of where values come from or of how they are written on the wire,
//! and does no I/O.

mod batch;
mod family;
mod labels;

pub use batch::{
    Batch, FamilyRef, Foreign, Group, GroupWriter, Histogram, Mark, Point, SampleRef, Summary,
};
pub use family::{Family, Kind};
pub(crate) use labels::has_special;
pub use labels::{LabelSet, LabelSets, Labels};
