//! What is written, byte for byte.

use std::time::Duration;

use bytes::BytesMut;

use super::super::{Event, Line, UnfitLine, comment, encode, message};
use super::{events, line};

#[test]
fn an_event_is_written_field_by_field() {
    let event = Event {
        name: line("endpoint"),
        data: "/messages".into(),
        id: line("7"),
        retry: Some(Duration::from_millis(1500)),
    };
    assert_eq!(encoded(&event), "event: endpoint\nid: 7\nretry: 1500\ndata: /messages\n\n");
    assert_eq!(encoded(&Event::default()), "data: \n\n");
    assert_eq!(encoded(&Event { id: line("s1_0"), ..Event::default() }), "id: s1_0\ndata: \n\n");
}

#[test]
fn every_line_of_data_gets_its_own_field() {
    let encoded = |data: &'static str| encoded(&Event { data: data.into(), ..Event::default() });
    assert_eq!(encoded("a\nb\rc\r\nd"), "data: a\ndata: b\ndata: c\ndata: d\n\n");
    assert_eq!(encoded("\n\r\r\n\n"), "data: \ndata: \ndata: \ndata: \ndata: \n\n");
    assert_eq!(encoded(" a\n"), "data:  a\ndata: \n\n");
    assert_eq!(encoded("a\n\nid: x"), "data: a\ndata: \ndata: id: x\n\n");
}

#[test]
fn a_wait_that_is_too_long_for_the_wire_is_shortened() {
    assert!(
        encoded(&Event { retry: Some(Duration::MAX), ..Event::default() })
            .starts_with("retry: 18446744073709551615\n")
    );
    assert!(
        encoded(&Event { retry: Some(Duration::from_micros(1999)), ..Event::default() })
            .starts_with("retry: 1\n")
    );
}

#[test]
fn a_message_is_always_one_line_of_data() {
    let mut out = BytesMut::from("data: before\n\n");
    message(None, b"{\"a\": \"\\n\"}", &mut out);
    message(Some(&Line::from_static("7")), b"{\n  \"a\": 1\r\n}\r", &mut out);
    assert_eq!(
        out,
        "data: before\n\n\
         event: message\ndata: {\"a\": \"\\n\"}\n\n\
         event: message\nid: 7\ndata: {   \"a\": 1  } \n\n"
    );
}

#[test]
fn a_comment_cannot_become_anything_else() {
    let mut out = BytesMut::new();
    comment("ping", &mut out);
    comment("", &mut out);
    comment("a\ndata: b\r\n\r\nid: c", &mut out);
    assert_eq!(out, ": ping\n\n: \n\n: a\n: data: b\n: \n: id: c\n\n");
    assert_eq!(events(&out), []);
}

#[test]
fn a_name_or_an_id_is_one_line() {
    for invalid in ["\n", "a\rb", "a\r\n", "\0", "a\0"] {
        assert_eq!(Line::new(invalid), Err(UnfitLine), "{invalid:?}");
        assert_eq!(Line::try_from(invalid.to_owned()), Err(UnfitLine), "{invalid:?}");
    }
    for valid in ["", " ", "message", "a: b", "é\u{2028}"] {
        assert_eq!(Line::new(valid).unwrap().as_str(), valid);
        assert_eq!(String::from(Line::new(valid.to_owned()).unwrap()), valid);
    }
}

fn encoded(event: &Event) -> String {
    let mut out = BytesMut::new();
    encode(event, &mut out);
    String::from_utf8(out.into()).unwrap()
}
