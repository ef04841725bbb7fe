//! The members of a message, borrowed from its text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{Borrowed, Scanner};

/// Values that are not strings are as they were written.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(super) struct Members<'t> {
    #[serde(borrow, default, deserialize_with = "borrowed")]
    pub(super) jsonrpc: Option<Cow<'t, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) id: Option<&'t str>,
    #[serde(borrow, default, deserialize_with = "borrowed")]
    pub(super) method: Option<Cow<'t, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) params: Option<&'t str>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) result: Option<&'t str>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) error: Option<&'t str>,
}

// === impl Members ===

impl<'t> Members<'t> {
    /// Reads them off the text of an object. Messages are mostly written
    /// plainly, and then this costs a look at each byte; serde reads the others,
    /// and says what is wrong with those that are wrong.
    pub(super) fn of(text: &'t str) -> Result<Self, serde_json::Error> {
        Self::scan(text).map_or_else(|| serde_json::from_str(text), Ok)
    }

    /// `None` where the text is no message, or not written plainly.
    fn scan(text: &'t str) -> Option<Self> {
        let mut members = Self::default();
        let mut scanner = Scanner::new(text);
        scanner.members(|name, value| {
            let is_first = match name {
                "jsonrpc" => members.jsonrpc.replace(unescaped(value)?.into()).is_none(),
                "method" => members.method.replace(unescaped(value)?.into()).is_none(),
                "id" => members.id.replace(value).is_none(),
                "params" => members.params.replace(value).is_none(),
                "result" => members.result.replace(value).is_none(),
                "error" => members.error.replace(value).is_none(),
                _ => true,
            };
            is_first.then_some(())
        })?;
        scanner.end()?;
        Some(members)
    }
}

/// What a string holds that is written without escapes.
fn unescaped(value: &str) -> Option<&str> {
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains('\\')).then_some(text)
}

/// A string as a part of the text, where it has no escapes. Left to itself,
/// serde copies what is optional.
fn borrowed<'de, D: serde::Deserializer<'de>>(de: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Ok(Option::<Borrowed<'de>>::deserialize(de)?.map(|text| text.0))
}

/// A value as it is written. Keeps a `null` that is there apart from a member
/// that is not.
fn present<'de, D: serde::Deserializer<'de>>(de: D) -> Result<Option<&'de str>, D::Error> {
    <&RawValue>::deserialize(de).map(|value| Some(value.get()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Members<'_>> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn messages_that_are_written_plainly_are_scanned() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#,
            "  { \"id\" : null , \"result\" : [ 1 , -0.5e+3 , true , { } ] , \"x\" : \"\\u00e9\" }\n",
            r#"{"jsonrpc":"2.0","error":{"code":-32601,"message":"a \"quoted\" \\ word"},"id":"é"}"#,
            "{}",
        ] {
            let scanned = Members::scan(text);
            assert!(scanned.is_some(), "{text}");
            assert_eq!(scanned, read(text), "{text}");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_left_to_serde() {
        let deep = format!(r#"{{"params":{}{}}}"#, "[".repeat(100), "]".repeat(100));
        for text in
            [r#"{"method":"\u0070ing"}"#, r#"{"\u0069d":1}"#, r#"{"jsonrpc":null}"#, deep.as_str()]
        {
            assert_eq!(Members::scan(text), None, "{text}");
            assert!(Members::of(text).is_ok(), "{text}");
        }
        for text in [
            r#"{"id":1,"id":2}"#,
            r#"{"id":1}{}"#,
            r#"{"id":01}"#,
            r#"{"id":1,}"#,
            r#"{"id":"\u12"}"#,
            r#"{"id":"\u00g0"}"#,
            r#"{"id":"\x"}"#,
            "{\"id\":\"\\u00",
            "{\"id\":\"\n\"}",
            "[",
        ] {
            assert_eq!(Members::scan(text), None, "{text}");
            assert!(Members::of(text).is_err(), "{text}");
        }
    }

    /// Messages in which a few characters have become others.
    fn nearly_a_message() -> impl Strategy<Value = String> {
        let messages = [
            r#"{"jsonrpc":"2.0","id":-1,"method":"tools/call","params":{"a":[1,2.5e+3,true]}}"#,
            r#"{"jsonrpc":"2.0","id":"é","result":{"text":"a \"b\" \\ \u00e9","none":null},"x":[]}"#,
            r#" { "id" : 0 , "error" : { "code" : -32601 , "message" : "no" } } "#,
        ];
        let words = r#"{ } [ ] , : " \ \" \u \u12 \u00g0 \ud800 \x é 0 01 - + . e E 1e9 true nul null
            "id": ,"id":2 ,"method":"ping" ,"params":{} ,"result":[] "jsonrpc" "x":"#;
        let words: Vec<_> = words.split_whitespace().chain(["", " ", "\n", "\u{1}"]).collect();
        let word = prop::sample::select(words);
        let change = (any::<prop::sample::Index>(), 0..4_usize, word);
        let changes = prop::collection::vec(change, 0..3);
        (prop::sample::select(messages.to_vec()), changes).prop_map(|(message, changes)| {
            let mut text: Vec<char> = message.chars().collect();
            for (at, gone, word) in changes {
                let at = at.index(text.len());
                let end = text.len().min(at + gone);
                text.splice(at..end, word.chars());
            }
            text.into_iter().collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_is_scanned_is_what_serde_reads(text in nearly_a_message()) {
            if let Some(scanned) = Members::scan(&text) {
                prop_assert_eq!(Some(scanned), read(&text), "{}", text);
            }
        }
    }
}
