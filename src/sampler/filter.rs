//! Which sources a scrape asks for, as its query says: `?collect[]=cpu&collect[]=agents` for these
//! alone, `?exclude[]=cpu` for all but these.
//!
//! Must not know what a source does.

/// The sources that a scrape asks for. Equal filters are answered by the same pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Sorted; `None` is all there are.
    only: Option<Vec<&'static str>>,
}

impl Filter {
    /// Every source.
    pub const ALL: Self = Self { only: None };

    /// Whether a source is asked for.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.binary_search(&name).is_ok())
    }

    /// Reads the query of a request. `known` are the names there are; keys of the query other
    /// than `collect[]` and `exclude[]` are ignored.
    ///
    /// # Errors
    /// When a name is unknown, or both keys are given.
    pub fn parse(query: &str, known: &[&'static str]) -> Result<Self, String> {
        let mut collect = Vec::new();
        let mut exclude = Vec::new();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let list = match decode(key).as_str() {
                "collect[]" => &mut collect,
                "exclude[]" => &mut exclude,
                _ => continue,
            };
            let name = decode(value);
            let Some(name) = known.iter().find(|known| **known == name) else {
                return Err(format!(
                    "no collector of the name {name:?} is enabled; there are: {}",
                    known.join(", ")
                ));
            };
            list.push(*name);
        }
        let mut only = match (collect.is_empty(), exclude.is_empty()) {
            (true, true) => return Ok(Self::ALL),
            (false, true) => collect,
            (true, false) => known.iter().copied().filter(|name| !exclude.contains(name)).collect(),
            (false, false) => {
                return Err("collect[] and exclude[] cannot be given together".to_owned());
            }
        };
        only.sort_unstable();
        only.dedup();
        Ok(Self { only: Some(only) })
    }
}

/// Undoes the percent-encoding of a query's part. What is not a valid escape stands for itself.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => match escaped(&bytes) {
                Some(value) => {
                    bytes.nth(1);
                    value
                }
                None => byte,
            },
            _ => byte,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn escaped(rest: &std::str::Bytes<'_>) -> Option<u8> {
    let mut digits = rest.clone().map(|byte| char::from(byte).to_digit(16));
    let (high, low) = (digits.next()??, digits.next()??);
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["musterd", "cpu", "stat", "agents"];

    fn wanted(query: &str) -> Vec<&'static str> {
        let filter = Filter::parse(query, &KNOWN).unwrap();
        KNOWN.into_iter().filter(|name| filter.wants(name)).collect()
    }

    #[test]
    fn what_is_asked_for() {
        assert_eq!(wanted(""), KNOWN);
        assert_eq!(wanted("x=1&collect=cpu&&="), KNOWN);
        assert_eq!(wanted("collect[]=cpu"), ["cpu"]);
        assert_eq!(wanted("collect%5B%5D=cpu&collect%5b%5d=s%74at&collect[]=cpu"), ["cpu", "stat"]);
        assert_eq!(wanted("exclude[]=cpu&exclude[]=stat"), ["musterd", "agents"]);
    }

    #[test]
    fn the_same_wish_is_the_same_filter() {
        let parse = |query| Filter::parse(query, &KNOWN).unwrap();
        assert_eq!(parse("collect[]=cpu&collect[]=stat"), parse("collect[]=stat&collect[]=cpu"));
        assert_eq!(
            parse("exclude[]=cpu"),
            parse("collect[]=stat&collect[]=agents&collect[]=musterd")
        );
        assert_eq!(parse("a=b"), Filter::ALL);
    }

    #[test]
    fn what_is_refused_is_named() {
        let message = |query| Filter::parse(query, &KNOWN).unwrap_err();
        assert!(message("collect[]=gpu").contains("\"gpu\""));
        assert!(message("exclude[]=%0aevil").contains("\"\\nevil\""));
        assert!(message("collect[]").contains("\"\""));
        assert!(message("collect[]=%ff%2").contains("\"\u{fffd}%2\""));
        assert!(message("collect[]=cpu&exclude[]=stat").contains("together"));
    }
}
