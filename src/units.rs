//! How the configuration writes quantities that TOML has no type for.
//!
//! Must not know what any quantity is for.

/// A length of time: `"2s"`, `"1m 30s"`, `"250ms"`. For `#[serde(with = "crate::units::duration")]`.
pub mod duration {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer};
    use std::time::Duration;

    /// Reads a length of time.
    ///
    /// # Errors
    /// When the value is not a string, or not a number with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            D::Error::custom(format!(
                "{text:?} is not a length of time such as \"2s\" or \"250ms\": {error}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[derive(serde::Deserialize)]
    struct Options {
        #[serde(with = "super::duration")]
        wait: Duration,
    }

    #[test]
    fn lengths_of_time() {
        let read = |text: &str| toml::from_str::<Options>(text).map(|options| options.wait);
        assert_eq!(read("wait = '2s'").unwrap(), Duration::from_secs(2));
        assert_eq!(read("wait = '1m 30s'").unwrap(), Duration::from_secs(90));
        for bad in ["wait = 2", "wait = ''", "wait = '2'", "wait = '-1s'", "wait = '9e99s'"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let message = read("wait = 'soon'").unwrap_err().to_string();
        assert!(message.contains("\"soon\" is not a length of time"), "{message}");
    }
}
