//! What an installation consists of: the configuration, the unit, the agent socket, the folders.
//!
//! Must not know what any of it does.

use super::finding::Finding;
use super::{fail, pass, systemd, warn};
use crate::config;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

const UNIT: &str = "musterd.service";
const SOCKET_UNIT: &str = "musterd.socket";
/// Less room than this for what is kept is too little, in bytes.
const LITTLE_ROOM: u64 = 64 << 20;

/// Whether others than its owner may write to it. The group `root` is as good as the owner.
fn is_open_to_others(metadata: &Metadata) -> bool {
    let mode = metadata.mode();
    mode & 0o002 != 0 || (mode & 0o020 != 0 && metadata.gid() != 0)
}

/// The configuration's faults, and who could change it.
pub(super) fn configuration(path: &Path) -> Finding {
    let (check, file) = ("configuration", path.display());
    let config = match config::load(Some(path)) {
        Ok(config) => config,
        Err(error) => {
            let fix = if matches!(path.try_exists(), Ok(false)) {
                "say by --config where it is, or copy /usr/share/musterd/musterd.toml there"
                    .to_owned()
            } else {
                format!("mend it, until `musterd check-config {file}` finds no fault")
            };
            return fail(check, error.to_string(), fix);
        }
    };
    let folder = path.parent().map(|folder| folder.join("conf.d"));
    let mut places = vec![path.to_owned()];
    places.extend(folder.filter(|folder| folder.is_dir()));
    let open = places
        .iter()
        .find(|place| fs::metadata(place).is_ok_and(|metadata| is_open_to_others(&metadata)));
    if let Some(place) = open {
        let place = place.display();
        let what = format!("others than its owner may write to {place}, and so have agents run");
        return fail(check, what, format!("chmod go-w {place}"));
    }
    let enabled = config.collectors.iter().filter(|plan| plan.enabled).count();
    let agents = config.definitions.len();
    pass(check, format!("{file}: no fault; {enabled} collectors, {agents} agents"))
}

/// The service, by what systemd says of it.
pub(super) fn unit() -> Finding {
    let check = "unit";
    if !systemd::is_booted() {
        return pass(check, "no systemd on this machine");
    }
    let properties = ["LoadState", "ActiveState", "UnitFileState", "NRestarts", "NeedDaemonReload"];
    match systemd::show(UNIT, &properties) {
        Ok(shown) => judge_unit(&shown),
        Err((what, fix)) => warn(check, what, fix),
    }
}

/// Judges the lines of `systemctl show`.
fn judge_unit(shown: &str) -> Finding {
    let check = "unit";
    let value = |name: &str| systemd::value(shown, name);
    if value("LoadState") != "loaded" {
        let what = format!("{UNIT} is {}", value("LoadState"));
        return warn(check, what, "install the package, or run the daemon by other means");
    }
    if value("ActiveState") != "active" {
        let what = format!("{UNIT} is {}", value("ActiveState"));
        let fix = format!("systemctl start {UNIT}; if it fails: journalctl -u {UNIT}");
        return fail(check, what, fix);
    }
    if value("NeedDaemonReload") == "yes" {
        let what = format!("{UNIT} runs by an older version of its unit file");
        return warn(check, what, format!("systemctl daemon-reload && systemctl restart {UNIT}"));
    }
    if value("UnitFileState") != "enabled" {
        let what = format!("{UNIT} runs, but is {} at boot", value("UnitFileState"));
        return warn(check, what, format!("systemctl enable {UNIT}"));
    }
    match value("NRestarts") {
        "" | "0" => pass(check, format!("{UNIT} is active and enabled")),
        times => {
            let what = format!("{UNIT} is active; systemd has restarted it {times} times");
            warn(check, what, format!("journalctl -u {UNIT} says why"))
        }
    }
}

