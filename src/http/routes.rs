//! What is answered where: one table of paths, and the endpoints behind them.
//!
//! Must not know: sockets, how a scrape is made, how health is judged.

use super::scrape::{Request as Scrape, Scraper};
use super::{accept, health};
use crate::exposition::Format;
use crate::instruments::Instruments;
use crate::sampler::{Encoding, Filter};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use std::fmt::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The rest of the daemon, as the endpoints see it.
pub trait Node {
    /// The answer of `/health`.
    fn health(&self) -> health::Report;

    /// The answer of `/api/v1/agents`.
    fn agents(&self) -> serde_json::Value;

    /// Whether the daemon has taken up all its work.
    ///
    /// # Errors
    /// What is missing, in a sentence.
    fn ready(&self) -> Result<(), String>;
}

/// All that the endpoints need.
pub struct Site {
    /// The rest of the daemon.
    pub node: Rc<dyn Node>,
    /// Where scrapes meet.
    pub scraper: Scraper,
    /// What the daemon measures about itself.
    pub instruments: Instruments,
}

type Answer = Response<Full<Bytes>>;

#[derive(Clone, Copy)]
enum Endpoint {
    Landing,
    Metrics,
    Health,
    Healthy,
    Ready,
    Agents,
}

struct Route {
    path: &'static str,
    endpoint: Endpoint,
    /// What the landing page says of it.
    about: &'static str,
}

const ROUTES: [Route; 6] = [
    Route { path: "/", endpoint: Endpoint::Landing, about: "this page" },
    Route {
        path: "/metrics",
        endpoint: Endpoint::Metrics,
        about: "host, processes and agents, for Prometheus",
    },
    Route {
        path: "/health",
        endpoint: Endpoint::Health,
        about: "the state of the node and its agents, as JSON",
    },
    Route { path: "/-/healthy", endpoint: Endpoint::Healthy, about: "200 while the daemon runs" },
    Route {
        path: "/-/ready",
        endpoint: Endpoint::Ready,
        about: "200 once the daemon has taken up its work",
    },
    Route { path: "/api/v1/agents", endpoint: Endpoint::Agents, about: "the agents, as JSON" },
];

/// The label `endpoint` of whatever has no route.
const NOWHERE: &str = "other";
/// All endpoints are read; hyper leaves the body out of the answer to HEAD.
const METHODS: [Method; 2] = [Method::GET, Method::HEAD];
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD");
/// Path and query, in bytes. Room for every collector by name.
const MAX_URI: usize = 4 << 10;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// On every answer: it is what it says it is, it shows the state of a moment, it runs nothing.
const HEADERS: [(header::HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
];

/// Answers a request and counts it. A body it may have is not read: hyper closes the connection
/// if there is one.
pub(super) async fn answer(site: &Site, request: Request<Incoming>) -> Answer {
    let start = Instant::now();
    let route = ROUTES.iter().find(|route| route.path == request.uri().path());
    let mut answer = match route {
        _ if uri_length(request.uri()) > MAX_URI => {
            plain(StatusCode::URI_TOO_LONG, format!("the URI is over {MAX_URI} bytes"))
        }
        None => plain(StatusCode::NOT_FOUND, "there is nothing here; see /".to_owned()),
        Some(_) if !METHODS.contains(request.method()) => method_not_allowed(request.method()),
        Some(route) => endpoint(site, route.endpoint, request.uri(), request.headers()).await,
    };
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, value);
    }
    let endpoint = route.map_or(NOWHERE, |route| route.path);
    site.instruments.request(endpoint, answer.status().as_u16(), start.elapsed());
    answer
}

fn uri_length(uri: &Uri) -> usize {
    uri.path().len() + uri.query().map_or(0, str::len)
}

async fn endpoint(site: &Site, endpoint: Endpoint, uri: &Uri, headers: &HeaderMap) -> Answer {
    match endpoint {
        Endpoint::Landing => with(StatusCode::OK, HTML, landing()),
        Endpoint::Metrics => metrics(site, uri, headers).await,
        Endpoint::Health => {
            let report = site.node.health();
            json(report.status().code(), &report)
        }
        Endpoint::Healthy => plain(StatusCode::OK, "musterd runs".to_owned()),
        Endpoint::Ready => match site.node.ready() {
            Ok(()) => plain(StatusCode::OK, "musterd is ready".to_owned()),
            Err(missing) => plain(StatusCode::SERVICE_UNAVAILABLE, missing),
        },
        Endpoint::Agents => json(StatusCode::OK, &site.node.agents()),
    }
}

async fn metrics(site: &Site, uri: &Uri, headers: &HeaderMap) -> Answer {
    let query = uri.query().unwrap_or_default();
    let filter = match Filter::parse(query, &site.scraper.names()) {
        Ok(filter) => filter,
        Err(message) => return plain(StatusCode::BAD_REQUEST, message),
    };
    // A header that is there several times is one list (RFC 9110, 5.3).
    let text = |name: &str| {
        let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines.map(str::to_owned).reduce(|before, line| before + "," + &line)
    };
    let format = Format::negotiate(text(header::ACCEPT.as_str()).as_deref());
    let gzip = accept::gzip(text(header::ACCEPT_ENCODING.as_str()).as_deref());
    let timeout = text("x-prometheus-scrape-timeout-seconds").as_deref().and_then(seconds);
    let encoding = Encoding { format, gzip };
    match site.scraper.scrape(Scrape { filter, encoding, timeout }).await {
        Ok(body) => {
            let mut answer = with(StatusCode::OK, format.content_type(), body);
            if gzip {
                let value = HeaderValue::from_static("gzip");
                answer.headers_mut().insert(header::CONTENT_ENCODING, value);
            }
            answer
        }
        Err(refusal) => plain(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string()),
    }
}

/// Reads a length of time in seconds; what is not one, or not a positive one, is passed over.
fn seconds(text: &str) -> Option<Duration> {
    let duration = Duration::try_from_secs_f64(text.trim().parse().ok()?).ok()?;
    (!duration.is_zero()).then_some(duration)
}

fn landing() -> String {
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<title>musterd</title>\n<h1>musterd</h1>\n<ul>\n",
    );
    for Route { path, about, .. } in &ROUTES {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "<li><a href=\"{path}\">{path}</a>: {about}</li>");
    }
    page.push_str("</ul>\n</html>\n");
    page
}

fn method_not_allowed(method: &Method) -> Answer {
    let message = format!("{method} is not possible here; GET and HEAD are");
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, message);
    answer.headers_mut().insert(header::ALLOW, ALLOW);
    answer
}

fn plain(status: StatusCode, mut message: String) -> Answer {
    message.push('\n');
    with(status, TEXT, message)
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            body.push(b'\n');
            with(status, JSON, body)
        }
        Err(error) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the answer: {error}"))
        }
    }
}

fn with(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_timeout_is_a_positive_number() {
        assert_eq!(seconds("10"), Some(Duration::from_secs(10)));
        assert_eq!(seconds(" 0.5 "), Some(Duration::from_millis(500)));
        for bad in ["", "x", "-1", "0", "NaN", "inf", "1e300", "10s"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_path_is_on_the_landing_page() {
        let page = landing();
        for route in &ROUTES {
            assert!(page.contains(&format!("href=\"{}\"", route.path)));
        }
    }
}
