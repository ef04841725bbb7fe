//! Which sessions a client may use, and what it sets up in those that it
//! shares with others.

use std::sync::Arc;

use wharf_pool::{Lease, Scope, Session};
use wharf_proto::{Json, Request, Response, method};

use super::Downstream;
use crate::{
    ScopeSetting,
    berth::{MOST_SUBSCRIPTIONS, Terms},
    commons::Commons,
    error::Failure,
    level::asked_for,
    upstream::Upstream,
    wire::WireLink,
};

// === impl Downstream ===

impl Downstream {
    /// Leases a session that this client may use.
    pub(crate) async fn lease(&self, upstream: &Upstream) -> Result<Lease<WireLink>, Failure> {
        let terms = self.terms(upstream);
        if terms.edition.settings.scope == ScopeSetting::Call {
            let key = upstream.key_for(&terms.edition, &self.identity);
            return self.fleet.lease(upstream, &key).await;
        }
        let lease = self.fleet.lease(upstream, terms.spot.key()).await?;
        if self.parts_from_sharers(upstream, &terms, &lease) {
            drop(lease);
            return self.fleet.lease(upstream, &self.key(upstream)).await;
        }
        Ok(lease)
    }

    /// Whether a session that was had on these terms is none for this client:
    /// it was let share while the upstream kept no sessions, and now the
    /// upstream does. From now on the client has one of its own.
    fn parts_from_sharers(
        &self,
        upstream: &Upstream,
        terms: &Terms,
        session: &Session<WireLink>,
    ) -> bool {
        let is_parting = terms.edition.settings.scope == ScopeSetting::Client
            && *terms.spot.key().scope() == Scope::Shared
            && session.has_session();
        if is_parting {
            self.berth(upstream).part_from_sharers(upstream, &self.identity, &self.fleet.pool);
        }
        is_parting
    }

    /// Leases a session that is there already, if there is one. The usual way,
    /// and so without a future.
    pub(crate) fn lease_at_once(
        &self,
        upstream: &Upstream,
        terms: &Terms,
        request: &Request,
    ) -> Option<Lease<WireLink>> {
        if !self.berth(upstream).is_in_use() {
            return None;
        }
        let is_shared = terms.commons.is_some();
        if terms.edition.settings.scope == ScopeSetting::Call
            || is_shared && sets_up(request.method())
        {
            return None;
        }
        let lease = terms.spot.try_acquire()?;
        (!self.parts_from_sharers(upstream, terms, &lease)).then_some(lease)
    }

    /// Answers what sets something up in a session, where that is shared.
    pub(crate) async fn set_up_in_common(
        &self,
        upstream: &Upstream,
        request: &Request,
    ) -> Option<Result<Response, Failure>> {
        let commons = self.commons_for(upstream, request).await?;
        let (fleet, client) = (&self.fleet, self.client());
        let response = match request.method() {
            method::SET_LEVEL => {
                let level = match asked_for(request) {
                    Ok(level) => level,
                    Err(failure) => return Some(Err(failure)),
                };
                self.level.set(level);
                let set = commons.set_level(fleet, upstream, client, level).await;
                set.map(|()| Response::success(request.id(), &Json::empty_object()))
            }
            method::RESOURCES_SUBSCRIBE if self.berth(upstream).is_full_of_subscriptions() => {
                let upstream = upstream.id().clone();
                Err(Failure::TooManySubscriptions { upstream, limit: MOST_SUBSCRIPTIONS })
            }
            method::RESOURCES_SUBSCRIBE => {
                commons.subscribe(fleet, upstream, client, request).await
            }
            method::RESOURCES_UNSUBSCRIBE => {
                commons.unsubscribe(fleet, upstream, client, request).await
            }
            _ => return None,
        };
        Some(response)
    }

    /// What the client shares at an upstream, where a request sets something
    /// up in it.
    async fn commons_for(&self, upstream: &Upstream, request: &Request) -> Option<Arc<Commons>> {
        if !sets_up(request.method()) {
            return None;
        }
        if self.terms(upstream).edition.settings.scope == ScopeSetting::Client {
            self.common_session(upstream).await?.ok();
        }
        self.terms(upstream).commons.clone()
    }

    /// The session that those listen to with whom the client shares sessions.
    pub(crate) async fn common_session(
        &self,
        upstream: &Upstream,
    ) -> Option<Result<Session<WireLink>, Failure>> {
        let terms = self.terms(upstream);
        let home = terms.commons.as_ref()?.home(&self.fleet, upstream).await;
        let is_parting =
            home.as_ref().is_ok_and(|home| self.parts_from_sharers(upstream, &terms, home));
        (!is_parting).then_some(home)
    }
}

/// Whether a request sets up what sharers of a session have in common.
pub(crate) fn sets_up(method: &str) -> bool {
    matches!(
        method,
        method::SET_LEVEL | method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE
    )
}
