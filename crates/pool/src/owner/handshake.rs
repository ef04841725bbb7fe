//! The MCP handshake.

use tokio::select;
use wharf_proto::{
    Json, Message, Notification, Request, RequestId, Response, method,
    transport::{CallError, EndReason, Exchange, Fault, Feed, Link},
};

use crate::{Key, OpenError, session::Handshake};

/// The MCP handshake (lifecycle, initialization). The feed is attended to
/// meanwhile: on some transports it is what brings the answer.
pub(super) async fn shake_hands<L: Link, F: Feed<End = EndReason>>(
    link: &L,
    feed: &mut F,
    key: &Key,
) -> Result<Handshake, OpenError> {
    let params = key.profile().to_params();
    let mut hello = link.call(Request::new(&RequestId::from(0), method::INITIALIZE, Some(&params)));
    let answer = while_heard(link, feed, hello.answer()).await.map_err(OpenError::Transport)?;
    if let Some(code) = answer.error_code() {
        let error = answer_error(&answer);
        return Err(OpenError::Refused { code, error });
    }
    let revision = answer.agreed_revision().ok_or(OpenError::NotAHandshake)?;
    let result = answer.result().cloned().ok_or(OpenError::NotAHandshake)?;
    link.agree(revision);
    let initialized = Notification::new(method::INITIALIZED, None);
    while_heard(link, feed, link.notify(initialized)).await.map_err(OpenError::Transport)?;
    Ok(Handshake { revision, result })
}

fn answer_error(answer: &Response) -> Json {
    match answer.outcome() {
        wharf_proto::Outcome::Error(error) | wharf_proto::Outcome::Result(error) => error.clone(),
    }
}

/// Runs `step` while attending to the feed. Before the handshake is done an
/// upstream may say no more than ping and log lines.
async fn while_heard<L: Link, F: Feed<End = EndReason>, T>(
    link: &L,
    feed: &mut F,
    step: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    tokio::pin!(step);
    loop {
        select! {
            biased;
            done = &mut step => return done,
            heard = feed.next() => match heard {
                Ok(Message::Request(ping)) if ping.method() == method::PING => {
                    link.respond(Response::success(ping.id(), &Json::empty_object())).await?;
                }
                Ok(_) => {}
                Err(end) => return Err(CallError::may_have_run(Fault::Ended(end))),
            },
        }
    }
}
