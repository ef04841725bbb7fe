//! A session with one server for the length of a command.

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::anyhow;
use tokio::time::Instant;
use wharf_gateway::{Dial, Transport, UpstreamId, UpstreamSettings, Upstreams};
use wharf_http::{ClientSettings, Endpoint, HttpClient, Target};
use wharf_pool::{Handshake, Lease, Pool, Settings as PoolSettings};
use wharf_proto::{
    ErrorObject, Json, Message, Notification, Outcome, Request, RequestId, Response, code, method,
    transport::{CallError, Connect, Exchange as _},
};

use crate::{
    args::ServerArgs,
    config::{Complaint, header::header_line},
    failure::Failure,
};

/// How long the goodbye may take: it is a courtesy.
const GOODBYE: Duration = Duration::from_secs(1);

/// How large a message of the server's may be, in bytes.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// A session with one server.
///
/// [`Visit::leave`] says goodbye; dropping it does not wait for that.
pub(crate) struct Visit {
    upstreams: Arc<Upstreams>,
    id: UpstreamId,
    pool: Pool<Dial>,
    lease: Lease<<Dial as Connect>::Link>,
}

/// Why a server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// There is no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It refused.
    #[error("the server refused {method}: {message} (code {code})")]
    Refused {
        /// What was asked for.
        method: String,
        /// The JSON-RPC code; 0 where it gave none.
        code: i64,
        /// What the server said.
        message: String,
    },
    /// It answered with something else.
    #[error("the server's answer to {method} has no array `{member}`")]
    Misshapen {
        /// What was asked for.
        method: &'static str,
        /// What should be in the answer.
        member: &'static str,
    },
    /// A page's cursor leads back to a page before it.
    #[error("the server's answer to {method} names a page as the next that was asked for already")]
    Circular {
        /// What was asked for.
        method: &'static str,
    },
}

// === impl Visit ===

impl Visit {
    /// Opens a session.
    ///
    /// # Errors
    ///
    /// Where there is none to be had within the upstream's `open_timeout`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped midway, the session ends unused.
    pub(crate) async fn open(upstream: UpstreamSettings) -> anyhow::Result<Self> {
        let id = upstream.id.clone();
        let mut limits = upstream.limits.clone();
        limits.goodbye_timeout = GOODBYE;
        // The pool's own limit is the one that says what took so long.
        let deadline = Instant::now() + limits.open_timeout + GOODBYE;
        let settings = PoolSettings { default: limits, ..PoolSettings::default() };
        let http = HttpClient::new(&ClientSettings::default());
        let upstreams = Upstreams::new(vec![upstream], http, MAX_MESSAGE)?;
        let key = upstreams.own_key(&id).expect("it was just named");
        let pool = Pool::new(Dial::new(Arc::clone(&upstreams)), settings);
        let lease = pool.acquire(&key, deadline).await?;
        Ok(Self { upstreams, id, pool, lease })
    }

    /// What the server said in the handshake.
    pub(crate) fn handshake(&self) -> &Handshake {
        self.lease.handshake()
    }

    /// The transport that the server was found to speak.
    pub(crate) fn transport(&self) -> Transport {
        self.upstreams.transport(&self.id)
    }

    /// Asks for something.
    ///
    /// # Errors
    ///
    /// [`AskError`] where the server does not do it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped midway, the server is told.
    pub(crate) async fn ask(
        &self,
        method: &str,
        params: Option<&Json>,
        heard: impl FnMut(&Notification),
    ) -> Result<Json, AskError> {
        // The session replaces the id by one of its own.
        let request = Request::new(&RequestId::from(1), method, params);
        let response = self.converse(&request, heard).await?;
        match response.outcome() {
            Outcome::Result(result) => Ok(result.clone()),
            Outcome::Error(error) => Err(AskError::refused(method, error)),
        }
    }

    /// All pages of a list.
    ///
    /// # Errors
    ///
    /// As [`Visit::ask`].
    ///
    /// # Cancel safety
    ///
    /// As [`Visit::ask`].
    pub(crate) async fn pages(
        &self,
        method: &'static str,
        member: &'static str,
    ) -> Result<Vec<Json>, AskError> {
        let mut items = Vec::new();
        let mut cursor: Option<Json> = None;
        let mut asked = HashSet::new();
        loop {
            let params = cursor.as_ref().map(cursor_params);
            let page = self.ask(method, params.as_ref(), |_| ()).await?;
            let found = page.field(member).and_then(|items| items.items());
            items.extend(found.ok_or(AskError::Misshapen { method, member })?);
            match page.field("nextCursor").filter(|next| next.to_text().is_some()) {
                None => return Ok(items),
                Some(next) if !asked.insert(next.clone()) => {
                    return Err(AskError::Circular { method });
                }
                next => cursor = next,
            }
        }
    }

    /// Ends the session.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the session ends; only the waiting does not.
    pub(crate) async fn leave(self) {
        drop(self.lease);
        self.pool.shutdown(Instant::now() + GOODBYE).await;
    }

    async fn converse(
        &self,
        request: &Request,
        mut heard: impl FnMut(&Notification),
    ) -> Result<Response, CallError> {
        let mut call = self.lease.call(request);
        loop {
            match call.next().await? {
                Message::Response(response) => return Ok(response),
                Message::Notification(notification) => heard(&notification),
                Message::Request(request) => self.lease.respond(answer(&request)).await?,
            }
        }
    }
}

// === impl AskError ===

impl AskError {
    fn refused(method: &str, error: &Json) -> Self {
        let message = error.field("message").and_then(|message| message.to_text());
        Self::Refused {
            method: method.to_owned(),
            code: error.field("code").and_then(|code| code.read().ok()).unwrap_or_default(),
            message: message.map(|it| it.to_string()).unwrap_or_default(),
        }
    }

    /// Whether the server does not know the method.
    pub(crate) fn is_unknown_method(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == code::METHOD_NOT_FOUND)
    }
}

/// The server that the flags name.
///
/// # Errors
///
/// Where they name none.
pub(crate) fn server(args: &ServerArgs) -> Result<UpstreamSettings, Failure> {
    let endpoint = Endpoint::parse(&args.url).map_err(|bad| Failure::usage(Complaint::Url(bad)))?;
    let mut target = Target::new(endpoint);
    for line in &args.headers {
        let (name, value) =
            header_line(line).map_err(|bad| Failure::Usage(anyhow!("--header: {bad}")))?;
        target.headers.append(name, value);
    }
    let id = "server".parse().expect("is an id");
    Ok(UpstreamSettings { transport: args.transport, ..UpstreamSettings::new(id, target) })
}

/// What to say to a server that wants something of a command: we declare
/// that we can do nothing, so all that may come is a ping.
fn answer(request: &Request) -> Response {
    if request.method() == method::PING {
        return Response::success(request.id(), &Json::empty_object());
    }
    let error = ErrorObject::new(code::METHOD_NOT_FOUND, "this client can only be pinged");
    Response::failure(Some(request.id()), &error)
}

fn cursor_params(cursor: &Json) -> Json {
    Json::parse(format!(r#"{{"cursor":{cursor}}}"#)).expect("its part is JSON")
}
