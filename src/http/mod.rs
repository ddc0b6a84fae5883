//! The HTTP side: options, and what the daemon has to bring.
//!
//! Reading order: [`serve`] accepts connections, a connection asks the routes, `/metrics` asks the
//! [`Scraper`], which asks the [`crate::sampler::Sampler`]. All of it runs on the runtime thread.
//!
//! Must not know: collectors, agents, supervision. It sees them through [`Node`] and [`Fill`].

mod accept;
pub mod client;
pub mod health;
mod routes;
mod scrape;
mod server;
mod stream;

pub use routes::{Node, Site};
pub use scrape::{Fill, OWN, Refusal, Request, Scraper};
pub use server::{bind, serve};

use crate::units;
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;
use stream::Timeouts;

/// The section `[http]`. Every key is required: the defaults are in `config/musterd.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where to listen.
    #[serde(deserialize_with = "units::addresses")]
    pub listen: Vec<SocketAddr>,
    /// Connections open at once; more are closed as they come.
    pub max_connections: usize,
    /// Scrapes waiting for a pass; more are answered with 503.
    pub max_scrapes: usize,
    /// How long a client may take to send the head of a request.
    #[serde(with = "units::duration")]
    pub header_timeout: Duration,
    /// How long a client may take to read an answer.
    #[serde(with = "units::duration")]
    pub write_timeout: Duration,
    /// How long a connection may rest between two requests.
    #[serde(with = "units::duration")]
    pub idle_timeout: Duration,
    /// How long connections may take to finish when the daemon stops.
    #[serde(with = "units::duration")]
    pub drain_timeout: Duration,
}

impl Options {
    fn timeouts(&self) -> Timeouts {
        Timeouts { header: self.header_timeout, write: self.write_timeout, idle: self.idle_timeout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Shipped {
        http: Options,
        host: Host,
    }

    #[derive(Deserialize)]
    struct Host {
        #[serde(with = "units::duration")]
        deadline: Duration,
    }

    fn shipped() -> Shipped {
        toml::from_str(include_str!("../../config/musterd.toml")).unwrap()
    }

    #[test]
    fn the_shipped_values_are_sound() {
        let Shipped { http, host } = shipped();
        assert_eq!(host.deadline, Duration::from_secs(2));
        assert!(http.listen.iter().all(|address| address.ip().is_loopback()));
        assert!(http.idle_timeout > Duration::from_secs(60), "a scrape interval");
        assert!(http.header_timeout < http.idle_timeout);
    }

    #[test]
    fn keys_are_neither_unknown_nor_missing() {
        let read = |text: &str| toml::from_str::<Options>(text).unwrap_err().to_string();
        assert!(read("lisen = []").contains("unknown field `lisen`"));
        assert!(
            read("listen = ['[::1]:1', 'localhost:9']")
                .contains("\"localhost:9\" is not an address")
        );
        assert!(read("listen = []").contains("missing field `max_connections`"));
    }
}
