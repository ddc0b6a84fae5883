//! The HTTP side on a real socket: what is answered, and what misbehaving clients get.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod web;

use musterd::host::Error;
use musterd::http::Options;
use musterd::http::health::Status;
use std::io::Read;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;
use web::{Server, fake, good, options, run, until};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(400);

async fn server(options: Options) -> Server {
    Server::start(options, LONG, vec![good("one"), good("two")]).await
}

#[test]
fn formats_and_compression_are_negotiated() {
    run(async {
        let server = server(options()).await;
        let mut client = server.connect().await;
        let text = client.get("/metrics").await;
        assert_eq!(text.status, 200);
        assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(text.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(text.header("cache-control"), Some("no-store"));
        for line in [
            "agent_up{agent=\"solver\"} 1",
            "given{by=\"one\"} 1",
            "node_scrape_collector_success{collector=\"two\"} 1",
        ] {
            assert!(text.text().lines().any(|seen| seen == line), "{line}: {}", text.text());
        }
        let accept = "Accept: application/openmetrics-text; version=1.0.0\r\n";
        let openmetrics = client.request("GET", "/metrics", accept).await;
        assert!(openmetrics.header("content-type").unwrap().starts_with("application/openmetrics"));
        assert!(openmetrics.body.ends_with(b"# EOF\n"));
        assert_eq!(openmetrics.header("content-encoding"), None);
        let both = format!("{accept}Accept-Encoding: gzip\r\n");
        let packed = client.request("GET", "/metrics?collect[]=one", &both).await;
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut unpacked).unwrap();
        assert!(unpacked.contains("given{by=\"one\"} 1") && unpacked.ends_with("# EOF\n"));
    });
}

#[test]
fn head_is_get_without_a_body() {
    run(async {
        let server = server(options()).await;
        let mut client = server.connect().await;
        let path = "/metrics?collect[]=agents";
        let get = client.get(path).await;
        let head = client.request("HEAD", path, "").await;
        assert_eq!((head.status, head.header("content-type")), (200, get.header("content-type")));
        assert_eq!(head.header("content-length"), get.header("content-length"));
        assert_eq!(client.get(path).await.body, get.body, "the connection is in step");
    });
}

#[test]
fn every_endpoint_answers() {
    run(async {
        let server = server(options()).await;
        let mut client = server.connect().await;
        let landing = client.get("/").await;
        assert!(landing.text().contains("href=\"/metrics\""));
        assert_eq!(client.get("/-/healthy").await.status, 200);
        assert_eq!(client.get("/-/ready").await.status, 200);
        *server.node.ready.borrow_mut() = Err("the socket is not open yet".to_owned());
        let unready = client.get("/-/ready").await;
        assert_eq!((unready.status, unready.text()), (503, "the socket is not open yet\n"));
        for (status, word, code) in [
            (Status::Healthy, "healthy", 200),
            (Status::Degraded, "degraded", 200),
            (Status::Unhealthy, "unhealthy", 503),
        ] {
            *server.node.status.borrow_mut() = status;
            let health = client.get("/health").await;
            let json: serde_json::Value = serde_json::from_slice(&health.body).unwrap();
            assert_eq!((health.status, &json["status"]), (code, &word.into()));
            assert_eq!(health.header("content-type"), Some("application/json"));
        }
        *server.node.agents.borrow_mut() = serde_json::json!([{ "name": "solver" }]);
        assert_eq!(client.get("/api/v1/agents").await.text(), "[{\"name\":\"solver\"}]\n");
        assert_eq!(
            server.own("musterd_http_requests_total{code=\"503\",endpoint=\"/health\"}"),
            1.0
        );
    });
}

#[test]
fn what_is_not_there_or_not_allowed() {
    run(async {
        let server = server(options()).await;
        let mut client = server.connect().await;
        assert_eq!(client.get("/metricsx").await.status, 404);
        assert_eq!(client.get("//").await.status, 404);
        assert_eq!(client.get(&format!("/metrics?{}", "a".repeat(5000))).await.status, 414);
        let refused = client.request("DELETE", "/metrics", "").await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
        assert_eq!(server.own("musterd_http_requests_total{code=\"404\",endpoint=\"other\"}"), 2.0);
        let posted = server
            .connect()
            .await
            .request("POST", "/health", "Content-Length: 99999999999\r\n")
            .await;
        assert_eq!(posted.status, 405);
        let long = format!("X: {}\r\n", "x".repeat(20_000));
        assert_eq!(server.connect().await.request_head("GET", "/", &long).await, 431);
    });
}

