//! What commands say on standard error.
//!
//! Must not know who says it.

use std::fmt::Display;
use std::io::Write as _;

/// Says something, under the program's name. Whoever read it may have gone, or the disk that it went to
/// may be full: what a command exits with is not to depend on that.
pub fn say(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "musterd: {what}");
}
