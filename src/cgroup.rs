//! What `/proc/<pid>/cgroup` says of a process (cgroups(7)): its cgroup, and the unit of systemd's that
//! this is.
//!
//! Pure. Must not know whose process it is, nor what the answer is for.

/// What may have processes, besides slices.
const UNIT_KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// The system's unit that a process belongs to: the first part of its path that is no slice, as
/// systemd.unit(5) lays them out. What lies below is the unit's own: a user's service is of the unit
/// `user@1000.service`, whatever the user has named it.
#[must_use]
pub fn unit_of(text: &str) -> Option<&str> {
    // Version 2, and systemd's own hierarchy of version 1.
    let laid_out = lines(text).filter(|(hierarchy, _)| ["", "name=systemd"].contains(hierarchy));
    laid_out.map(|(_, path)| path).find_map(|path| {
        let first = path.split('/').skip(1).find(|part| !part.ends_with(".slice"))?;
        UNIT_KINDS.iter().any(|kind| first.ends_with(kind)).then_some(first)
    })
}

/// The path of a process's cgroup: where there are several hierarchies (version 1), the longest, as in some
/// of them a process may be at the top.
#[must_use]
pub fn path_of(text: &str) -> Option<&str> {
    lines(text).map(|(_, path)| path).max_by_key(|path| path.len())
}

/// Each hierarchy, by its controllers or its name, and the process's path in it.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_the_systems_own() {
        for (text, unit) in [
            ("0::/system.slice/billing.service\n", Some("billing.service")),
            ("0::/a.slice/a-b.slice/x@1.service/inner/y.service\n", Some("x@1.service")),
            ("0::/init.scope\n", Some("init.scope")),
            (
                "0::/user.slice/user-7.slice/user@7.service/app.slice/billing.service\n",
                Some("user@7.service"),
            ),
            (
                "3:cpu:/x.service\n1:name=systemd:/system.slice/old.service\n0::/\n",
                Some("old.service"),
            ),
            ("0::/docker/0123.service/x.service\n", None),
            ("0::/../billing.service\n", None),
            ("0::billing.service", None),
            ("0:/system.slice/a.service\n", None),
            ("\n::\n:", None),
        ] {
            assert_eq!(unit_of(text), unit, "{text:?}");
        }
    }

    #[test]
    fn the_path_is_of_the_hierarchy_in_use() {
        for (text, path) in [
            ("0::/docker/0123\n", Some("/docker/0123")),
            ("0::/\n", Some("/")),
            ("3:cpu:/\n1:name=systemd:/docker/0123\n0::/\n", Some("/docker/0123")),
            ("3:cpu,cpuacct:/x\n", Some("/x")),
            ("", None),
        ] {
            assert_eq!(path_of(text), path, "{text:?}");
        }
    }
}
