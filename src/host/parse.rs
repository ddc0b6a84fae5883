//! Reading numbers and words from kernel text: on bytes, without allocation, never failing on
//! rubbish otherwise than by `None`.
//!
//! Must not know any file's format.

/// The lines of a text, without empty ones.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

/// The words of a line: what stands between blanks and tabs.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ' || byte == b'\t').filter(|word| !word.is_empty())
}

/// Splits a line after so many words; `None` if it has fewer.
pub(super) fn split_after(line: &[u8], words: usize) -> Option<(&[u8], &[u8])> {
    let mut rest = line;
    for _ in 0..words {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        (_, rest) = rest.split_at_checked(end).filter(|(word, _)| !word.is_empty())?;
    }
    line.split_at_checked(line.len() - rest.len())
}

/// An unsigned decimal number, all of the word.
pub(super) fn integer(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for &byte in word {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

/// An unsigned hexadecimal number without a prefix, all of the word.
pub(super) fn hexadecimal(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
}

/// A decimal number with an optional sign, all of the word, as the value of a sample.
pub(super) fn number(word: &[u8]) -> Option<f64> {
    match word.split_first() {
        Some((b'-', rest)) => integer(rest).map(|number| -(number as f64)),
        _ => integer(word).map(|number| number as f64),
    }
}

/// A number with or without a fraction. Infinities and NaN, which the kernel never writes, are
/// refused.
pub(super) fn decimal(word: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(word).ok()?;
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The value times the scale. A scale below 1 is the inverse of a whole number (0.001), and dividing
/// by that one gives the value that is nearest.
pub(super) fn scaled(value: f64, scale: f64) -> f64 {
    if scale < 1.0 { value / (1.0 / scale).round() } else { value * scale }
}

/// A decimal number, or a hexadecimal one with `0x`, with white space around it.
pub(super) fn any_number(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    match text.strip_prefix(b"0x") {
        Some(digits) => hexadecimal(digits).map(|number| number as f64),
        None => number(text),
    }
}

/// The line as it is quoted in an error: readable, and not longer than a line of a log.
pub(super) fn quoted(line: &[u8]) -> String {
    let shown = line.get(..80).unwrap_or(line);
    format!("`{}`", String::from_utf8_lossy(shown).escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(integer(b"0"), Some(0));
        assert_eq!(integer(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"-12"), Some(-12.0));
        assert_eq!(decimal(b"0.25"), Some(0.25));
        assert_eq!(hexadecimal(b"00fF"), Some(255));
        for rubbish in [&b""[..], b"+1", b"0x1", b"11111111111111111", b"g"] {
            assert_eq!(hexadecimal(rubbish), None);
        }
        for rubbish in
            [&b""[..], b"-", b"--1", b"1a", b" 1", b"18446744073709551616", b"\xff", b"+1"]
        {
            assert_eq!(integer(rubbish), None);
            assert_eq!(number(rubbish), None);
        }
        for rubbish in [&b""[..], b"inf", b"NaN", b"1,5", b"\xff", b"1e999"] {
            assert_eq!(decimal(rubbish), None);
        }
    }

    #[test]
    fn splitting() {
        assert_eq!(lines(b"a\n\nb").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(words(b"  a \tb ").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(split_after(b" a  b c", 2), Some((&b" a  b"[..], &b" c"[..])));
        assert_eq!(split_after(b"a ", 2), None);
    }
}
