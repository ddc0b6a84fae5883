//! Text whose lines are a key and its numbers: statistics of nfs, xfs and others.
//!
//! Must not know what the numbers mean.

use super::Error;
use super::parse::{decimal, lines, quoted, words};
use std::path::Path;

/// The lines that are wanted, as they were read last.
#[derive(Debug)]
pub(super) struct Keyed {
    keys: &'static [&'static str],
    rows: Vec<Vec<f64>>,
}

impl Keyed {
    /// The lines of these keys.
    pub(super) fn new(keys: &'static [&'static str]) -> Self {
        Self { keys, rows: vec![Vec::new(); keys.len()] }
    }

    /// Takes the numbers of another reading; `path` is where the text comes from.
    ///
    /// # Errors
    /// [`Error::Parse`] where a key that is wanted has something else than numbers.
    pub(super) fn update(&mut self, text: &[u8], path: &Path) -> Result<(), Error> {
        self.rows.iter_mut().for_each(Vec::clear);
        for line in lines(text) {
            let mut words = words(line);
            let key = words.next().unwrap_or_default();
            let place = self.keys.iter().position(|known| known.as_bytes() == key);
            let Some(row) = place.and_then(|place| self.rows.get_mut(place)) else { continue };
            row.clear();
            for word in words {
                let wrong = || {
                    Error::Parse(format!(
                        "{}: wanted a number, found {} in {}",
                        path.display(),
                        quoted(word),
                        quoted(line)
                    ))
                };
                row.push(decimal(word).ok_or_else(wrong)?);
            }
        }
        Ok(())
    }

    /// The numbers of a key; none where there was no such line.
    pub(super) fn row(&self, key: &str) -> &[f64] {
        let place = self.keys.iter().position(|known| *known == key);
        place.and_then(|place| self.rows.get(place)).map_or(&[], Vec::as_slice)
    }

    /// One of the numbers of a key; 0 where the kernel does not count it.
    pub(super) fn get_or_0(&self, key: &str, index: usize) -> f64 {
        self.row(key).get(index).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_their_key() {
        let mut keyed = Keyed::new(&["rpc", "net"]);
        let path = Path::new("stats");
        keyed.update(b"net 1 2.5\nother x\n\nrpc\n", path).unwrap();
        assert_eq!((keyed.row("net"), keyed.row("rpc")), (&[1.0, 2.5][..], &[][..]));
        assert_eq!((keyed.get_or_0("net", 1), keyed.get_or_0("net", 2)), (2.5, 0.0));
        keyed.update(b"rpc 7", path).unwrap();
        assert_eq!((keyed.row("net"), keyed.row("rpc")), (&[][..], &[7.0][..]));
        let error = keyed.update(b"net 1 x 2", path).unwrap_err().to_string();
        assert_eq!(error, "stats: wanted a number, found `x` in `net 1 x 2`");
    }
}
