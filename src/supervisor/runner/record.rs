//! What a daemon that is started anew must know of a running agent: one small file for each, in
//! the run directory, which the next boot empties.
//!
//! Must not know how a process is found to be alive.

use crate::supervisor::options::Launch;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Longest file that is read: a command and an environment at their largest (execve(2)) fit.
const LIMIT: u64 = 4 << 20;

/// A running agent's process. The number alone does not identify it, since numbers come again;
/// with the start time it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::supervisor) struct Record {
    /// The leader's number.
    pub(in crate::supervisor) pid: u32,
    /// When it was started, in clock ticks since boot.
    pub(in crate::supervisor) start_time: u64,
    /// What it was made from.
    pub(in crate::supervisor) launch: Launch,
    /// Which run of its unit it was, once it has ended and that has been told.
    #[serde(default)]
    pub(in crate::supervisor) told: Option<u64>,
}

/// Where an agent's record is.
pub(in crate::supervisor) fn path(folder: &Path, agent: &str) -> PathBuf {
    folder.join(format!("{agent}.json"))
}

impl Record {
    /// Of a run of the agent's unit whose end has been told: no process is to be found by it.
    pub(in crate::supervisor) const fn of_the_end(run: u64, launch: Launch) -> Self {
        Self { pid: 0, start_time: 0, launch, told: Some(run) }
    }

    /// Whether this is the run whose end has been told.
    pub(in crate::supervisor) fn has_told(&self, run: u64) -> bool {
        self.told == Some(run)
    }

    /// Writes the file, whole or not at all. It is the owner's alone: environments hold secrets.
    ///
    /// # Errors
    /// What the kernel said.
    pub(in crate::supervisor) fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("json.new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        std::fs::rename(&new, path)
    }

    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// What the kernel said, or what is wrong with the text.
    pub(in crate::supervisor) fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = Vec::new();
        file.take(LIMIT).read_to_end(&mut text)?;
        Ok(Some(serde_json::from_slice(&text)?))
    }
}

/// The names of all agents that have a record.
pub(in crate::supervisor) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let name = |entry: std::fs::DirEntry| {
        Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned())
    };
    entries.flatten().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::limits::Limits;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = std::env::temp_dir().join(format!("musterd-record-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = path(&folder, "a.b");
        assert_eq!(Record::read(&path).unwrap(), None);
        let launch = Launch {
            program: "true".to_owned(),
            arguments: vec!["\u{fc}\n".to_owned()],
            directory: "/".into(),
            environment: [("A".to_owned(), "=".to_owned())].into(),
            user: None,
            limits: Limits { address_space: Some(7), ..Limits::default() },
        };
        let end = Record::of_the_end(5, launch.clone());
        assert!(end.has_told(5) && !end.has_told(6));
        end.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), Some(end));
        let record = Record { pid: 7, start_time: u64::MAX, launch, told: None };
        assert!(!record.has_told(5), "it may have ended since");
        record.write(&path).unwrap();
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), Some(record));
        assert_eq!(names(&folder), ["a.b"]);
        for rubbish in ["", "{", "[]", "{\"pid\":1}", "{\"pid\":-1,\"start_time\":1}"] {
            std::fs::write(&path, rubbish).unwrap();
            assert!(Record::read(&path).is_err(), "{rubbish}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
