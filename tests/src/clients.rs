//! The kit's client, over either transport.

use serde_json::Value;
use wharf_proto::{Json, Outcome, Response};
use wharf_testkit::{Hello, TestClient};

use crate::{Wharf, soon};

/// The transport that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE.
    Sse,
}

// === impl Over ===

impl Over {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Http, Self::Sse];

    /// A client of `/mcp`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a session.
    pub async fn everything(self, wharf: &Wharf) -> TestClient {
        self.connect(wharf, "", &Hello::default()).await
    }

    /// A client of one upstream.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a session.
    pub async fn server(self, wharf: &Wharf, id: &str) -> TestClient {
        self.connect(wharf, &format!("/servers/{id}"), &Hello::default()).await
    }

    /// A client of the endpoint with that prefix.
    ///
    /// # Panics
    ///
    /// Where there is no session.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a session.
    pub async fn connect(self, wharf: &Wharf, prefix: &str, hello: &Hello) -> TestClient {
        let connected = soon("the client connects", async {
            match self {
                Self::Http => {
                    TestClient::connect_http_as(&wharf.url(&format!("{prefix}/mcp")), hello).await
                }
                Self::Sse => {
                    TestClient::connect_sse_as(&wharf.url(&format!("{prefix}/sse")), hello).await
                }
            }
        });
        connected.await.unwrap_or_else(|error| panic!("no session over {self:?}: {error:?}"))
    }
}

/// The result or the error of an answer, as it was written.
#[must_use]
pub fn outcome(response: &Response) -> &str {
    match response.outcome() {
        Outcome::Result(json) | Outcome::Error(json) => json.as_str(),
    }
}

/// A JSON text as a value.
///
/// # Panics
///
/// Where it cannot be one.
#[must_use]
pub fn value(json: &Json) -> Value {
    json.read().unwrap()
}

/// The error object of an answer.
///
/// # Panics
///
/// Where the answer is none.
#[must_use]
pub fn error_of(response: &Response) -> Value {
    match response.outcome() {
        Outcome::Error(error) => value(error),
        Outcome::Result(result) => panic!("it is no error: {result}"),
    }
}

/// The error object of an answer, which must be the gateway's own about that
/// upstream and say whether the call may have run.
///
/// # Panics
///
/// Where it is not.
#[must_use]
pub fn gateway_error(response: &Response, upstream: &str, may_have_run: bool) -> Value {
    let error = error_of(response);
    assert_eq!(error["data"]["gateway"], "wharf", "{error}");
    assert_eq!(error["data"]["upstream"], upstream, "{error}");
    assert_eq!(error["data"]["mayHaveRun"], may_have_run, "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains(upstream)), "{error}");
    error
}
