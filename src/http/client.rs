//! Asks a server one question, for commands that need what a daemon, or a Prometheus, knows.
//!
//! Must not know what is asked, or what the answer means.

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read: far more than the most agents there can be.
const ANSWER_LIMIT: usize = 64 << 20;

/// Gets `path` of a server, which is named by address and port. An answer of 503 is an answer too: of
/// a node that is not well.
///
/// # Errors
/// Nobody answers in time, or the answer is that of a server that knows no such path.
pub async fn get(server: &str, path: &str) -> Result<Bytes, String> {
    let answer = tokio::time::timeout(PATIENCE, ask(server, path)).await;
    answer.unwrap_or_else(|_| Err("no answer".to_owned()))
}

async fn ask(server: &str, path: &str) -> Result<Bytes, String> {
    let stream = TcpStream::connect(server).await.map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let request = Request::get(path)
        .header(HOST, server)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        if !status.is_success() && status != hyper::StatusCode::SERVICE_UNAVAILABLE {
            return Err(format!("the answer is {status}"));
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
