//! Writes events to a stream.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};
use memchr::{memchr2, memchr2_iter};

use super::{Event, Line, MESSAGE};

/// Appends an event.
///
/// Data that has line breaks (LF, CR or CRLF) becomes a `data` line for each of
/// its lines; a reader joins them by LF. There is always at least one, so that
/// an event with nothing but an id is read as one by everybody. `event.data`
/// must be UTF-8, as the whole stream: it is not checked.
///
/// A wait longer than `u64::MAX` milliseconds is written as that, and the part
/// below a millisecond is cut off.
pub fn encode(event: &Event, out: &mut BytesMut) {
    // Enough for any event with one line of data.
    const FIELDS: usize = "event: \nid: \nretry: 18446744073709551615\ndata: \n\n".len();
    let lines =
        [&event.name, &event.id].into_iter().flatten().map(|line| line.len()).sum::<usize>();
    out.reserve(FIELDS + lines + event.data.len());

    if let Some(name) = &event.name {
        field("event", name.as_bytes(), out);
    }
    if let Some(id) = &event.id {
        field("id", id.as_bytes(), out);
    }
    if let Some(retry) = event.retry {
        let milliseconds = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX);
        writeln!(out, "retry: {milliseconds}").expect("a buffer that grows takes everything");
    }
    each_line(&event.data, |line| field("data", line, out));
    out.put_u8(b'\n');
}

/// Appends an event with the name `message` and JSON for its data, always in a
/// single `data` line.
///
/// A line break in a JSON text can only be white space between its tokens, so
/// it is written as a space: some readers know no second `data` line. `json`
/// must be UTF-8: it is not checked.
pub fn message(id: Option<&Line>, json: &[u8], out: &mut BytesMut) {
    const FIELDS: usize = "event: message\nid: \ndata: \n\n".len();
    out.reserve(FIELDS + id.map_or(0, |id| id.len()) + json.len());

    field("event", MESSAGE.as_bytes(), out);
    if let Some(id) = id {
        field("id", id.as_bytes(), out);
    }
    out.put_slice(b"data: ");
    let start = out.len();
    out.put_slice(json);
    for at in memchr2_iter(b'\r', b'\n', json) {
        out[start + at] = b' ';
    }
    out.put_slice(b"\n\n");
}

/// Appends a comment, which readers ignore: it keeps a silent connection from
/// being taken for dead.
///
/// Line with line breaks becomes a comment of several lines.
pub fn comment(text: &str, out: &mut BytesMut) {
    each_line(text.as_bytes(), |line| field("", line, out));
    out.put_u8(b'\n');
}

fn field(name: &str, value: &[u8], out: &mut BytesMut) {
    out.put_slice(name.as_bytes());
    // The space is optional, but without it a value that begins with one would
    // lose it.
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_u8(b'\n');
}

/// Every line of the text, without its end; one empty line for an empty text.
fn each_line(mut text: &[u8], mut line: impl FnMut(&[u8])) {
    while let Some(end) = memchr2(b'\r', b'\n', text) {
        line(&text[..end]);
        let length = if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
        text = &text[end + length..];
    }
    line(text);
}
