//! Lists in pages.
//!
//! A cursor says which list it belongs to and where to go on, in hexadecimal
//! so that nobody takes it for something to compute with.

use std::{fmt::Write as _, num::NonZeroUsize};

use wharf_proto::{ErrorObject, Json};

use super::{Offered, invalid};

/// One page of a list as the result of its request: `key` is the member that
/// holds the items.
///
/// # Errors
///
/// Invalid parameters where the cursor is none that this list has given out.
pub(super) fn page<A>(
    key: &str,
    offers: &[Offered<A>],
    size: Option<NonZeroUsize>,
    cursor: Option<&Json>,
) -> Result<Json, ErrorObject> {
    let size = size.map_or(usize::MAX, NonZeroUsize::get);
    let from = match cursor {
        None => 0,
        Some(cursor) => decode(key, cursor)
            .filter(|from| from.is_multiple_of(size) && (1..offers.len()).contains(from))
            .ok_or_else(|| invalid("the cursor is not one of this list's"))?,
    };
    let to = from.saturating_add(size).min(offers.len());
    let mut text = format!("{{\"{key}\":[");
    for (index, offer) in offers[from..to].iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{}", offer.listed);
    }
    text.push(']');
    if to < offers.len() {
        let _ = write!(text, ",\"nextCursor\":\"{}\"", encode(key, to));
    }
    text.push('}');
    Ok(Json::parse(text).expect("JSON was written"))
}

fn encode(key: &str, from: usize) -> String {
    format!("{key} {from}").bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn decode(key: &str, cursor: &Json) -> Option<usize> {
    let hex = cursor.to_text()?;
    let text: Option<Vec<u8>> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let from = String::from_utf8(text?).ok()?.strip_prefix(key)?.strip_prefix(' ')?.parse().ok()?;
    // There are several ways to write a number, and one that was given out.
    (encode(key, from) == *hex).then_some(from)
}
