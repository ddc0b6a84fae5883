//! A sum of doubles that does not depend on the order in which they are added: what a rounding has cost is
//! kept beside it.
//!
//! Must not know what is added up.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A sum of what is never below 0, twice as precise as a double, and never more than one can hold.
///
/// As text it is a number, as long as that says all; otherwise the number and what it leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExactSum {
    /// The double nearest to the sum.
    high: f64,
    /// The rest.
    low: f64,
}

impl ExactSum {
    /// The sum, rounded.
    #[must_use]
    pub fn value(self) -> f64 {
        self.high
    }

    /// Adds a number.
    pub fn add(&mut self, number: f64) {
        let (high, lost) = add_with_loss(self.high, number);
        let (high, low) = add_with_loss(high, lost + self.low);
        // What leaves the range of a double stays at its end.
        let is_whole = high >= 0.0 && (high + low).is_finite();
        let (high, low) = if is_whole { (high, low) } else { (clamp(self.high + number), 0.0) };
        *self = Self { high, low };
    }

    /// With a number more.
    #[must_use]
    pub fn plus(mut self, number: f64) -> Self {
        self.add(number);
        self
    }

    /// Whether it is one that can have come of additions.
    #[must_use]
    pub fn is_sound(self) -> bool {
        let is_nearest = self.high + self.low - self.high == 0.0;
        is_nearest && self.high >= 0.0
    }
}

impl From<f64> for ExactSum {
    fn from(number: f64) -> Self {
        Self { high: number, low: 0.0 }
    }
}

fn clamp(sum: f64) -> f64 {
    sum.clamp(0.0, f64::MAX)
}

/// The sum of two numbers, rounded, and what the rounding has cost (Knuth's TwoSum).
fn add_with_loss(one: f64, other: f64) -> (f64, f64) {
    let sum = one + other;
    let of_other = sum - one;
    let of_one = sum - of_other;
    (sum, (one - of_one) + (other - of_other))
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Number(f64),
    Parts(f64, f64),
}

impl Serialize for ExactSum {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { high, low } = *self;
        let stored = if low == 0.0 { Stored::Number(high) } else { Stored::Parts(high, low) };
        stored.serialize(to)
    }
}

impl<'de> Deserialize<'de> for ExactSum {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match Stored::deserialize(from)? {
            Stored::Number(high) => Self { high, low: 0.0 },
            Stored::Parts(high, low) => Self { high, low },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(numbers: impl IntoIterator<Item = f64>) -> ExactSum {
        numbers.into_iter().fold(ExactSum::default(), ExactSum::plus)
    }

    #[test]
    fn no_order_makes_a_difference() {
        let numbers = [0.1, 0.2, 0.3, 1e15, 0.7, 103.774_502_827, 1e-9];
        let all = sum(numbers);
        for first in 0..numbers.len() {
            let (before, after) = numbers.split_at(first);
            let turned = || after.iter().chain(before).copied();
            assert_eq!(sum(turned()), all);
            assert_eq!(sum(turned().collect::<Vec<_>>().into_iter().rev()), all);
        }
        assert_eq!(sum([0.1; 10]).value(), 1.0);
    }

    #[test]
    fn it_stays_within_what_a_double_can_hold() {
        for numbers in [[f64::MAX, f64::MAX, 1.0], [1e308, f64::INFINITY, 1e308]] {
            assert_eq!(sum(numbers).value(), f64::MAX);
        }
        assert_eq!(sum([1.0, -2.0]), ExactSum::default());
        assert_eq!(sum([f64::MAX, 1.0]).value(), f64::MAX);
    }

    #[test]
    fn it_is_read_as_it_was_written_and_as_it_was_written_once() {
        let exact = sum([0.1, 0.2]);
        let text = serde_json::to_string(&exact).unwrap();
        assert_eq!(serde_json::from_str::<ExactSum>(&text).unwrap(), exact, "{text}");
        assert_eq!(serde_json::to_string(&sum([1.5])).unwrap(), "1.5");
        for (text, value) in [("514.774502827", 514.774_502_827), ("3", 3.0)] {
            let read: ExactSum = serde_json::from_str(text).unwrap();
            assert_eq!(read, ExactSum::from(value));
        }
        for wrong in ["-1.0", "[1.0,0.5]", "[1.0]", "\"1\"", "null", "[1e308,1e308]"] {
            let read = serde_json::from_str::<ExactSum>(wrong);
            assert!(!read.is_ok_and(ExactSum::is_sound), "{wrong}");
        }
        assert!(exact.is_sound() && ExactSum::from(-0.0).is_sound());
    }
}
