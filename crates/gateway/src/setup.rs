//! How a session is set up before it is used, as the one before it was.

use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;
use wharf_pool::Session;
use wharf_proto::{Request, Response, transport::Exchange as _};

use crate::{error::Failure, upstream::Upstream, wire::WireLink};

/// How many things are set up at the same time.
const AT_ONCE: usize = 16;

/// Asks for something that is a part of opening a session, and may take no
/// longer.
pub(crate) async fn ask(
    upstream: &Upstream,
    session: &Session<WireLink>,
    request: &Request,
) -> Result<Response, Failure> {
    let limit = upstream.edition().settings.limits.open_timeout;
    let upstream = || upstream.id().clone();
    match timeout(limit, session.call(request).answer()).await {
        Ok(answer) => answer.map_err(|source| Failure::Call { upstream: upstream(), source }),
        Err(_) => Err(Failure::TimedOut { upstream: upstream(), limit }),
    }
}

/// The same where it can be gone without.
pub(crate) async fn say(
    upstream: &Upstream,
    session: &Session<WireLink>,
    request: &Request,
) -> Result<(), Failure> {
    let answer = ask(upstream, session, request).await.inspect_err(|failure| {
        tracing::warn!(%failure, method = request.method(), "a session could not be set up");
    })?;
    if answer.error_code().is_some() {
        tracing::warn!(upstream = %upstream.id(), method = request.method(), "an upstream refused what is to be set up in a session");
    }
    Ok(())
}

/// Says all of these, within the time that opening a session may take. What
/// has not been taken by then the session goes without.
pub(crate) async fn say_all(
    upstream: &Upstream,
    session: &Session<WireLink>,
    requests: Vec<Request>,
) {
    if requests.is_empty() {
        return;
    }
    let said = stream::iter(requests).for_each_concurrent(AT_ONCE, |request| async move {
        let _ = say(upstream, session, &request).await;
    });
    let limit = upstream.edition().settings.limits.open_timeout;
    if timeout(limit, said).await.is_err() {
        tracing::warn!(upstream = %upstream.id(), "a session was not set up in time");
    }
}
