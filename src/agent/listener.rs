//! The agent socket: accepts, asks the kernel who is there, reads one hello, hands over a ledger or has
//! lines read, and waits for the end of the connection and of the process.
//!
//! Must not know what is in a ledger. All it tells goes to the [`Registry`](super::registry::Registry).

use super::allow;
use super::connections::Open;
use super::context::Context;
use super::lines::connection::{self, Lines};
use super::offered::{self, Offered, Sender};
use super::options::Options;
use super::peer::Peer;
use super::protocol::{self, Frame, HELLO_LIMIT, Hello, Mode, Refusal, Violation};
use super::registry::{COPY_TIME, Keepsake, Key, RETURN_TIME};
use crate::pidfd::Watch;
use crate::{accounts, clock, notify};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

/// How long an accept loop rests after an error that will not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Makes the socket, with the permissions of `options`; one that a daemon before has left is
/// replaced, one that is served is not.
///
/// # Errors
/// What could not be done, with the path.
pub fn bind(options: &Options) -> Result<UnixListener, String> {
    let path = &options.socket;
    let failed = |what: &str, error: io::Error| format!("{what} {}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| failed("cannot make the folder of", error))?;
    }
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(format!("{}: another daemon serves this socket", path.display()));
        }
        fs::remove_file(path).map_err(|error| failed("cannot replace", error))?;
    }
    let listener = UnixListener::bind(path).map_err(|error| failed("cannot bind", error))?;
    fs::set_permissions(path, fs::Permissions::from_mode(options.socket_mode))
        .map_err(|error| failed("cannot set the mode of", error))?;
    if !options.socket_group.is_empty() {
        set_group(path, &options.socket_group)?;
    }
    Ok(listener)
}

/// Takes on a socket that systemd listens on in our place.
///
/// # Errors
/// What the kernel said.
pub fn adopt(listener: std::os::unix::net::UnixListener) -> Result<UnixListener, String> {
    listener
        .set_nonblocking(true)
        .and_then(|()| UnixListener::from_std(listener))
        .map_err(|error| format!("cannot use the socket that systemd has handed over: {error}"))
}

fn set_group(path: &Path, group: &str) -> Result<(), String> {
    let gid = accounts::group(group).map_err(|error| format!("[agents] socket_group: {error}"))?;
    std::os::unix::fs::chown(path, None, Some(gid))
        .map_err(|error| format!("cannot give {} to group {group}: {error}", path.display()))
}

/// How long clients take to copy what they have counted before their ledger came: as a rule, and at most.
const COPIED_AFTER: [Duration; 2] = [Duration::from_millis(100), COPY_TIME];
/// How often it is looked whether a ledger without a connection has been brought back.
const COME_BACK: Duration = Duration::from_secs(2);
/// Clients that have lost a connection try again each second.
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// Accepts for ever. An accept error is logged, counted and outlived.
pub async fn serve(listener: UnixListener, context: Context) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                context.instruments.refused("agent_connections", "accept_error");
                if let Some(left_out) = context.log_quota.take(Instant::now()) {
                    tracing::warn!(%error, left_out, "cannot accept an agent's connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(open) = context.connections.admit() else {
            context.instruments.refused("agent_connections", "too_many");
            if let Some(left_out) = context.log_quota.take(Instant::now()) {
                let limit = context.connections.limit();
                tracing::warn!(limit, left_out, "too many connections from agents");
            }
            continue;
        };
        let context = context.clone();
        tokio::task::spawn_local(async move { attend(stream, open, &context).await });
    }
}

/// One connection, from hello to the end of the process.
async fn attend(stream: UnixStream, mut open: Open, context: &Context) {
    let Ok(peer) = Peer::of(&stream) else {
        context.instruments.refused("hellos", "no_credentials");
        return;
    };
    if !open.is_of(peer.uid) {
        context.instruments.refused("agent_connections", "too_many_of_user");
        if let Some(left_out) = context.log_quota.take(Instant::now()) {
            let (uid, limit) = (peer.uid, context.connections.limit_of_user());
            tracing::warn!(uid, limit, left_out, "too many connections from one user's agents");
        }
        return;
    }
    let greeted = match greet(&stream, &peer, context).await {
        Ok(greeted) => greeted,
        Err(refusal) => {
            context.instruments.refused("hellos", refusal.reason);
            if let Some(left_out) = context.log_quota.take(Instant::now()) {
                let (pid, uid, reason) = (peer.pid, peer.uid, &refusal.text);
                tracing::warn!(pid, uid, reason, left_out, "agent refused");
            }
            let _ = send(&stream, &refusal.answer(), None).await;
            return;
        }
    };
    context.changed.notify_one();
    let watch = peer.pidfd.and_then(|pidfd| Watch::new(pidfd).ok());
    match greeted {
        Greeted::Gone => {}
        Greeted::Ledger(key) => attend_ledger(stream, key, watch.as_ref(), context).await,
        Greeted::Lines(lines) => attend_lines(stream, lines, watch.as_ref(), context).await,
    }
}

