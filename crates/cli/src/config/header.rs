//! Headers that every request to an upstream carries.

use http::{HeaderName, HeaderValue};

/// Set by the transports themselves; another value would break them.
const OURS: [&str; 9] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
];

/// A header that cannot be sent. Never shows its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHeader {
    /// The name is none.
    #[error("{0:?} is no name for a header")]
    Name(String),
    /// The value has characters that no header can hold.
    #[error("the value of the header `{0}` has characters that a header cannot hold")]
    Value(String),
    /// The transport sets it.
    #[error("the header `{0}` is set by the transport and cannot be chosen")]
    Ours(String),
    /// It has no colon.
    #[error("expected `Name: value`")]
    NoColon,
}

/// Reads a header.
///
/// # Errors
///
/// [`BadHeader`] where it cannot be sent.
pub(crate) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), BadHeader> {
    let parsed: HeaderName = name.parse().map_err(|_| BadHeader::Name(name.to_owned()))?;
    if OURS.contains(&parsed.as_str()) {
        return Err(BadHeader::Ours(name.to_owned()));
    }
    let mut value: HeaderValue =
        value.trim().parse().map_err(|_| BadHeader::Value(name.to_owned()))?;
    // Credentials, mostly: whoever prints the headers shall not print them.
    value.set_sensitive(true);
    Ok((parsed, value))
}

/// Reads a header as a flag gives it: `Name: value`.
///
/// # Errors
///
/// [`BadHeader`] where it cannot be sent.
pub(crate) fn header_line(line: &str) -> Result<(HeaderName, HeaderValue), BadHeader> {
    let (name, value) = line.split_once(':').ok_or(BadHeader::NoColon)?;
    header(name.trim(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_keeps_its_value_from_being_shown() {
        let (name, value) = header_line("Authorization:  Bearer s3cret ").expect("is a header");
        assert_eq!(name, "authorization");
        assert_eq!(value, "Bearer s3cret");
        assert!(!format!("{value:?}").contains("s3cret"));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_without_its_value() {
        for (line, expected) in [
            ("Bearer s3cret", "expected `Name: value`"),
            ("a b: s3cret", "\"a b\" is no name for a header"),
            (": s3cret", "\"\" is no name for a header"),
            (
                "X-Key: s3cret\nX-Other: 1",
                "the value of the header `X-Key` has characters that a header cannot hold",
            ),
            (
                "Mcp-Session-Id: s3cret",
                "the header `Mcp-Session-Id` is set by the transport and cannot be chosen",
            ),
        ] {
            let error = header_line(line).expect_err("cannot be sent").to_string();
            assert_eq!(error, expected, "{line}");
        }
    }
}
