//! A client without a transport: it drives a backend itself.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::HeaderMap;
use serde_json::{Value, json};
use wharf_proto::{
    Json, Message, Notification, Outcome, Request, RequestId, Response, Revision, method,
    server::{Backend, Caller, Refusal},
    transport::Exchange,
};

/// One session with a backend.
pub(crate) struct Direct<B: Backend> {
    pub(crate) backend: Arc<B>,
    pub(crate) session: Arc<B::Session>,
    next_id: AtomicU64,
}

impl<B: Backend> Direct<B> {
    pub(crate) async fn open(backend: B) -> Self {
        Self::of(Arc::new(backend), Revision::LATEST).await.0
    }

    /// Another session, with what the server said to `initialize`.
    pub(crate) async fn of(backend: Arc<B>, revision: Revision) -> (Self, Value) {
        let hello = json!({
            "protocolVersion": revision.as_str(),
            "capabilities": {},
            "clientInfo": {"name": "direct", "version": "1"},
        });
        let request = request(0, method::INITIALIZE, &hello);
        let opening = backend.open(request, caller(&HeaderMap::new())).await;
        let client = Self {
            backend,
            session: opening.session.expect("the session opens"),
            next_id: AtomicU64::new(1),
        };
        (client, outcome(&opening.response).unwrap())
    }

    pub(crate) fn begin(&self, method: &str, params: &Value) -> (RequestId, B::Exchange) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        (id.into(), self.begin_as(id, method, params))
    }

    pub(crate) fn begin_as(&self, id: u64, method: &str, params: &Value) -> B::Exchange {
        self.backend.call(&self.session, request(id, method, params), caller(&HeaderMap::new()))
    }

    /// The result, or the error object.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value, Value> {
        let (id, mut exchange) = self.begin(method, &params);
        let response = exchange.answer().await.expect("the call is answered");
        assert_eq!(response.id(), Some(&id));
        outcome(&response)
    }

    /// What a tool said, and whether it failed.
    pub(crate) async fn tool(&self, name: &str, arguments: Value) -> (String, bool) {
        let params = json!({"name": name, "arguments": arguments});
        let result = self.ask(method::TOOLS_CALL, params).await.unwrap();
        let texts = result["content"].as_array().unwrap().iter().map(|block| {
            assert_eq!(block["type"], "text");
            block["text"].as_str().unwrap()
        });
        (texts.collect::<Vec<_>>().join("\n"), result["isError"].as_bool().unwrap())
    }

    pub(crate) async fn cancel(&self, id: &RequestId) {
        let notification = Notification::cancelled(id, "the test has seen enough");
        self.backend.notify(&self.session, notification).await;
    }
}

/// Reads an exchange to its end: what was said before, and the answer.
pub(crate) async fn drained<E>(mut exchange: E) -> (Vec<Notification>, Result<Value, Refusal>)
where
    E: Exchange<Error = Refusal>,
{
    let mut said = Vec::new();
    loop {
        match exchange.next().await {
            Ok(Message::Notification(notification)) => said.push(notification),
            Ok(Message::Response(response)) => return (said, Ok(outcome(&response).unwrap())),
            Ok(Message::Request(request)) => panic!("the server asks for {request:?}"),
            Err(refusal) => return (said, Err(refusal)),
        }
    }
}

pub(crate) fn value(json: &Json) -> Value {
    json.read().unwrap()
}

fn request(id: u64, method: &str, params: &Value) -> Request {
    let params = Json::from_value(params).unwrap();
    Request::new(&id.into(), method, Some(&params))
}

fn caller(headers: &HeaderMap) -> Caller<'_> {
    Caller { headers, peer: None }
}

fn outcome(response: &Response) -> Result<Value, Value> {
    match response.outcome() {
        Outcome::Result(result) => Ok(value(result)),
        Outcome::Error(error) => Err(value(error)),
    }
}
