//! What a daemon that is started anew must know of an agent: one small file for each, in the run directory,
//! which the next boot empties.
//!
//! Must not know how a process is found to be alive.

use crate::supervisor::machine::Rest;
use crate::supervisor::options::Launch;
use crate::supervisor::report::LastExit;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Longest file that is read: a command and an environment at their largest (execve(2)) fit.
const LIMIT: u64 = 4 << 20;

/// An agent's last process, and where the agent has been left to stay. The number alone does not identify a
/// process, since numbers come again; with the start time it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::supervisor) struct Record {
    /// The leader's number; 0 once nothing is left of it and its group.
    pub(in crate::supervisor) pid: u32,
    /// When it was started, in clock ticks since boot.
    pub(in crate::supervisor) start_time: u64,
    /// Its session, which is that of all in its group, as the kernel tells it: 0 where the session was begun outside
    /// this container. `None` if it is not known.
    #[serde(default)]
    pub(in crate::supervisor) session: Option<i32>,
    /// Which run of the agent's unit it is, if systemd has made it.
    #[serde(default)]
    pub(in crate::supervisor) run: Option<u64>,
    /// Whether it has ended and that has been told.
    #[serde(default)]
    pub(in crate::supervisor) ended: bool,
    /// What it was made from.
    pub(in crate::supervisor) launch: Launch,
    /// Where the agent stays.
    #[serde(default)]
    pub(in crate::supervisor) rest: Option<Rested>,
    /// In which boot that was.
    #[serde(default)]
    pub(in crate::supervisor) boot: Option<String>,
}

/// An agent that stays where it is, or will once nothing is left of its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::supervisor) struct Rested {
    /// Where.
    pub(in crate::supervisor) rest: Rest,
    /// How its last process ended.
    pub(in crate::supervisor) last_exit: Option<LastExit>,
}

/// Where an agent's record is.
pub(in crate::supervisor) fn path(folder: &Path, agent: &str) -> PathBuf {
    folder.join(format!("{agent}.json"))
}

impl Record {
    /// Of no process.
    pub(in crate::supervisor) const fn empty(launch: Launch) -> Self {
        Self {
            pid: 0,
            start_time: 0,
            session: None,
            run: None,
            ended: true,
            launch,
            rest: None,
            boot: None,
        }
    }

    /// Whether this is a run of the agent's unit whose end has been told.
    pub(in crate::supervisor) fn has_told(&self, run: u64) -> bool {
        self.ended && self.run == Some(run)
    }

    /// Whether it is of a run of the agent's unit that has not been told to have ended. It is over if that is the
    /// unit's last run, or systemd knows of none (0): it forgets units that are down.
    pub(in crate::supervisor) fn is_untold(&self, last_run: u64) -> bool {
        !self.ended && self.run.is_some_and(|run| [0, run].contains(&last_run))
    }

    /// Whether its process, if that lives, is to end for good.
    pub(in crate::supervisor) const fn is_stopping(&self) -> bool {
        !self.ended && self.rest.is_some()
    }

    /// Whether there is nothing in it that the next daemon needs.
    pub(in crate::supervisor) const fn is_empty(&self) -> bool {
        self.pid == 0 && self.run.is_none() && self.rest.is_none()
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
    use crate::supervisor::policy::Reason;
    use std::time::{Duration, UNIX_EPOCH};

    fn launch() -> Launch {
        Launch {
            program: "true".to_owned(),
            arguments: vec!["\u{fc}\n".to_owned()],
            directory: "/".into(),
            environment: [("A".to_owned(), "=".to_owned())].into(),
            user: None,
            limits: Limits { address_space: Some(7), ..Limits::default() },
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = std::env::temp_dir().join(format!("musterd-record-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = path(&folder, "a.b");
        assert_eq!(Record::read(&path).unwrap(), None);
        let at = UNIX_EPOCH + Duration::from_secs(9);
        let last_exit = LastExit { reason: Reason::SpawnFailed, detail: "no".to_owned(), at };
        let rest = Some(Rested { rest: Rest::Failed, last_exit: Some(last_exit) });
        let boot = Some("this one".to_owned());
        let end = Record { run: Some(5), rest, boot, ..Record::empty(launch()) };
        assert!(end.has_told(5) && !end.has_told(6) && !end.is_empty());
        end.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), Some(end));
        let start_time = u64::MAX;
        let lives = Record { pid: 7, start_time, ended: false, ..Record::empty(launch()) };
        lives.write(&path).unwrap();
        lives.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), Some(lives));
        assert_eq!(names(&folder), ["a.b"]);
        for rubbish in ["", "{", "[]", "{\"pid\":1}", "{\"pid\":-1,\"start_time\":1}"] {
            std::fs::write(&path, rubbish).unwrap();
            assert!(Record::read(&path).is_err(), "{rubbish}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_end_that_is_not_told_is_news() {
        let run = Record { run: Some(5), ended: false, ..Record::empty(launch()) };
        assert!(!run.has_told(5) && !run.is_stopping());
        assert!(run.is_untold(5) && run.is_untold(0) && !run.is_untold(6));
        assert!(!Record::empty(launch()).is_untold(0));
        assert!(!run.is_empty() && Record::empty(launch()).is_empty());
    }
}
