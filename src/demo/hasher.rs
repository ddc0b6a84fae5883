//! Computes the checksum of every file of a folder tree, again and again. Links that lead nowhere
//! and files that may not be read are its failures.

use musterd_client::Agent;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

const TREE: &str = "/etc";
/// Beside the tree, what is there to be found on any machine and cannot be read by anyone.
const UNREADABLE: [&str; 2] = ["/proc/self/mem", "/nonexistent/file"];
const PAUSE: Duration = Duration::from_millis(20);

pub(super) fn run(agent: &Agent) -> String {
    loop {
        let mut folders = VecDeque::from([PathBuf::from(TREE)]);
        for path in UNREADABLE {
            hash(agent, Path::new(path));
        }
        while let Some(folder) = folders.pop_front() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push_back(entry.path()),
                    _ => hash(agent, &entry.path()),
                }
            }
        }
        println!("the tree {TREE} is done");
    }
}

fn hash(agent: &Agent, path: &Path) {
    let request = agent.begin();
    match checksum(path) {
        Ok(_) => request.success(),
        Err(error) => request.error(match error.kind() {
            io::ErrorKind::NotFound => "not_found",
            io::ErrorKind::PermissionDenied => "permission",
            _ => "io",
        }),
    }
    std::thread::sleep(PAUSE);
}

fn checksum(path: &Path) -> io::Result<u32> {
    let mut file = File::open(path)?;
    let mut crc = flate2::Crc::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(crc.sum()),
            count => crc.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}
