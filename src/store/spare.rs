//! A second place for what is kept, in the folder of this boot: for as long as the first one cannot be written, the
//! next daemon finds it here.
//!
//! Must not know what the text means.

use super::{read_text, replace};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const FILE: &str = "agents.spare";

/// The file. Its first line names the file in whose place it stands, as that was then.
#[derive(Clone, Debug)]
pub(super) struct Spare(PathBuf);

impl Spare {
    /// In `folder`, which is made when it is first needed.
    pub(super) fn new(folder: &Path) -> Self {
        Self(folder.join(FILE))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes what could not be written to `first`.
    pub(super) fn write(&self, first: &Path, text: &str) -> io::Result<()> {
        replace(&self.0, format!("{}\n{text}", version_of(first)?).as_bytes())
    }

    /// What stands in the place of `first`, unless that has been written since.
    pub(super) fn read(&self, first: &Path) -> Option<String> {
        let text = read_text(&self.0).ok()?;
        let (version, kept) = text.split_once('\n')?;
        let is_in_its_place = version == version_of(first).ok()?;
        if !is_in_its_place {
            let (spare, first) = (self.0.display(), first.display());
            tracing::info!("{spare} is not used: {first} has been written since");
        }
        is_in_its_place.then(|| kept.to_owned())
    }

    /// It is needed no more.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What tells a file from those that have been in its place, and will be.
fn version_of(file: &Path) -> io::Result<String> {
    match fs::metadata(file) {
        Ok(found) => {
            // The device's number may be another one after a mount.
            let (inode, size) = (found.ino(), found.size());
            let (changed, nanos) = (found.mtime(), found.mtime_nsec());
            Ok(format!("in place of {inode} of {size} bytes, changed {changed}.{nanos:09}"))
        }
        // There is none, or a file where its folder should be.
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            Ok("in place of none".to_owned())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_in_for_the_file_that_was_there_and_for_no_later_one() {
        let folder = std::env::temp_dir().join(format!("musterd-spare-{}", std::process::id()));
        let (first, spare) = (folder.join("state/agents.json"), Spare::new(&folder.join("run")));
        assert_eq!(spare.read(&first), None);
        spare.write(&first, "one\n\n").unwrap();
        assert_eq!(spare.read(&first).as_deref(), Some("one\n\n"));
        replace(&first, b"two").unwrap();
        assert_eq!(spare.read(&first), None, "the first has been written since");
        spare.write(&first, "three").unwrap();
        assert_eq!(spare.read(&first).as_deref(), Some("three"));
        replace(&first, b"two").unwrap();
        assert_eq!(spare.read(&first), None, "with the same text");
        for rubbish in [&b""[..], b"three", b"\xff\n", b"in place of none\nthree"] {
            fs::write(spare.path(), rubbish).unwrap();
            assert_eq!(spare.read(&first), None);
        }
        spare.remove();
        spare.remove();
        fs::remove_dir_all(&folder).unwrap();
    }
}
