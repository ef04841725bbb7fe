//! The client half: one event stream to an upstream, and POSTs beside it.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use tokio::sync::mpsc;
use wharf_http::{Answer, Endpoint, EventError, EventReader, HttpClient, Target, media_type};
use wharf_proto::{
    header::EVENT_STREAM,
    sse::DecodeError,
    transport::{CallError, Connect, EndReason, Fault},
};

mod calls;
mod exchange;
mod feed;
mod link;
mod post;

pub use exchange::SseExchange;
pub use feed::SseFeed;
pub use link::SseLink;

use calls::Calls;
use link::Wire;

/// What an upstream's event stream is held to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientSettings {
    /// How long an upstream may take to open its stream and to say where
    /// messages go; 10 s by default.
    pub endpoint_timeout: Duration,
    /// How large one event may be, in bytes; 16 MiB by default. A larger one
    /// ends the link.
    pub max_message: usize,
}

/// Opens links of this transport for who is generic over transports.
pub struct Connector {
    http: HttpClient,
    settings: ClientSettings,
}

/// Opens the event stream and waits for the upstream to say where messages
/// go (2024-11-05, transports, HTTP with SSE).
///
/// The link makes calls; the feed, polled by the one that owns the link, reads
/// the stream for them all. While nobody polls it no call gets its answer.
///
/// # Errors
///
/// Always [not sent](wharf_proto::transport::Fate::NotSent): the upstream
/// cannot be reached, answers with an HTTP error, is no server of this
/// transport, announces an endpoint of another origin, or takes longer than
/// [`ClientSettings::endpoint_timeout`].
///
/// # Cancel safety
///
/// Dropping the future closes the stream and with it the session.
pub async fn open(
    http: HttpClient,
    target: Target,
    settings: ClientSettings,
) -> Result<(SseLink, SseFeed), CallError> {
    let limit = settings.endpoint_timeout;
    let opening = async {
        let mut stream = open_stream(&http, &target, settings.max_message).await?;
        let post_to = announced(&mut stream, &target.endpoint).await?;
        Ok((stream, post_to))
    };
    let timed_out = |_| Err(Fault::TimedOut { step: "announce its endpoint", limit });
    let (stream, post_to) = tokio::time::timeout(limit, opening)
        .await
        .unwrap_or_else(timed_out)
        .map_err(CallError::not_sent)?;

    let calls = Arc::new(Calls::default());
    let (unread, late_posts) = mpsc::unbounded_channel();
    let feed = SseFeed::new(stream, Arc::clone(&calls), late_posts);
    let wire = Wire::new(http, &post_to, &target.headers, calls, unread);
    Ok((SseLink::new(wire), feed))
}

async fn open_stream(
    http: &HttpClient,
    target: &Target,
    max_message: usize,
) -> Result<EventReader, Fault> {
    let mut request = Request::get(target.endpoint.uri().clone())
        .body(Bytes::new())
        .expect("the URI is taken from a URL that was checked");
    *request.headers_mut() = target.headers.clone();
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(EVENT_STREAM));
    // What becomes of a GET is no call's fate: no call has been made yet.
    let response = http.send(request).await.map_err(|error| error.fault)?;
    if !response.status().is_success() {
        return Err(Fault::Status { status: response.status() });
    }
    check_content_type(&response)?;
    Ok(EventReader::new(response.into_body(), max_message))
}

fn check_content_type(response: &http::Response<Answer>) -> Result<(), Fault> {
    match media_type(response.headers()) {
        Some(mime) if mime.eq_ignore_ascii_case(EVENT_STREAM) => Ok(()),
        Some(mime) => Err(not_mcp(&excerpt(mime))),
        None => Err(not_mcp("no content type")),
    }
}

/// Waits for the `endpoint` event and resolves what it says.
async fn announced(stream: &mut EventReader, base: &Endpoint) -> Result<Endpoint, Fault> {
    let event = loop {
        let event = stream
            .next_event()
            .await
            .map_err(|error| Fault::Ended(end_of(error)))?
            .ok_or(Fault::Ended(EndReason::StreamEnded))?;
        // A reconnection time is an event to the codec, and no message.
        if event.name.is_some() || !event.data.is_empty() {
            break event;
        }
    };
    if event.event_type() != "endpoint" {
        let name = excerpt(event.event_type());
        return Err(not_mcp(&format!("the event `{name}` before `endpoint`")));
    }
    let reference = std::str::from_utf8(&event.data).expect("the decoder checks events for UTF-8");
    let endpoint = base.join(reference).map_err(|_| not_mcp("an endpoint that is no URL"))?;
    // Messages carry the caller's credentials, and an upstream must not send
    // those elsewhere.
    if endpoint.origin() != base.origin() {
        let origin = endpoint.origin();
        return Err(not_mcp(&format!("an endpoint of another origin, {origin}")));
    }
    Ok(endpoint)
}

fn end_of(error: EventError) -> EndReason {
    match error {
        EventError::Bad { source: DecodeError::TooLarge { limit } } => {
            EndReason::TooLarge { limit }
        }
        broken => EndReason::StreamBroken { source: broken.into() },
    }
}

fn not_mcp(found: &str) -> Fault {
    Fault::NotMcp { found: found.into() }
}

/// As much of an upstream's words as an error may repeat.
fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

// === impl ClientSettings ===

impl Default for ClientSettings {
    fn default() -> Self {
        Self { endpoint_timeout: Duration::from_secs(10), max_message: 16 * 1024 * 1024 }
    }
}

// === impl Connector ===

impl Connector {
    /// Opens links over the connections of `http`.
    #[must_use]
    pub const fn new(http: HttpClient, settings: ClientSettings) -> Self {
        Self { http, settings }
    }
}

impl Connect for Connector {
    type Target = Target;
    type Link = SseLink;
    type Feed = SseFeed;

    fn connect(
        &self,
        target: &Target,
    ) -> impl Future<Output = Result<(SseLink, SseFeed), CallError>> + Send {
        open(self.http.clone(), target.clone(), self.settings.clone())
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("settings", &self.settings).finish_non_exhaustive()
    }
}
