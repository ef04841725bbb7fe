//! Messages of our own.

use std::fmt::Write as _;

use bytes::Bytes;

use super::{Message, Notification, Outcome, Request, Response};
use crate::{Json, RequestId, Splice, json::offset_of};

/// The error of a response.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorObject {
    /// What kind of error: see [`crate::code`].
    pub code: i64,
    /// What happened and what to do, for a person.
    pub message: String,
    /// More, for a program.
    pub data: Option<Json>,
}

// === impl Request ===

impl Request {
    /// Writes a request.
    #[must_use]
    pub fn new(id: &RequestId, method: &str, params: Option<&Json>) -> Self {
        let id = id.to_json();
        let text = called(Some(&id), method, params);
        let Ok(Message::Request(request)) = Message::parse(text) else {
            unreachable!("a request was written")
        };
        request
    }
}

// === impl Notification ===

impl Notification {
    /// Writes a notification.
    #[must_use]
    pub fn new(method: &str, params: Option<&Json>) -> Self {
        let Ok(Message::Notification(notification)) = Message::parse(called(None, method, params))
        else {
            unreachable!("a notification was written")
        };
        notification
    }

    /// Writes `notifications/cancelled` for a request.
    #[must_use]
    pub fn cancelled(id: &RequestId, reason: &str) -> Self {
        let params =
            format!(r#"{{"requestId":{},"reason":{}}}"#, id.to_json(), Json::string(reason));
        Self::new(crate::method::CANCELLED, Some(&Json::trusted(params)))
    }
}

// === impl Response ===

impl Response {
    /// Writes the answer to a request that was done.
    #[must_use]
    pub fn success(id: &RequestId, result: &Json) -> Self {
        Self::written(Some(id), "result", result)
    }

    /// Writes the answer to a request that was not done; without an id where
    /// the request's could not be read.
    #[must_use]
    pub fn failure(id: Option<&RequestId>, error: &ErrorObject) -> Self {
        Self::written(id, "error", &error.to_json())
    }

    /// The same answer to another request.
    #[must_use]
    pub fn with_id(self, id: &RequestId) -> Self {
        if self.id.as_ref() == Some(id) {
            return self;
        }
        let (name, value) = match &self.outcome {
            Outcome::Result(result) => ("result", result),
            Outcome::Error(error) => ("error", error),
        };
        let Some(id_at) = self.id_at.clone() else {
            return Self::written(Some(id), name, value);
        };
        let splice = self.splice().cut(id_at, id.to_json().into_bytes());
        Self { id: Some(id.clone()), ..self.spliced(splice) }
    }

    /// The same answer with one member more in `object`, which was cut out of
    /// its result and has no member of that name.
    ///
    /// # Panics
    ///
    /// Where it is no object or was not cut out of it.
    #[must_use]
    pub fn insert(self, object: &Json, name: &str, value: &Json) -> Self {
        let splice = self.splice().insert(object, name, value);
        self.spliced(splice)
    }

    /// The same answer with others in the place of parts, each of which was cut
    /// out of its result.
    ///
    /// # Panics
    ///
    /// Where one was not.
    #[must_use]
    pub fn replace(self, changes: &[(Json, Json)]) -> Self {
        let splice = self.splice();
        let splice = changes.iter().fold(splice, |splice, (part, with)| splice.replace(part, with));
        self.spliced(splice)
    }

    fn splice(&self) -> Splice {
        Splice::of(&Json::trusted(self.text.clone()))
    }

    /// The answer with parts of its text changed.
    fn spliced(self, splice: Splice) -> Self {
        let (Outcome::Result(value) | Outcome::Error(value)) = &self.outcome;
        let mut value_at = offset_of(&self.text, value.as_bytes());
        let mut id_at = self.id_at.clone().unwrap_or_default();
        let text = splice.finish_and_map(&mut [&mut value_at, &mut id_at]);
        let value = Json::trusted(text.slice(value_at));
        let outcome = match self.outcome {
            Outcome::Result(_) => Outcome::Result(value),
            Outcome::Error(_) => Outcome::Error(value),
        };
        Self { text, id: self.id, id_at: self.id_at.map(|_| id_at), outcome }
    }

    fn written(id: Option<&RequestId>, name: &str, value: &Json) -> Self {
        let mut text = String::with_capacity(value.as_bytes().len() + 48);
        text.push_str(r#"{"jsonrpc":"2.0","#);
        if let Some(id) = id {
            let _ = write!(text, r#""id":{},"#, id.to_json());
        }
        let _ = write!(text, r#""{name}":{value}}}"#);
        let Ok(Message::Response(response)) = Message::parse(text) else {
            unreachable!("a response was written")
        };
        response
    }
}

// === impl ErrorObject ===

impl ErrorObject {
    /// An error without data.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The error with data for a program.
    #[must_use]
    pub fn with_data(self, data: Json) -> Self {
        Self { data: Some(data), ..self }
    }

    /// The error's JSON text.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let message = Json::string(&self.message);
        let mut text = format!(r#"{{"code":{},"message":{message}"#, self.code);
        if let Some(data) = &self.data {
            let _ = write!(text, r#","data":{data}"#);
        }
        text.push('}');
        Json::trusted(text)
    }
}

fn called(id: Option<&Json>, method: &str, params: Option<&Json>) -> Bytes {
    let mut text = String::from(r#"{"jsonrpc":"2.0""#);
    if let Some(id) = id {
        let _ = write!(text, r#","id":{id}"#);
    }
    let _ = write!(text, r#","method":{}"#, Json::string(method));
    if let Some(params) = params {
        let _ = write!(text, r#","params":{params}"#);
    }
    text.push('}');
    text.into()
}
