//! Accepts connections and carries them to their end: bounded in number and in time, drained when
//! the daemon stops.
//!
//! Must not know: what is answered.

use super::Options;
use super::routes::{self, Site};
use super::stream::{Clock, Phase, Timed, Timeouts};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How long accepting rests after an error: what is short (descriptors, memory) comes back only as
/// connections end.
const REST: Duration = Duration::from_millis(100);
/// Accept errors are logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// Request line and headers, in bytes; more is answered with 431.
const MAX_HEAD: usize = 16 << 10;
/// Headers of a request; more are answered with 431.
const MAX_HEADERS: usize = 64;

/// Opens the listening sockets.
///
/// # Errors
/// When one cannot be opened; the error names its address.
pub async fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let what = format!("cannot listen on {address}: {error}; [http] listen says where");
            io::Error::new(error.kind(), what)
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Serves until `shutdown` comes about; then lets the connections finish what they are at, for as
/// long as the options allow. To be run on a
/// [`tokio::runtime::LocalRuntime`].
pub async fn serve(
    listeners: Vec<TcpListener>,
    options: &Options,
    site: Rc<Site>,
    shutdown: impl Future<Output = ()>,
) {
    let server = async {
        let (drain, draining) = watch::channel(false);
        let mut server = Server {
            listeners,
            next: 0,
            site: Rc::clone(&site),
            connections: JoinSet::new(),
            max_connections: options.max_connections,
            timeouts: options.timeouts(),
            draining,
            last_log: None,
        };
        server.accept_until(shutdown).await;
        // Nobody is to connect to a socket that is not served any more.
        server.listeners.clear();
        drain.send_replace(true);
        server.drain(options.drain_timeout).await;
    };
    tokio::select! {
        () = server => {}
        never = site.scraper.run() => match never {},
    }
}

struct Server {
    listeners: Vec<TcpListener>,
    /// The listener whose turn it is, so that a busy one does not starve the others.
    next: usize,
    site: Rc<Site>,
    connections: JoinSet<()>,
    max_connections: usize,
    timeouts: Timeouts,
    draining: watch::Receiver<bool>,
    last_log: Option<Instant>,
}

impl Server {
    async fn accept_until(&mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut rest: Option<Instant> = None;
        loop {
            self.site.instruments.connections(self.connections.len());
            tokio::select! {
                () = &mut shutdown => return,
                Some(ended) = self.connections.join_next() => note_end(ended),
                () = sleep_until(rest.unwrap_or_else(Instant::now)), if rest.is_some() => {
                    rest = None;
                }
                accepted = accept(&self.listeners, &mut self.next), if rest.is_none() => {
                    match accepted {
                        Ok(stream) => self.admit(stream),
                        // The client has gone before its turn: nothing is short.
                        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                        Err(error) => {
                            self.note_accept_error(&error);
                            rest = Some(Instant::now() + REST);
                        }
                    }
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream) {
        if self.connections.len() >= self.max_connections {
            self.site.instruments.refused("connections", "limit");
            return;
        }
        // An answer is one write: waiting for more of it gains nothing. That the option cannot be
        // set means that the connection has gone, which reading from it will tell.
        let _ = stream.set_nodelay(true);
        let site = Rc::clone(&self.site);
        let clock = Clock::start(self.timeouts);
        self.connections.spawn_local(connection(stream, site, clock, self.draining.clone()));
    }

    fn note_accept_error(&mut self, error: &io::Error) {
        self.site.instruments.refused("connections", "accept_error");
        let now = Instant::now();
        if self.last_log.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL) {
            self.last_log = Some(now);
            tracing::error!("cannot accept HTTP connections, trying on: {error}");
        }
    }

    async fn drain(&mut self, limit: Duration) {
        let ended = timeout(limit, async {
            while let Some(ended) = self.connections.join_next().await {
                note_end(ended);
            }
        });
        if ended.await.is_err() {
            tracing::warn!("{} HTTP connections are cut at shutdown", self.connections.len());
            self.connections.shutdown().await;
        }
        self.site.instruments.connections(0);
    }
}

async fn accept(listeners: &[TcpListener], next: &mut usize) -> io::Result<TcpStream> {
    poll_fn(|cx| {
        for _ in 0..listeners.len() {
            let listener = listeners.get(*next);
            *next = (*next + 1) % listeners.len();
            if let Some(Poll::Ready(result)) = listener.map(|listener| listener.poll_accept(cx)) {
                return Poll::Ready(result.map(|(stream, _)| stream));
            }
        }
        Poll::Pending
    })
    .await
}

fn note_end(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("HTTP connection ended by a fault of the daemon: {error}");
    }
}

/// How a connection ended.
enum End {
    Closed(hyper::Result<()>),
    TimedOut,
}

async fn connection(
    stream: TcpStream,
    site: Rc<Site>,
    clock: Rc<Clock>,
    mut draining: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let (site, clock) = (Rc::clone(&site), Rc::clone(&clock));
        async move {
            clock.enter(Phase::Work);
            let answer = routes::answer(&site, request).await;
            clock.enter(Phase::Answer);
            Ok::<_, Infallible>(answer)
        }
    });
    let stream = TokioIo::new(Timed::new(stream, Rc::clone(&clock)));
    let mut builder = http1::Builder::new();
    // The clock takes the place of this: see the module stream.
    builder.header_read_timeout(None).max_header_size(MAX_HEAD).max_headers(MAX_HEADERS);
    // Who has said all may close that side and still waits for the answer.
    builder.half_close(true);
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut drain = pin!(draining.wait_for(|draining| *draining));
    let mut drained = false;
    let mut alarm = pin!(sleep_until(Instant::now()));
    let end = poll_fn(|cx| {
        if !drained && drain.as_mut().poll(cx).is_ready() {
            drained = true;
            connection.as_mut().graceful_shutdown();
        }
        // The clock moves only while the connection is polled, so it is asked afterwards.
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(End::Closed(result));
        }
        let Some(deadline) = clock.deadline() else { return Poll::Pending };
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(cx).map(|()| End::TimedOut)
    })
    .await;
    let refused = |reason| site.instruments.refused("connections", reason);
    match (end, clock.phase()) {
        (End::Closed(Err(error)), _) if error.is_parse() => refused("not_http"),
        (End::Closed(Err(error)), _) => tracing::debug!("HTTP connection broke: {error}"),
        (End::TimedOut, Phase::Head) => refused("header_timeout"),
        (End::TimedOut, Phase::Answer) => refused("write_timeout"),
        (End::Closed(Ok(())), _) | (End::TimedOut, Phase::Idle | Phase::Work) => {}
    }
}
