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
    #[error(
        "upstream {upstream} has not given the list that says what {name:?} is short for; the request has not been sent"
    )]
    NotSpelledOut {
        upstream: UpstreamId,
        name: Arc<str>,
        #[source]
        source: Box<Self>,
    },
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
    /// The failure as the client is told it. Each carries `data.gateway`, so that
    /// it cannot be taken for an upstream's.
    pub(crate) fn to_response(&self, id: &RequestId) -> Response {
        let (code, reason) = self.classify();
        let mut data = serde_json::json!({
            "gateway": "wharf",
            "reason": reason,
            "mayHaveRun": self.may_have_run(),
        });
        if let Some(upstream) = self.upstream() {
            data["upstream"] = upstream.as_str().into();
        }
        if let Some(retry_after) = self.retry_after() {
            data["retryAfterMs"] = u64::try_from(retry_after.as_millis()).ok().into();
        }
        if let Self::NoResource { uri } = self {
            data["uri"] = (**uri).into();
        }
        let data = Json::from_value(&data).expect("it is JSON");
        Response::failure(Some(id), &ErrorObject::new(code, self.to_string()).with_data(data))
    }

    /// Whether an upstream may have done what was asked for.
    pub(crate) fn may_have_run(&self) -> bool {
        match self {
            Self::Call { source, .. } => source.fate == Fate::MayHaveRun,
            Self::TimedOut { .. } | Self::NoList { .. } => true,
            Self::Acquire { .. }
            | Self::NotReady { .. }
            | Self::TooManySubscriptions { .. }
            | Self::NotSpelledOut { .. }
            | Self::Unknown { .. }
            | Self::NoResource { .. }
            | Self::Missing { .. }
            | Self::BadCursor
            | Self::BadLevel { .. }
            | Self::NoMethod { .. } => false,
        }
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
            Self::NotSpelledOut { source, .. } => source.classify(),
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
            Self::NotSpelledOut { source, .. } => source.retry_after(),
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
            | Self::NoList { upstream, .. }
            | Self::NotSpelledOut { upstream, .. } => Some(upstream),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use wharf_proto::{Outcome, transport::Fault};

    use super::*;

    fn data_of(failure: &Failure) -> serde_json::Value {
        let response = failure.to_response(&RequestId::from(1));
        let Outcome::Error(error) = response.outcome() else { panic!("it is a failure") };
        let error: serde_json::Value = serde_json::from_str(error.as_str()).unwrap();
        error["data"].clone()
    }

    #[test]
    fn a_failure_says_that_it_is_the_gateways_and_whether_the_request_may_have_run() {
        let upstream = || "time".parse::<UpstreamId>().unwrap();
        let limit = Duration::from_secs(1);
        let call = |source| Failure::Call { upstream: upstream(), source };
        let no_list = || Failure::NoList { upstream: upstream(), method: "tools/list" };
        let source = AcquireError::Draining;
        for (failure, may_have_run) in [
            (call(CallError::may_have_run(Fault::NoAnswer)), true),
            (call(CallError::not_sent(Fault::NoAnswer)), false),
            (Failure::Acquire { upstream: upstream(), source }, false),
            (Failure::TimedOut { upstream: upstream(), limit }, true),
            (no_list(), true),
            (
                Failure::NotSpelledOut {
                    upstream: upstream(),
                    name: "x".into(),
                    source: Box::new(no_list()),
                },
                false,
            ),
            (Failure::NotReady { upstream: upstream(), limit }, false),
            (Failure::Unknown { what: "tool", name: "x".into() }, false),
            (Failure::NoResource { uri: "x:y".into() }, false),
            (Failure::Missing { method: "tools/call".into(), param: "name" }, false),
            (Failure::BadCursor, false),
            (Failure::NoMethod { method: "x".into() }, false),
        ] {
            let data = data_of(&failure);
            assert_eq!(data["gateway"], "wharf", "{failure}");
            assert_eq!(data["mayHaveRun"], may_have_run, "{failure}");
            assert!(data["reason"].is_string(), "{failure}");
            assert_eq!(data.get("upstream").is_some(), failure.upstream().is_some(), "{failure}");
        }
    }

    #[test]
    fn a_resource_that_is_not_there_is_named() {
        assert_eq!(data_of(&Failure::NoResource { uri: "x:y".into() })["uri"], "x:y");
    }
}