/// What has come of a hello.
enum Greeted {
    /// The peer left without one.
    Gone,
    /// A ledger is in use.
    Ledger(Key),
    /// Lines are to be read.
    Lines(Box<Lines>),
}

async fn attend_ledger(mut stream: UnixStream, key: Key, watch: Option<&Watch>, context: &Context) {
    let replaced = context.connections.holds(key);
    let end = wait_for_end(&mut stream, watch, &replaced, context).await;
    context.connections.ended(key);
    if end == End::Connection {
        drop(stream);
        disconnected(key, watch, context).await;
    } else {
        died(key, context);
    }
}

async fn attend_lines(
    stream: UnixStream,
    mut lines: Box<Lines>,
    watch: Option<&Watch>,
    context: &Context,
) {
    connection::attend(&stream, &mut lines, watch, context).await;
    drop(stream);
    let watch = watch.filter(|_| lines.may_come_back());
    disconnected(lines.key(), watch, context).await;
}

/// Notes the end of a connection, and waits for that of the process unless it has ended its ledger.
async fn disconnected(key: Key, watch: Option<&Watch>, context: &Context) {
    let waits = context.registry.borrow_mut().disconnected(key, watch.is_some());
    context.changed.notify_one();
    if let Some(watch) = watch.filter(|_| waits) {
        await_process(key, watch, context).await;
    }
}

/// Waits for the process to end, or to come back: with its ledger by another connection, or, after an exec(2)
/// that has left nobody who knows of it, without.
async fn await_process(key: Key, watch: &Watch, context: &Context) {
    let begun = Instant::now();
    while tokio::time::timeout(COME_BACK, watch.ended()).await.is_err() {
        let mut registry = context.registry.borrow_mut();
        if begun.elapsed() >= LONGEST_RETRY {
            registry.retire_if_forgotten(key);
        }
        if !registry.is_current(key) {
            return;
        }
    }
    died(key, context);
}

fn died(key: Key, context: &Context) {
    context.registry.borrow_mut().died(key);
    context.changed.notify_one();
}

