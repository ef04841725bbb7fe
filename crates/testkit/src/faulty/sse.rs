//! HTTP+SSE: a stream that is the session, and POSTs beside it.

use std::sync::Arc;

use http::StatusCode;

use super::{
    Dress, Fault, MESSAGES, SESSION_PARAMETER, Status,
    line::{Line, Over},
    mouth::{self, Mouth, Said},
    session::Session,
    shared::Shared,
    visit::{Kind, Visit},
};

/// A session that lasts as long as its stream. Dropping it ends the session.
struct Stay {
    shared: Arc<Shared>,
    session: Arc<Session>,
}

pub(super) async fn open(visit: &Visit, line: &mut Line) -> Result<(), Over> {
    if !visit.open_stream(line).await? {
        return Ok(());
    }
    let shared = Arc::clone(&visit.shared);
    let stay = Stay { session: shared.sessions.open(visit.number), shared };
    let _listening = visit.shared.record.listening();
    let (ear, mut speech) = Mouth::of_session();
    stay.session.listen(ear);
    let id = &stay.session.id;
    let endpoint = format!("event: endpoint\ndata: {MESSAGES}?{SESSION_PARAMETER}{id}\n\n");
    line.chunk(endpoint.as_bytes()).await?;
    mouth::write_down(&mut speech, line, &visit.shared.record).await
}

pub(super) async fn post(visit: &Visit, line: &mut Line) -> Result<(), Over> {
    let stream = visit.session.as_ref().and_then(|session| session.ear());
    let (Some(session), Some(stream)) = (&visit.session, stream) else {
        let dress = visit.shared.settings.gone;
        // There is no stream to answer on.
        let dress = if dress.is_success() { Dress::default() } else { dress };
        return visit.gone(line, dress).await;
    };
    match visit.kind() {
        Kind::Unreadable => visit.reply(line, &Status::new(400)).await,
        Kind::Notification | Kind::Response => {
            visit.hear(session);
            visit.reply(line, &Status::new(202)).await
        }
        Kind::Request if matches!(visit.fault, Fault::ResetBeforeHeaders) => {
            run_unheard(visit, line, session).await?;
            Err(line.reset())
        }
        Kind::Request => {
            line.whole(StatusCode::ACCEPTED, &[], b"").await?;
            visit.shared.record.status(visit.number, StatusCode::ACCEPTED);
            visit.shared.spawn(visit.call(session, stream).run());
            Ok(())
        }
    }
}

/// Has the call run and says nothing of what comes of it.
async fn run_unheard(visit: &Visit, line: &mut Line, session: &Arc<Session>) -> Result<(), Over> {
    let (mouth, mut speech) = Mouth::of_call();
    visit.shared.spawn(visit.call(session, mouth).run());
    loop {
        match line.unless_closed(speech.recv()).await? {
            Some(Said::Message(message)) if message.answers.is_none() => {}
            _ => return Ok(()),
        }
    }
}

// === impl Stay ===

impl Drop for Stay {
    fn drop(&mut self) {
        self.shared.sessions.end(&self.session);
    }
}
