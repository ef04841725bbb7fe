//! What a request accepts, and what a message says it is.

use http::{HeaderMap, header};
use wharf_proto::header as names;

/// Whether the sender of `headers` takes an answer of type `mime`, such as
/// `"text/event-stream"`. No `Accept` at all takes anything (RFC 9110, 12.5.1);
/// the most exact range that fits decides, so that `q=0` can exclude one type
/// from `*/*`.
#[must_use]
pub fn accepts(headers: &HeaderMap, mime: &str) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    let ranges = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let best = ranges
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let exactness = exactness(parts.next()?, mime)?;
            Some((exactness, !parts.any(is_zero_weight)))
        })
        .max();
    best.is_some_and(|(_, is_wanted)| is_wanted)
}

/// Whether the body that comes with `headers` is JSON. Parameters, such as
/// the character set, are not looked at.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    let is_plain = headers.get(header::CONTENT_TYPE).is_some_and(|value| value == names::JSON);
    is_plain || media_type(headers).is_some_and(|mime| mime.eq_ignore_ascii_case(names::JSON))
}

/// The media type of the body that comes with `headers`, without parameters.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let end = value.bytes().position(|byte| byte == b';').unwrap_or(value.len());
    Some(value[..end].trim_ascii())
}

/// How exactly a range names `mime`: 2 as itself, 1 by its type, 0 as
/// anything. `None` where it does not.
fn exactness(range: &str, mime: &str) -> Option<u8> {
    if range.eq_ignore_ascii_case(mime) {
        return Some(2);
    }
    if range == "*/*" {
        return Some(0);
    }
    let (kind, _) = mime.split_once('/')?;
    let is_of_kind = range.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(kind));
    is_of_kind.then_some(1)
}

fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, weight)) = parameter.split_once('=') else {
        return false;
    };
    name.trim().eq_ignore_ascii_case("q") && weight.trim().parse() == Ok(0.0_f32)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &header::HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().copied().map(HeaderValue::from_static);
        values.map(|value| (name.clone(), value)).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        )
    }

    #[test]
    fn accept_is_read_as_the_standard_says() {
        let stream = "text/event-stream";
        for (values, is_accepted) in [
            (&[][..], true),
            (&["text/event-stream"], true),
            (&["application/json, text/event-stream"], true),
            (&["application/json", "Text/Event-Stream; q=0.1"], true),
            (&["application/json"], false),
            (&["*/*"], true),
            (&["text/*;q=0.5"], true),
            (&["image/*"], false),
            (&["*/*, text/event-stream;q=0"], false),
            (&["*/*;q=0, text/event-stream"], true),
            (&["text/event-stream;q=0.0"], false),
            (&["text/event-stream;version=1"], true),
            (&[""], false),
            (&["nonsense"], false),
        ] {
            let headers = headers(&header::ACCEPT, values);
            assert_eq!(accepts(&headers, stream), is_accepted, "{values:?}");
        }
    }

    #[test]
    fn json_is_told_by_its_type_alone() {
        for (value, is_it) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/json-patch+json", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_json(&headers(&header::CONTENT_TYPE, &[value])), is_it);
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