/// Attends to a ledger that was kept for this daemon, until its agent comes back, or has ended. One
/// whose process cannot be watched is waited for as long as any other.
pub async fn await_return(key: Key, process: Option<OwnedFd>, context: Context) {
    match process.and_then(|process| Watch::new(process).ok()) {
        Some(watch) => await_process(key, &watch, &context).await,
        None => {
            tokio::time::sleep(RETURN_TIME).await;
            died(key, &context);
        }
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Connection,
    Process,
}

async fn wait_for_end(
    stream: &mut UnixStream,
    watch: Option<&Watch>,
    replaced: &Notify,
    context: &Context,
) -> End {
    let died = async {
        match watch {
            Some(watch) => watch.ended().await,
            None => std::future::pending().await,
        }
    };
    let mut byte = [0];
    tokio::select! {
        biased;
        () = died => End::Process,
        // For what it was opened, another does now.
        () = replaced.notified() => End::Connection,
        read = stream.read(&mut byte) => {
            if matches!(read, Ok(1)) {
                context.instruments.refused("hellos", "after_hello");
                tracing::warn!("an agent went on talking after its hello; connection closed");
            }
            End::Connection
        }
    }
}

/// Reads the hello and answers it.
async fn greet(stream: &UnixStream, peer: &Peer, context: &Context) -> Result<Greeted, Refusal> {
    // Only the wait for the hello is cut short: a ledger that was handed out is always attended to.
    let received = tokio::time::timeout(context.hello_timeout, receive_hello(stream, peer)).await;
    let received = received.unwrap_or_else(|_| {
        let text = format!("no hello within {} s", context.hello_timeout.as_secs_f64());
        Err(Refusal { reason: "timeout", text, retry: true })
    });
    let Some(Received { hello, file, rest }) = received? else { return Ok(Greeted::Gone) };
    admit(peer, context)?;
    if let Mode::Lines { session } = hello.mode.clone() {
        let agent = hello.agent.clone();
        let mut registry = context.registry.borrow_mut();
        let (key, book) = registry.connect_lines(
            hello,
            session.clone(),
            peer,
            &context.lines,
            clock::monotonic(),
        )?;
        drop(registry);
        tracing::debug!(agent, pid = peer.pid, uid = peer.uid, "agent connected, with lines");
        return Ok(Greeted::Lines(Box::new(Lines::new(key, book, session, agent, rest))));
    }
    let (agent, resumes) = (hello.agent.clone(), file.is_some());
    let welcome = context.registry.borrow_mut().connect(hello, peer, file, clock::monotonic())?;
    if let Some(key) = welcome.replaces {
        context.connections.replaced(key);
    }
    // Before the agent can count anything in it.
    if let Some(Keepsake { label, file }) = &welcome.keepsake {
        notify::keep(&label.ledger_name(), file.as_fd());
        if let Some(process) = &peer.pidfd {
            notify::keep(&label.process_name(), process.as_fd());
        }
    }
    let is_new = welcome.file.is_some();
    if let Err(error) = send(stream, &welcome.answer, welcome.file).await {
        tracing::debug!(agent, %error, "the agent left before its ledger came");
        // Nobody else has it, and the agent will ask for another.
        if is_new {
            context.registry.borrow_mut().not_delivered(welcome.key);
            return Ok(Greeted::Gone);
        }
    }
    if is_new {
        look_again(context);
    }
    tracing::debug!(agent, pid = peer.pid, uid = peer.uid, resumes, "agent connected");
    Ok(Greeted::Ledger(welcome.key))
}

/// Says in the log who has sent files that do not come to be closed.
pub fn tell_of_hanging_files() {
    for Sender { pid, uid } in offered::hanging() {
        tracing::warn!(
            pid,
            uid,
            "a file that was sent with a hello does not come to be closed: its server does not answer"
        );
    }
}

/// Has a new ledger looked at as soon as its client has copied what it has counted before: what comes after the
/// look is recent.
fn look_again(context: &Context) {
    let changed = context.changed.clone();
    tokio::task::spawn_local(async move {
        let came = tokio::time::Instant::now();
        for after in COPIED_AFTER {
            tokio::time::sleep_until(came + after).await;
            changed.notify_one();
        }
    });
}

/// Holds a peer against the rules; only if there are any is it asked about in full.
fn admit(peer: &Peer, context: &Context) -> Result<(), Refusal> {
    let registry = context.registry.borrow();
    match registry.rules() {
        [] => Ok(()),
        rules => allow::check(rules, &peer.identity()),
    }
}

/// A hello, and what came with it.
struct Received {
    hello: Hello,
    file: Option<Offered>,
    /// What follows its line.
    rest: Vec<u8>,
}

async fn receive_hello(stream: &UnixStream, peer: &Peer) -> Result<Option<Received>, Refusal> {
    let refused = |violation: Violation| Refusal {
        reason: violation.reason,
        text: violation.text,
        retry: false,
    };
    let mut line = Vec::new();
    let mut file = None;
    loop {
        if !Offered::has_room() {
            let text = "too many files that were sent do not come to be closed".to_owned();
            return Err(Refusal { reason: "files_hang", text, retry: true });
        }
        let received = stream
            .async_io(Interest::READABLE, || receive(stream, peer, &mut line, &mut file))
            .await;
        match received {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => {
                let text = "the connection ended within the hello".to_owned();
                return Err(Refusal { reason: "malformed", text, retry: true });
            }
            Err(error) => {
                let text = format!("cannot read the hello: {error}");
                return Err(Refusal { reason: "unreadable", text, retry: true });
            }
            Ok(_) => {}
        }
        if let Frame::Hello { hello, length } = protocol::decode(&line).map_err(refused)? {
            return Ok(Some(Received { hello, file, rest: line.split_off(length) }));
        }
    }
}

/// Reads what is there, never past the limit of a hello, and the file that came with it. More
/// files than one are closed at once.
fn receive(
    stream: &UnixStream,
    peer: &Peer,
    line: &mut Vec<u8>,
    file: &mut Option<Offered>,
) -> io::Result<usize> {
    let mut part = [0; HELLO_LIMIT];
    let room = HELLO_LIMIT.saturating_sub(line.len()).max(1);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(part.get_mut(..room).unwrap_or_default())];
    let received = recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            for sent in files {
                let sent = Offered::new(sent, peer);
                if file.is_none() {
                    *file = Some(sent);
                }
            }
        }
    }
    line.extend_from_slice(part.get(..received.bytes).unwrap_or_default());
    Ok(received.bytes)
}

async fn send(stream: &UnixStream, line: &str, file: Option<OwnedFd>) -> io::Result<()> {
    stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let files: Vec<_> = file.iter().map(|file| file.as_fd()).collect();
            if !files.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(&files));
            }
            // An answer of a hundred bytes goes into an empty socket buffer whole.
            let parts = [IoSlice::new(line.as_bytes())];
            Ok(sendmsg(stream, &parts, &mut control, SendFlags::NOSIGNAL).map(|_| ())?)
        })
        .await
}
