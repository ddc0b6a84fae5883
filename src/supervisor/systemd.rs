//! systemd over D-Bus, as far as supervision needs it: units are started, stopped, killed and looked
//! at (org.freedesktop.systemd1(5)).
//!
//! Must not know what any unit is for, nor what its properties mean.

use futures_core::Stream as _;
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;
use zbus::{Connection, MatchRule, MessageStream, Variant};

const SERVICE: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// How long an answer is waited for. polkit, which is asked meanwhile, may have to be started first.
const ANSWER: Duration = Duration::from_secs(20);
/// What a process is signalled with that cannot be ended otherwise.
const KILL: i32 = 9;

/// `musterd exec` exits with this when there is no such agent. The template has systemd not try again
/// (`RestartPreventExitStatus=`); a program would not choose it, since it is among systemd's own.
pub(crate) const NO_SUCH_AGENT: u8 = 250;

/// `musterd exec` exits with this when the configuration cannot be used, whatever the agent is.
pub(crate) const BAD_CONFIGURATION: u8 = 251;

/// The unit of an agent: an instance of the template that the package installs.
pub(crate) fn unit_name(agent: &str) -> String {
    format!("musterd-agent@{agent}.service")
}

/// The system's manager. Its connection is made when it is needed, and anew when the bus has been
/// started anew.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    /// Held while a connection is made, so that all agents share one.
    connection: Mutex<Option<Connection>>,
}

/// Why systemd does not do what it was asked.
#[derive(Debug)]
pub(crate) enum Error {
    /// There is no system bus, or it does not answer.
    Bus(String),
    /// polkit has no rule that allows it, or is not there.
    Denied,
    /// Anything else, in systemd's words.
    Refused(String),
}

impl Error {
    /// Whether it is no fault of the unit that systemd was asked about.
    pub(crate) const fn is_general(&self) -> bool {
        matches!(self, Self::Bus(_) | Self::Denied)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(error) => write!(
                f,
                "systemd cannot be asked over the system bus: {error}; without one (package \
                 dbus), set [agents.supervision] runner = \"process\""
            ),
            Self::Denied => f.write_str(
                "systemd does not let this user do so: the rule 50-musterd.rules takes polkit \
                 (package polkitd) to allow it; without that, set [agents.supervision] \
                 runner = \"process\"",
            ),
            Self::Refused(error) => write!(f, "systemd refuses: {error}"),
        }
    }
}

impl From<zbus::Error> for Error {
    fn from(error: zbus::Error) -> Self {
        match &error {
            zbus::Error::FDO(known) => match &**known {
                zbus::fdo::Error::AccessDenied(_)
                | zbus::fdo::Error::AuthFailed(_)
                | zbus::fdo::Error::InteractiveAuthorizationRequired(_) => Self::Denied,
                _ => Self::Refused(known.to_string()),
            },
            zbus::Error::MethodError(_, Some(text), _) => Self::Refused(text.clone()),
            _ => Self::Bus(error.to_string()),
        }
    }
}

/// Waits for changes of a unit. To be made before the unit is looked at, so that none is missed.
pub(crate) struct Changes(MessageStream);

impl Changes {
    /// Waits until the unit has changed.
    ///
    /// # Errors
    /// The bus has gone: no change will be told any more.
    pub(crate) async fn next(&mut self) -> Result<(), Error> {
        match poll_fn(|context| Pin::new(&mut self.0).poll_next(context)).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(error.into()),
            None => Err(Error::Bus("it has gone".to_owned())),
        }
    }
}

