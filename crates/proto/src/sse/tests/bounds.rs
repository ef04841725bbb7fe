//! What the decoder holds, for how long, and where it gives up.

use bytes::Bytes;

use super::super::{DecodeError, Decoder};
use super::decode_chunks;

#[test]
fn an_event_may_be_as_large_as_the_limit_and_no_larger() {
    let stream = ": a comment of any length\nevent: x\ndata: 1\ndata: 2\r\nother: y\n\n";
    let size = "event: x".len() + "data: 1".len() * 2 + "other: y".len();
    let decode = |limit| decode_chunks(limit, [Bytes::from(stream.repeat(2))]);
    assert_eq!(decode(size).events.len(), 2);
    assert_eq!(decode(size - 1).error, Some(DecodeError::TooLarge { limit: size - 1 }));
    assert!(decode(size - 1).events.is_empty());
}

#[test]
fn a_line_that_does_not_end_fails_as_soon_as_it_is_too_long() {
    let mut decoder = Decoder::new(10);
    decoder.feed("data: 6789".into());
    assert_eq!(decoder.next_event(), Ok(None));
    decoder.feed("x".into());
    assert_eq!(decoder.next_event(), Err(DecodeError::TooLarge { limit: 10 }));
}

#[test]
fn a_comment_that_does_not_end_is_not_held() {
    let mut decoder = Decoder::new(10);
    for _ in 0..100 {
        decoder.feed(": and on and on".into());
        assert_eq!(decoder.next_event(), Ok(None));
        assert_eq!(decoder.held(), 0);
        assert!(!decoder.is_mid_event());
    }
    decoder.feed("\ndata: a\n\n".into());
    assert_eq!(decoder.next_event().unwrap().unwrap().data, "a");
}

#[test]
fn after_an_error_nothing_else_comes() {
    let mut decoder = Decoder::new(10);
    decoder.feed("data: 67890\n\ndata: a\n\n".into());
    decoder.feed("data: b\n\n".into());
    for _ in 0..3 {
        assert_eq!(decoder.next_event(), Err(DecodeError::TooLarge { limit: 10 }));
        decoder.feed("\n\ndata: c\n\n".into());
    }
    assert_eq!(decoder.held(), 0);
}

#[test]
fn chunks_that_are_fed_ahead_are_read_in_order() {
    let mut decoder = Decoder::new(100);
    for chunk in ["", "data: 1\n", "\n", "da", "", "ta: 2\n\ndata: ", "3\n\n", ""] {
        decoder.feed(chunk.into());
    }
    let mut data = Vec::new();
    while let Some(event) = decoder.next_event().unwrap() {
        if data.is_empty() {
            decoder.feed("data: 4\n\n".into());
        }
        data.push(event.data);
    }
    assert_eq!(data, ["1", "2", "3", "4"]);
}

#[test]
fn data_on_one_line_in_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"event: message\ndata: {\"a\":1}\n\ndata: x\n\n");
    let mut decoder = Decoder::new(100);
    decoder.feed(chunk.clone());
    let event = decoder.next_event().unwrap().unwrap();
    assert_eq!(event.data, "{\"a\":1}");
    assert_eq!(event.data.as_ptr(), chunk[21..].as_ptr());
    assert_eq!(decoder.next_event().unwrap().unwrap().data.as_ptr(), chunk[36..].as_ptr());
}

#[test]
fn while_it_waits_it_keeps_no_chunk_alive() {
    let mut decoder = Decoder::new(100);
    for chunk in [
        "\u{feff}",
        "data: 0\n\n",
        "event: other\nid: 1\n",
        "data: 1\n",
        "data: 2\nda",
        "ta: 3\n",
        ": comm",
        "ent\n",
        "x",
    ] {
        let chunk = Bytes::from(chunk.to_owned());
        decoder.feed(chunk.clone());
        while decoder.next_event().unwrap().is_some() {}
        assert!(chunk.is_unique(), "{chunk:?} is held");
    }
    decoder.feed("\n\n".into());
    assert_eq!(decoder.next_event().unwrap().unwrap().data, "1\n2\n3");
}

#[test]
fn it_is_mid_event_between_the_first_byte_of_a_field_and_the_blank_line() {
    let mut decoder = Decoder::new(100);
    let mut is_mid_event = |chunk: &'static str| {
        decoder.feed(chunk.into());
        while decoder.next_event().unwrap().is_some() {}
        decoder.is_mid_event()
    };
    for (chunk, expected) in [
        ("\n", false),
        (": x", false),
        ("\n", false),
        ("d", true),
        ("ata: 1", true),
        ("\n", true),
        (": x", true),
        ("\n", true),
        ("\n", false),
        ("\n", false),
    ] {
        assert_eq!(is_mid_event(chunk), expected, "{chunk:?}");
    }
}

#[test]
fn a_long_line_may_come_byte_by_byte() {
    // Whoever looks again at what has been searched takes minutes for this.
    let long = "x".repeat(1 << 20);
    let stream = Bytes::from(format!("data: {long}\n: {long}\ndata: {long}\n\n"));
    let seen = decode_chunks(usize::MAX, (0..stream.len()).map(|i| stream.slice(i..=i)));
    assert_eq!(seen.events[0].0.data, format!("{long}\n{long}"));
}
