//! The rules of the standard one by one, and what departs from them.

use std::time::Duration;

use bytes::Bytes;

use super::super::{DecodeError, Decoder, Event, Line};
use super::{data, decode, events, line};

// === The examples of section 9.2.6 ===

#[test]
fn the_standards_stock_ticker_is_one_event_of_three_lines() {
    assert_eq!(data("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
}

#[test]
fn the_standards_four_blocks_are_a_comment_two_events_and_an_unfinished_one() {
    let stream = ": test stream\n\n\
        data: first event\nid: 1\n\n\
        data:second event\nid\n\n\
        data:  third event\n";
    let seen = decode(stream);

    let first = Event { data: "first event".into(), id: line("1"), ..Event::default() };
    // The id without a value takes back the first one.
    let second = Event { data: "second event".into(), id: line(""), ..Event::default() };
    assert_eq!(seen.events, [(first, Some("1".to_owned())), (second, None)]);
    assert!(seen.is_mid_event);

    assert_eq!(data([stream, "\n"].concat()).last().unwrap(), " third event");
}

#[test]
fn the_standards_empty_data_are_events_and_the_unfinished_one_is_not() {
    assert_eq!(data("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
}

#[test]
fn the_standards_space_after_the_colon_is_not_part_of_the_value() {
    assert_eq!(data("data:test\n\ndata: test\n\n"), ["test", "test"]);
}

// === DataLines ===

#[test]
fn lf_cr_and_crlf_end_a_line_also_mixed() {
    for stream in [
        "data:a\ndata:b\n\n",
        "data:a\rdata:b\r\r",
        "data:a\r\ndata:b\r\n\r\n",
        "data:a\rdata:b\r\n\n",
        "data:a\ndata:b\n\r\n",
    ] {
        assert_eq!(data(stream), ["a\nb"], "{stream:?}");
    }
    // LF and then CR are two line ends.
    assert_eq!(data("data:a\n\rdata:b\n\n"), ["a", "b"]);
}

#[test]
fn no_other_character_ends_a_line() {
    for stream in [
        "data:a\u{b}b\n\n",
        "data:a\u{c}b\n\n",
        "data:a\u{85}b\n\n",
        "data:a\u{2028}b\u{2029}c\n\n",
    ] {
        assert_eq!(data(stream), [&stream[5..stream.len() - 2]], "{stream:?}");
    }
}

#[test]
fn a_blank_line_that_ends_in_cr_gives_the_event_before_the_next_byte_comes() {
    let mut decoder = Decoder::new(100);
    decoder.feed("data: a\r\n\r".into());
    assert_eq!(decoder.next_event().unwrap().unwrap().data, "a");
    assert_eq!(decoder.next_event(), Ok(None));

    // The LF belongs to the CR: it is not a second blank line, nor the end of
    // the next one.
    decoder.feed("\ndata: b\r".into());
    assert_eq!(decoder.next_event(), Ok(None));
    decoder.feed("\n".into());
    assert_eq!(decoder.next_event(), Ok(None));
    decoder.feed("\r".into());
    assert_eq!(decoder.next_event().unwrap().unwrap().data, "b");
}

#[test]
fn one_byte_order_mark_is_dropped_at_the_very_beginning_only() {
    assert_eq!(data("\u{feff}data: a\n\n"), ["a"]);
    assert_eq!(data("\u{feff}\ndata: a\n\n"), ["a"]);
    // A second one is part of the name of a field, and so is one further on.
    assert_eq!(data("\u{feff}\u{feff}data: a\n\n"), [""; 0]);
    assert_eq!(data("\n\u{feff}data: a\n\n"), [""; 0]);
    assert_eq!(data("data: a\n\u{feff}data: b\n\n"), ["a"]);
    assert_eq!(data("data:\u{feff}a\n\n"), ["\u{feff}a"]);
    // The beginning of one is only the beginning of a line.
    assert_eq!(data(b"\xEF\xBBdata: a\ndata: b\n\n"), ["b"]);
}

// === Fields ===

#[test]
fn one_space_after_the_colon_is_dropped_and_no_other() {
    assert_eq!(data("data:  a\n\n"), [" a"]);
    assert_eq!(data("data:\ta \n\n"), ["\ta "]);
    assert_eq!(data("data: \n\n"), [""]);
    assert_eq!(data("data:a: b\n\n"), ["a: b"]);
}

#[test]
fn a_line_without_a_colon_is_a_field_without_a_value() {
    assert_eq!(data("data\ndata:a\ndata\n\n"), ["\na\n"]);
    assert_eq!(
        events("event:a\nevent\ndata\n\n"),
        [Event { data: Bytes::new(), ..Event::default() }]
    );
    assert_eq!(events("retry\ndata:a\n\n")[0].retry, None);
}

#[test]
fn fields_that_are_not_known_are_ignored() {
    for line in [
        "dat: x",
        "datax: x",
        "data : x",
        " data: x",
        "Data: x",
        "DATA",
        "message: x",
        "\0data: x",
        "x",
    ] {
        assert_eq!(data(format!("{line}\ndata: a\n{line}\n\n")), ["a"], "{line:?}");
        assert_eq!(data(format!("{line}\n\n")), [""; 0], "{line:?}");
    }
}

#[test]
fn comments_are_ignored_and_end_nothing() {
    assert_eq!(data(":\n: data: x\ndata: a\n:ping\ndata: b\n::\n\n:\n\n"), ["a\nb"]);
}

#[test]
fn the_name_is_the_last_one_of_its_block_and_lasts_no_longer() {
    let stream =
        "event: a\nevent: b\ndata: 1\n\ndata: 2\n\nevent: c\n\ndata: 3\n\nevent:\ndata: 4\n\n";
    let names: Vec<_> = events(stream).into_iter().map(|event| event.name).collect();
    // The block with nothing but a name is no event, and its name is forgotten.
    assert_eq!(names, [line("b"), None, None, None]);
}

#[test]
fn an_event_without_a_name_has_the_type_message() {
    let types = events("data: 1\n\nevent: message\ndata: 2\n\nevent: endpoint\ndata: 3\n\n");
    assert_eq!(
        types.iter().map(Event::event_type).collect::<Vec<_>>(),
        ["message", "message", "endpoint"]
    );
}

#[test]
fn the_last_id_stays_until_another_event_has_one() {
    let ids =
        |stream: &str| decode(stream).events.into_iter().map(|(_, id)| id).collect::<Vec<_>>();
    let id = |id: &str| Some(id.to_owned());
    assert_eq!(
        ids("data\n\nid: 1\ndata\n\ndata\n\nid: 2\nid: 3\ndata\n\n"),
        [None, id("1"), id("1"), id("3")]
    );
    assert_eq!(ids("id: 1\ndata\n\nid:\ndata\n\n"), [id("1"), None]);
    assert_eq!(ids("id:  1 \ndata\n\n"), [id(" 1 ")]);
}

#[test]
fn an_id_with_nul_is_ignored() {
    let seen = decode("id: 1\nid: 2\0\ndata\n\nid: \0\n\n");
    assert_eq!(seen.events.len(), 1);
    assert_eq!(seen.last_event_id.as_deref(), Some("1"));
}

#[test]
fn the_id_of_an_unfinished_event_does_not_count() {
    let seen = decode("id: 1\ndata\n\nid: 2\ndata: x\n");
    assert_eq!(seen.last_event_id.as_deref(), Some("1"));
    assert!(seen.is_mid_event);
}

#[test]
fn a_retry_has_only_digits() {
    let retry = |value: &str| events(format!("retry: 7\nretry:{value}\n\n"))[0].retry.unwrap();
    assert_eq!(retry("2000"), Duration::from_secs(2));
    assert_eq!(retry(" 0"), Duration::ZERO);
    assert_eq!(retry("0000000000000000000000000000000000000000010"), Duration::from_millis(10));
    assert_eq!(retry("18446744073709551615"), Duration::from_millis(u64::MAX));
    for ignored in
        ["", " ", "18446744073709551616", "+1", "-1", "1.0", "1s", "1 ", "  1", "0x1", "١"]
    {
        assert_eq!(retry(ignored), Duration::from_millis(7), "{ignored:?}");
    }
}

#[test]
fn nul_in_data_and_in_a_name_is_kept() {
    assert_eq!(
        events("event: a\0b\ndata: \0\n\n"),
        [Event { name: Some(Line("a\0b".into())), data: "\0".into(), ..Event::default() }]
    );
}

// === Where it departs from the standard ===

#[test]
fn an_id_or_a_retry_without_data_is_an_event() {
    // How MCP 2025-11-25 says where to resume, and when.
    let priming = Event { id: line("s1_0"), ..Event::default() };
    for stream in ["id: s1_0\ndata: \n\n", "id: s1_0\n\n"] {
        assert_eq!(events(stream), std::slice::from_ref(&priming));
    }
    assert_eq!(
        events("retry: 2000\n\n"),
        [Event { retry: Some(Duration::from_secs(2)), ..Event::default() }]
    );
    // What is ignored makes no event.
    assert_eq!(events("retry: soon\n\nid: \0\n\nevent: message\n\n: x\n\n\n\n"), []);
}

#[test]
fn a_value_that_is_not_utf_8_is_an_error_after_the_events_before_it() {
    for (line, field) in [
        (&b"data: \xFF"[..], "data"),
        (b"data: \xC3", "data"),
        (b"event: \xED\xA0\x80", "event"),
        (b"id: \xF5", "id"),
    ] {
        let seen = decode([b"data: a\n\n", line, b"\n\ndata: b\n\n"].concat());
        assert_eq!(seen.events.len(), 1);
        assert_eq!(seen.error, Some(DecodeError::NotUtf8 { field }));
    }
    // A character cannot go on in the next line.
    assert_eq!(
        decode(b"data: \xC3\ndata: \xA9\n\n").error,
        Some(DecodeError::NotUtf8 { field: "data" })
    );
}

#[test]
fn what_is_ignored_need_not_be_utf_8() {
    assert_eq!(
        data(b": \xFF\nx: \xFF\ndata\xFF: x\nretry: \xFF\nid: \xFF\0\ndata: \xC3\xA9\n\n"),
        ["é"]
    );
}
