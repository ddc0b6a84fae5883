//! Numbers as Prometheus spells them, without an allocation.

use std::io::Write;

/// Up to here every integer is an `f64` of its own, so that printing it as an integer is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Appends a sample's value: the shortest text that reads back as the same number.
pub(super) fn value(value: f64, out: &mut Vec<u8>) {
    if value.abs() < EXACT && value.trunc() == value {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(not_finite(value));
    }
}

/// Appends a count.
pub(super) fn count(count: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
}

/// Appends a bucket's bound as text 0.0.4 has it: `1`, `0.25`, `1e-05`, `1e+06`, `+Inf`.
///
/// A bound is part of a series' identity, so it is spelt as the official clients do: C's `%g` with
/// as many digits as are needed, an exponent below 1e-4 and from 1e6 on.
pub(super) fn plain_bound(bound: f64, out: &mut Vec<u8>) {
    if bound.is_finite() && bound != 0.0 && !(1e-4..1e6).contains(&bound.abs()) {
        exponential(bound, out);
    } else {
        value(bound, out);
    }
}

/// Appends a bucket's bound as OpenMetrics has it: always a float, `1.0`.
pub(super) fn float_bound(bound: f64, out: &mut Vec<u8>) {
    let start = out.len();
    plain_bound(bound, out);
    let digits_only =
        out.get(start..).unwrap_or_default().iter().all(|b| b.is_ascii_digit() || *b == b'-');
    if digits_only {
        out.extend_from_slice(b".0");
    }
}

/// `1.5e-07`: a sign and at least two digits in the exponent.
fn exponential(number: f64, out: &mut Vec<u8>) {
    let mut scratch = [0u8; 32];
    let mut rest = scratch.as_mut_slice();
    // 17 digits, a point, two signs, `e` and three digits of exponent: it fits.
    let _ = write!(rest, "{number:e}");
    let unused = rest.len();
    let written = scratch.get(..32 - unused).unwrap_or_default();
    let at = written.iter().position(|&byte| byte == b'e').unwrap_or(written.len());
    let (mantissa, exponent) = written.split_at(at);
    let exponent = exponent.get(1..).unwrap_or_default();
    let (sign, digits) = match exponent.split_first() {
        Some((b'-', digits)) => (b'-', digits),
        _ => (b'+', exponent),
    };
    out.extend_from_slice(mantissa);
    out.push(b'e');
    out.push(sign);
    if digits.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(digits);
}

fn not_finite(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"+Inf"
    } else {
        b"-Inf"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: fn(f64, &mut Vec<u8>), number: f64) -> String {
        let mut out = Vec::new();
        write(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values() {
        for (number, wanted) in [
            (0.0, "0"),
            (-0.0, "0"),
            (-17.0, "-17"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (0.1, "0.1"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(text(value, number), wanted);
        }
        for number in [f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0 / 3.0, -2.5e17, 2f64.powi(53)] {
            assert_eq!(text(value, number).parse::<f64>().unwrap(), number);
        }
    }

    #[test]
    fn bounds() {
        for (number, plain, float) in [
            (0.0, "0", "0.0"),
            (1.0, "1", "1.0"),
            (-3.0, "-3", "-3.0"),
            (0.25, "0.25", "0.25"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "1e-05"),
            (1.5e-7, "1.5e-07", "1.5e-07"),
            (100_000.0, "100000", "100000.0"),
            (1e6, "1e+06", "1e+06"),
            (1_048_576.0, "1.048576e+06", "1.048576e+06"),
            (1e21, "1e+21", "1e+21"),
            (1e100, "1e+100", "1e+100"),
            (f64::INFINITY, "+Inf", "+Inf"),
        ] {
            assert_eq!(text(plain_bound, number), plain);
            assert_eq!(text(float_bound, number), float);
        }
    }
}
