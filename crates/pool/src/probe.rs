//! Whether a session that nobody uses still works.
//!
//! Its owner finds out, when it has been unused for a while, and at once when
//! another session of the upstream has been found dead. Meanwhile nobody can
//! lease it, so that whoever gets a session gets one that has worked lately,
//! without any caller reading a clock for it.

use std::time::Duration;

use tokio::time::timeout;
use wharf_proto::{
    Request, RequestId, code, method,
    transport::{CallError, Exchange, Link},
};

use crate::Session;

/// One way to find out whether a session works. They are tried in order: the
/// first whose method the upstream has decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Probe {
    /// `ping`, which every server of a session revision has (utilities, ping).
    Ping,
    /// `tools/list`.
    ListTools,
    /// `prompts/list`.
    ListPrompts,
    /// `resources/list`.
    ListResources,
    /// Nothing is asked: the session is taken to work.
    Skip,
}

/// Why a session is taken to be dead.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeFailure {
    /// There was no answer in time.
    #[error("it did not answer {method} within {limit:?}")]
    Hung {
        /// What it was asked.
        method: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// There can be no answer.
    #[error("it could not be asked {method}: {source}")]
    Broken {
        /// What it was asked.
        method: &'static str,
        /// What happened.
        #[source]
        source: CallError,
    },
    /// The answer was an error, and another than that there is no such
    /// method.
    #[error("it answered {method} with the error {code}")]
    Refused {
        /// What it was asked.
        method: &'static str,
        /// The JSON-RPC code.
        code: i64,
    },
}

// === impl Probe ===

impl Probe {
    const fn method(self) -> Option<&'static str> {
        match self {
            Self::Ping => Some(method::PING),
            Self::ListTools => Some(method::TOOLS_LIST),
            Self::ListPrompts => Some(method::PROMPTS_LIST),
            Self::ListResources => Some(method::RESOURCES_LIST),
            Self::Skip => None,
        }
    }
}

/// Tries `probes` in order, each for so long. A method that the upstream does
/// not have says nothing against the session: it has answered.
pub(crate) async fn examine<L: Link>(
    session: Session<L>,
    probes: Vec<Probe>,
    limit: Duration,
) -> Result<(), ProbeFailure> {
    for probe in probes {
        let Some(method) = probe.method() else { return Ok(()) };
        let request = Request::new(&RequestId::from(0), method, None);
        let mut call = session.call(&request);
        let answered = timeout(limit, call.answer()).await;
        let answered = answered.map_err(|_| ProbeFailure::Hung { method, limit })?;
        let answer = answered.map_err(|source| ProbeFailure::Broken { method, source })?;
        match answer.error_code() {
            None => return Ok(()),
            Some(code::METHOD_NOT_FOUND) => {}
            Some(code) => return Err(ProbeFailure::Refused { method, code }),
        }
    }
    Ok(())
}
