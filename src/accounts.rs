//! Users and groups by name, from `/etc/passwd` (passwd(5)) and `/etc/group` (group(5)). Those of other
//! sources (LDAP) are not known.
//!
//! Must not know what anybody may do.

use std::path::PathBuf;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// What a process needs to run as a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// Its own group.
    pub gid: u32,
    /// Its home folder.
    pub home: PathBuf,
}

/// Looks a user up.
///
/// # Errors
/// What was wanted, with the name.
pub fn user(name: &str) -> Result<User, String> {
    parse(&read(PASSWD)?, name).ok_or_else(|| format!("user {name:?} is not in {PASSWD}"))
}

/// Looks a group up: its number.
///
/// # Errors
/// What was wanted, with the name.
pub fn group(name: &str) -> Result<u32, String> {
    entries(&read(GROUP)?)
        .find_map(|(found, gid)| (found == name && !name.is_empty()).then_some(gid))
        .ok_or_else(|| format!("group {name:?} is not in {GROUP}"))
}

/// The names of a user; none where it has no entry.
#[must_use]
pub fn user_names(uid: u32) -> Vec<String> {
    names(&read(PASSWD).unwrap_or_default(), &[uid])
}

/// The names of groups, of those that have an entry.
#[must_use]
pub fn group_names(gids: &[u32]) -> Vec<String> {
    names(&read(GROUP).unwrap_or_default(), gids)
}

fn read(path: &str) -> Result<String, String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn names(text: &str, numbers: &[u32]) -> Vec<String> {
    let found = entries(text).filter(|(_, number)| numbers.contains(number));
    found.map(|(name, _)| name.to_owned()).collect()
}

/// Name and number, which are at the same place in both files.
fn entries(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?))
    })
}

fn parse(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name || name.is_empty() {
            return None;
        }
        let _password = fields.next()?;
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let _comment = fields.next()?;
        Some(User { uid, gid, home: fields.next()?.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_root() {
        assert_eq!((user("root").unwrap().uid, group("root").unwrap()), (0, 0));
        assert!(group("").is_err() && group("no such group").is_err());
        assert!(user_names(0).contains(&"root".to_owned()));
        assert_eq!(names("a:x:1:m\nb:x:2:\nc:x\n\nd:x:1:", &[1]), ["a", "d"]);
    }

    #[test]
    fn users_are_found_by_their_whole_name() {
        let passwd = "bad\nann:x:12\nannie:x:70:71:Annie:/home/annie:/bin/sh\nann:x:7:8::/a:\n";
        let ann = User { uid: 7, gid: 8, home: "/a".into() };
        assert_eq!(parse(passwd, "ann"), Some(ann));
        for absent in ["", "bad", "an", "x", "bob"] {
            assert_eq!(parse(passwd, absent), None, "{absent}");
        }
        assert_eq!(parse("ann:x:99999999999:1::/:", "ann"), None);
    }
}
