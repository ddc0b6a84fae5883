//! The background thread: finds a daemon, is given a ledger, notices when the daemon has gone, and
//! comes back with the same ledger. The host program never waits for any of it.
//!
//! Must not know what is counted.

use crate::memory::Memory;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A ledger larger than this is not one.
const LEDGER_LIMIT: usize = 1 << 30;
/// The longest answer a daemon may give to a hello.
const ANSWER_LIMIT: usize = 4096;
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// How long the end of an agent may wait for its first handshake.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// After a refusal: room may have been made, or an operator may have changed the daemon's settings.
const REFUSED_RETRY: Duration = Duration::from_secs(60);

/// What the owner of a ledger does when the daemon speaks.
pub(crate) trait Host: Send + Sync {
    /// A ledger has come, and the schema that its durations are to have, if the daemon says one; the
    /// second one a host is given starts from zero.
    fn receive(&self, memory: Memory, duration_schema: Option<i32>, first: bool);

    /// The daemon has none to give.
    fn refused(&self);
}

/// Who the thread says that it is, and where.
#[derive(Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) socket: PathBuf,
    /// The hello, without its line feed.
    pub(crate) hello: String,
}

/// The running thread, told to stop when this is dropped.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopping: bool,
    /// Whether it is known, for the first time, if there is a daemon.
    settled: bool,
    /// Whether a ledger of the daemon at the other end is in use.
    reports: bool,
    stream: Option<UnixStream>,
}

enum Answer {
    New { file: OwnedFd, duration_schema: Option<i32> },
    Resumed,
    Refused { retry: bool },
}

/// How a connection has ended.
enum End {
    /// It reported, until the daemon went.
    Reported,
    /// The daemon has no ledger for it.
    Refused { retry: bool },
}

impl Connection {
    /// Starts the thread. When none can be started the host goes on counting for itself.
    pub(crate) fn start(settings: Settings, host: Arc<dyn Host>) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new()
            .name("musterd-client".into())
            .stack_size(128 << 10)
            .spawn({
                let shared = shared.clone();
                move || shared.run(&settings, &*host)
            })
            .ok();
        if thread.is_none() {
            shared.settle();
        }
        Self { shared, thread }
    }

    /// Whether a daemon holds the other end right now.
    pub(crate) fn is_connected(&self) -> bool {
        self.shared.lock().reports
    }

    /// Waits until it is known if there is a daemon, so that a short program's counts arrive: where
    /// there is one it answers at once, and where there is none that is known at once.
    pub(crate) fn wait_settled(&self) {
        let state = self.shared.lock();
        // Whatever comes of it: more is not waited for.
        let _ = self.shared.changed.wait_timeout_while(state, LAST_WORDS, |state| !state.settled);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        if let Some(stream) = state.stream.take() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self) {
        self.lock().settled = true;
        self.changed.notify_all();
    }

    fn run(&self, settings: &Settings, host: &dyn Host) {
        let mut ledger = None;
        let mut pause = FIRST_RETRY;
        loop {
            pause = match self.converse(settings, host, &mut ledger) {
                Ok(End::Reported) => FIRST_RETRY,
                Ok(End::Refused { retry: false }) => REFUSED_RETRY,
                Ok(End::Refused { retry: true }) => (pause * 2).min(REFUSED_RETRY),
                Err(_) => (pause * 2).min(LAST_RETRY),
            };
            self.settle();
            let state = self.lock();
            let waited = self.changed.wait_timeout_while(state, pause, |state| !state.stopping);
            if waited.unwrap_or_else(PoisonError::into_inner).0.stopping {
                return;
            }
        }
    }

    /// One connection, from connect to its end.
    fn converse(
        &self,
        settings: &Settings,
        host: &dyn Host,
        ledger: &mut Option<OwnedFd>,
    ) -> io::Result<End> {
        let stream = UnixStream::connect(&settings.socket)?;
        stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
        stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
        {
            let mut state = self.lock();
            if state.stopping {
                return Ok(End::Reported);
            }
            state.stream = Some(stream.try_clone()?);
        }
        let result = greet(&stream, &settings.hello, ledger.as_ref()).and_then(|answer| {
            match answer {
                Answer::New { file, duration_schema } => {
                    let memory = Memory::map(&file, LEDGER_LIMIT)?;
                    host.receive(memory, duration_schema, ledger.is_none());
                    *ledger = Some(file);
                }
                Answer::Resumed => {}
                Answer::Refused { retry } => {
                    host.refused();
                    return Ok(End::Refused { retry });
                }
            }
            stream.set_read_timeout(None)?;
            self.lock().reports = true;
            self.settle();
            // Nothing is ever said here; the read ends when the daemon does.
            let _ = (&stream).read(&mut [0]);
            Ok(End::Reported)
        });
        let mut state = self.lock();
        (state.stream, state.reports) = (None, false);
        drop(state);
        result
    }
}

fn greet(stream: &UnixStream, hello: &str, ledger: Option<&OwnedFd>) -> io::Result<Answer> {
    send_hello(stream, hello, ledger)?;
    let (line, file) = receive_answer(stream)?;
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let answer: serde_json::Value =
        serde_json::from_slice(&line).map_err(|_| wrong("the answer is not JSON"))?;
    if answer.get("ok") != Some(&serde_json::Value::Bool(true)) {
        let retry = answer.get("retry").and_then(serde_json::Value::as_bool).unwrap_or(true);
        return Ok(Answer::Refused { retry });
    }
    match (answer.get("ledger").and_then(serde_json::Value::as_str), file) {
        (Some("new"), Some(file)) => {
            let schema = answer.get("duration_schema").and_then(serde_json::Value::as_i64);
            let duration_schema = schema.and_then(|schema| i32::try_from(schema).ok());
            Ok(Answer::New { file, duration_schema })
        }
        (Some("resumed"), None) if ledger.is_some() => Ok(Answer::Resumed),
        _ => Err(wrong("the answer does not say what has become of the ledger")),
    }
}

fn send_hello(stream: &UnixStream, hello: &str, ledger: Option<&OwnedFd>) -> io::Result<()> {
    let line = [hello.as_bytes(), b"\n"].concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files: Vec<_> = ledger.iter().map(|file| file.as_fd()).collect();
    if !files.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&files));
    }
    let sent = sendmsg(stream, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    if sent < line.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

fn receive_answer(stream: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let (mut line, mut file) = (Vec::new(), None);
    while line.last() != Some(&b'\n') && line.len() < ANSWER_LIMIT {
        let mut part = [0; 512];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            stream,
            &mut [IoSliceMut::new(&mut part)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                file = files.last().or(file);
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(part.get(..received.bytes).unwrap_or_default());
    }
    Ok((line, file))
}
