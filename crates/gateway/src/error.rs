//! What goes wrong in the gateway, and the one place where it becomes an
//! answer.

use std::{sync::Arc, time::Duration};

use wharf_pool::AcquireError;
use wharf_proto::{
    ErrorObject, Json, RequestId, Response, code,
    transport::{CallError, Fate},
};

use crate::UpstreamId;

/// Why a gateway could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Two upstreams have the same id.
    #[error("there are two upstreams of the id {id}; give one of them another")]
    SameId {
        /// The id.
        id: UpstreamId,
    },
}

/// Why a request got no answer from an upstream.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("upstream {upstream}: {source}")]
    Acquire {
        upstream: UpstreamId,
        #[source]
        source: AcquireError,
    },
    #[error("upstream {upstream}: {source}")]
    Call {
        upstream: UpstreamId,
        #[source]
        source: CallError,
    },
    #[error("upstream {upstream} has not answered within {limit:?}; the request may have run")]
    TimedOut { upstream: UpstreamId, limit: Duration },
    #[error(
        "upstream {upstream} had no session ready within {limit:?}; the request has not been sent"
    )]
    NotReady { upstream: UpstreamId, limit: Duration },
    #[error(
        "this session has {limit} subscriptions at upstream {upstream}, which is as many as it may; take one back"
    )]
    TooManySubscriptions { upstream: UpstreamId, limit: usize },
    #[error("upstream {upstream} answered {method} with what is no answer to it")]
    NoList { upstream: UpstreamId, method: &'static str },
    #[error("there is no {what} {name:?} here; ask for the list to see what there is")]
    Unknown { what: &'static str, name: Arc<str> },
    #[error("there is no resource {uri:?} here")]
    NoResource { uri: Arc<str> },
    #[error("{method} needs the parameter {param}")]
    Missing { method: Arc<str>, param: &'static str },
    #[error("this is not a cursor that was given out here")]
    BadCursor,
    #[error(
        "{level} is no log level; there are debug, info, notice, warning, error, critical, alert, emergency"
    )]
    BadLevel { level: Json },
    #[error("there is no method {method:?} here")]
    NoMethod { method: Arc<str> },
}

// === impl Failure ===

impl Failure {
    /// The failure as the client is told it. An error of the gateway's own
    /// carries `data.gateway`, so that it cannot be taken for an upstream's.
    pub(crate) fn to_response(&self, id: &RequestId) -> Response {
        let (code, reason) = self.classify();
        let mut error = ErrorObject::new(code, self.to_string());
        let may_have_run = match self {
            Self::Call { source, .. } => Some(source.fate == Fate::MayHaveRun),
            Self::Acquire { .. } | Self::NotReady { .. } | Self::TooManySubscriptions { .. } => {
                Some(false)
            }
            Self::TimedOut { .. } => Some(true),
            _ => None,
        };
        if let Some(may_have_run) = may_have_run {
            let mut data = serde_json::json!({
                "gateway": "wharf",
                "upstream": self.upstream().map(UpstreamId::as_str),
                "reason": reason,
                "mayHaveRun": may_have_run,
            });
            if let Some(retry_after) = self.retry_after() {
                data["retryAfterMs"] = u64::try_from(retry_after.as_millis()).ok().into();
            }
            error = error.with_data(Json::from_value(&data).expect("it is JSON"));
        }
        if let Self::NoResource { uri } = self {
            let data = serde_json::json!({ "uri": **uri });
            error = error.with_data(Json::from_value(&data).expect("it is JSON"));
        }
        Response::failure(Some(id), &error)
    }

    const fn classify(&self) -> (i64, &'static str) {
        match self {
            Self::Acquire { source: AcquireError::Full { .. }, .. } => {
                (code::INTERNAL_ERROR, "full")
            }
            Self::Acquire { source: AcquireError::TimedOut { .. }, .. } | Self::NotReady { .. } => {
                (code::INTERNAL_ERROR, "no_session_in_time")
            }
            Self::TooManySubscriptions { .. } => (code::INTERNAL_ERROR, "too_many_subscriptions"),
            Self::Acquire { source: AcquireError::Open(_), .. } => {
                (code::INTERNAL_ERROR, "cannot_open_session")
            }
            Self::Acquire { source: AcquireError::BreakerOpen { .. }, .. } => {
                (code::INTERNAL_ERROR, "breaker_open")
            }
            Self::Acquire { source: AcquireError::Draining, .. } => {
                (code::INTERNAL_ERROR, "draining")
            }
            Self::Acquire { .. } => (code::INTERNAL_ERROR, "shutting_down"),
            Self::Call { source, .. } => match source.fate {
                Fate::NotSent => (code::INTERNAL_ERROR, "not_sent"),
                Fate::MayHaveRun => (code::INTERNAL_ERROR, "no_answer"),
            },
            Self::TimedOut { .. } => (code::INTERNAL_ERROR, "timeout"),
            Self::NoList { .. } => (code::INTERNAL_ERROR, "bad_answer"),
            Self::Unknown { .. }
            | Self::Missing { .. }
            | Self::BadCursor
            | Self::BadLevel { .. } => (code::INVALID_PARAMS, "bad_request"),
            Self::NoResource { .. } => (code::RESOURCE_NOT_FOUND, "bad_request"),
            Self::NoMethod { .. } => (code::METHOD_NOT_FOUND, "bad_request"),
        }
    }

    /// When it may be worth trying again, where that is known.
    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Acquire { source: AcquireError::BreakerOpen { retry_after, .. }, .. } => {
                Some(*retry_after)
            }
            _ => None,
        }
    }

    const fn upstream(&self) -> Option<&UpstreamId> {
        match self {
            Self::Acquire { upstream, .. }
            | Self::Call { upstream, .. }
            | Self::TimedOut { upstream, .. }
            | Self::NotReady { upstream, .. }
            | Self::TooManySubscriptions { upstream, .. }
            | Self::NoList { upstream, .. } => Some(upstream),
            _ => None,
        }
    }
}
