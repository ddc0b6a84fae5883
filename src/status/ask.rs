//! The question to the daemon, `/api/v1/agents`, and what is read of the answer.
//!
//! Must not know how it is shown.

use crate::http::client;
use hyper::body::Bytes;
use serde::Deserialize;
use std::collections::BTreeMap;

/// An agent, as far as it is shown. The daemon may tell more.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) state_seconds: Option<f64>,
    pub(super) reason: String,
    pub(super) uptime_seconds: Option<f64>,
    #[serde(default)]
    pub(super) requests: BTreeMap<String, u64>,
    pub(super) success_rate: Option<f64>,
    #[serde(default)]
    pub(super) duration_quantiles_seconds: BTreeMap<String, f64>,
    #[serde(default)]
    pub(super) requests_in_flight: u64,
}

/// An answer.
#[derive(Debug, Deserialize)]
pub(super) struct Agents {
    pub(super) agents: Vec<Agent>,
    /// As it came.
    #[serde(skip)]
    text: Bytes,
}

impl Agent {
    pub(super) fn is_in_trouble(&self) -> bool {
        ["unhealthy", "stuck", "lost"].contains(&self.state.as_str())
    }
}

impl Agents {
    /// The answer as it came, on one line.
    pub(super) fn json(&self) -> String {
        String::from_utf8_lossy(&self.text).trim_end().to_owned() + "\n"
    }
}

/// Asks for all agents.
///
/// # Errors
/// There is no answer, or one that no daemon gives.
pub(super) async fn agents(server: &str) -> Result<Agents, String> {
    let text = client::get(server, "/api/v1/agents").await.map_err(|what| {
        format!("http://{server}/api/v1/agents: {what}; is musterd running there?")
    })?;
    let agents: Agents = serde_json::from_slice(&text)
        .map_err(|error| format!("http://{server} is no musterd: {error}"))?;
    Ok(Agents { text, ..agents })
}
