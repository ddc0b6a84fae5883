//! Accepting goes on after the process has run out of file descriptors. By itself in a file: the
//! limit is the whole process's.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod web;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::time::Duration;
use web::{Server, good, options, run, until};

#[test]
fn accepting_goes_on_after_descriptors_ran_out() {
    run(async {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..limit }).unwrap();
        let server = Server::start(options(), Duration::from_secs(60), vec![good("one")]).await;
        assert_eq!(server.get("/-/healthy").await.status, 200);
        until(|| server.own("musterd_http_connections") == 0.0).await;
        let mut fillers: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        // Room for the client's end of the connection, and none for the server's.
        fillers.pop();
        let mut client = server.connect().await;
        client.send(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(fillers);
        assert_eq!(client.reply(true).await.status, 200);
        assert_eq!(server.get("/metrics").await.status, 200);
        let errors =
            server.own("musterd_refused_total{reason=\"accept_error\",what=\"connections\"}");
        assert!((1.0..100.0).contains(&errors), "{errors}: it rests between attempts");
    });
}
