//! Connecting to upstreams, and finding out which transport they speak.

use std::sync::Arc;

use http::StatusCode;
use wharf_pool::Key;
use wharf_proto::{
    Json, Request, RequestId, Revision, method,
    transport::{CallError, Connect, Exchange, Fault, Link},
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

/// Why it was not found out which transport an upstream speaks.
enum Unfound {
    /// It answered the handshake by an error. That may be a refusal by one
    /// that speaks streamable HTTP, or by one that takes no POST there.
    Refused,
    /// It could not be asked, or did not answer in MCP.
    Failed(CallError),
}

// === impl Dial ===

impl Dial {
    /// Dials these upstreams.
    #[must_use]
    pub const fn new(upstreams: Arc<Upstreams>) -> Self {
        Self(upstreams)
    }

    fn http(&self, edition: &Edition) -> (streamable_http::HttpLink, streamable_http::HttpFeed) {
        let opener = edition.opener(|target| {
            let mut settings = streamable_http::ClientSettings::default();
            settings.max_message = self.0.max_message;
            streamable_http::Opener::new(self.0.http.clone(), target, settings)
        });
        opener.open()
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
    async fn probe(&self, edition: &Edition) -> Result<Transport, Unfound> {
        let (link, _feed) = self.http(edition);
        let refused = match link.call(hello()).answer().await {
            Ok(answer) => {
                let agreed = answer.agreed_revision();
                if let Some(revision) = agreed {
                    // The goodbye names it, too.
                    link.agree(revision);
                }
                link.goodbye().await;
                if agreed.is_some() {
                    return Ok(Transport::StreamableHttp);
                }
                Unfound::Refused
            }
            Err(error) if hints_at_another(&error.fault) => Unfound::Failed(error),
            Err(error) => return Err(Unfound::Failed(error)),
        };
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

    /// The transport of an upstream; one probe serves everybody who waits for
    /// it.
    async fn transport(&self, edition: &Edition) -> Result<Transport, CallError> {
        if edition.settings.transport != Transport::Auto {
            return Ok(edition.settings.transport);
        }
        match edition.found().get_or_try_init(|| self.probe(edition)).await {
            Ok(found) => Ok(*found),
            // Whoever opens a session by it hears the refusal in full.
            Err(Unfound::Refused) => Ok(Transport::StreamableHttp),
            Err(Unfound::Failed(error)) => Err(error),
        }
    }
}

impl Connect for Dial {
    type Target = Key;
    type Link = WireLink;
    type Feed = WireFeed;

    async fn connect(&self, key: &Key) -> Result<(WireLink, WireFeed), CallError> {
        let upstream = self.0.find(key.upstream()).ok_or_else(unconfigured)?;
        let edition = &*upstream.edition();
        if self.transport(edition).await? == Transport::Sse {
            let (link, feed) = self.sse(edition).await?;
            return Ok((WireLink::Sse(link), WireFeed::Sse(Box::new(feed))));
        }
        let (link, feed) = self.http(edition);
        Ok((WireLink::Http(link), WireFeed::Http(feed)))
    }
}

/// Whether an upstream that failed so may speak another transport than it was
/// asked in.
pub(crate) fn hints_at_another(fault: &Fault) -> bool {
    match fault {
        Fault::Status { status } => {
            status.is_client_error()
                && !matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        }
        Fault::NotMcp { .. } | Fault::NoAnswer | Fault::Malformed { .. } => true,
        _ => false,
    }
}

/// The key is of an upstream that has never been configured, or is no more.
fn unconfigured() -> CallError {
    CallError::not_sent(Fault::Unreachable { source: "no upstream of its id is configured".into() })
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

#[cfg(test)]
mod tests {
    use wharf_http::{ClientSettings, HttpClient};
    use wharf_pool::{Fingerprint, KeyParts, Scope};
    use wharf_proto::transport::Fate;

    use super::*;
    use crate::upstream::own_profile;

    #[tokio::test]
    async fn a_key_of_no_configured_upstream_opens_nothing() {
        let http = HttpClient::new(&ClientSettings::default());
        let upstreams =
            Upstreams::new(Vec::new(), http, 1024).expect("there is nothing to be wrong");
        let key = Key::new(KeyParts {
            upstream: "gone".into(),
            scope: Scope::Shared,
            credential: Fingerprint::NONE,
            profile: own_profile(),
        });
        let refused = Dial::new(upstreams).connect(&key).await.expect_err("it is not there");
        assert_eq!(refused.fate, Fate::NotSent);
    }
}
