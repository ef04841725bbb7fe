//! Identifiers: of requests, of progress, of sessions.
//!
//! An id's JSON type is part of it: `1` and `"1"` are two ids, and each goes
//! back to its sender as it came.

use std::fmt;

use crate::{Json, Text, json::Borrowed};

/// The id of a JSON-RPC request: a string or an integer of any size.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Scalar);

/// The token by which a caller knows the progress of one of its requests.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProgressToken(Scalar);

/// The value of the `Mcp-Session-Id` header. Whoever knows it can act in the
/// session, so `Debug` does not show it and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Text);

/// A session id with a character outside visible ASCII (0x21 to 0x7E), or an
/// empty one (revision 2025-03-26, transports, session management).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session id must be one or more visible ASCII characters")]
pub struct UnfitSessionId;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Scalar {
    Integer(i64),
    /// A number that does not fit `i64`, in the digits it was written in.
    Number(Text),
    String(Text),
}

// === impl RequestId ===

impl RequestId {
    /// Reads an id from its JSON text. `None` for `null`, a fraction, or
    /// anything else that is neither a string nor an integer.
    #[must_use]
    pub fn from_json(json: &Json) -> Option<Self> {
        Self::from_text(json.as_str())
    }

    /// Reads an id from text that is known to be JSON.
    pub(crate) fn from_text(json: &str) -> Option<Self> {
        Scalar::from_text(json).filter(Scalar::is_whole).map(Self)
    }

    /// The id's JSON text.
    #[must_use]
    pub fn to_json(&self) -> Json {
        self.0.to_json()
    }

    /// The id as an unsigned number, where it is one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.0.as_u64()
    }
}

impl From<u64> for RequestId {
    fn from(number: u64) -> Self {
        Self(number.into())
    }
}

impl From<&str> for RequestId {
    fn from(text: &str) -> Self {
        Self(Scalar::String(text.into()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl ProgressToken ===

impl ProgressToken {
    /// Reads a token from its JSON text: a string or a number.
    #[must_use]
    pub fn from_json(json: &Json) -> Option<Self> {
        Scalar::from_text(json.as_str()).map(Self)
    }

    /// The token's JSON text.
    #[must_use]
    pub fn to_json(&self) -> Json {
        self.0.to_json()
    }

    /// The token as an unsigned number, where it is one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.0.as_u64()
    }
}

impl From<u64> for ProgressToken {
    fn from(number: u64) -> Self {
        Self(number.into())
    }
}

impl From<&str> for ProgressToken {
    fn from(text: &str) -> Self {
        Self(Scalar::String(text.into()))
    }
}

impl fmt::Debug for ProgressToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl SessionId ===

impl SessionId {
    /// Takes a session id as a peer gave it.
    ///
    /// # Errors
    ///
    /// [`UnfitSessionId`] where the specification does not allow it.
    pub fn new(id: impl Into<Text>) -> Result<Self, UnfitSessionId> {
        let id = id.into();
        let fits = !id.is_empty() && id.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        if fits { Ok(Self(id)) } else { Err(UnfitSessionId) }
    }

    /// The id itself: for the wire, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

// === impl Scalar ===

impl Scalar {
    /// Ids are short and outlive the message they come with: so they hold
    /// none of it.
    fn from_text(json: &str) -> Option<Self> {
        match json.as_bytes().first()? {
            b'"' => {
                let text: Borrowed<'_> = serde_json::from_str(json).ok()?;
                Some(Self::String(text.0.as_ref().into()))
            }
            b'-' | b'0'..=b'9' => {
                // "-0" is an integer too, but would come back as "0".
                let number = json.parse().ok().filter(|_| json != "-0");
                Some(number.map_or_else(|| Self::Number(json.into()), Self::Integer))
            }
            _ => None,
        }
    }

    fn to_json(&self) -> Json {
        match self {
            Self::Integer(number) => Json::number(*number),
            Self::Number(digits) => Json::trusted(digits.clone().into_bytes()),
            Self::String(text) => Json::string(text),
        }
    }

    fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => (*number).try_into().ok(),
            Self::Number(digits) => digits.parse().ok(),
            Self::String(_) => None,
        }
    }

    fn is_whole(&self) -> bool {
        match self {
            Self::Integer(_) | Self::String(_) => true,
            Self::Number(digits) => !digits.contains(['.', 'e', 'E']),
        }
    }
}

impl From<u64> for Scalar {
    fn from(number: u64) -> Self {
        i64::try_from(number)
            .map_or_else(|_| Self::Number(number.to_string().into()), Self::Integer)
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_json().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(json: &str) -> Option<RequestId> {
        RequestId::from_json(&Json::parse(json.to_owned()).expect("the test's JSON is valid"))
    }

    #[test]
    fn a_number_and_a_string_of_the_same_digits_are_two_ids() {
        assert_ne!(id("1"), id("\"1\""));
    }

    #[test]
    fn ids_come_back_as_they_were_written() {
        for text in ["1", "-7", "-0", "\"1\"", "\"\"", "340282366920938463463374607431768211456"] {
            let id = id(text).expect("an id");
            assert_eq!(id.to_json().as_str(), text);
        }
    }

    #[test]
    fn null_fractions_and_structures_are_no_ids() {
        for text in ["null", "1.5", "1e3", "true", "{}", "[]"] {
            assert_eq!(id(text), None, "{text}");
        }
    }

    #[test]
    fn a_session_id_is_visible_ascii_and_never_shown() {
        assert_eq!(SessionId::new("has space"), Err(UnfitSessionId));
        assert_eq!(SessionId::new(""), Err(UnfitSessionId));
        let id = SessionId::new("s3cr3t").expect("fits");
        assert!(!format!("{id:?}").contains("s3cr3t"));
    }
}
