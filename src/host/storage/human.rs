//! For `bcache` and `bcachefs`: numbers that the kernel writes for people to read (`28.2k`), with
//! powers of 1024 for their letters.
//!
//! Must not know what is measured.

use crate::host::parse::{decimal, integer};

/// The text without its letter, and what the letter stands for.
fn split(text: &[u8]) -> (&[u8], f64) {
    let Some((last, mantissa)) = text.split_last() else { return (text, 1.0) };
    let power = match last {
        b'k' | b'K' => 1,
        b'M' => 2,
        b'G' => 3,
        b'T' => 4,
        b'P' => 5,
        b'E' => 6,
        b'Z' => 7,
        b'Y' => 8,
        _ => return (text, 1.0),
    };
    (mantissa, 1024f64.powi(power))
}

/// A number of bcachefs: a decimal fraction (lib/string_helpers of bcachefs-tools, printbuf.c).
pub(super) fn human(text: &[u8]) -> Option<f64> {
    let (mantissa, scale) = split(text.trim_ascii());
    decimal(mantissa).map(|number| (number * scale).trunc())
}

/// A number of bcache (bch_hprint() in drivers/md/bcache/util.c): what stands behind the point is
/// not tenths, but a count of 1024ths divided by 100 and cut off, so that .10 is more than .9.
pub(super) fn human_of_bcache(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    let (mantissa, scale) = split(text);
    if mantissa.len() == text.len() {
        return decimal(text).map(f64::trunc);
    }
    let (is_negative, mantissa) = match mantissa.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let number = match point.and_then(|point| mantissa.split_at_checked(point)) {
        None => integer(mantissa)? as f64,
        Some((whole, rest)) => integer(whole)? as f64 + integer(rest.get(1..)?)? as f64 / 10.24,
    };
    let value = (number * scale).trunc();
    Some(if is_negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_powers_of_1024() {
        let texts = ["720", "28.2k", "2.05G\n", "1P", "", "k", "x", "1.2.3k"];
        let wanted = [
            Some(720.0),
            Some(28_876.0),
            Some(2_201_170_739.0),
            Some(1024f64.powi(5)),
            None,
            None,
            None,
            None,
        ];
        assert_eq!(texts.map(|text| human(text.as_bytes())), wanted);
    }

    #[test]
    fn fractions_of_bcache() {
        let texts = ["0", "1.1M", "427.5k", "790.0k", "-1.10k", "1.k", ".k"];
        let wanted = [
            Some(0.0),
            Some(1_150_976.0),
            Some(437_748.0),
            Some(808_960.0),
            Some(-2024.0),
            None,
            None,
        ];
        assert_eq!(texts.map(|text| human_of_bcache(text.as_bytes())), wanted);
    }
}
