//! What is wrong with a configuration, and where.

use super::layers::place;
use std::fmt;

/// What is wrong with a configuration, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    /// The file.
    pub file: String,
    /// Line and column, from 1; where the fault has a place.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what was wanted.
    pub text: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.text),
            None => write!(f, "{}: {}", self.file, self.text),
        }
    }
}

impl std::error::Error for Error {}

/// What is wrong with the file that is being read.
pub(super) enum Fault {
    /// It cannot be parsed, or does not have the right types.
    Toml(toml::de::Error),
    /// At this byte of it, where it is not what stands elsewhere that does not agree with it.
    At(Option<usize>, String),
}

impl Fault {
    /// The error to be shown, of a file by its name and text.
    pub(super) fn of(self, file: &str, text: &str) -> Error {
        let (at, what) = match self {
            Self::Toml(error) => {
                (error.span().and_then(|span| place(&span)), in_words(error.message()))
            }
            Self::At(at, what) => (at, what),
        };
        Error { file: file.to_owned(), place: at.map(|at| position(text, at)), text: what }
    }
}

/// A message of the library or of a type in the words of TOML, not in those of the program.
fn in_words(message: &str) -> String {
    let Some((what, wanted)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let what = match what {
        "invalid type: map" => "invalid type: table",
        "invalid type: sequence" => "invalid type: array",
        other => other,
    };
    format!("{what}, wanted {}", type_in_words(wanted))
}

/// What was wanted, of a message that may quote what was found: that is in front of it.
pub(super) fn wanted(message: &str) -> Option<&str> {
    let marks = [", expected ", ", wanted ", "\" is not "];
    let end = |mark: &str| message.rfind(mark).map(|start| start + mark.len());
    let wanted = message.get(marks.into_iter().filter_map(end).max()?..)?;
    // Behind that stands why it is not.
    let wanted = wanted.split_once(": ").map_or(wanted, |(wanted, _)| wanted);
    Some(type_in_words(wanted))
}

/// A type as serde and the program call it.
fn type_in_words(wanted: &str) -> &str {
    match wanted {
        "a map" => "a table",
        "a sequence" => "an array",
        "path string" => "a path",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, not below 0",
        "i32" => "a whole number",
        "f32" | "f64" => "a number",
        _ if wanted.starts_with("struct ") => "a table",
        _ => wanted,
    }
}

/// Line and column, from 1, of a byte in a text. Columns are characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
