//! What `Accept-Encoding` allows (RFC 9110, section 12.5.3). Pure.
//!
//! Must not know: anything else of a request.

/// Whether the answer may be compressed by gzip. The word itself counts for more than `*`; a
/// weight of 0 forbids.
pub(super) fn gzip(accept_encoding: Option<&str>) -> bool {
    let mut any = false;
    for element in accept_encoding.unwrap_or_default().split(',') {
        let (coding, parameters) = element.split_once(';').unwrap_or((element, ""));
        let allowed = weight(parameters) > 0.0;
        match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return allowed,
            "*" => any = allowed,
            _ => {}
        }
    }
    any
}

/// The weight `q` of an element: 1 without one, 0 if it cannot be read.
fn weight(parameters: &str) -> f32 {
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    weight.map_or(1.0, |value| value.parse().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_allows_gzip() {
        for (header, wanted) in [
            (None, false),
            (Some(""), false),
            (Some("gzip"), true),
            (Some("deflate, GZIP;q=0.5"), true),
            (Some("br;q=1.0, gzip;q=0.8, *;q=0.1"), true),
            (Some("*"), true),
            (Some("gzip;q=0"), false),
            (Some("gzip; q=0.000, *"), false),
            (Some("*, gzip ; Q = 0"), false),
            (Some("*;q=0"), false),
            (Some("identity"), false),
            (Some("gzip;q=x"), false),
            (Some("gzip;q=NaN"), false),
            (Some(";;=,,q=1"), false),
        ] {
            assert_eq!(gzip(header), wanted, "{header:?}");
        }
    }
}