#[test]
fn a_body_is_not_taken_for_a_request() {
    run(async {
        let server = server(options()).await;
        let mut client = server.connect().await;
        let body = "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
        let head = format!("GET /-/healthy HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        client.send(format!("{head}{body}").as_bytes()).await;
        assert_eq!(client.reply(true).await.status, 200);
        drop(client);
        assert_eq!(server.get("/-/healthy").await.status, 200);
        assert_eq!(server.own("musterd_http_requests_total{code=\"404\",endpoint=\"other\"}"), 0.0);
    });
}

#[test]
fn a_query_chooses_sources_or_is_refused() {
    run(async {
        let server = server(options()).await;
        let mut client = server.connect().await;
        let one = client.get("/metrics?collect%5B%5D=one&collect[]=agents").await;
        assert!(one.text().contains("given{by=\"one\"}") && one.text().contains("agent_up"));
        assert!(!one.text().contains("\"two\"") && !one.text().contains("musterd_"));
        let rest = client.get("/metrics?exclude[]=one&exclude[]=agents").await;
        assert!(rest.text().contains("given{by=\"two\"}") && rest.text().contains("musterd_"));
        assert!(!rest.text().contains("\"one\"") && !rest.text().contains("agent_up"));
        for (query, wanted) in [
            ("collect[]=gpu", "\"gpu\""),
            ("exclude[]=namedprocess", "\"namedprocess\""),
            ("collect[]=one&exclude[]=two", "together"),
        ] {
            let refused = client.get(&format!("/metrics?{query}")).await;
            assert_eq!(refused.status, 400);
            assert!(refused.text().contains(wanted), "{}", refused.text());
        }
    });
}

#[test]
fn bad_collectors_are_shown_and_the_rest_is_served() {
    run(async {
        let panics = fake(|_| panic!("a fake collector panics, as it should"));
        let fails = fake(|_| Err(Error::Parse("/proc/x: line 1: wanted a number".to_owned())));
        let collectors = vec![("panics", panics), ("fails", fails), good("good")];
        let server = Server::start(options(), LONG, collectors).await;
        for _ in 0..2 {
            let reply = server.get("/metrics").await;
            assert_eq!(reply.status, 200);
            for (name, value) in [("panics", 0), ("fails", 0), ("good", 1)] {
                let line =
                    format!("node_scrape_collector_success{{collector=\"{name}\"}} {value}\n");
                assert!(reply.text().contains(&line), "{}", reply.text());
            }
            assert!(reply.text().contains("given{by=\"good\"} 1\n"));
        }
    });
}

#[test]
fn the_scrapers_own_timeout_shortens_the_deadline() {
    run(async {
        let late = fake(|pass| {
            std::thread::sleep(pass.deadline.saturating_duration_since(Instant::now()));
            Ok(())
        });
        let server = Server::start(options(), LONG, vec![("late", late), good("good")]).await;
        let mut client = server.connect().await;
        let start = Instant::now();
        let timeout = "X-Prometheus-Scrape-Timeout-Seconds: 3\r\n";
        let reply = client.request("GET", "/metrics", timeout).await;
        assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
        assert_eq!(reply.status, 200);
        assert!(reply.text().contains("node_scrape_collector_success{collector=\"good\"} 0\n"));
        assert!(reply.text().contains("agent_up{agent=\"solver\"} 1\n"));
    });
}

#[test]
fn connections_are_bounded() {
    run(async {
        let server = server(Options { max_connections: 2, ..options() }).await;
        let mut first = server.connect().await;
        let mut second = server.connect().await;
        assert_eq!(first.get("/-/healthy").await.status, 200);
        assert_eq!(second.get("/-/healthy").await.status, 200);
        assert_eq!(server.connect().await.closed().await, 0);
        assert_eq!(server.own("musterd_refused_total{reason=\"limit\",what=\"connections\"}"), 1.0);
        assert_eq!(server.own("musterd_http_connections"), 2.0);
        drop(first);
        until(|| server.own("musterd_http_connections") == 1.0).await;
        assert_eq!(server.get("/-/healthy").await.status, 200);
        assert_eq!(second.get("/-/healthy").await.status, 200);
    });
}

#[test]
fn a_client_that_dribbles_is_cut() {
    run(async {
        let server = server(Options { header_timeout: SHORT, ..options() }).await;
        let silent = server.connect().await;
        let mut dribbling = server.connect().await;
        let mut again = server.connect().await;
        assert_eq!(again.get("/-/healthy").await.status, 200);
        again.send(b"GET /").await;
        for byte in b"GET /metrics HTTP/1.1".iter().cycle() {
            if dribbling.stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(SHORT / 10).await;
        }
        assert_eq!(silent.closed().await, 0);
        assert_eq!(again.closed().await, 0);
        let cut = "musterd_refused_total{reason=\"header_timeout\",what=\"connections\"}";
        until(|| server.own(cut) == 3.0).await;
    });
}

#[test]
fn a_pause_between_scrapes_may_be_longer_than_a_head_may_take() {
    run(async {
        let server = server(Options { header_timeout: SHORT, ..options() }).await;
        let mut client = server.connect().await;
        for _ in 0..3 {
            assert_eq!(client.get("/metrics").await.status, 200);
            sleep(SHORT * 3).await;
        }
        assert_eq!(client.get("/metrics").await.status, 200);
    });
}

#[test]
fn an_idle_connection_ends_in_time() {
    run(async {
        let server = server(Options { idle_timeout: SHORT, ..options() }).await;
        let mut client = server.connect().await;
        assert_eq!(client.get("/-/healthy").await.status, 200);
        assert_eq!(client.closed().await, 0);
        for reason in ["header_timeout", "write_timeout"] {
            let series =
                format!("musterd_refused_total{{reason=\"{reason}\",what=\"connections\"}}");
            assert_eq!(server.own(&series), 0.0);
        }
    });
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    run(async {
        let server = server(Options { write_timeout: SHORT, ..options() }).await;
        let size = 64 << 20;
        *server.node.agents.borrow_mut() = "x".repeat(size).into();
        let mut client = server.connect().await;
        client.send(b"GET /api/v1/agents HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let cut = "musterd_refused_total{reason=\"write_timeout\",what=\"connections\"}";
        until(|| server.own(cut) == 1.0).await;
        assert!(client.closed().await < size);
        assert_eq!(server.get("/-/healthy").await.status, 200);
    });
}

#[test]
fn rubbish_disturbs_nobody() {
    run(async {
        let server = server(options()).await;
        let mut client = server.connect().await;
        let rubbish: [&[u8]; 6] = [
            b"\r\r\r\x00\x01\x02\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"GET /\xff\xfe HTTP/1.1\r\nno colon here\r\n\r\n",
        ];
        for bytes in rubbish {
            let mut bad = server.connect().await;
            bad.send(bytes).await;
            assert_eq!(bad.reply(false).await.status, 400, "{}", bytes.escape_ascii());
            assert_eq!(client.get("/metrics").await.status, 200);
        }
        let mut half = server.connect().await;
        half.send(b"GET /metrics HT").await;
        drop(half);
        // Nothing more to ask, and an answer waited for.
        let mut last = server.connect().await;
        last.send(b"GET /metrics HTTP/1.0\r\nAccept: text/html\r\nAccept: text/plain\r\n\r\n")
            .await;
        last.finish().await;
        assert_eq!(last.reply(false).await.status, 200);
        assert_eq!(client.get("/metrics").await.status, 200);
        let counted = "musterd_refused_total{reason=\"not_http\",what=\"connections\"}";
        until(|| server.own(counted) >= 6.0).await;
    });
}

#[test]
fn what_is_under_way_at_shutdown_is_finished() {
    run(async {
        let (entered, entries) = std::sync::mpsc::channel();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let slow = fake(move |_| {
            entered.send(()).unwrap();
            held.recv().unwrap();
            Ok(())
        });
        let mut server = Server::start(options(), LONG, vec![("slow", slow)]).await;
        let mut idle = server.connect().await;
        assert_eq!(idle.get("/-/healthy").await.status, 200);
        let mut busy = server.connect().await;
        busy.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        until(|| entries.try_recv().is_ok()).await;
        let start = Instant::now();
        server.stop();
        assert_eq!(idle.closed().await, 0);
        assert!(start.elapsed() < LONG / 2, "before its idle time-out");
        assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
        release.send(()).unwrap();
        let reply = busy.reply(true).await;
        assert!(reply.text().contains("node_scrape_collector_success{collector=\"slow\"} 1\n"));
        assert_eq!(busy.closed().await, 0);
        server.ended().await;
    });
}

#[test]
fn shutdown_does_not_wait_for_ever() {
    run(async {
        let mut server = server(Options { drain_timeout: SHORT, ..options() }).await;
        let mut client = server.connect().await;
        assert_eq!(client.get("/-/healthy").await.status, 200);
        client.send(b"GET /metr").await;
        // The server is to have read it: an idle connection would be closed at once.
        sleep(SHORT).await;
        server.stop();
        server.ended().await;
        assert_eq!(client.closed().await, 0);
    });
}
