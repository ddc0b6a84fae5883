//! Whether there is a program to be run: asked before the agent counts as started, since nobody can
//! say so afterwards.
//!
//! Must not know what it does.

use rustix::fs::{Access, access};
use std::ffi::OsStr;
use std::path::Path;

/// Looks for a program as execvp(3) does: a name without `/` in the folders of `PATH`.
///
/// # Errors
/// It is not there, or this user may not run it.
pub(super) fn check(program: &str, paths: Option<&OsStr>) -> Result<(), String> {
    let may_run = |file: &Path| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        let file = Path::new(program);
        let data = file.metadata().map_err(|error| format!("cannot run {program}: {error}"))?;
        if !data.is_file() || !may_run(file) {
            return Err(format!("cannot run {program}: it is no program that this user may run"));
        }
        return Ok(());
    }
    let paths = paths.unwrap_or_default();
    if std::env::split_paths(paths).any(|folder| may_run(&folder.join(program))) {
        return Ok(());
    }
    Err(format!("cannot run {program}: it is in none of PATH={}", paths.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_is_named() {
        let path = OsStr::new("/nowhere:/usr/bin:/bin");
        assert_eq!(check("sh", Some(path)), Ok(()));
        assert_eq!(check("/bin/sh", None), Ok(()));
        for (program, wanted) in [
            ("no-such-program", "in none of PATH=/nowhere:/usr/bin"),
            ("/nowhere/x", "cannot run /nowhere/x: No such file"),
            ("/etc/passwd", "no program that this user may run"),
            ("/bin/", "no program that this user may run"),
        ] {
            let fault = check(program, Some(path)).unwrap_err();
            assert!(fault.contains(wanted), "{fault}");
        }
    }
}
