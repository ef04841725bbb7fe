//! Sessions in numbers: opened over a few connections, and left alone.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::task::JoinSet;

type Http = Client<HttpConnector, Full<Bytes>>;

/// How many are opened at once.
const AT_ONCE: usize = 32;

const HELLO: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"crowd","version":"1"}}}"#;
const READY: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Opens sessions over streamable HTTP. Nothing of them is left here.
///
/// # Errors
///
/// Where the server gives no session.
pub(super) async fn open(url: &str, count: usize) -> Result<()> {
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    let left = Arc::new(AtomicUsize::new(count));
    let mut opening = JoinSet::new();
    for _ in 0..AT_ONCE.min(count) {
        let (http, url, left) = (http.clone(), url.to_owned(), Arc::clone(&left));
        opening.spawn(async move {
            while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                let session = post(&http, &url, None, HELLO).await?;
                let session = session.context("the server keeps no sessions")?;
                post(&http, &url, Some(session), READY).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = opening.join_next().await {
        done.context("a task died")??;
    }
    Ok(())
}

/// Posts a message, and gives the session that the answer names.
async fn post(
    http: &Http,
    url: &str,
    session: Option<header::HeaderValue>,
    message: &'static str,
) -> Result<Option<header::HeaderValue>> {
    let mut request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    let request = request.body(Full::from(message)).context("the request is well formed")?;
    let answer = http.request(request).await.with_context(|| format!("no answer from {url}"))?;
    let status = answer.status();
    let session = answer.headers().get("mcp-session-id").cloned();
    let body = answer.into_body().collect().await.context("the answer broke off")?.to_bytes();
    if !status.is_success() {
        bail!("{url} answered {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(session)
}
