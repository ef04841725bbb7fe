//! What holds for every stream: chunks make no difference, and the outcome is
//! the standard's.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::{Event, Line, comment, encode, message};
use super::reference::interpret;
use super::{Seen, decode, decode_chunks, events};

/// Streams where a cut may do harm at any place.
const CORPUS: &[&[u8]] = &[
    b"event: message\ndata: {\"jsonrpc\":\"2.0\"}\n\nevent: message\ndata: {}\n\n",
    b"\xEF\xBB\xBFdata: a\r\n\r\n\r\ndata: b\r\rdata: c\n\n",
    b"\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\ndata: b\n\n",
    b"\xEF\xBB\xBF: comment\nid: 1\n\n",
    b"\xEF\xBBdata: a\ndata: b\n\n",
    b"id: 1\r\nretry: 2000\r\ndata:\r\n\r\nevent: x\r\n\r\nid\r\n\r\n",
    b"data\n\ndata\ndata\n\ndata:",
    b": ping\n\n:\r\r: \xFF\r\n\r\ndata: \xC3\xA9\xE2\x82\xAC\xF0\x9F\x8E\x89\n\n",
    b"data: a\ndata: b\rdata: c\r\ndata\n: x\nother: y\nevent: z\n\ndata: unfin",
    b"data: a\n\nid: 2\ndata: \xC3\n\xA9\n\ndata: b\n\n",
    b"\n\r\n\r\rid: \0\n\nid: 3\n\nretry: 1x\n\n",
];

/// The stream cut at these places, which are in order.
fn cut(stream: &[u8], places: &[usize]) -> Vec<Bytes> {
    let stream = Bytes::copy_from_slice(stream);
    let ends = places.iter().copied().chain([stream.len()]);
    let starts = [0].into_iter().chain(places.iter().copied());
    starts.zip(ends).map(|(start, end)| stream.slice(start..end)).collect()
}

fn whole(limit: usize, stream: &[u8]) -> Seen {
    decode_chunks(limit, cut(stream, &[]))
}

fn byte_by_byte(limit: usize, stream: &[u8]) -> Seen {
    decode_chunks(limit, stream.iter().map(|&byte| Bytes::from(vec![byte])))
}

#[test]
fn two_cuts_anywhere_make_no_difference() {
    for stream in CORPUS {
        let expected = whole(usize::MAX, stream);
        for i in 0..=stream.len() {
            for j in i..=stream.len() {
                assert_eq!(
                    decode_chunks(usize::MAX, cut(stream, &[i, j])),
                    expected,
                    "cut at {i} and {j}"
                );
            }
        }
        assert_eq!(byte_by_byte(usize::MAX, stream), expected);
    }
}

#[test]
fn under_any_limit_a_cut_makes_no_difference() {
    for stream in CORPUS {
        for limit in 0..stream.len() {
            let expected = whole(limit, stream);
            for i in 0..=stream.len() {
                assert_eq!(
                    decode_chunks(limit, cut(stream, &[i])),
                    expected,
                    "limit {limit}, cut at {i}"
                );
            }
            assert_eq!(byte_by_byte(limit, stream), expected, "limit {limit}");
        }
    }
}

/// What means something to the standard.
const TOKENS: &[&str] = &[
    "data",
    "data:",
    "data: ",
    "event",
    "event: ",
    "id",
    "id: ",
    "retry: ",
    "other: ",
    ":",
    " ",
    "\n",
    "\n",
    "\n\n",
    "\r",
    "\r\r",
    "\r\n",
    "\r\n\r\n",
    "x",
    "1",
    "23",
    "message",
    "\0",
    "é",
    "\u{feff}",
    "\u{2028}",
    "99999999999999999999",
];

/// Tokens in any order.
fn soup() -> impl Strategy<Value = String> {
    vec(select(TOKENS), 0..60).prop_map(|tokens| tokens.concat())
}

/// A stream of lines that are mostly fields, so that most blocks are events.
fn stream() -> impl Strategy<Value = String> {
    let field = select(&["data", "data", "data", "event", "id", "retry", "", "other", "Data"][..]);
    let colon = select(&["", ":", ": ", ": ", ":  "][..]);
    let value = prop_oneof!["[0-9]{0,4}", "[a-z:{} \0é€]{0,12}", Just("message".to_owned())];
    let end = select(&["\n", "\r", "\r\n"][..]);
    let blank = select(&["", "", "\n", "\r", "\r\n"][..]);
    let line = (field, colon, value, end, blank)
        .prop_map(|(field, colon, value, end, blank)| [field, colon, &value, end, blank].concat());
    let mark = select(&["", "\u{feff}"][..]);
    (mark, vec(line, 0..20)).prop_map(|(mark, lines)| mark.to_owned() + &lines.concat())
}

fn random_cuts(stream: &[u8], cuts: &[Index]) -> Vec<Bytes> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.sort_unstable();
    cut(stream, &places)
}

