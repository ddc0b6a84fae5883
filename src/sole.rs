//! One daemon at a time in a folder: two would take each other's agents for those of a daemon that has gone,
//! and write over each other's totals.
//!
//! Must not know what is kept there.

use std::fs::{self, File, TryLockError};
use std::path::Path;

/// A folder that is this daemon's, for as long as this lives or its process does (flock(2)).
#[derive(Debug)]
pub struct Sole(#[allow(dead_code)] Option<File>);

impl Sole {
    /// Takes a folder, which is made if it is not there. One that cannot be used at all is nobody's; whoever
    /// wants to write there will say so.
    ///
    /// # Errors
    /// That another daemon has it, and what to do.
    pub fn take(folder: &Path) -> Result<Self, String> {
        let opened = fs::create_dir_all(folder).and_then(|()| File::open(folder));
        let Ok(file) = opened else { return Ok(Self(None)) };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let folder = folder.display();
                Err(format!(
                    "another musterd uses {folder}: end it, or set other [paths] run and state"
                ))
            }
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self(Some(file))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_daemons_until_it_has_gone() {
        let folder = std::env::temp_dir().join(format!("musterd-sole-{}", std::process::id()));
        let held = Sole::take(&folder.join("run")).unwrap();
        let refused = Sole::take(&folder.join("run")).unwrap_err();
        assert!(refused.contains("another musterd uses"), "{refused}");
        let other = Sole::take(&folder.join("state"));
        assert!(other.is_ok());
        drop(held);
        assert!(Sole::take(&folder.join("run")).is_ok());
        fs::remove_dir_all(&folder).unwrap();
        // What cannot be made is for others to complain of.
        assert!(Sole::take(Path::new("/proc/none")).is_ok());
    }
}
