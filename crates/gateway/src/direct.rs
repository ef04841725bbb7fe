//! `/servers/{id}/mcp`: one upstream as it is. A client cannot tell it from
//! the upstream, except by its being there more reliably.

use std::{fmt, sync::Arc};

use wharf_pool::Scope;
use wharf_proto::{
    Json, Notification, Request, Response, method,
    server::{Backend, Caller, Opening},
};

use crate::{
    downstream::Downstream, endpoint::Answering, fleet::Fleet, heard::Heard, relay::Relay,
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

    /// Notifications that say something of the client's side of the session
    /// go on to the session, where it is the client's own.
    async fn pass_on(&self, downstream: &Downstream, notification: Notification) {
        let key = downstream.key(&self.upstream);
        if !matches!(key.scope(), Scope::Client(_)) {
            return;
        }
        let told = match self.fleet.lease(&self.upstream, key).await {
            Ok(lease) => lease.notify(notification).await.map_err(|error| error.to_string()),
            Err(failure) => Err(failure.to_string()),
        };
        if let Err(error) = told {
            tracing::debug!(upstream = %self.upstream.id(), error, "a notification got lost");
        }
    }
}

impl Backend for Direct {
    type Session = Downstream;
    type Exchange = Answering;
    type Feed = Heard;

    async fn open(&self, hello: Request, _: Caller<'_>) -> Opening<Downstream> {
        let downstream = Downstream::new(&hello, &self.fleet);
        let leased = self.fleet.lease(&self.upstream, downstream.key(&self.upstream)).await;
        match leased {
            Ok(lease) => {
                // What the client sets up from now on, it does in this one.
                downstream.berth(&self.upstream).board(&self.upstream, &lease).await;
                let response = Response::success(hello.id(), &lease.handshake().result);
                Opening::accepted(response, downstream)
            }
            Err(failure) => Opening::refused(failure.to_response(hello.id())),
        }
    }

    fn call(&self, session: &Arc<Downstream>, request: Request, _: Caller<'_>) -> Answering {
        if request.method() == method::PING {
            return Answering::at_once(Response::success(request.id(), &Json::empty_object()));
        }
        Answering::Relay(Relay::to(&self.fleet, session, &self.upstream, request))
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
            _ => self.pass_on(session, notification).await,
        }
    }

    async fn respond(&self, session: &Arc<Downstream>, response: Response) {
        session.answer(response).await;
    }

    fn listen(&self, session: &Arc<Downstream>) -> Heard {
        Heard::new(&self.fleet, &self.upstream, session)
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
