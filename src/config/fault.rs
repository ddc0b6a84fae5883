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
                (error.span().and_then(|span| place(&span)), error.message().to_owned())
            }
            Self::At(at, what) => (at, what),
        };
        Error { file: file.to_owned(), place: at.map(|at| position(text, at)), text: what }
    }
}

/// Line and column, from 1, of a byte in a text. Columns are characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
