//! Where ledgers lie that the daemon writes itself: each in a file of its own in the run directory, mapped
//! shared. What is written there is there when the daemon is killed, with or without systemd.
//!
//! Must not know what is in a ledger.

use super::page::{PAGE_SIZE, Page};
use crate::agent::label::{Label, is_ledger_name};
use crate::agent::ledger::random_identity;
use crate::pidfd;
use crate::proc_stat;
use musterd_client::layout::header;
use musterd_client::memory::Memory;
use musterd_client::write_header;
use rustix::process::Pid;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a ledger that the daemon writes. All of it is taken up at once, so that no store can meet
/// a full file system; so it is smaller than others.
pub const LEDGER_SIZE: usize = 64 << 10;

/// A folder that nobody else can look into.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A file with a ledger, and the page that belongs to it.
#[derive(Debug)]
pub struct OwnLedger {
    /// Whose it is.
    pub label: Label,
    /// The session that may go on with it; none when its connection is the only one.
    pub session: Option<String>,
    file: File,
}

impl Folder {
    /// Below the run directory; made when it is first needed.
    #[must_use]
    pub fn new(run: &Path) -> Self {
        Self(run.join("lines"))
    }

    /// Makes a ledger that begins behind the line of a number. It has its name once all of it is there.
    ///
    /// # Errors
    /// What could not be done, with the path.
    pub fn make(
        &self,
        label: Label,
        session: Option<String>,
        applied: u64,
    ) -> Result<OwnLedger, String> {
        let path = self.0.join(label.ledger_name());
        let new = path.with_extension("new");
        let made = self.write(&new, label, session, applied).and_then(|own| {
            fs::rename(&new, &path)?;
            Ok(own)
        });
        made.map_err(|error| {
            let _ = fs::remove_file(&new);
            format!("cannot keep a ledger in {}: {error}", self.0.display())
        })
    }

    fn write(
        &self,
        path: &Path,
        label: Label,
        session: Option<String>,
        applied: u64,
    ) -> io::Result<OwnLedger> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let mut file =
            File::options().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&vec![0; LEDGER_SIZE + PAGE_SIZE])?;
        let own = OwnLedger { label, session, file };
        let memory = own.memory()?;
        write_header(&memory, random_identity());
        memory.store(header::APPLIED, applied);
        let process = own.label.pid.and_then(process_of).unwrap_or_default();
        let session = own.session.as_deref().unwrap_or_default();
        own.page()?.describe(&own.label.file_name(), session, &process);
        Ok(own)
    }

    /// All that the daemon before has left, and what cannot be used of it.
    #[must_use]
    pub fn found(&self) -> (Vec<OwnLedger>, Vec<String>) {
        let (mut ledgers, mut unusable) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|kind| kind == "new") {
                // Never finished, so nothing was ever counted in it.
                let _ = fs::remove_file(&path);
                continue;
            }
            match open(&path) {
                Ok(own) => ledgers.push(own),
                Err(error) => unusable.push(format!("{}: {error}", path.display())),
            }
        }
        (ledgers, unusable)
    }

    /// Removes a ledger whose counts are kept elsewhere by now; does nothing where there is none of
    /// that name.
    pub fn remove(&self, name: &str) {
        if is_ledger_name(name) {
            let _ = fs::remove_file(self.0.join(name));
        }
    }
}

fn open(path: &Path) -> io::Result<OwnLedger> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let file = File::options().read(true).write(true).open(path)?;
    let page = page_of(&file)?;
    let label = Label::parse(&page.label()).ok_or_else(|| wrong("it does not say whose it is"))?;
    if path.file_name().is_none_or(|name| *name != *label.ledger_name()) {
        return Err(wrong("it has another ledger's name"));
    }
    let session = Some(page.session()).filter(|session| !session.is_empty());
    Ok(OwnLedger { label, session, file })
}

fn page_of(file: &File) -> io::Result<Page> {
    Ok(Page::over(Memory::map_own(file, LEDGER_SIZE as u64, PAGE_SIZE)?))
}

impl OwnLedger {
    /// The ledger.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn memory(&self) -> io::Result<Memory> {
        Memory::map_own(&self.file, 0, LEDGER_SIZE)
    }

    /// The page beside it.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn page(&self) -> io::Result<Page> {
        page_of(&self.file)
    }

    /// The file that holds both.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The process that reports, if it still lives: another may have its number by now.
    #[must_use]
    pub fn process(&self) -> Option<OwnedFd> {
        let noted = self.page().ok()?.process();
        let is_it = |pid| process_of(pid).is_some_and(|process| process == noted);
        let pid = self.label.pid.filter(|pid| is_it(*pid))?;
        pidfd::open(pid).ok().filter(|_| is_it(pid))
    }
}

/// What tells a process from all others that have had its number: the boot, and when it was started.
fn process_of(pid: u32) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let stat = proc_stat::read(Pid::from_raw(i32::try_from(pid).ok()?)?)?;
    (!stat.ended).then(|| format!("{}/{}", boot.trim(), stat.start_time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::peer::Peer;

    fn label(pid: u32) -> Label {
        Label::new("a", &Peer { uid: 7, gid: 7, pid: Some(pid), pidfd: None, began: None })
    }

    #[test]
    fn what_is_left_is_found_and_what_is_not_ours_is_named() {
        let top = std::env::temp_dir().join(format!("musterd-lines-{}", std::process::id()));
        let folder = Folder::new(&top);
        assert!(folder.found().0.is_empty());
        let own = folder.make(label(std::process::id()), Some("s".into()), 5).unwrap();
        assert!(own.process().is_some());
        let gone = folder.make(label(u32::MAX), None, 0).unwrap();
        fs::write(top.join("lines/ledger-0123456789abcdef.new"), "half").unwrap();
        fs::write(top.join("lines/ledger-0123456789abcdef"), "rubbish").unwrap();
        let stolen = top.join("lines").join(own.label.ledger_name());
        fs::copy(&stolen, top.join("lines/ledger-0000000000000000")).unwrap();
        let (found, unusable) = folder.found();
        assert_eq!((found.len(), unusable.len()), (2, 2), "{unusable:?}");
        let again = found.iter().find(|found| found.label == own.label).unwrap();
        assert_eq!(again.session.as_deref(), Some("s"));
        assert_eq!(again.memory().unwrap().load(header::APPLIED), 5);
        assert!(found.iter().any(|found| found.label == gone.label && found.process().is_none()));
        folder.remove(&own.label.ledger_name());
        folder.remove("../lines/ledger-0123456789abcdef");
        assert_eq!((folder.found().0.len(), folder.found().1.len()), (1, 2));
        fs::remove_dir_all(&top).unwrap();
    }
}
