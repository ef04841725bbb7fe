//! How the naive pool opens a session: in the task of whoever asks for it.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinSet, time::timeout};
use wharf_proto::{
    Json, Notification, Request, RequestId, Revision, method,
    transport::{CallError, Connect, Link as _},
};

use super::{NaiveError, NaivePool, Wanted, books::NaiveKey, session::NaiveSession};

/// Opens a session for a request, whose slot has been taken. The slot is given
/// back where it fails.
pub(super) async fn open<C: Connect<Target = Wanted>>(
    pool: &NaivePool<C>,
    wanted: &Wanted,
    host: &watch::Sender<bool>,
    drivers: &mut JoinSet<()>,
) -> Result<Arc<NaiveSession<C::Link>>, NaiveError> {
    let key = NaiveKey::of(wanted);
    let opening = shake_hands(pool, wanted, host, drivers);
    let opened = timeout(pool.0.settings.open_timeout, opening).await;
    let opened = opened.unwrap_or_else(|_| Err(not_opened(wanted, None)));
    let mut books = pool.books();
    match &opened {
        Ok(session) => {
            books.succeeded(&wanted.url);
            books.activate(&key, session, &pool.0.settings);
        }
        Err(_) => {
            books.free_slot(&key);
            books.failed(&wanted.url, &pool.0.settings);
        }
    }
    opened
}

async fn shake_hands<C: Connect<Target = Wanted>>(
    pool: &NaivePool<C>,
    wanted: &Wanted,
    host: &watch::Sender<bool>,
    drivers: &mut JoinSet<()>,
) -> Result<Arc<NaiveSession<C::Link>>, NaiveError> {
    let failed = |error: CallError| not_opened(wanted, Some(error));
    let (link, feed) = pool.0.connect.connect(wanted).await.map_err(failed)?;
    let (session, driver) = NaiveSession::new(link, feed, host.clone());
    // Fault: the driver is a task of this request, not of the session.
    drivers.spawn(driver.run());
    let hello = Request::new(&RequestId::from(0), method::INITIALIZE, Some(&greeting()));
    let answer = session.ask(&hello, pool.0.settings.open_timeout).await?;
    let Some(revision) = answer.agreed_revision() else {
        // Fault: the caller of this gives the slot back, too.
        pool.books().free_slot(&NaiveKey::of(wanted));
        return Err(not_opened(wanted, None));
    };
    session.link().agree(revision);
    let initialized = Notification::new(method::INITIALIZED, None);
    session.link().notify(initialized).await.map_err(failed)?;
    Ok(Arc::new(session))
}

fn not_opened(wanted: &Wanted, source: Option<CallError>) -> NaiveError {
    NaiveError::NotOpened { url: wanted.url.clone(), source }
}

fn greeting() -> Json {
    let text = format!(
        r#"{{"protocolVersion":"{}","capabilities":{{}},"clientInfo":{{"name":"naive","version":"0"}}}}"#,
        Revision::LATEST
    );
    Json::parse(text).expect("it is JSON")
}
