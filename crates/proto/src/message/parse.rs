//! From bytes to messages.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserializer as _,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Asked, Body, Message, Notification, Outcome, Request, Response, members::Members};
use crate::{Flaw, Json, NotJson, ParseError, RequestId, Text, json, method};

/// Takes the messages off an array one by one, so that of an array which is
/// none of messages no more is built than its first item.
struct Walk<'t> {
    text: &'t Bytes,
    messages: Vec<Message>,
    /// Why the walk has stopped, where it was not for the JSON.
    stopped: Option<ParseError>,
}

// === impl Body ===

impl Body {
    /// How many messages a batch may have. Each costs more than the bytes that
    /// it is written in, and no client has use for so many at once.
    pub const MAX_MESSAGES: usize = 1000;

    /// Reads a body: one message, or an array of up to
    /// [`Body::MAX_MESSAGES`] of them. An array is read up to its first flaw
    /// and no further.
    ///
    /// # Errors
    ///
    /// [`ParseError`] with the place, and with the id where it could be read.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, ParseError> {
        let bytes = bytes.into();
        if bytes.trim_ascii_start().first() != Some(&b'[') {
            return Message::parse(bytes).map(Self::Single);
        }
        batch(&bytes).map(Self::Batch)
    }
}

fn batch(text: &Bytes) -> Result<Vec<Message>, ParseError> {
    let mut walk = Walk { text, messages: Vec::new(), stopped: None };
    let mut json = serde_json::Deserializer::from_str(json::utf8(text)?);
    let walked = json.deserialize_seq(&mut walk).and_then(|()| json.end());
    if let Some(error) = walk.stopped {
        return Err(error);
    }
    walked.map_err(NotJson::from)?;
    if walk.messages.is_empty() {
        return Err(ParseError::of_batch(Flaw::EmptyBatch));
    }
    Ok(walk.messages)
}

// === impl Walk ===

impl Walk<'_> {
    fn take(&mut self, item: &RawValue) -> Result<(), ParseError> {
        let index = self.messages.len();
        if index == Body::MAX_MESSAGES {
            return Err(ParseError::of_batch(Flaw::TooManyMessages));
        }
        let item = Json::slice_of(self.text, item.get()).into_bytes();
        self.messages.push(Message::parse(item).map_err(|error| error.at(index))?);
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            if let Err(error) = self.take(item) {
                self.stopped = Some(error);
                return Err(A::Error::custom("an item is no message"));
            }
        }
        Ok(())
    }
}

// === impl Message ===

impl Message {
    /// Reads one message.
    ///
    /// # Errors
    ///
    /// [`ParseError`] with the place, and with the id where it could be read.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, ParseError> {
        let bytes = bytes.into();
        let text = json::utf8(&bytes)?;
        // Read as members, an array would pass for an object without names.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(not_an_object(bytes));
        }
        let members = Members::of(text).map_err(|error| misfit(&bytes, &error))?;
        classify(&bytes, &members).map_err(|flaw| ParseError::NotJsonRpc {
            index: None,
            id: members.id.and_then(RequestId::from_text),
            flaw,
        })
    }
}

fn classify(text: &Bytes, members: &Members<'_>) -> Result<Message, Flaw> {
    if members.jsonrpc.as_deref() != Some("2.0") {
        return Err(Flaw::Version);
    }
    let slice = |raw| Json::slice_of(text, raw);
    match (&members.method, members.result, members.error) {
        (Some(method), None, None) => call(text, members, named(text, method)),
        (None, Some(result), None) => answer(text, members, Outcome::Result(slice(result))),
        (None, None, Some(error)) => answer(text, members, Outcome::Error(slice(error))),
        (None, None, None) => Err(Flaw::Nothing),
        _ => Err(Flaw::Ambiguous),
    }
}

fn call(text: &Bytes, members: &Members<'_>, method: Text) -> Result<Message, Flaw> {
    // `null` is not allowed, but some clients mean "none" by it.
    let params = members.params.filter(|params| *params != "null");
    if !params.is_none_or(|params| params.starts_with(['{', '['])) {
        return Err(Flaw::Params);
    }
    let params = params.map(|params| Json::slice_of(text, params));
    let text = text.clone();
    let Some(id) = members.id else {
        return Ok(Notification { text, method, params }.into());
    };
    let id_at = json::offset_of(&text, id.as_bytes());
    let id = RequestId::from_text(id).ok_or(Flaw::Id)?;
    Ok(Request::of(Asked { text, id, id_at, method, params }).into())
}

fn answer(text: &Bytes, members: &Members<'_>, outcome: Outcome) -> Result<Message, Flaw> {
    let id = match (members.id, &outcome) {
        // An error may say that it could not read the id it answers.
        (None | Some("null"), Outcome::Error(_)) => None,
        (id, _) => Some(id.and_then(RequestId::from_text).ok_or(Flaw::Id)?),
    };
    let id_at = members.id.map(|id| json::offset_of(text, id.as_bytes()));
    Ok(Response { text: text.clone(), id, id_at, outcome }.into())
}

/// The method as the program has it, or else as a slice of the text, unless it
/// was written with escapes.
fn named(text: &Bytes, method: &str) -> Text {
    if let Some(known) = method::known(method) {
        return Text::from_static(known);
    }
    let lies_in_text = text.as_ptr_range().contains(&method.as_ptr());
    if lies_in_text { Text::slice_of(text, method) } else { method.into() }
}

/// Tells text that is no JSON from JSON of another shape.
fn misfit(text: &Bytes, error: &serde_json::Error) -> ParseError {
    match Json::parse(text.clone()) {
        Err(source) => source.into(),
        Ok(json) => ParseError::NotJsonRpc {
            index: None,
            id: json.field("id").as_ref().and_then(RequestId::from_json),
            flaw: Flaw::Shape(complaint(error).into()),
        },
    }
}

fn not_an_object(bytes: Bytes) -> ParseError {
    let flaw = Flaw::Shape("a message must be an object".into());
    match Json::parse(bytes) {
        Ok(_) => ParseError::NotJsonRpc { index: None, id: None, flaw },
        Err(source) => source.into(),
    }
}

// === impl ParseError ===

impl ParseError {
    const fn of_batch(flaw: Flaw) -> Self {
        Self::NotJsonRpc { index: None, id: None, flaw }
    }

    fn at(self, index: usize) -> Self {
        match self {
            Self::NotJsonRpc { id, flaw, .. } => Self::NotJsonRpc { index: Some(index), id, flaw },
            not_json @ Self::NotJson { .. } => not_json,
        }
    }
}

/// What the parser complains of, without the value it may quote: that can be
/// a secret, and errors get into logs.
fn complaint(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("invalid") {
        let (line, column) = (error.line(), error.column());
        return format!("a member has the wrong type at line {line} column {column}");
    }
    text
}
