//! A folder of proc or sysfs that is listed at every pass.
//!
//! Must not know what the names stand for.

use super::Error;
use super::kept::Kept;
use super::root::not_read;
use rustix::fs::{Mode, OFlags, RawDir, SeekFrom, openat, seek};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A folder: opened once, and listed again from its start. Its memory is kept, so that listing it
/// again costs no allocation.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    kept: Option<Kept<OwnedFd>>,
    text: Vec<u8>,
    names: Vec<Range<usize>>,
    block: Vec<MaybeUninit<u8>>,
    /// A hash of the names and inode numbers: another device of the same name has another inode.
    fingerprint: u64,
}

/// One getdents64(2) takes the names of some hundred devices.
const BLOCK: usize = 8 << 10;

impl Directory {
    /// The folder at `path`; nothing is opened yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            kept: None,
            text: Vec::new(),
            names: Vec::new(),
            block: Vec::new(),
            fingerprint: 0,
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lists the folder: the names in it, sorted, without `.` and `..`.
    ///
    /// # Errors
    /// [`Error::NoData`] where there is no such folder, [`Error::Read`] where it cannot be read.
    pub(super) fn list(&mut self) -> Result<Names<'_>, Error> {
        let before = self.fingerprint;
        let kept = self.kept.take();
        self.kept = match kept {
            Some(folder) if self.list_again(&folder).is_ok() => Some(folder),
            _ => Kept::new(self.open().map_err(|error| not_read(&self.path, error))?),
        };
        let has_changed = self.fingerprint != before;
        Ok(Names { text: &self.text, names: &self.names, has_changed })
    }

    fn open(&mut self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(rustix::fs::CWD, &self.path, flags, Mode::empty())?;
        self.fill(&folder)?;
        Ok(folder)
    }

    /// Fails for a folder that has been removed, which may be there again under the same name.
    fn list_again(&mut self, folder: &OwnedFd) -> io::Result<()> {
        seek(folder, SeekFrom::Start(0))?;
        self.fill(folder)?;
        if self.names.is_empty() && rustix::fs::fstat(folder)?.st_nlink == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(())
    }

    fn fill(&mut self, folder: &OwnedFd) -> io::Result<()> {
        self.text.clear();
        self.names.clear();
        self.block.resize(BLOCK, MaybeUninit::uninit());
        let mut hasher = DefaultHasher::new();
        let mut entries = RawDir::new(folder, &mut self.block);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let start = self.text.len();
                self.text.extend_from_slice(name);
                self.names.push(start..self.text.len());
                (name, entry.ino()).hash(&mut hasher);
            }
        }
        self.fingerprint = hasher.finish();
        let text = &self.text;
        self.names
            .sort_unstable_by(|one, other| text.get(one.clone()).cmp(&text.get(other.clone())));
        Ok(())
    }
}

/// The names in a folder that is listed once in a while, sorted; none where it cannot be read.
pub(super) fn names(path: &Path) -> Vec<String> {
    let mut folder = Directory::new(path.to_owned());
    let names = folder.list().map(|names| names.iter().map(OsStr::to_string_lossy));
    names.map(|names| names.map(Cow::into_owned).collect()).unwrap_or_default()
}

/// The names in a folder, as listed last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'d> {
    text: &'d [u8],
    names: &'d [Range<usize>],
    has_changed: bool,
}

impl<'d> Names<'d> {
    /// Whether something has come, gone or been replaced since the folder was listed before.
    pub(super) fn has_changed(self) -> bool {
        self.has_changed
    }

    /// The names, sorted by their bytes.
    pub(super) fn iter(self) -> impl Iterator<Item = &'d OsStr> {
        self.names
            .iter()
            .map(move |range| OsStr::from_bytes(self.text.get(range.clone()).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &mut Directory) -> Vec<String> {
        let names = directory.list().unwrap();
        names.iter().map(|name| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_folder_is_listed_anew_each_time() {
        let top = std::env::temp_dir().join(format!("musterd-directory-{}", std::process::id()));
        let mut directory = Directory::new(top.join("a"));
        assert!(matches!(directory.list(), Err(Error::NoData(_))));
        std::fs::create_dir_all(top.join("a/sda")).unwrap();
        assert_eq!(names(&mut directory), ["sda"]);
        assert!(!directory.list().unwrap().has_changed());
        for number in 0..2000 {
            std::fs::write(top.join(format!("a/b{number:04}")), "").unwrap();
        }
        let listed = names(&mut directory);
        assert_eq!(
            (listed.len(), listed[0].as_str(), listed[2000].as_str()),
            (2001, "b0000", "sda")
        );
        assert!(!directory.list().unwrap().has_changed());
        std::fs::create_dir(top.join("a/new")).unwrap();
        std::fs::rename(top.join("a/new"), top.join("a/sda")).unwrap();
        assert!(directory.list().unwrap().has_changed());
        // Replaced as a whole, as a device's folder is when a driver is loaded again.
        std::fs::remove_dir_all(top.join("a")).unwrap();
        std::fs::create_dir(top.join("a")).unwrap();
        assert_eq!(names(&mut directory), [""; 0]);
        std::fs::write(top.join("a/c"), "").unwrap();
        assert_eq!(names(&mut directory), ["c"]);
        std::fs::remove_dir_all(&top).unwrap();
        assert!(matches!(directory.list(), Err(Error::NoData(_))));
    }
}
