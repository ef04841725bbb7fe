//! What the fuzz targets hold to be true of any bytes.
//!
//! `cargo fuzz run TARGET` looks for bytes of which it is not; the end-to-end
//! tests run the seeds through the same functions.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use wharf_http::{Endpoint, Guard, accepts, is_json, media_type};
use wharf_proto::{
    Body, Json, Message, Notification, ProgressToken, Request, RequestId, Response, Revision,
    SessionId,
    sse::{self, Decoder, Event},
};

/// The largest event that is read.
const LIMIT: usize = 1 << 16;

/// An event stream is read the same however it is cut, and what has been read
/// can be written and read again.
pub fn sse(bytes: &[u8]) {
    let whole = events([bytes]);
    assert_eq!(whole, events(bytes.chunks(1)), "byte by byte");
    let middle = bytes.len() / 2;
    assert_eq!(whole, events([&bytes[..middle], &bytes[middle..]]), "in halves");
    let mut written = bytes::BytesMut::new();
    whole.0.iter().for_each(|event| sse::encode(event, &mut written));
    // What was at the limit may be written at greater length.
    let mut decoder = Decoder::new(2 * LIMIT + 64);
    decoder.feed(written.freeze());
    for event in whole.0 {
        assert_eq!(decoder.next_event().expect("it is a stream"), Some(event));
    }
    assert_eq!(decoder.next_event().expect("it is a stream"), None);
}

fn events<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Option<String>) {
    let mut decoder = Decoder::new(LIMIT);
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.feed(Bytes::copy_from_slice(chunk));
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error.to_string())),
            }
        }
    }
    (events, None)
}

/// A message is read or refused; what is changed in it is changed, and
/// nothing else.
pub fn message(bytes: &[u8]) {
    match Body::parse(Bytes::copy_from_slice(bytes)) {
        Ok(Body::Single(message)) => {
            assert!(Json::parse(Bytes::copy_from_slice(bytes)).is_ok(), "what is read is JSON");
            check(&message);
        }
        Ok(Body::Batch(messages)) => messages.iter().for_each(check),
        Err(error) => drop(error.to_string()),
    }
}

fn check(message: &Message) {
    match message {
        Message::Request(request) => check_request(request),
        Message::Notification(notification) => check_notification(notification),
        Message::Response(response) => check_response(response),
    }
}

fn check_request(request: &Request) {
    let (id, token) = (RequestId::from(u64::MAX), ProgressToken::from(u64::MAX));
    let mut rewrite = request.rewrite().id(id.clone());
    let asked = request.progress_token();
    if let Some((_, part)) = &asked {
        rewrite = rewrite.replace(part, &token.to_json());
    }
    let changed = rewrite.finish();
    let Message::Request(read) = read(changed.text()) else { panic!("it is a request") };
    assert_eq!((read.id(), changed.id()), (&id, &id));
    assert_eq!(read.method(), request.method());
    assert_eq!(read.params().map(Json::as_str), changed.params().map(Json::as_str));
    assert_eq!(read.progress_token().map(|(token, _)| token), asked.as_ref().map(|_| token));
    if asked.is_none() {
        assert_eq!(read.params().map(Json::as_str), request.params().map(Json::as_str));
    }
    let back = changed.rewrite().id(request.id().clone()).finish();
    assert_eq!(back.id(), request.id());
    let _ = request.requested_revision();
    if let Some(params) = request.params().filter(|params| params.is_object()) {
        let name = "no-such-member";
        if params.field(name).is_none() {
            let more = request.rewrite().insert(params, name, &Json::empty_object()).finish();
            let Message::Request(more) = self::read(more.text()) else { panic!("is a request") };
            assert_eq!(more.param(name).expect("is there").as_str(), "{}");
        }
    }
}

fn check_notification(notification: &Notification) {
    let _ = notification.cancelled_id();
    if let Some((_, part)) = notification.progress_token() {
        let token = ProgressToken::from(u64::MAX);
        let changed = notification.replace(&part, &token.to_json());
        let Message::Notification(read) = read(changed.text()) else { panic!("it is one") };
        assert_eq!(read.progress_token().map(|(token, _)| token), Some(token));
    }
}

fn check_response(response: &Response) {
    let id = RequestId::from(u64::MAX);
    let changed = response.clone().with_id(&id);
    let Message::Response(read) = read(changed.text()) else { panic!("it is a response") };
    assert_eq!(read.id(), Some(&id));
    assert_eq!(read.result().map(Json::as_str), response.result().map(Json::as_str));
    let _ = (response.error_code(), response.agreed_revision());
}

fn read(text: &Bytes) -> Message {
    match Body::parse(text.clone()) {
        Ok(Body::Single(message)) => message,
        other => panic!("not one message: {other:?}"),
    }
}

/// Headers and URLs are read or refused. A line each: `Accept`,
/// `Content-Type`, `Host`, `Origin`, a session id, a revision, a URL, and a
/// reference from it.
pub fn http(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    let names: [HeaderName; 4] =
        [header::ACCEPT, header::CONTENT_TYPE, header::HOST, header::ORIGIN];
    for name in names {
        if let Ok(value) = HeaderValue::from_bytes(next()) {
            headers.append(name, value);
        }
    }
    let takes_all = ["application/json", "text/event-stream"].map(|mime| accepts(&headers, mime));
    if !headers.contains_key(header::ACCEPT) {
        assert_eq!(takes_all, [true, true]);
    }
    assert!(!is_json(&headers) || media_type(&headers).is_some());
    for address in [([127, 0, 0, 1], 80), ([10, 0, 0, 1], 80)] {
        let guard = Guard::for_listener(address.into());
        let is_served = guard.check(&headers).is_ok();
        // To allow more never refuses what was served.
        let open = guard.allow_host("*").allow_origin("*");
        assert!(!is_served || open.check(&headers).is_ok());
    }
    let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    if let Ok(id) = SessionId::new(text(next())) {
        assert!(id.expose().bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
    }
    if let Ok(revision) = text(next()).parse::<Revision>() {
        assert_eq!(revision.as_str().parse(), Ok(revision));
    }
    if let Ok(endpoint) = Endpoint::parse(&text(next())) {
        let again = Endpoint::parse(&endpoint.uri().to_string()).expect("a URI is a URL");
        assert_eq!(again.origin(), endpoint.origin());
        if let Ok(joined) = endpoint.join(&text(next())) {
            let again = Endpoint::parse(&joined.uri().to_string()).expect("a URI is a URL");
            assert_eq!(again.origin(), joined.origin());
        }
    }
}
