//! The ids of events: which stream of the session, and which event of it.

use std::{fmt, str::FromStr};

/// Says of an event where it stands, so that a client that has lost its
/// connection can ask for what comes after it (transports, resumability).
///
/// Written as `a7-3`: event 3 of stream 7, which carries answers; or `l7-3`,
/// where the stream is a listening one. Streams of a kind are numbered through
/// a session, so that no two events of it have the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventId {
    pub(super) stream: StreamId,
    pub(super) number: u64,
}

/// A stream of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamId {
    pub(super) kind: Kind,
    pub(super) number: u64,
}

/// What a stream is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What calls say, and their answers.
    Answers,
    /// What is said unasked.
    Listening,
}

/// An id that was not made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ForeignId;

// === impl EventId ===

impl FromStr for EventId {
    type Err = ForeignId;

    fn from_str(text: &str) -> Result<Self, ForeignId> {
        let (stream, number) = text.split_once('-').ok_or(ForeignId)?;
        let mut stream = stream.chars();
        let kind = match stream.next() {
            Some('a') => Kind::Answers,
            Some('l') => Kind::Listening,
            _ => return Err(ForeignId),
        };
        let stream = StreamId { kind, number: decimal(stream.as_str())? };
        Ok(Self { stream, number: decimal(number)? })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stream, self.number)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Answers => 'a',
            Kind::Listening => 'l',
        };
        write!(f, "{kind}{}", self.number)
    }
}

/// A number as it is written here: without a sign, without leading zeros.
fn decimal(text: &str) -> Result<u64, ForeignId> {
    let is_canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_canonical { text.parse().map_err(|_| ForeignId) } else { Err(ForeignId) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_not_made_here_is_no_id() {
        for text in [
            "",
            "-",
            "a",
            "a1",
            "a1-",
            "a-1",
            "b1-1",
            "a01-1",
            "a1-+1",
            "a1-1-1",
            "A1-1",
            "l1-99999999999999999999",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(ForeignId), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_read_as_it_was_written(listens: bool, stream: u64, number: u64) {
            let kind = if listens { Kind::Listening } else { Kind::Answers };
            let id = EventId { stream: StreamId { kind, number: stream }, number };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "\\PC{0,12}|[al][0-9]{1,3}-[0-9]{1,3}") {
            if let Ok(id) = text.parse::<EventId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
