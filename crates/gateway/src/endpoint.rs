//! What the two kinds of endpoint have in common.

use std::task::{Context, Poll};

use wharf_proto::{
    Message, Response,
    server::{Refusal, Reply},
    transport::Exchange,
};

use crate::relay::Relay;

/// A call of a client's: answered here, or carried to an upstream.
#[derive(Debug)]
pub(crate) enum Answering {
    /// Answered here. Boxed, so that the others are small.
    Here(Box<Reply>),
    /// Carried to an upstream.
    Relay(Box<Relay>),
}

// === impl Answering ===

impl Answering {
    pub(crate) fn at_once(response: Response) -> Self {
        Self::Here(Box::new(Reply::ready(response)))
    }

    pub(crate) fn later(response: impl Future<Output = Response> + Send + 'static) -> Self {
        Self::Here(Box::new(Reply::later(response)))
    }
}

impl Exchange for Answering {
    type Error = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        match self {
            Self::Here(reply) => reply.poll_next(cx),
            Self::Relay(relay) => relay.poll_next(cx),
        }
    }

    fn survives_disconnect(&self) -> bool {
        match self {
            // What it would bring is known here already, or can be asked again.
            Self::Here(_) => false,
            Self::Relay(relay) => relay.survives_disconnect(),
        }
    }
}
