//! `logind`: who is logged in, asked of systemd-logind over D-Bus (org.freedesktop.login1(5)).
//!
//! Must not know about users' names.

use crate::host::bus::{Bus, Property, call, get, property};
use crate::host::gathered::Gathered;
use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use std::collections::HashMap;
use std::sync::Arc;
use zbus::{Message, ObjectPath};

const FAMILIES: [Family; 1] = [Family::gauge(
    "node_logind_sessions",
    &["seat", "remote", "type", "class"],
    "Sessions of users.",
)];
const SERVICE: &str = "org.freedesktop.login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";
const PATH: &str = "/org/freedesktop/login1";
/// What is asked about a session: a label each.
const PROPERTIES: [&str; 3] = ["Remote", "Type", "Class"];
const REMOTE: [&str; 2] = ["true", "false"];
/// What is none of these is shown as the first.
const TYPES: [&str; 7] = ["other", "unspecified", "tty", "x11", "wayland", "mir", "web"];
const CLASSES: [&str; 5] = ["other", "user", "greeter", "lock-screen", "background"];

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "logind", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|_: &Arc<Root>| {
        Box::new(Logind { bus: Bus::default(), gathered: Gathered::default() })
    }))
}

struct Logind {
    bus: Bus,
    gathered: Gathered,
}

/// A session: its seat, and its properties as they are shown.
type Session = (String, [&'static str; 3]);

impl Collector for Logind {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let questions =
            ["ListSeats", "ListSessions"].map(|what| call(SERVICE, PATH, MANAGER, what));
        let questions: Vec<_> = questions.into_iter().collect::<Result<_, _>>()?;
        let mut answers = self.bus.ask(&questions, pass.deadline)?.into_iter().flatten();
        let seats = answers.next().and_then(|answer| seats(&answer));
        let listed = answers.next().and_then(|answer| sessions(&answer));
        let (Some(mut seats), Some(listed)) = (seats, listed) else {
            return Err(Error::NoData("no systemd-logind on the system bus".to_owned()));
        };
        // Sessions without a seat: over the network, for one.
        seats.push(String::new());
        let mut questions = Vec::with_capacity(3 * listed.len());
        for (_, path) in &listed {
            for property in PROPERTIES {
                questions.push(get(SERVICE, path, SESSION, property)?);
            }
        }
        let answers = self.bus.ask(&questions, pass.deadline)?;
        let answers: Vec<_> =
            answers.iter().map(|answer| answer.as_ref().and_then(property)).collect();
        let mut counts: HashMap<Session, usize> = HashMap::new();
        for ((seat, _), answers) in listed.into_iter().zip(answers.chunks(3)) {
            // A session may have ended by now.
            let Some(shown) = shown(answers) else { continue };
            *counts.entry((seat, shown)).or_default() += 1;
        }
        self.gathered.clear();
        add(seats, &counts, &mut self.gathered);
        self.gathered.emit(&FAMILIES, pass.batch);
        Ok(())
    }
}

/// Adds every combination of labels, whether there is such a session or not.
fn add(seats: Vec<String>, counts: &HashMap<Session, usize>, gathered: &mut Gathered) {
    for seat in seats {
        let mut session = (seat, [""; 3]);
        for remote in REMOTE {
            for kind in TYPES {
                for class in CLASSES {
                    session.1 = [remote, kind, class];
                    let count = counts.get(&session).copied().unwrap_or_default();
                    let labels = [
                        ("seat", session.0.as_str()),
                        ("remote", remote),
                        ("type", kind),
                        ("class", class),
                    ];
                    gathered.add(0, &labels, count as f64);
                }
            }
        }
    }
}

/// What a session is, from the answers to [`PROPERTIES`].
fn shown(answers: &[Option<Property>]) -> Option<[&'static str; 3]> {
    let [Some(Property::Number(remote)), Some(Property::Text(kind)), Some(Property::Text(class))] =
        answers
    else {
        return None;
    };
    Some([if *remote == 0 { "false" } else { "true" }, known(kind, &TYPES), known(class, &CLASSES)])
}

fn known<const N: usize>(text: &str, known: &[&'static str; N]) -> &'static str {
    known.iter().copied().find(|known| *known == text).unwrap_or("other")
}

/// Reads the answer to `ListSeats`: name and path.
fn seats(answer: &Message) -> Option<Vec<String>> {
    let body = answer.body();
    let rows: Vec<(&str, ObjectPath<'_>)> = body.deserialize().ok()?;
    Some(rows.into_iter().map(|(name, _)| name.to_owned()).collect())
}

/// Reads the answer to `ListSessions`: name, user's number and name, seat and path. What is given is
/// the seat and the path.
fn sessions(answer: &Message) -> Option<Vec<(String, String)>> {
    let body = answer.body();
    let rows: Vec<(&str, u32, &str, &str, ObjectPath<'_>)> = body.deserialize().ok()?;
    let session = |(_, _, _, seat, path): (_, _, _, &str, ObjectPath<'_>)| {
        (seat.to_owned(), path.as_str().to_owned())
    };
    Some(rows.into_iter().map(session).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<Property> {
        Some(Property::Text(text.to_owned()))
    }

    #[test]
    fn a_session_is_shown_by_known_words() {
        let remote = Some(Property::Number(1));
        assert_eq!(
            shown(&[remote.clone(), text("tty"), text("user")]),
            Some(["true", "tty", "user"])
        );
        assert_eq!(
            shown(&[Some(Property::Number(0)), text("hologram"), text("manager")]),
            Some(["false", "other", "other"])
        );
        assert_eq!(shown(&[remote, None, text("user")]), None);
    }

    #[test]
    fn every_combination_is_told() {
        let counts = HashMap::from([(("seat0".to_owned(), ["false", "tty", "user"]), 2)]);
        let mut gathered = Gathered::default();
        add(vec!["seat0".to_owned(), String::new()], &counts, &mut gathered);
        let mut batch = crate::metric::Batch::new();
        gathered.emit(&FAMILIES, &mut batch);
        let mut text = Vec::new();
        crate::exposition::encode(&batch, crate::exposition::Format::Text, &mut text);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 2 * 2 * 7 * 5);
        let wanted =
            r#"node_logind_sessions{seat="seat0",remote="false",type="tty",class="user"} 2"#;
        assert!(text.lines().any(|line| line == wanted));
        assert_eq!(text.lines().filter(|line| line.ends_with(" 0")).count(), 139);
    }
}
