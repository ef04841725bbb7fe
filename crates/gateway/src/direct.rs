//! `/servers/{id}/mcp`: one upstream as it is. A client cannot tell it from
//! the upstream, except by its being there more reliably.

use std::{fmt, sync::Arc};

use wharf_proto::{
    Json, Notification, Request, Response, method,
    server::{Backend, Caller, Opening},
};

use crate::{
    downstream::{Downstream, Endpoint},
    endpoint::Answering,
    fleet::Fleet,
    heard::Heard,
    relay::Relay,
    trace,
    upstream::Upstream,
};

/// The endpoint of one upstream.
pub(crate) struct Direct {
    fleet: Arc<Fleet>,
    upstream: Arc<Upstream>,
}

// === impl Direct ===

impl Direct {
    pub(crate) const fn new(fleet: Arc<Fleet>, upstream: Arc<Upstream>) -> Self {
        Self { fleet, upstream }
    }
}

impl Backend for Direct {
    type Session = Downstream;
    type Exchange = Answering;
    type Feed = Heard;

    async fn open(&self, hello: Request, _: Caller<'_>) -> Opening<Downstream> {
        let downstream = Downstream::new(&hello, &self.fleet, Endpoint::One);
        match downstream.lease(&self.upstream).await {
            Ok(lease) => {
                // What the client sets up from now on, it does in this one.
                downstream.board(&self.upstream, &lease).await;
                let response = Response::success(hello.id(), &lease.handshake().result);
                Opening::accepted(response, downstream)
            }
            Err(failure) => Opening::refused(failure.to_response(hello.id())),
        }
    }

    fn call(&self, session: &Arc<Downstream>, request: Request, caller: Caller<'_>) -> Answering {
        if request.method() == method::PING {
            return Answering::at_once(Response::success(request.id(), &Json::empty_object()));
        }
        let request = trace::joined(request, caller.headers);
        Answering::Relay(Relay::to(session, &self.upstream, request))
    }

    async fn notify(&self, session: &Arc<Downstream>, notification: Notification) {
        match notification.method() {
            // The pool has said it already.
            method::INITIALIZED => {}
            method::CANCELLED => {
                if let Some(id) = notification.cancelled_id() {
                    session.cancel(&id);
                }
            }
            method::PROGRESS => session.tell_progress(&notification).await,
            _ => session.tell(&self.upstream, notification).await,
        }
    }

    async fn respond(&self, session: &Arc<Downstream>, response: Response) {
        session.answer(response).await;
    }

    fn listen(&self, session: &Arc<Downstream>) -> Heard {
        Heard::new(&self.upstream, session)
    }

    async fn close(&self, session: &Arc<Downstream>) {
        session.leave();
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Direct({})", self.upstream.id())
    }
}
