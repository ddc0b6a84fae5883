//! Collectors of the machine itself: its parts, sensors, and what they have to report.

use super::Entry;

/// The collectors of this folder.
pub(super) const COLLECTORS: &[Entry] = &[];
