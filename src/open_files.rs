//! How many files may be open: the daemon takes all that it is allowed, since it keeps kernel files
//! open from scrape to scrape; the programs that it starts get what it was given itself. (select(2)
//! fails above 1024, and some programs close all descriptors that they might have.) And whether they have run out.
//!
//! Must not know what is opened.

use rustix::io::{self, Errno};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;

/// The limit that this process was given.
static GIVEN: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit to the hard one.
///
/// # Errors
/// What setrlimit(2) said; the limit is then as it was.
pub fn raise() -> io::Result<()> {
    let given = *GIVEN.get_or_init(|| getrlimit(Resource::Nofile));
    setrlimit(Resource::Nofile, Rlimit { current: given.maximum, ..given })
}

/// The soft and the hard limit that this process was given, if it has raised its own: for a process that it
/// starts. `u64::MAX` is none.
#[must_use]
pub fn given() -> Option<(u64, u64)> {
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    GIVEN.get().map(|given| (number(given.current), number(given.maximum)))
}

/// Whether the kernel was short of descriptors, or of memory: another attempt may succeed.
pub(crate) fn is_shortage(error: &std::io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS];
    Errno::from_io_error(error).is_some_and(|error| shortages.contains(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_known_after_it_was_raised() {
        let before = getrlimit(Resource::Nofile);
        raise().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
        let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        assert_eq!(given(), Some((number(before.current), number(before.maximum))));
    }
}
