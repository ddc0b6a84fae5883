//! How the configuration writes quantities that TOML has no type for.
//!
//! Must not know what any quantity is for.

use serde::{Deserialize, Deserializer};
use std::net::SocketAddr;

/// A length of time: `"2s"`, `"1m 30s"`, `"250ms"`. For `#[serde(with = "crate::units::duration")]`.
pub mod duration {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer};
    use std::time::Duration;

    /// No sum of a point in time and a few of these overflows.
    const LONGEST: Duration = Duration::from_secs(1000 * 24 * 60 * 60);

    /// Reads a length of time.
    ///
    /// # Errors
    /// When the value is not a string, or not a number with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let length = humantime::parse_duration(&text).map_err(|error| {
            D::Error::custom(format!(
                "{text:?} is not a length of time such as \"2s\" or \"250ms\": {error}"
            ))
        })?;
        if length > LONGEST {
            return Err(D::Error::custom(format!(
                "{text:?} is too long, wanted at most 1000 days"
            )));
        }
        Ok(length)
    }
}

/// A length of time that may be left out. For
/// `#[serde(default, with = "crate::units::optional_duration")]`.
pub mod optional_duration {
    use serde::Deserializer;
    use std::time::Duration;

    /// Reads a length of time that is there.
    ///
    /// # Errors
    /// As [`super::duration::deserialize`].
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::duration::deserialize(deserializer).map(Some)
    }
}

/// An address and a port.
///
/// # Errors
/// What was given, and what is wanted.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not an address and a port such as \"127.0.0.1:9089\" or \"[::1]:9089\""
        )
    })
}

/// A list of addresses, each as [`address`] reads it. For `#[serde(deserialize_with = …)]`.
///
/// # Errors
/// As for [`address`].
pub fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    /// That each is refused at its own place.
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Address(SocketAddr);

    impl TryFrom<String> for Address {
        type Error = String;

        fn try_from(text: String) -> Result<Self, String> {
            address(&text).map(Self)
        }
    }

    let addresses: Vec<Address> = Deserialize::deserialize(deserializer)?;
    Ok(addresses.into_iter().map(|Address(address)| address).collect())
}

/// A number of bytes: `"256KiB"`, `"1MB"`. For `#[serde(deserialize_with = …)]`.
///
/// # Errors
/// When the value is not a string, or not a number with a unit.
pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    use serde::de::Error;
    let text = String::deserialize(deserializer)?;
    let size = text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64());
    size.and_then(|size| usize::try_from(size).ok())
        .ok_or_else(|| D::Error::custom(format!("{text:?} is not a size such as \"256KiB\"")))
}

/// A number of bytes that may be left out. For
/// `#[serde(default, with = "crate::units::optional_size", skip_serializing_if = "Option::is_none")]`.
pub mod optional_size {
    use serde::{Deserializer, Serializer};

    /// Reads a size that is there.
    ///
    /// # Errors
    /// As [`super::size`].
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        super::size(deserializer).map(|size| Some(size as u64))
    }

    /// Writes a size, as it is read.
    ///
    /// # Errors
    /// As the serializer has them.
    pub fn serialize<S: Serializer>(size: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}B", size.unwrap_or_default()))
    }
}

/// Permissions in octal, as a string: `"0660"`. For `#[serde(deserialize_with = …)]`.
///
/// # Errors
/// When the value is not a string of octal digits up to 0777.
pub fn mode<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    use serde::Deserialize;
    use serde::de::Error;
    let text = String::deserialize(deserializer)?;
    u32::from_str_radix(&text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| D::Error::custom(format!("{text:?} is not a mode such as \"0660\"")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[derive(serde::Deserialize)]
    struct Options {
        #[serde(with = "super::duration")]
        wait: Duration,
        #[serde(default, with = "super::optional_duration")]
        pause: Option<Duration>,
    }

    #[test]
    fn a_length_that_may_be_left_out() {
        let read = |text: &str| toml::from_str::<Options>(text).map(|options| options.pause);
        assert_eq!(read("wait = '1s'").unwrap(), None);
        assert_eq!(read("wait = '1s'\npause = '3ms'").unwrap(), Some(Duration::from_millis(3)));
        assert!(read("wait = '1s'\npause = 3").is_err());
    }

    #[test]
    fn lengths_of_time() {
        let read = |text: &str| toml::from_str::<Options>(text).map(|options| options.wait);
        assert_eq!(read("wait = '2s'").unwrap(), Duration::from_secs(2));
        assert_eq!(read("wait = '1m 30s'").unwrap(), Duration::from_secs(90));
        for bad in [
            "wait = 2",
            "wait = ''",
            "wait = '2'",
            "wait = '-1s'",
            "wait = '9e99s'",
            "wait = '1001days'",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let message = read("wait = 'soon'").unwrap_err().to_string();
        assert!(message.contains("\"soon\" is not a length of time"), "{message}");
    }
}
