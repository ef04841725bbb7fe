//! A call, from its beginning to its answer.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Value, json};

use super::{
    Fault, answer, fault::failure, methods, mouth::Mouth, session::Session, shared::Shared,
};

/// A JSON-RPC request that runs. It does not end with the connection it came
/// by: that is no cancellation (2025-11-25, transports, sending messages).
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Arc<Session>,
    /// The index of its request in the record.
    pub(super) number: usize,
    pub(super) message: Arc<Value>,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) fault: Fault,
    pub(super) mouth: Mouth,
}

/// What a call comes to: a result, or the code and the message of an error.
pub(super) type Outcome = Result<Value, (i64, String)>;

// === impl Call ===

impl Call {
    /// Runs it and answers, unless it is cancelled before.
    pub(super) async fn run(self) {
        let place = self.session.enter(self.id());
        tokio::select! {
            () = self.answer() => {}
            () = place.stopped() => self.shared.record.interrupted(self.number),
        }
        self.mouth.finish();
    }

    async fn answer(&self) {
        let outcome = if let Fault::Error { code, message } = &self.fault {
            Err((*code, message.clone()))
        } else {
            let outcome = methods::perform(self).await;
            self.shared.record.ran(self.number);
            outcome
        };
        let answer = match outcome {
            Ok(result) => json!({"jsonrpc": "2.0", "id": self.id(), "result": result}),
            Err((code, message)) => failure(self.id(), code, &message),
        };
        answer::deliver(self, answer).await;
    }

    pub(super) fn id(&self) -> &Value {
        self.message.get("id").unwrap_or(&Value::Null)
    }

    pub(super) fn method(&self) -> &str {
        self.message.get("method").and_then(Value::as_str).unwrap_or_default()
    }

    /// A parameter; `null` where there is none.
    pub(super) fn param(&self, name: &str) -> &Value {
        self.message.get("params").and_then(|params| params.get(name)).unwrap_or(&Value::Null)
    }
}
