//! Users by name, from `/etc/passwd` (passwd(5)). Users of other sources (LDAP) are not known.

use std::path::PathBuf;

/// What a process needs to run as a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: PathBuf,
}

/// Looks a user up.
///
/// # Errors
/// What was wanted, with the name.
pub(super) fn find(name: &str) -> Result<User, String> {
    let path = "/etc/passwd";
    let text = std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    parse(&String::from_utf8_lossy(&text), name)
        .ok_or_else(|| format!("user {name:?} is not in {path}"))
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
