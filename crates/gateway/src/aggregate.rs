//! `/mcp`: what all upstreams offer, at one endpoint.

use std::{fmt, sync::Arc};

use wharf_proto::{
    Json, Notification, Request, Response, method,
    server::{Backend, Caller, Opening},
};

mod cursor;
mod feed;
mod level;
mod lists;
mod routes;
mod tasks;
mod welcome;

pub(crate) use feed::Merged;

use crate::{
    bulletin::Reader,
    catalogue::Kind,
    downstream::{Downstream, Endpoint},
    endpoint::Answering,
    error::Failure,
    fleet::Fleet,
    lookout::{Lookouts, Watch},
    relay::Relay,
    trace,
};
use welcome::Offer;

/// The endpoint of all upstreams.
pub(crate) struct Aggregate {
    fleet: Arc<Fleet>,
    lookouts: Lookouts,
}

/// One client of it.
pub(crate) struct Guest {
    downstream: Arc<Downstream>,
    /// What the client was told that there is.
    offer: Offer,
    /// What is announced from the client's first moment on.
    bulletin: Reader,
    _watch: Arc<Watch>,
}

// === impl Aggregate ===

impl Aggregate {
    pub(crate) fn new(fleet: Arc<Fleet>) -> Self {
        Self { lookouts: Lookouts::new(Arc::clone(&fleet)), fleet }
    }

    /// Ends what it does besides answering.
    pub(crate) async fn stop(&self) {
        self.lookouts.stop().await;
    }

    fn carry(&self, guest: &Guest, request: Request, caller: Caller<'_>) -> Answering {
        let request = trace::joined(request, caller.headers);
        let (fleet, downstream) = (&self.fleet, &guest.downstream);
        let route = routes::route(Arc::clone(fleet), Arc::clone(downstream), request.clone());
        Answering::Relay(Relay::new(downstream, request, route))
    }
}

impl Backend for Aggregate {
    type Session = Guest;
    type Exchange = Answering;
    type Feed = Merged;

    async fn open(&self, hello: Request, _: Caller<'_>) -> Opening<Guest> {
        let downstream = Arc::new(Downstream::new(&hello, &self.fleet, Endpoint::All));
        let bulletin = self.lookouts.reader();
        let (result, offer) = welcome::welcome(&self.fleet, downstream.revision()).await;
        // Now the upstreams have a session with Wharf that can be listened to.
        let watch = self.lookouts.watch();
        let response = Response::success(hello.id(), &result);
        Opening::accepted(response, Guest { downstream, offer, bulletin, _watch: watch })
    }

    fn call(&self, guest: &Arc<Guest>, request: Request, caller: Caller<'_>) -> Answering {
        let (fleet, downstream) = (Arc::clone(&self.fleet), Arc::clone(&guest.downstream));
        let unknown = |method: &str| {
            let failure = Failure::NoMethod { method: method.into() };
            Answering::at_once(failure.to_response(request.id()))
        };
        match request.method() {
            uncovered if !guest.offer.covers(uncovered) => unknown(uncovered),
            method::PING => {
                Answering::at_once(Response::success(request.id(), &Json::empty_object()))
            }
            method::TOOLS_CALL
            | method::PROMPTS_GET
            | method::RESOURCES_READ
            | method::RESOURCES_SUBSCRIBE
            | method::RESOURCES_UNSUBSCRIBE
            | method::COMPLETE
            | method::TASKS_GET
            | method::TASKS_RESULT
            | method::TASKS_CANCEL => self.carry(guest, request, caller),
            method::TASKS_LIST => {
                answer(&request, async move { Ok(tasks::list(&fleet, &downstream).await) })
            }
            method::SET_LEVEL => {
                let asked = request.clone();
                answer(&request, async move { level::set(&fleet, &downstream, &asked).await })
            }
            listed => match Kind::listed_by(listed) {
                Some(kind) => {
                    let cursor = request.param("cursor");
                    answer(&request, async move { lists::page(&fleet, kind, cursor).await })
                }
                None => unknown(listed),
            },
        }
    }

    async fn notify(&self, guest: &Arc<Guest>, notification: Notification) {
        let downstream = &guest.downstream;
        match notification.method() {
            method::CANCELLED => {
                if let Some(id) = notification.cancelled_id() {
                    downstream.cancel(&id);
                }
            }
            method::PROGRESS => downstream.tell_progress(&notification).await,
            method::ROOTS_LIST_CHANGED => {
                let visited = downstream.visited();
                let told =
                    visited.iter().map(|upstream| downstream.tell(upstream, notification.clone()));
                futures_util::future::join_all(told).await;
            }
            // Of the others nobody can say which upstream they are for.
            _ => {}
        }
    }

    async fn respond(&self, guest: &Arc<Guest>, response: Response) {
        guest.downstream.answer(response).await;
    }

    fn listen(&self, guest: &Arc<Guest>) -> Merged {
        Merged::new(&guest.downstream, guest.bulletin.clone(), guest.offer.clone())
    }

    async fn close(&self, guest: &Arc<Guest>) {
        guest.downstream.leave();
    }
}

impl fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aggregate")
    }
}

/// Answers with what comes of it.
fn answer(
    request: &Request,
    outcome: impl Future<Output = Result<Json, Failure>> + Send + 'static,
) -> Answering {
    let id = request.id().clone();
    Answering::later(async move {
        match outcome.await {
            Ok(result) => Response::success(&id, &result),
            Err(failure) => failure.to_response(&id),
        }
    })
}
