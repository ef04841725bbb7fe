//! Tests of both directions; here is what they share.

use bytes::Bytes;

use super::{DecodeError, Decoder, Event, Line};

mod bounds;
mod properties;
mod reference;
mod rules;
mod writing;

/// Everything that a caller can see of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// The events, each with the last event id after it.
    events: Vec<(Event, Option<String>)>,
    error: Option<DecodeError>,
    is_mid_event: bool,
    last_event_id: Option<String>,
}

/// Decodes a stream that comes in these chunks, and checks on the way what the
/// decoder holds.
fn decode_chunks(limit: usize, chunks: impl IntoIterator<Item = Bytes>) -> Seen {
    let mut decoder = Decoder::new(limit);
    let mut events = Vec::new();
    let mut error = None;
    let last_id = |decoder: &Decoder| decoder.last_event_id().map(str::to_owned);
    for chunk in chunks {
        decoder.feed(chunk);
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push((event, last_id(&decoder))),
                Ok(None) => break,
                Err(e) => {
                    assert!(error.is_none_or(|before| before == e), "another error: {e}");
                    error = Some(e);
                    break;
                }
            }
        }
        // The two bytes are those that may become a byte order mark.
        assert!(decoder.held() <= limit.max(2), "holds {} of {limit} bytes", decoder.held());
    }
    Seen { events, error, is_mid_event: decoder.is_mid_event(), last_event_id: last_id(&decoder) }
}

fn decode(stream: impl AsRef<[u8]>) -> Seen {
    decode_chunks(usize::MAX, [Bytes::copy_from_slice(stream.as_ref())])
}

/// The events of a stream without errors.
fn events(stream: impl AsRef<[u8]>) -> Vec<Event> {
    let seen = decode(stream);
    assert_eq!(seen.error, None);
    seen.events.into_iter().map(|(event, _)| event).collect()
}

/// The data of the events of a stream without errors.
fn data(stream: impl AsRef<[u8]>) -> Vec<String> {
    events(stream).into_iter().map(|event| String::from_utf8(event.data.into()).unwrap()).collect()
}

fn line(text: &'static str) -> Option<Line> {
    Some(Line::from_static(text))
}
