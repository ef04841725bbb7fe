//! Connecting to upstreams, and finding out which transport they speak.

use std::sync::Arc;

use http::StatusCode;
use wharf_pool::Key;
use wharf_proto::{
    Json, Request, RequestId, Revision, method,
    transport::{CallError, Connect, EndReason, Exchange, Fault, Link},
};
use wharf_streamable_http::client as streamable_http;

use crate::{
    Transport,
    roster::Upstreams,
    upstream::{Edition, own_info},
    wire::{WireFeed, WireLink},
};

/// Opens links to the upstreams of a gateway: the pool's [`Connect`].
#[derive(Debug, Clone)]
pub struct Dial(Arc<Upstreams>);

// === impl Dial ===

impl Dial {
    /// Dials these upstreams.
    #[must_use]
    pub const fn new(upstreams: Arc<Upstreams>) -> Self {
        Self(upstreams)
    }

    fn http(&self, edition: &Edition) -> (streamable_http::HttpLink, streamable_http::HttpFeed) {
        let mut settings = streamable_http::ClientSettings::default();
        settings.max_message = self.0.max_message;
        streamable_http::open(self.0.http.clone(), edition.settings.target.clone(), settings)
    }

    async fn sse(
        &self,
        edition: &Edition,
    ) -> Result<(wharf_sse::SseLink, wharf_sse::SseFeed), CallError> {
        let mut settings = wharf_sse::ClientSettings::default();
        settings.max_message = self.0.max_message;
        wharf_sse::open(self.0.http.clone(), edition.settings.target.clone(), settings).await
    }

    /// Finds out the transport as the specification has it (2025-03-26,
    /// transports, backwards compatibility): `initialize` by POST; where that
    /// is refused, a GET that an `endpoint` event answers.
    async fn probe(&self, edition: &Edition) -> Result<Transport, CallError> {
        let (link, _feed) = self.http(edition);
        let refused = match link.call(hello()).answer().await {
            Ok(answer) => {
                if let Some(revision) = answer.agreed_revision() {
                    // The goodbye names it, too.
                    link.agree(revision);
                }
                link.goodbye().await;
                return Ok(Transport::StreamableHttp);
            }
            Err(refused) => refused,
        };
        if !hints_at_sse(&refused.fault) {
            return Err(refused);
        }
        match self.sse(edition).await {
            Ok((link, _feed)) => {
                link.goodbye().await;
                Ok(Transport::Sse)
            }
            Err(error) => {
                tracing::debug!(upstream = %edition.settings.id, %error, "it does not speak SSE either");
                Err(refused)
            }
        }
    }
}

impl Connect for Dial {
    type Target = Key;
    type Link = WireLink;
    type Feed = WireFeed;

    async fn connect(&self, key: &Key) -> Result<(WireLink, WireFeed), CallError> {
        let Some(upstream) = self.0.find(key.upstream()) else {
            // It has been taken out of the configuration since.
            return Err(CallError::not_sent(Fault::Ended(EndReason::Closed)));
        };
        let edition = &*upstream.edition();
        let transport = match edition.settings.transport {
            // One probe serves everybody who waits for it.
            Transport::Auto => *edition.found().get_or_try_init(|| self.probe(edition)).await?,
            configured => configured,
        };
        if transport == Transport::Sse {
            let opened = self.sse(edition).await;
            if opened.as_ref().is_err_and(|error| hints_at_sse(&error.fault)) {
                // It is reachable and no longer what it was.
                edition.forget_transport();
            }
            let (link, feed) = opened?;
            return Ok((WireLink::Sse(link), WireFeed::Sse(Box::new(feed))));
        }
        let (link, feed) = self.http(edition);
        Ok((WireLink::Http(link), WireFeed::Http(feed)))
    }
}

/// Whether an upstream that failed so may speak the other transport.
fn hints_at_sse(fault: &Fault) -> bool {
    match fault {
        Fault::Status { status } => {
            status.is_client_error()
                && !matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        }
        Fault::NotMcp { .. } | Fault::NoAnswer | Fault::Malformed { .. } => true,
        _ => false,
    }
}

fn hello() -> Request {
    let params = format!(
        r#"{{"protocolVersion":"{}","capabilities":{{}},"clientInfo":{}}}"#,
        Revision::LATEST,
        own_info()
    );
    let params = Json::parse(params).expect("it is JSON");
    Request::new(&RequestId::from(0), method::INITIALIZE, Some(&params))
}