/// The events of the stream are what the reference says, with the same last id
/// after each.
fn assert_as_reference(stream: &str, seen: &Seen) {
    let expected = interpret(stream);
    let last_id = |id: &str| Some(id.to_owned()).filter(|id| !id.is_empty());
    assert_eq!(seen.last_event_id, expected.last().and_then(|block| last_id(&block.last_event_id)));
    assert_eq!(seen.error, None);
    // The only events that the standard would not dispatch are without data.
    assert!(expected.iter().all(|block| block.dispatched || block.event.data.is_empty()));
    let expected: Vec<_> =
        expected.into_iter().map(|block| (block.event, last_id(&block.last_event_id))).collect();
    assert_eq!(seen.events, expected);
}

fn one_line() -> impl Strategy<Value = Line> {
    "[^\r\n\0]{0,8}".prop_map(|text| Line::new(text).unwrap())
}

fn event() -> impl Strategy<Value = Event> {
    let data = prop_oneof![r#"[a-z :\r\n]{0,20}"#, any::<String>()];
    let name = proptest::option::of(
        one_line().prop_filter("an empty name reads as none", |name| !name.is_empty()),
    );
    let retry = proptest::option::of(any::<u64>().prop_map(Duration::from_millis));
    (name, data, proptest::option::of(one_line()), retry)
        .prop_map(|(name, data, id, retry)| Event { name, data: data.into(), id, retry })
}

/// What a reader makes of data: every line end becomes LF.
fn normalised(event: &Event) -> Event {
    let data = str::from_utf8(&event.data).unwrap().replace("\r\n", "\n").replace('\r', "\n");
    Event { data: data.into(), ..event.clone() }
}

proptest! {
    #[test]
    fn lines_read_as_the_standard_says(stream in stream(), cuts in vec(any::<Index>(), 0..8)) {
        let in_chunks = decode_chunks(usize::MAX, random_cuts(stream.as_bytes(), &cuts));
        assert_as_reference(&stream, &decode(&stream));
        assert_as_reference(&stream, &in_chunks);
    }

    #[test]
    fn tokens_in_any_order_read_as_the_standard_says(
        stream in soup(),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let in_chunks = decode_chunks(usize::MAX, random_cuts(stream.as_bytes(), &cuts));
        assert_as_reference(&stream, &decode(&stream));
        assert_as_reference(&stream, &in_chunks);
        assert_as_reference(&stream, &byte_by_byte(usize::MAX, stream.as_bytes()));
    }

    #[test]
    fn under_a_limit_tokens_in_any_order_read_the_same_in_any_chunks(
        stream in soup(),
        cuts in vec(any::<Index>(), 0..8),
        limit in 0_usize..40,
    ) {
        let expected = whole(limit, stream.as_bytes());
        let in_chunks = decode_chunks(limit, random_cuts(stream.as_bytes(), &cuts));
        prop_assert_eq!(&in_chunks, &expected);
        prop_assert_eq!(&byte_by_byte(limit, stream.as_bytes()), &expected);
    }

    #[test]
    fn any_bytes_are_read_within_bounds(
        bytes in vec(prop_oneof![any::<u8>(), select(&b"\r\n: data\xEF\xBB\xBF"[..])], 0..200),
        cuts in vec(any::<Index>(), 0..8),
        limit in 0_usize..100,
    ) {
        let expected = whole(limit, &bytes);
        prop_assert_eq!(decode_chunks(limit, random_cuts(&bytes, &cuts)), expected);
    }

    #[test]
    fn what_is_malformed_is_an_error_or_of_no_consequence(
        tokens in vec(prop_oneof![soup().prop_map(String::into_bytes), vec(0x80_u8.., 1..3)], 0..6),
    ) {
        let stream = tokens.concat();
        let seen = decode(&stream);
        // The standard's way is to replace, and then to read.
        let replaced = String::from_utf8_lossy(&stream);
        let expected: Vec<_> = interpret(&replaced).into_iter().map(|block| block.event).collect();
        let events: Vec<_> = seen.events.into_iter().map(|(event, _)| event).collect();
        if seen.error.is_none() {
            prop_assert_eq!(events, expected);
        } else {
            prop_assert!(expected.starts_with(&events));
        }
    }

    #[test]
    fn what_is_written_is_read(written in vec((event(), any::<String>()), 0..5)) {
        let mut out = BytesMut::new();
        for (event, remark) in &written {
            comment(remark, &mut out);
            encode(event, &mut out);
        }
        let expected: Vec<_> = written.iter().map(|(event, _)| normalised(event)).collect();
        prop_assert_eq!(events(&out), expected);
    }

    #[test]
    fn a_message_is_read_as_it_was_but_for_its_line_breaks(
        id in proptest::option::of(one_line()),
        json in any::<String>(),
    ) {
        let mut out = BytesMut::new();
        message(id.as_ref(), json.as_bytes(), &mut out);
        let data = json.replace(['\r', '\n'], " ").into();
        prop_assert_eq!(events(&out), [Event { name: Some(Line::MESSAGE), data, id, retry: None }]);
    }
}
