//! What a child does to itself before it runs its program: limits, identity and folder. After that it would
//! be too late: a program may have opened files, and started others, before its parent comes to it.

use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a limit bounds (setrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `RLIMIT_NOFILE`.
    OpenFiles,
    /// `RLIMIT_NPROC`.
    Processes,
    /// `RLIMIT_AS`, in bytes.
    AddressSpace,
}

/// Who a process is from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Number of the user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// All groups that it is in besides.
    pub groups: Vec<u32>,
}

/// What a child is to do, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preparation {
    /// Soft and hard limits, the last of a resource in force; `u64::MAX` is none. One that the kernel refuses is
    /// passed over.
    pub limits: Vec<(Resource, u64, u64)>,
    /// Whom to become.
    pub identity: Option<Identity>,
    /// The folder to be in.
    pub directory: CString,
}

/// Has a command's process prepare itself before it runs the program. What fails of identity and folder, fails
/// the spawn.
pub fn prepare(command: &mut Command, preparation: Preparation) {
    let prepare = move || {
        for (resource, soft, hard) in &preparation.limits {
            let resource = match resource {
                Resource::OpenFiles => libc::RLIMIT_NOFILE,
                Resource::Processes => libc::RLIMIT_NPROC,
                Resource::AddressSpace => libc::RLIMIT_AS,
            };
            let limit = libc::rlimit { rlim_cur: *soft, rlim_max: *hard };
            // SAFETY: the structure outlives the call, which only reads it.
            #[allow(unsafe_code)]
            unsafe {
                libc::setrlimit(resource, &raw const limit);
            }
        }
        if let Some(Identity { uid, gid, groups }) = &preparation.identity {
            // SAFETY: the list is as long as is said; the other calls take numbers alone.
            #[allow(unsafe_code)]
            unsafe {
                done(libc::setgroups(groups.len(), groups.as_ptr()))?;
                done(libc::setresgid(*gid, *gid, *gid))?;
                done(libc::setresuid(*uid, *uid, *uid))?;
            }
        }
        // SAFETY: the path ends in a zero, and outlives the call.
        #[allow(unsafe_code)]
        unsafe {
            done(libc::chdir(preparation.directory.as_ptr()))
        }
    };
    // SAFETY: between fork and exec only system calls are made that are safe there (signal-safety(7)), and
    // nothing is allocated or locked: an error is a number.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(prepare);
    }
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(script: &str, preparation: Preparation) -> io::Result<String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        prepare(&mut command, preparation);
        Ok(String::from_utf8_lossy(&command.output()?.stdout).trim().to_owned())
    }

    #[test]
    fn a_program_finds_its_limits_and_folder_at_once() -> io::Result<()> {
        let limits = vec![(Resource::OpenFiles, 100, 100), (Resource::OpenFiles, 64, 64)];
        let prepared = Preparation { limits, identity: None, directory: c"/usr".into() };
        assert_eq!(say("ulimit -Hn; pwd", prepared.clone())?, "64\n/usr");
        let nowhere = Preparation { directory: c"/nonexistent".into(), ..prepared };
        let kind = say("true", nowhere).map_err(|error| error.kind());
        assert_eq!(kind, Err(io::ErrorKind::NotFound));
        Ok(())
    }

    #[test]
    fn root_becomes_another_with_the_groups_that_are_given() -> io::Result<()> {
        let identity = Some(Identity { uid: 65534, gid: 65534, groups: vec![65534, 7] });
        let prepared = Preparation { identity, directory: c"/".into(), ..Preparation::default() };
        match say("id -u; id -G", prepared) {
            Ok(said) => assert_eq!(said, "65534\n65534 7"),
            // Not run by root.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
        Ok(())
    }
}
