//! Changes that nobody can foresee and everybody can repeat: for tests that feed rubbish.
#![allow(dead_code)] // each test binary uses its part
#![allow(clippy::indexing_slicing)] // a test fails by panicking

use std::path::PathBuf;

/// A folder of this name and process for what is written at every input: in memory where that can be.
pub(crate) fn folder(name: &str) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
    place.join(format!("musterd-{name}-{}", std::process::id()))
}

/// A row of numbers that nobody can foresee and everybody can repeat (xorshift64*).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        number as usize % limit.max(1)
    }

    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// The text with up to four changes.
    pub(crate) fn changed(&mut self, text: &[u8]) -> Vec<u8> {
        const ODD: [&[u8]; 24] = [
            b"",
            b" ",
            b"\n",
            b"\n\n",
            b"\0",
            b"\xff\xfe",
            b"-1",
            b"0",
            b"18446744073709551615",
            b"18446744073709551616",
            b"-9223372036854775809",
            b"9999999999999999999999999",
            b"1e308",
            b"NaN",
            b"inf",
            b"0x1g",
            b"\"",
            b"\\",
            b"{a=\"b\"}",
            b":",
            b"/",
            b"..",
            b"\xc3\xa9",
            b"=",
        ];
        let mut text = text.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(text.len() + 1);
            let end = (at + self.below(12)).min(text.len());
            match self.below(9) {
                0 => text.truncate(at),
                1 => drop(text.splice(at..end, [])),
                2 => drop(text.splice(at..at, self.one_of(&ODD).to_vec())),
                3 => {
                    let number = number_at(&text, at);
                    drop(text.splice(number, self.one_of(&ODD).to_vec()));
                }
                4 => {
                    let line = line_at(&text, at);
                    let again = text[line.clone()].to_vec();
                    drop(text.splice(line.end..line.end, again));
                }
                5 => drop(text.drain(line_at(&text, at))),
                6 => {
                    let (one, other) = (line_at(&text, at), self.below(text.len() + 1));
                    let moved: Vec<u8> = text.drain(one).collect();
                    let to = line_at(&text, other.min(text.len())).start;
                    drop(text.splice(to..to, moved));
                }
                7 => {
                    if let Some(byte) = text.get_mut(at) {
                        *byte = self.below(256) as u8;
                    }
                }
                _ => {
                    let again = text[at..end].repeat(1 + self.below(40));
                    drop(text.splice(at..end, again));
                }
            }
        }
        text
    }
}

fn line_at(text: &[u8], at: usize) -> std::ops::Range<usize> {
    let start = text[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |found| found + 1);
    let end = text[at..]
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(text.len(), |found| at + found + 1);
    start..end
}

fn number_at(text: &[u8], at: usize) -> std::ops::Range<usize> {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let start = text[at..].iter().position(is_digit).map_or(text.len(), |found| at + found);
    let length = text[start..].iter().take_while(|byte| is_digit(byte)).count();
    start..start + length
}
