//! One daemon at a time in a folder: two would take each other's agents for those of a daemon that has gone,
//! and write over each other's totals.
//!
//! Must not know what is kept there.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Folders that are this daemon's, for as long as this lives or its process does (flock(2)).
#[derive(Debug, Default)]
pub struct Sole(Vec<File>);

impl Sole {
    /// Takes folders, which are made if they are not there; one may be named twice. One that cannot be used at all
    /// is nobody's; whoever wants to write there will say so.
    ///
    /// # Errors
    /// That another daemon has one, and what to do.
    pub fn take(folders: &[&Path]) -> Result<Self, String> {
        let mut own = Self::default();
        for folder in folders {
            let opened = fs::create_dir_all(folder).and_then(|()| File::open(folder));
            let Ok(file) = opened else { continue };
            if own.0.iter().any(|held| is_same(held, &file)) {
                continue;
            }
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                let folder = folder.display();
                return Err(format!(
                    "another musterd uses {folder}: end it, or set other [paths] run and state"
                ));
            }
            own.0.push(file);
        }
        Ok(own)
    }
}

fn is_same(one: &File, other: &File) -> bool {
    let identity = |file: &File| file.metadata().ok().map(|file| (file.dev(), file.ino()));
    identity(one) == identity(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_daemons_until_it_has_gone() {
        let folder = std::env::temp_dir().join(format!("musterd-sole-{}", std::process::id()));
        let (run, state) = (folder.join("run"), folder.join("state"));
        let held = Sole::take(&[&run, &run]).expect("the same folder twice");
        let refused = Sole::take(&[&state, &run]).unwrap_err();
        assert!(refused.contains("another musterd uses") && refused.contains("/run"), "{refused}");
        assert!(Sole::take(&[&state]).is_ok());
        drop(held);
        assert!(Sole::take(&[&run, &state]).is_ok());
        fs::remove_dir_all(&folder).unwrap();
        // What cannot be made is for others to complain of.
        assert!(Sole::take(&[Path::new("/proc/none")]).is_ok());
    }
}
