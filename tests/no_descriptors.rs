//! The next daemon has no descriptor left for its first look: what runs is not taken for dead. By itself in a file:
//! the limit is the whole process's.
#![allow(clippy::unwrap_used, clippy::panic)]

mod scene;

use musterd::supervisor::report::What;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scene::{Scene, lives, log_lines, until};
use std::fs::File;

#[tokio::test]
async fn a_process_that_cannot_be_looked_at_is_looked_for_again() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..limit }).unwrap();
    // How many are left: none, or one, for which the record, the process's line and its pidfd vie.
    for left in [0, 1] {
        let mut scene = Scene::new();
        let agent = scene.agent(&format!("unseen-{left}"), "exec sleep 1000");
        scene.supervisor.apply(vec![agent.clone()]);
        let pid = scene.started().await;
        scene.state(&agent.name, "running").await;
        let mut scene = scene.next_daemon().await;
        // What its output needs besides is there.
        let spare = File::open("/dev/null").unwrap();
        let mut fillers: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        fillers.truncate(fillers.len() - left);
        drop(spare);
        scene.supervisor.apply(vec![agent.clone()]);
        let said = format!("trying again agent=\"{}\"", agent.name);
        until(|| !log_lines(&said).is_empty()).await;
        drop(fillers);
        assert_eq!(scene.next().await, What::Adopted { pid });
        assert!(lives(pid));
        scene.end().await;
    }
}
