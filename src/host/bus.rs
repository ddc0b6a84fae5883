//! The system bus (D-Bus specification, <https://dbus.freedesktop.org/doc/dbus-specification.html>):
//! questions to services, many on their way at once, waited for no longer than a pass may take.
//!
//! Must not know what is asked.

use super::Error;
use futures_core::Stream as _;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};
use zbus::{Connection, Message, MessageStream, Variant};

/// How many questions may wait for their answers: dbus-daemon(1) refuses more than 128 of one
/// connection (`max_replies_per_connection`).
const IN_FLIGHT: usize = 64;

/// A connection to the system bus that is made when it is needed, and kept.
#[derive(Default)]
pub(super) struct Bus {
    line: Option<Line>,
}

/// Nothing of it runs between questions: its runtime is driven by whoever asks.
struct Line {
    runtime: Runtime,
    connection: Connection,
    answers: MessageStream,
}

/// What a property holds, as far as it can be a sample or a label.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Property {
    /// A string.
    Text(String),
    /// A number, or 1 for true.
    Number(u64),
}

impl Bus {
    /// Asks all questions, and gives their answers in the same order; nothing where the service has
    /// refused to answer.
    ///
    /// # Errors
    /// There is no bus, or it has not answered before the deadline.
    pub(super) fn ask(
        &mut self,
        questions: &[Message],
        deadline: Instant,
    ) -> Result<Vec<Option<Message>>, Error> {
        let is_kept = self.line.is_some();
        match self.try_ask(questions, deadline) {
            // The bus may have been started anew since it was last asked.
            Err(_) if is_kept && Instant::now() < deadline => self.try_ask(questions, deadline),
            answers => answers,
        }
    }

    fn try_ask(
        &mut self,
        questions: &[Message],
        deadline: Instant,
    ) -> Result<Vec<Option<Message>>, Error> {
        // A line that has failed is not taken up again: late answers would come to later questions.
        let mut line = match self.line.take() {
            Some(line) => line,
            None => Line::connect(deadline)?,
        };
        let mut answers = Vec::with_capacity(questions.len());
        for questions in questions.chunks(IN_FLIGHT) {
            answers.extend(line.ask(questions, deadline)?);
        }
        self.line = Some(line);
        Ok(answers)
    }
}

impl Line {
    fn connect(deadline: Instant) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::NoData(format!("the system bus: {error}")))?;
        let connect = async {
            let connection = tokio::time::timeout_at(deadline.into(), Connection::system()).await;
            let connection = connection.map_err(|_| late())?;
            connection.map_err(|error| Error::NoData(format!("the system bus: {error}")))
        };
        let connection = runtime.block_on(connect)?;
        let answers = MessageStream::from(&connection);
        Ok(Self { runtime, connection, answers })
    }

    fn ask(
        &mut self,
        questions: &[Message],
        deadline: Instant,
    ) -> Result<Vec<Option<Message>>, Error> {
        let Self { runtime, connection, answers } = self;
        let exchange = async {
            connection.send_all(questions).await.map_err(broken)?;
            let mut waiting: HashMap<_, _> = questions
                .iter()
                .enumerate()
                .map(|(place, question)| (question.primary_header().serial_num(), place))
                .collect();
            let mut found = vec![None; questions.len()];
            while !waiting.is_empty() {
                let answer = poll_fn(|context| Pin::new(&mut *answers).poll_next(context)).await;
                let answer = answer.ok_or_else(|| broken("closed"))?.map_err(broken)?;
                let header = answer.header();
                let Some(place) = header.reply_serial().and_then(|of| waiting.remove(&of)) else {
                    continue;
                };
                if header.message_type() == zbus::message::Type::MethodReturn
                    && let Some(slot) = found.get_mut(place)
                {
                    *slot = Some(answer);
                }
            }
            Ok(found)
        };
        runtime.block_on(async {
            let answers = tokio::time::timeout_at(deadline.into(), exchange).await;
            answers.unwrap_or_else(|_| Err(late()))
        })
    }
}

/// A question: a call of a method without arguments.
///
/// # Errors
/// The names are not such as D-Bus allows.
pub(super) fn call(
    service: &str,
    path: &str,
    interface: &str,
    method: &str,
) -> Result<Message, Error> {
    Message::method_call(path, method)
        .destination(service)
        .interface(interface)
        .build(&())
        .map_err(|error| Error::Parse(format!("{path} of {service}: {error}")))
}

/// A question: what a property holds.
///
/// # Errors
/// The names are not such as D-Bus allows.
pub(super) fn get(
    service: &str,
    path: &str,
    interface: &str,
    property: &str,
) -> Result<Message, Error> {
    Message::method_call(path, "Get")
        .destination(service)
        .interface("org.freedesktop.DBus.Properties")
        .build(&(interface, property))
        .map_err(|error| Error::Parse(format!("{path} of {service}: {error}")))
}

/// What an answer to [`get`] says, if that is anything known here.
pub(super) fn property(answer: &Message) -> Option<Property> {
    let body = answer.body();
    match body.deserialize::<Variant<'_>>().ok()? {
        Variant::Bool(is_so) => Some(Property::Number(u64::from(is_so))),
        Variant::U32(number) => Some(Property::Number(number.into())),
        Variant::U64(number) => Some(Property::Number(number)),
        Variant::Str(text) => Some(Property::Text(text.as_str().to_owned())),
        _ => None,
    }
}

fn broken(why: impl std::fmt::Display) -> Error {
    Error::Parse(format!("the system bus: {why}"))
}

fn late() -> Error {
    broken("no answer before the deadline")
}
