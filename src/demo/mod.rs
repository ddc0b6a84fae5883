//! The demonstration: a daemon with settings of its own, and three example agents that do real
//! work with real outcomes.
//!
//! Must not know anything that a user could not do with the configuration and the client crate.

mod chance;
mod hasher;
mod solver;
mod worker;

use crate::{config, daemon};
use musterd_client::Agent;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What it is called, and what it does for ever.
type Example = (&'static str, fn(&Agent) -> String);

const EXAMPLES: [Example; 3] =
    [("hasher", hasher::run), ("solver", solver::run), ("worker", worker::run)];

/// Runs the daemon with the examples, until it is told to end.
///
/// # Errors
/// What could not be made or served.
pub fn run(listen: SocketAddr) -> Result<(), String> {
    let folder = make_folder()?;
    let program = std::env::current_exe()
        .map_err(|error| format!("cannot find this program's own file: {error}"))?;
    let text = settings(listen, &folder, &program);
    let config = config::parse(&[("demo settings", &text)]).map_err(|error| error.to_string())?;
    let socket = config.agents.socket.display();
    let text = format!(
        "metrics  http://{listen}/metrics\n\
         health   http://{listen}/health\n\
         agents   http://{listen}/api/v1/agents\n\
         socket   {socket}\n\
         Three agents report: hasher, solver, and worker, which crashes now and then.\n\
         End with Ctrl-C."
    );
    // Whoever reads may have gone; the daemon goes on.
    let _ = writeln!(std::io::stdout(), "{text}");
    daemon::run(config, None)
}

/// Is one of the examples.
///
/// # Errors
/// What it cannot work without, or that there is none of this name.
pub fn be(name: &str) -> Result<(), String> {
    let (_, work) = EXAMPLES
        .iter()
        .find(|(example, _)| *example == name)
        .ok_or_else(|| format!("no example agent {name:?}"))?;
    let agent = Agent::builder(name).version(env!("CARGO_PKG_VERSION")).framework("demo").start();
    Err(work(&agent))
}

/// A folder that no other user can have laid out for us.
fn make_folder() -> Result<PathBuf, String> {
    let uid = rustix::process::getuid().as_raw();
    let folder = std::env::temp_dir().join(format!("musterd-demo-{uid}"));
    let failed = |what: &str| format!("{what} {}", folder.display());
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(&format!("cannot make a folder ({error}):"))),
    }
    let found = fs::symlink_metadata(&folder)
        .map_err(|error| failed(&format!("cannot look at ({error}):")))?;
    let owner = std::os::unix::fs::MetadataExt::uid(&found);
    if !found.is_dir() || owner != uid {
        return Err(failed("not a folder of this user's own:"));
    }
    Ok(folder)
}

fn settings(listen: SocketAddr, folder: &Path, program: &Path) -> String {
    // TOML's basic strings take what Rust's debug form writes for any path that is text.
    let path = |path: PathBuf| format!("{:?}", path.display().to_string());
    let mut text = format!(
        "[http]\nlisten = [\"{listen}\"]\n\
         [paths]\nrun = {}\nstate = {}\n\
         [agents]\nsocket = {}\n\
         [agents.supervision]\nbackoff_initial = \"500ms\"\nbackoff_max = \"5s\"\nstart_limit = 0\n",
        path(folder.join("run")),
        path(folder.join("state")),
        path(folder.join("agent.sock")),
    );
    for (name, _) in EXAMPLES {
        text += &format!(
            "[[agent]]\nname = {name:?}\ncommand = [{}, \"demo\", \"--agent\", {name:?}]\n\
             restart = \"always\"\n",
            path(program.to_owned()),
        );
    }
    text
}
