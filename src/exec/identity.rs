//! Becomes another user, for good.
//!
//! Must not know for what.

use crate::accounts::User;
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};

/// Takes a user's number and group, and besides them only the groups that the unit has added
/// (`SupplementaryGroups=`). What only root may do is given up with them.
///
/// # Errors
/// This process is neither root nor the user, or the kernel does not allow it.
pub(super) fn take(name: &str, user: &User) -> Result<(), String> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let failed = |what: &str, error| format!("cannot become user {name:?}: {what}: {error}");
    if !Uid::effective().is_root() {
        if Uid::effective() == uid {
            return Ok(());
        }
        return Err(format!("cannot become user {name:?}: not run by root"));
    }
    let given = getgroups().map_err(|error| failed("getgroups", error))?;
    setgroups(&groups(gid, &given)).map_err(|error| failed("setgroups", error))?;
    setresgid(gid, gid, gid).map_err(|error| failed("setresgid", error))?;
    setresuid(uid, uid, uid).map_err(|error| failed("setresuid", error))?;

    let users = getresuid().map_err(|error| failed("getresuid", error))?;
    let groups = getresgid().map_err(|error| failed("getresgid", error))?;
    let is_taken = [users.real, users.effective, users.saved] == [uid; 3]
        && [groups.real, groups.effective, groups.saved] == [gid; 3];
    // A way back would be a fault of the kernel's, or of this file.
    if !is_taken
        || (!uid.is_root()
            && setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok())
    {
        return Err(format!("cannot become user {name:?}: the change has not taken effect"));
    }
    Ok(())
}

/// The user's own group and those given, without root's.
fn groups(own: Gid, given: &[Gid]) -> Vec<Gid> {
    let others = given.iter().copied().filter(|gid| gid.as_raw() != 0 && *gid != own);
    std::iter::once(own).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_group_is_not_passed_on() {
        let list = |numbers: &[u32]| numbers.iter().map(|n| Gid::from_raw(*n)).collect::<Vec<_>>();
        assert_eq!(groups(Gid::from_raw(7), &list(&[0, 7, 9])), list(&[7, 9]));
        assert_eq!(groups(Gid::from_raw(7), &[]), list(&[7]));
    }

    #[test]
    fn only_root_becomes_another() {
        let own = Uid::effective();
        if own.is_root() {
            return;
        }
        let user = |uid| User { uid, gid: 1, home: "/".into() };
        assert_eq!(take("me", &user(own.as_raw())), Ok(()));
        assert!(take("root", &user(0)).unwrap_err().contains("not run by root"));
    }
}
