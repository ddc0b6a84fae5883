//! When a collector has last looked what there is.
//!
//! Must not know what it looks for.

use std::time::{Duration, Instant};

/// Looked again after this time: what comes below a device does not show in the folder of devices.
const LONGEST: Duration = Duration::from_secs(60);

/// The time of the last look.
#[derive(Debug, Default)]
pub(super) struct Looked(Option<Instant>);

impl Looked {
    /// Whether to look again, because something has changed or the last look was long ago. If so,
    /// this is taken for the look.
    pub(super) fn is_due(&mut self, has_changed: bool) -> bool {
        let is_recent = self.0.is_some_and(|last| last.elapsed() < LONGEST);
        let is_due = has_changed || !is_recent;
        if is_due {
            self.0 = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_first_at_a_change_and_after_a_while() {
        let mut looked = Looked::default();
        assert!(looked.is_due(false));
        assert!(!looked.is_due(false));
        assert!(looked.is_due(true));
        looked.0 = Instant::now().checked_sub(LONGEST);
        assert!(looked.is_due(false));
        assert!(!looked.is_due(false));
    }
}