impl Manager {
    async fn connection(&self) -> Result<Connection, Error> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = in_time(Connection::system()).await?;
        // Else systemd would not tell of changes.
        let subscribed =
            connection.call_method(Some(SERVICE), PATH, Some(MANAGER), "Subscribe", &());
        in_time(subscribed).await?;
        *kept = Some(connection.clone());
        Ok(connection)
    }

    async fn manage<B>(&self, method: &str, arguments: &B) -> Result<(), Error>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let connection = self.connection().await?;
        let call = connection.call_method(Some(SERVICE), PATH, Some(MANAGER), method, arguments);
        in_time(call).await.map(drop)
    }

    /// Has a unit started that is down.
    ///
    /// # Errors
    /// As [`Error`] has them. That the start has begun does not say that it succeeds.
    pub(crate) async fn start(&self, unit: &str) -> Result<(), Error> {
        self.manage("StartUnit", &(unit, "replace")).await
    }

    /// Has a unit started at once that would be started later.
    ///
    /// # Errors
    /// As for [`Manager::start`].
    pub(crate) async fn restart(&self, unit: &str) -> Result<(), Error> {
        self.manage("RestartUnit", &(unit, "replace")).await
    }

    /// Has a unit stopped; it is not started again by itself.
    ///
    /// # Errors
    /// As for [`Manager::start`].
    pub(crate) async fn stop(&self, unit: &str) -> Result<(), Error> {
        self.manage("StopUnit", &(unit, "replace")).await
    }

    /// Has all processes of a unit killed.
    ///
    /// # Errors
    /// As [`Error`] has them.
    pub(crate) async fn kill(&self, unit: &str) -> Result<(), Error> {
        self.manage("KillUnit", &(unit, "all", KILL)).await
    }

    /// Calls `read` with all properties of a unit, which systemd loads if need be.
    ///
    /// # Errors
    /// As [`Error`] has them.
    pub(crate) async fn properties<T>(
        &self,
        unit: &str,
        read: impl FnOnce(&HashMap<&str, Variant<'_>>) -> T,
    ) -> Result<T, Error> {
        self.all(&path_of(unit), read).await
    }

    async fn all<T>(
        &self,
        path: &str,
        read: impl FnOnce(&HashMap<&str, Variant<'_>>) -> T,
    ) -> Result<T, Error> {
        let connection = self.connection().await?;
        // Those of all interfaces, so that they are of one moment.
        let call = connection.call_method(Some(SERVICE), path, Some(PROPERTIES), "GetAll", &("",));
        let answer = in_time(call).await?;
        let body = answer.body();
        Ok(read(&body.deserialize().map_err(|error| Error::Bus(error.to_string()))?))
    }

    /// What systemd has been asked to do with a unit and has not done yet, in its words (`start`, `stop`,
    /// `restart`, …); `None` if there is nothing.
    ///
    /// # Errors
    /// As [`Error`] has them. A job that is done just then is one.
    pub(crate) async fn job(&self, unit: &str) -> Result<Option<String>, Error> {
        let Some(job) = self.properties(unit, path_of_job).await? else { return Ok(None) };
        self.all(&job, |properties| match properties.get("JobType") {
            Some(Variant::Str(word)) => Some(word.as_str().to_owned()),
            _ => None,
        })
        .await
    }

    /// Tells from now on when a unit's properties change.
    ///
    /// # Errors
    /// As [`Error`] has them.
    pub(crate) async fn changes(&self, unit: &str) -> Result<Changes, Error> {
        let connection = self.connection().await?;
        // From whomever: all that a false one brings about is another look.
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .interface(PROPERTIES)
            .member("PropertiesChanged")
            .path(path_of(unit))
            .build()?;
        let stream = in_time(MessageStream::for_match_rule(rule, &connection, None)).await?;
        Ok(Changes(stream))
    }
}

async fn in_time<T>(answer: impl Future<Output = zbus::Result<T>>) -> Result<T, Error> {
    match timeout(ANSWER, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Bus(format!("no answer within {} s", ANSWER.as_secs()))),
    }
}

/// A unit's object: all but letters and digits of its name are written as `_` and two hexadecimal
/// digits.
fn path_of(unit: &str) -> String {
    let mut path = format!("{PATH}/unit/");
    for byte in unit.bytes() {
        if byte.is_ascii_alphanumeric() {
            path.push(byte.into());
        } else {
            path += &format!("_{byte:02x}");
        }
    }
    path
}

/// The object of a unit's job, if there is one: `Job` is its number, 0 for none, and its object.
fn path_of_job(properties: &HashMap<&str, Variant<'_>>) -> Option<String> {
    let Some(Variant::Structure(job)) = properties.get("Job") else { return None };
    match job.fields() {
        [Variant::U32(1..), Variant::ObjectPath(path)] => Some(path.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::ObjectPath;

    #[test]
    fn a_unit_has_a_job_or_none() {
        let of = |number: u32| {
            let path = ObjectPath::from_static_str_unchecked("/org/freedesktop/systemd1/job/7");
            path_of_job(&HashMap::from([("Job", Variant::from((number, path)))]))
        };
        assert_eq!(of(7).as_deref(), Some("/org/freedesktop/systemd1/job/7"));
        assert_eq!(of(0), None);
        assert_eq!(path_of_job(&HashMap::from([("Job", Variant::from(7_u32))])), None);
        assert_eq!(path_of_job(&HashMap::new()), None);
    }

    #[test]
    fn the_object_of_a_unit() {
        assert_eq!(
            path_of("musterd-agent@a.B_1.service"),
            "/org/freedesktop/systemd1/unit/musterd_2dagent_40a_2eB_5f1_2eservice"
        );
    }

    #[test]
    fn refusals_say_what_to_do() {
        let denied = zbus::fdo::Error::AccessDenied("no".to_owned());
        let denied = Error::from(zbus::Error::FDO(Box::new(denied)));
        let text = denied.to_string();
        assert!(denied.is_general() && !Error::Refused(String::new()).is_general());
        assert!(text.contains("polkitd") && text.contains("runner = \"process\""), "{text}");
        let gone = zbus::Error::InputOutput(std::sync::Arc::new(std::io::Error::other("gone")));
        let text = Error::from(gone).to_string();
        assert!(text.contains("gone") && text.contains("package dbus"), "{text}");
    }
}
