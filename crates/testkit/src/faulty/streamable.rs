//! Streamable HTTP: one path, and the answer where the question came from.

use std::sync::Arc;

use http::StatusCode;

use super::{
    Fault, Form, Status,
    line::{Line, Over},
    mouth::{self, Message, Mouth, Said, Speech},
    session::Session,
    visit::{Kind, Visit},
};

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

pub(super) async fn post(visit: &Visit, line: &mut Line) -> Result<(), Over> {
    match visit.kind() {
        Kind::Unreadable => {
            visit.reply(line, &Status::new(400).json_rpc(-32700, "Parse error")).await
        }
        Kind::Request if visit.method() == Some("initialize") => {
            if visit.shared.settings.keeps_sessions {
                let session = visit.shared.sessions.open(visit.number);
                call(visit, line, &session, Some(&session.id)).await
            } else {
                call(visit, line, &visit.shared.sessions.anonymous, None).await
            }
        }
        kind => {
            let Some(session) = session(visit, line).await? else {
                return Ok(());
            };
            if kind == Kind::Request {
                return call(visit, line, &session, None).await;
            }
            visit.hear(&session);
            visit.reply(line, &Status::new(202)).await
        }
    }
}

/// The stream by which a session hears what is said unasked.
pub(super) async fn listen(visit: &Visit, line: &mut Line) -> Result<(), Over> {
    let Some(session) = session(visit, line).await? else {
        return Ok(());
    };
    if !visit.open_stream(line).await? {
        return Ok(());
    }
    let _listening = visit.shared.record.listening();
    let (ear, mut speech) = Mouth::of_session();
    session.listen(ear);
    mouth::write_down(&mut speech, line, &visit.shared.record).await
}

pub(super) async fn delete(visit: &Visit, line: &mut Line) -> Result<(), Over> {
    if let Some(session) = session(visit, line).await? {
        visit.shared.sessions.end(&session);
        visit.reply(line, &Status::new(200)).await?;
    }
    Ok(())
}

/// The session that a request belongs to. Where there is none it has been
/// said so.
async fn session(visit: &Visit, line: &mut Line) -> Result<Option<Arc<Session>>, Over> {
    if !visit.shared.settings.keeps_sessions {
        return Ok(Some(Arc::clone(&visit.shared.sessions.anonymous)));
    }
    if visit.session.is_none() {
        if visit.request.headers.contains_key("mcp-session-id") {
            visit.gone(line, visit.shared.settings.gone).await?;
        } else {
            let missing = Status::new(400).json_rpc(-32600, "Bad Request: Missing session ID");
            visit.reply(line, &missing).await?;
        }
    }
    Ok(visit.session.clone())
}

async fn call(
    visit: &Visit,
    line: &mut Line,
    session: &Arc<Session>,
    session_id: Option<&str>,
) -> Result<(), Over> {
    let (mouth, speech) = Mouth::of_call();
    visit.shared.spawn(visit.call(session, mouth).run());
    let reply = Reply { visit, line, session_id, speech };
    match &visit.fault {
        Fault::ResetBeforeHeaders => reply.never().await,
        Fault::WrongContentType(mime) => reply.under(mime).await,
        Fault::ResetMidJson => reply.json().await,
        fault if fault.needs_event_stream() => reply.stream(None).await,
        _ => match visit.shared.settings.form {
            Form::EventStream => reply.stream(None).await,
            Form::Json => reply.json().await,
        },
    }
}

/// The answer to a call, of which nothing is written yet.
struct Reply<'a> {
    visit: &'a Visit,
    line: &'a mut Line,
    /// The session that was opened by the call.
    session_id: Option<&'a str>,
    speech: Speech,
}

// === impl Reply ===

impl Reply<'_> {
    /// Writes an event stream, which begins with what has been said already.
    async fn stream(mut self, first: Option<Said>) -> Result<(), Over> {
        let headers = headers(EVENT_STREAM, self.session_id);
        self.line.head_of_chunks(&headers).await?;
        let record = &self.visit.shared.record;
        record.status(self.visit.number, StatusCode::OK);
        if let Some(first) = first
            && mouth::write(first, self.line, record).await?
        {
            return Ok(());
        }
        mouth::write_down(&mut self.speech, self.line, record).await
    }

    /// Writes JSON, unless there is more to say than the answer.
    async fn json(mut self) -> Result<(), Over> {
        match self.line.unless_closed(self.speech.recv()).await? {
            Some(Said::Message(message)) if message.answers.is_some() => {
                self.body(JSON, message).await
            }
            Some(Said::Half(json)) => {
                let headers = headers(JSON, self.session_id);
                self.line.head_of_length(StatusCode::OK, &headers, json.len()).await?;
                self.line.write(&json.as_bytes()[..json.len() / 2]).await?;
                Err(self.line.reset())
            }
            first => self.stream(first).await,
        }
    }

    /// Writes the answer under a content type that is not its own.
    async fn under(mut self, mime: &str) -> Result<(), Over> {
        match self.answer().await? {
            Some(message) => self.body(mime, message).await,
            None => self.stream(Some(Said::End)).await,
        }
    }

    /// Resets the connection when the call has run.
    async fn never(mut self) -> Result<(), Over> {
        self.answer().await?;
        Err(self.line.reset())
    }

    async fn body(self, mime: &str, message: Message) -> Result<(), Over> {
        let Message { json, drip, .. } = message;
        let headers = headers(mime, self.session_id);
        let record = &self.visit.shared.record;
        self.line.head_of_length(StatusCode::OK, &headers, json.len()).await?;
        record.status(self.visit.number, StatusCode::OK);
        match drip {
            None => self.line.write(json.as_bytes()).await?,
            Some(between) => {
                for byte in json.as_bytes() {
                    self.line.write(&[*byte]).await?;
                    self.line.pause(between).await?;
                }
            }
        }
        record.answered(self.visit.number);
        Ok(())
    }

    /// Waits for the answer and passes over what is said before it; `None`
    /// where the call ends without one.
    async fn answer(&mut self) -> Result<Option<Message>, Over> {
        loop {
            match self.line.unless_closed(self.speech.recv()).await? {
                Some(Said::Message(message)) if message.answers.is_some() => {
                    return Ok(Some(message));
                }
                Some(Said::Message(_)) => {}
                _ => return Ok(None),
            }
        }
    }
}

fn headers<'a>(mime: &'a str, session_id: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let session = session_id.map(|id| ("mcp-session-id", id));
    [("content-type", mime)].into_iter().chain(session).collect()
}
