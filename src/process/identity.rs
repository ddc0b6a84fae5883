//! Who a process is, found out in its folder when a rule asks for it.
//!
//! Must not know rules.

use super::name::Asked;
use super::scan::Folder;
use super::stat;
use crate::{accounts, cgroup};
use std::cell::OnceCell;
use std::ffi::CStr;

/// No more of a command line is looked at, in bytes.
const LONGEST: u64 = 1 << 20;

/// A process that is asked who it is.
pub(super) struct Identity<'p> {
    pid: u32,
    comm: String,
    folder: &'p Folder,
    arguments: OnceCell<String>,
}

impl<'p> Identity<'p> {
    pub(super) fn new(pid: u32, comm: &[u8], folder: &'p Folder) -> Self {
        let comm = String::from_utf8_lossy(comm).into_owned();
        Self { pid, comm, folder, arguments: OnceCell::new() }
    }

    fn read(&self, file: &CStr) -> String {
        let mut buffer = Vec::new();
        let text = self.folder.read(file, &mut buffer).unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

impl Asked for Identity<'_> {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn comm(&self) -> &str {
        &self.comm
    }

    fn arguments(&self) -> &str {
        self.arguments.get_or_init(|| {
            let text = self.folder.read_long(c"cmdline", LONGEST).unwrap_or_default();
            String::from_utf8_lossy(&text).into_owned()
        })
    }

    fn user(&self) -> String {
        let uid = stat::parse_effective_uid(self.read(c"status").as_bytes());
        let name = |uid| accounts::user_names(uid).into_iter().next();
        uid.map_or_else(String::new, |uid| name(uid).unwrap_or_else(|| uid.to_string()))
    }

    fn cgroup(&self) -> String {
        cgroup::path_of(&self.read(c"cgroup")).unwrap_or_default().to_owned()
    }

    fn unit(&self) -> String {
        cgroup::unit_of(&self.read(c"cgroup")).unwrap_or_default().to_owned()
    }
}
