//! `/mcp`: what all upstreams offer, at one endpoint.

use std::{fmt, sync::Arc};

use wharf_proto::{
    Json, Notification, Request, Response, method,
    server::{Backend, Caller, Opening, Silence},
};

mod lists;
mod routes;
mod welcome;

use crate::{
    catalogue::Kind, downstream::Downstream, endpoint::Answering, error::Failure, fleet::Fleet,
    relay::Relay,
};

/// The endpoint of all upstreams.
pub(crate) struct Aggregate {
    fleet: Arc<Fleet>,
}

// === impl Aggregate ===

impl Aggregate {
    pub(crate) const fn new(fleet: Arc<Fleet>) -> Self {
        Self { fleet }
    }
}

impl Backend for Aggregate {
    type Session = Downstream;
    type Exchange = Answering;
    type Feed = Silence;

    async fn open(&self, hello: Request, _: Caller<'_>) -> Opening<Downstream> {
        let downstream = Downstream::new(&hello, &self.fleet);
        let result = welcome::welcome(&self.fleet, downstream.revision()).await;
        Opening::accepted(Response::success(hello.id(), &result), downstream)
    }

    fn call(&self, session: &Arc<Downstream>, request: Request, _: Caller<'_>) -> Answering {
        let fleet = Arc::clone(&self.fleet);
        match request.method() {
            method::PING => {
                Answering::at_once(Response::success(request.id(), &Json::empty_object()))
            }
            method::TOOLS_CALL
            | method::PROMPTS_GET
            | method::RESOURCES_READ
            | method::COMPLETE => {
                let route = routes::route(fleet, request.clone());
                Answering::Relay(Relay::new(&self.fleet, session, request, route))
            }
            listed => match Kind::listed_by(listed) {
                Some(kind) => Answering::later(async move {
                    let page = lists::page(&fleet, kind, request.param("cursor")).await;
                    match page {
                        Ok(page) => Response::success(request.id(), &page),
                        Err(failure) => failure.to_response(request.id()),
                    }
                }),
                None => {
                    let failure = Failure::NoMethod { method: listed.into() };
                    Answering::at_once(failure.to_response(request.id()))
                }
            },
        }
    }

    async fn notify(&self, session: &Arc<Downstream>, notification: Notification) {
        if let Some(id) = notification.cancelled_id() {
            session.cancel(&id);
        }
    }

    async fn respond(&self, session: &Arc<Downstream>, response: Response) {
        session.answer(response).await;
    }

    fn listen(&self, _: &Arc<Downstream>) -> Silence {
        Silence
    }

    async fn close(&self, session: &Arc<Downstream>) {
        session.leave();
    }
}

impl fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aggregate")
    }
}
