//! Whether root alone can have written a file, and so what is in it may be done as root.
//!
//! Must not know what is in it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Write permission of the group and of all others.
const OTHERS_WRITE: u32 = 0o022;

/// Checks a file and every folder that it lies in. After that, nobody but root can put anything else
/// in its place.
///
/// # Errors
/// Which of them is not root's alone, and why.
pub(crate) fn check(file: &Path) -> Result<(), String> {
    if !file.is_absolute() {
        return Err(format!("{}: wanted an absolute path", file.display()));
    }
    for place in file.ancestors() {
        let data = place.symlink_metadata();
        let data = data.map_err(|error| format!("{}: {error}", place.display()))?;
        judge(&data).map_err(|fault| {
            let place = place.display();
            format!("{place} {fault}; agents are run only from files that root alone can write")
        })?;
    }
    Ok(())
}

fn judge(data: &Metadata) -> Result<(), String> {
    let mode = data.mode() & 0o7777;
    if data.is_symlink() {
        // Whoever can write where it leads is not seen.
        Err("is a symbolic link".to_owned())
    } else if data.uid() != 0 {
        Err(format!("belongs to user {}", data.uid()))
    } else if mode & OTHERS_WRITE != 0 {
        Err(format!("has the mode {mode:04o}"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[test]
    fn what_others_can_write_is_refused() {
        assert!(check(Path::new("etc/passwd")).unwrap_err().contains("absolute"));
        let in_tmp = check(&std::env::temp_dir().join("nothing.toml")).unwrap_err();
        assert!(in_tmp.contains("No such file"), "{in_tmp}");
        if !rustix::process::geteuid().is_root() {
            return;
        }
        // A folder of root's own, whatever the one for temporary files is.
        let folder = Path::new("/var/lib").join(format!("musterd-trust-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let file = folder.join("a.toml");
        fs::write(&file, "").unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            check(&file)
        };
        let found = [
            mode(&file, 0o640),
            mode(&file, 0o660),
            mode(&file, 0o602),
            mode(&file, 0o600).and(mode(&folder, 0o770)),
            mode(&folder, 0o755).and({
                chown(&file, Some(1), None).unwrap();
                check(&file)
            }),
            {
                symlink("/etc/passwd", folder.join("b.toml")).unwrap();
                check(&folder.join("b.toml"))
            },
        ];
        fs::remove_dir_all(&folder).unwrap();
        let [good, group, others, dir, owner, link] = found;
        assert_eq!(good, Ok(()));
        assert!(group.unwrap_err().contains("a.toml has the mode 0660"));
        assert!(others.unwrap_err().contains("has the mode 0602"));
        assert!(dir.unwrap_err().contains("has the mode 0770"));
        assert!(owner.unwrap_err().contains("a.toml belongs to user 1;"));
        assert!(link.unwrap_err().contains("b.toml is a symbolic link"));
    }
}