/// The socket that agents report to.
pub(super) fn socket(path: &Path) -> Finding {
    let (check, file) = ("agent socket", path.display());
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let what = format!("this user may not look for {file}");
            return warn(check, what, "run this as root, or as a member of the group musterd");
        }
        Err(error) => return no_socket(path, &error, "start the daemon, which makes it"),
    };
    if !metadata.file_type().is_socket() {
        return fail(check, format!("{file} is no socket"), "remove it and restart the daemon");
    }
    let mode = metadata.mode() & 0o777;
    match UnixStream::connect(path) {
        Ok(_) if mode & 0o002 != 0 => {
            let what = format!("{file} has mode {mode:03o}: every user may report");
            warn(check, what, "set [agents] socket_mode, or SocketMode= of musterd.socket, to 0660")
        }
        Ok(_) => pass(check, format!("{file} takes connections, mode {mode:03o}")),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let what = format!("{file} is not open to this user (mode {mode:03o})");
            warn(check, what, "run this as root, or as a member of the socket's group")
        }
        Err(error) => no_socket(path, &error, "nobody listens there: start the daemon"),
    }
}

/// `fix` is for a daemon that makes the socket itself.
fn no_socket(path: &Path, error: &std::io::Error, fix: &str) -> Finding {
    let shown = systemd::is_booted()
        .then(|| systemd::show(SOCKET_UNIT, &["LoadState", "ActiveState", "Listen"]).ok())
        .flatten();
    let (what, fix) = judge_socket_unit(path, shown.as_deref().unwrap_or_default())
        .unwrap_or_else(|| (String::new(), fix.to_owned()));
    fail("agent socket", format!("{}: {error}{what}", path.display()), fix)
}

/// Where systemd makes the socket: what it does instead, and the fix for that.
fn judge_socket_unit(path: &Path, shown: &str) -> Option<(String, String)> {
    if systemd::value(shown, "LoadState") != "loaded" {
        return None;
    }
    let state = systemd::value(shown, "ActiveState");
    if state != "active" {
        let fix = format!("systemctl restart {UNIT}, which starts {SOCKET_UNIT} first");
        return Some((format!("; {SOCKET_UNIT} is {state}"), fix));
    }
    let listen = systemd::value(shown, "Listen");
    let listen = listen.split_once(" (").map_or(listen, |(place, _)| place);
    let restart = format!("systemctl restart {SOCKET_UNIT} {UNIT}");
    if Path::new(listen) == path {
        return Some((format!(", though {SOCKET_UNIT} is active"), restart));
    }
    let what = format!("; the daemon has the socket of {SOCKET_UNIT}, {listen}");
    let fix = format!(
        "set [agents] socket = {listen:?}, or ListenStream= by `systemctl edit {SOCKET_UNIT}`; then \
         {restart}"
    );
    Some((what, fix))
}

