//! Reading HTTP/1.1 requests: as much of it as MCP clients use.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// How long a request's head may be, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// How long a request's body may be, in bytes.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// An HTTP request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) body: Vec<u8>,
    /// Whether the client will ask for more on the same connection.
    pub(super) keeps_alive: bool,
}

/// What was sent is no request that is understood here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Takes a whole request out of what has been read; `None` where there is more
/// to come.
pub(super) fn take(unread: &mut Vec<u8>) -> Result<Option<Request>, Unreadable> {
    const END: &[u8] = b"\r\n\r\n";
    let window = &unread[..unread.len().min(MAX_HEAD)];
    let Some(head) = window.windows(END.len()).position(|bytes| bytes == END) else {
        return if unread.len() < MAX_HEAD { Ok(None) } else { Err(Unreadable) };
    };
    let mut request = head_of(&unread[..head])?;
    let length = body_length(&request.headers)?;
    let body = head + END.len();
    let end = body + length;
    if unread.len() < end {
        return Ok(None);
    }
    request.body = unread[body..end].to_vec();
    unread.drain(..end);
    Ok(Some(request))
}

fn head_of(bytes: &[u8]) -> Result<Request, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable)?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Unreadable);
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Unreadable)?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Unreadable)?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| Unreadable)?;
        headers.append(name, value);
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let closes = headers
        .get("connection")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    Ok(Request {
        method: Method::from_bytes(method.as_bytes()).map_err(|_| Unreadable)?,
        path: path.to_owned(),
        query,
        headers: Arc::new(headers),
        body: Vec::new(),
        keeps_alive: !closes,
    })
}

fn body_length(headers: &HeaderMap) -> Result<usize, Unreadable> {
    // JSON is sent with its length by every MCP client there is.
    if headers.contains_key("transfer-encoding") {
        return Err(Unreadable);
    }
    let Some(length) = headers.get("content-length") else {
        return Ok(0);
    };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    length.filter(|length| *length <= MAX_BODY).ok_or(Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &[u8] = b"POST /messages?session_id=a HTTP/1.1\r\nHost: x\r\n\
        Content-Length: 2\r\nX-Twice:  a \r\n\r\n{}GET";

    #[test]
    fn a_request_is_taken_when_it_is_whole_and_not_before() {
        let whole = ASKED.len() - b"GET".len();
        for length in 0..whole {
            let mut unread = ASKED[..length].to_vec();
            assert!(take(&mut unread).unwrap().is_none(), "{length} bytes");
            assert_eq!(unread.len(), length);
        }
        let mut unread = ASKED.to_vec();
        let request = take(&mut unread).unwrap().unwrap();
        assert_eq!((request.method, &*request.path), (Method::POST, "/messages"));
        assert_eq!(request.query.as_deref(), Some("session_id=a"));
        assert_eq!(request.headers["x-twice"], "a");
        assert_eq!(request.body, b"{}");
        assert!(request.keeps_alive);
        assert_eq!(unread, b"GET");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "GET /\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1 x\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let taken = take(&mut text.as_bytes().to_vec());
            assert_eq!(taken.map(|_| ()), Err(Unreadable), "{text}");
        }
        assert!(take(&mut vec![b'x'; MAX_HEAD]).is_err());
    }
}
