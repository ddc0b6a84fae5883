//! How many files may be open: the daemon takes all that it is allowed, since it keeps kernel files
//! open from scrape to scrape; the programs that it starts get what it was given itself. (select(2)
//! fails above 1024, and some programs close all descriptors that they might have.)
//!
//! Must not know what is opened.

use rustix::io;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
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

/// Gives a process that has just been started the limit that this one was given.
///
/// # Errors
/// What prlimit(2) said: that the process has ended already, or may not be changed.
pub fn restore(process: Pid) -> io::Result<()> {
    match GIVEN.get() {
        Some(given) => prlimit(Some(process), Resource::Nofile, *given).map(drop),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_has_the_limit_of_before() {
        let given = getrlimit(Resource::Nofile);
        raise().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, given.maximum);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        restore(pid).unwrap();
        let limit = prlimit(Some(pid), Resource::Nofile, given).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(limit.current, given.current);
    }
}