/// The folders that the daemon writes to.
pub(super) fn folders(run: &Path, state: &Path) -> Finding {
    let check = "folders";
    let mut owners = Vec::new();
    for folder in [run, state] {
        let shown = folder.display();
        let metadata = match fs::metadata(folder) {
            Ok(metadata) => metadata,
            Err(error) => {
                let fix = format!("make {shown}, owned by the daemon's user");
                return fail(check, format!("{shown}: {error}"), fix);
            }
        };
        if is_open_to_others(&metadata) {
            let what = format!("others than the daemon may write to {shown}");
            return fail(check, what, format!("chmod go-w {shown}"));
        }
        owners.push(metadata.uid());
    }
    let (run, state) = (run.display(), state.display());
    if let [of_run, of_state] = owners.as_slice()
        && of_run != of_state
    {
        let what = format!("{run} belongs to user {of_run}, {state} to user {of_state}");
        return fail(check, what, "have both belong to the daemon's user (chown)");
    }
    // What cannot be asked for is no fault of the folder.
    let room = rustix::fs::statvfs(state.to_string().as_str());
    let room = room.map_or(u64::MAX, |room| room.f_bavail.saturating_mul(room.f_frsize));
    if room < LITTLE_ROOM {
        let what = format!("{state} has {} MiB left", room >> 20);
        return warn(check, what, "make room there: totals of agents are kept in it");
    }
    pass(check, format!("{run} and {state} are the daemon's own"))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_unit_is_judged_by_what_systemd_says() {
        let good = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNRestarts=0\n\
                    NeedDaemonReload=no\n";
        assert_eq!(judge_unit(good).verdict, Verdict::Pass);
        for (from, to, verdict, part) in [
            ("LoadState=loaded", "LoadState=not-found", Verdict::Warn, "not-found"),
            ("ActiveState=active", "ActiveState=failed", Verdict::Fail, "failed"),
            ("UnitFileState=enabled", "UnitFileState=disabled", Verdict::Warn, "disabled at boot"),
            ("NRestarts=0", "NRestarts=3", Verdict::Warn, "restarted it 3 times"),
            ("NeedDaemonReload=no", "NeedDaemonReload=yes", Verdict::Warn, "older version"),
        ] {
            let found = judge_unit(&good.replace(from, to));
            assert_eq!(found.verdict, verdict, "{to}");
            assert!(found.what.contains(part) && found.fix.is_some(), "{found:?}");
        }
        assert_eq!(judge_unit("").verdict, Verdict::Warn);
    }

    #[test]
    fn a_socket_that_systemd_makes_elsewhere_is_named() {
        let judge = |shown: &str| judge_socket_unit(Path::new("/run/musterd/a.sock"), shown);
        assert_eq!(judge(""), None);
        assert_eq!(judge("LoadState=not-found\nActiveState=inactive\n"), None);
        let (what, fix) = judge("LoadState=loaded\nActiveState=inactive\n").unwrap();
        assert_eq!(what, "; musterd.socket is inactive");
        assert!(fix.starts_with("systemctl restart musterd.service"), "{fix}");
        let active = |listen: &str| {
            judge(&format!("LoadState=loaded\nActiveState=active\nListen={listen} (Stream)\n"))
        };
        let (what, fix) = active("/run/musterd/agent.sock").unwrap();
        assert!(what.ends_with("musterd.socket, /run/musterd/agent.sock"), "{what}");
        assert!(fix.contains("systemctl edit musterd.socket"), "{fix}");
        assert!(fix.ends_with("systemctl restart musterd.socket musterd.service"), "{fix}");
        let (what, fix) = active("/run/musterd/a.sock").unwrap();
        assert!(what.contains("is active") && fix.starts_with("systemctl restart"), "{what} {fix}");
    }

    #[test]
    fn files_that_others_may_write_to_are_found() {
        let folder = std::env::temp_dir().join(format!("musterd-doctor-{}", std::process::id()));
        fs::create_dir_all(folder.join("run")).unwrap();
        fs::create_dir_all(folder.join("state")).unwrap();
        let file = folder.join("musterd.toml");
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        set(&file, 0o644);
        assert_eq!(configuration(&file).verdict, Verdict::Pass);
        set(&file, 0o646);
        assert_eq!(configuration(&file).verdict, Verdict::Fail);
        let (run, state) = (folder.join("run"), folder.join("state"));
        set(&run, 0o755);
        set(&state, 0o750);
        assert_ne!(folders(&run, &state).verdict, Verdict::Fail);
        set(&state, 0o757);
        assert_eq!(folders(&run, &state).verdict, Verdict::Fail);
        assert_eq!(folders(&run, &folder.join("none")).verdict, Verdict::Fail);
        fs::write(&file, "colour = 1").unwrap();
        assert!(configuration(&file).what.contains("musterd.toml:1:1"), "says where");
        assert_eq!(socket(&file).what, format!("{} is no socket", file.display()));
        fs::remove_dir_all(&folder).unwrap();
    }
}
