//! `musterd status`: asks a daemon for its agents, and shows them.
//!
//! Must not know how agents are judged.

mod table;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read: far more than the most agents there can be.
const ANSWER_LIMIT: usize = 64 << 20;
/// How often the screen is written anew.
const INTERVAL: Duration = Duration::from_secs(2);
/// Clears the screen and goes to its upper left corner (console_codes(4)).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What to show, and how.
#[derive(Debug)]
pub struct Options {
    /// The address and port of the daemon's HTTP side.
    pub server: String,
    /// Shows the daemon's own answer in the place of a table.
    pub json: bool,
    /// Goes on until it is ended.
    pub watch: bool,
}

/// An agent, as far as it is shown. The daemon may tell more.
#[derive(Debug, Default, Deserialize)]
struct Agent {
    name: String,
    state: String,
    reason: String,
    uptime_seconds: Option<f64>,
    #[serde(default)]
    requests: std::collections::BTreeMap<String, u64>,
    success_rate: Option<f64>,
    #[serde(default)]
    duration_quantiles_seconds: std::collections::BTreeMap<String, f64>,
    #[serde(default)]
    requests_in_flight: u64,
}

#[derive(Deserialize)]
struct Agents {
    agents: Vec<Agent>,
}

/// Shows all agents. Whether none of them is in trouble.
///
/// # Errors
/// The daemon does not answer, or not as it should.
pub fn run(options: &Options) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let is_screen = std::io::stdout().is_terminal();
    loop {
        let asked = async { tokio::time::timeout(PATIENCE, ask(&options.server)).await };
        let answer = runtime.block_on(asked).unwrap_or_else(|_| Err("no answer".to_owned()));
        let answer = answer.map_err(|what| {
            format!("http://{}/api/v1/agents: {what}; is musterd running there?", options.server)
        })?;
        let agents: Agents = serde_json::from_slice(&answer)
            .map_err(|error| format!("http://{} is no musterd: {error}", options.server))?;
        let mut text = if options.json {
            String::from_utf8_lossy(&answer).trim_end().to_owned() + "\n"
        } else {
            table::render(&agents.agents)
        };
        if options.watch && is_screen && !options.json {
            text.insert_str(0, CLEAR);
        }
        let mut out = std::io::stdout();
        // Whoever reads may have had enough.
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() || !options.watch {
            return Ok(!agents.agents.iter().any(Agent::is_in_trouble));
        }
        std::thread::sleep(INTERVAL);
    }
}

impl Agent {
    fn is_in_trouble(&self) -> bool {
        ["unhealthy", "stuck", "lost"].contains(&self.state.as_str())
    }
}

async fn ask(server: &str) -> Result<Bytes, String> {
    let stream = TcpStream::connect(server).await.map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let request = Request::get("/api/v1/agents")
        .header(HOST, server)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("the answer is {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
        Ok(body.map_err(|error| error.to_string())?.to_bytes())
    };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    }
}
