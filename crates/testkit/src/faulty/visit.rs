//! An HTTP request that is being answered, and the faults that strike before
//! anybody looks at what it asks.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{
    Dress, Fault, MESSAGES, Status,
    call::Call,
    fault::failure,
    life::Order,
    line::{Line, Over},
    mouth::{Mouth, event},
    request::Request,
    session::Session,
    shared::Shared,
};

/// A request, and what is known of it.
pub(super) struct Visit {
    pub(super) shared: Arc<Shared>,
    /// Its index in the record.
    pub(super) number: usize,
    pub(super) request: Request,
    /// The JSON object in its body.
    pub(super) message: Option<Arc<Value>>,
    /// The session it names, where that is known.
    pub(super) session: Option<Arc<Session>>,
    pub(super) fault: Fault,
}

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Notification,
    Response,
    Unreadable,
}

// === impl Visit ===

impl Visit {
    pub(super) fn kind(&self) -> Kind {
        let Some(message) = &self.message else {
            return Kind::Unreadable;
        };
        let has = |name| message.get(name).is_some();
        match (has("method"), has("id")) {
            (true, true) => Kind::Request,
            (true, false) => Kind::Notification,
            (false, true) if has("result") || has("error") => Kind::Response,
            (false, _) => Kind::Unreadable,
        }
    }

    pub(super) fn method(&self) -> Option<&str> {
        self.message.as_ref()?.get("method")?.as_str()
    }

    /// The id of its JSON-RPC request; `null` where it is none.
    pub(super) fn id(&self) -> &Value {
        let id = self.message.as_ref().filter(|_| self.kind() == Kind::Request);
        id.and_then(|message| message.get("id")).unwrap_or(&Value::Null)
    }

    /// The call that it is, to be run, which speaks by that mouth.
    pub(super) fn call(&self, session: &Arc<Session>, mouth: Mouth) -> Call {
        Call {
            shared: Arc::clone(&self.shared),
            session: Arc::clone(session),
            number: self.number,
            message: self.message.clone().unwrap_or_default(),
            headers: Arc::clone(&self.request.headers),
            fault: self.fault.clone(),
            mouth,
        }
    }

    /// Takes what wants no answer.
    pub(super) fn hear(&self, session: &Session) {
        let Some(message) = &self.message else { return };
        if self.kind() == Kind::Response {
            return session.answered(message);
        }
        let id = message.get("params").and_then(|params| params.get("requestId"));
        if let (Some("notifications/cancelled"), Some(id)) = (self.method(), id) {
            let number = self.session.as_ref().map(|session| session.number);
            self.shared.record.cancelled(number, id);
            session.cancel(id);
        }
    }

    /// Suffers the faults that need no look at what is asked. `true` where the
    /// request is answered by that.
    pub(super) async fn met_fault(&self, line: &mut Line) -> Result<bool, Over> {
        // What is wrong with an answer is the call's own business.
        let is_call = self.kind() == Kind::Request;
        match &self.fault {
            Fault::Hang => {
                line.closed().await;
                return Err(Over::There);
            }
            Fault::Close => return Err(Over::Here),
            Fault::Status(status) => {
                self.reply(line, status).await?;
                return Ok(true);
            }
            Fault::SessionGone(dress) => {
                if let Some(session) = &self.session {
                    self.shared.sessions.forget(session);
                }
                self.gone(line, *dress).await?;
                return Ok(true);
            }
            Fault::ResetBeforeHeaders if !is_call => return Err(line.reset()),
            Fault::Late(wait) if !is_call => line.pause(*wait).await?,
            Fault::Held(gate) if !is_call => line.unless_closed(gate.pass()).await?,
            Fault::Crash if !is_call => self.shared.die(Order::Crash).await,
            Fault::Restart(memory) if !is_call => self.shared.die(Order::Revive(*memory)).await,
            _ => {}
        }
        Ok(false)
    }

    /// Says that the session is not known.
    pub(super) async fn gone(&self, line: &mut Line, dress: Dress) -> Result<(), Over> {
        // Over HTTP+SSE an answer is an answer only on the session's stream.
        let stream = self.session.as_ref().and_then(|session| session.ear());
        if dress.is_success()
            && self.request.path == MESSAGES
            && let Some(stream) = stream
        {
            self.reply(line, &Status::new(202)).await?;
            stream.say(&failure(self.id(), -32600, "Session not found"));
            return Ok(());
        }
        self.reply(line, &dress.worn(self.id())).await
    }

    /// Answers with a status.
    pub(super) async fn reply(&self, line: &mut Line, status: &Status) -> Result<(), Over> {
        let mut headers = as_text(&status.headers);
        let body = status.body.as_ref().map_or("", |(mime, body)| {
            headers.push(("content-type", mime));
            body
        });
        line.whole(status.status, &headers, body.as_bytes()).await?;
        self.shared.record.status(self.number, status.status);
        self.shared.record.answered(self.number);
        Ok(())
    }

    /// Writes the head of an event stream that belongs to no call. `false`
    /// where that is all that there is to be.
    pub(super) async fn open_stream(&self, line: &mut Line) -> Result<bool, Over> {
        if let Fault::WrongContentType(mime) = &self.fault {
            let headers = [("content-type", &**mime)];
            line.whole(StatusCode::OK, &headers, b"this is no event stream").await?;
            return Ok(false);
        }
        line.head_of_chunks(&[("content-type", "text/event-stream")]).await?;
        self.shared.record.status(self.number, StatusCode::OK);
        match &self.fault {
            Fault::HangAfterHeaders => {
                line.closed().await;
                Err(Over::There)
            }
            Fault::ResetAfterHeaders => Err(line.reset()),
            Fault::ResetMidEvent => {
                let half = &event("{}")[..10];
                line.chunk(half.as_bytes()).await?;
                Err(line.reset())
            }
            Fault::EndWithoutAnswer => {
                line.chunk(b"").await?;
                Ok(false)
            }
            _ => Ok(true),
        }
    }
}

fn as_text(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect()
}
