//! Which sessions a client may use, and what it sets up in those that it
//! shares with others.

use std::sync::Arc;

use wharf_pool::{Key, Lease, Scope, Session};
use wharf_proto::{Json, Request, Response, method};

use super::Downstream;
use crate::{
    ScopeSetting, berth::MOST_SUBSCRIPTIONS, commons::Commons, error::Failure, level::asked_for,
    upstream::Upstream, wire::WireLink,
};

// === impl Downstream ===

impl Downstream {
    /// Leases a session that this client may use.
    pub(crate) async fn lease(&self, upstream: &Upstream) -> Result<Lease<WireLink>, Failure> {
        if upstream.settings.scope == ScopeSetting::Call {
            return self.fleet.lease(upstream, &upstream.key_for(&self.identity)).await;
        }
        let key = self.key(upstream);
        let lease = self.fleet.lease(upstream, key).await?;
        if self.parts_from_sharers(upstream, key, &lease) {
            drop(lease);
            return self.fleet.lease(upstream, self.key(upstream)).await;
        }
        Ok(lease)
    }

    /// Whether a session that was had by `key` is none for this client: it was
    /// let share while the upstream kept no sessions, and now the upstream
    /// does. From now on the client has one of its own.
    fn parts_from_sharers(
        &self,
        upstream: &Upstream,
        key: &Key,
        session: &Session<WireLink>,
    ) -> bool {
        let is_parting = upstream.settings.scope == ScopeSetting::Client
            && *key.scope() == Scope::Shared
            && session.has_session();
        if is_parting {
            self.berth(upstream).part_from_sharers(|| upstream.key_alone(&self.identity));
        }
        is_parting
    }

    /// Leases a session that is there already, if there is one. The usual way,
    /// and so without a future.
    pub(crate) fn lease_at_once(
        &self,
        upstream: &Upstream,
        request: &Request,
    ) -> Option<Lease<WireLink>> {
        let berth = self.berth(upstream);
        let is_shared = berth.commons_of(upstream).is_some();
        if upstream.settings.scope == ScopeSetting::Call
            || !berth.is_in_use()
            || is_shared && sets_up(request.method())
        {
            return None;
        }
        let key = self.key(upstream);
        let lease = self.fleet.lease_at_once(upstream, key)?;
        (!self.parts_from_sharers(upstream, key, &lease)).then_some(lease)
    }

    /// Whether a call can be made on a leased session without more ado.
    pub(crate) fn is_settled(&self, upstream: &Upstream, lease: &Lease<WireLink>) -> bool {
        self.berth(upstream).is_settled(upstream, lease)
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
    async fn commons_for(&self, upstream: &Upstream, request: &Request) -> Option<&Arc<Commons>> {
        if !sets_up(request.method()) {
            return None;
        }
        if upstream.settings.scope == ScopeSetting::Client {
            self.common_session(upstream).await?.ok();
        }
        self.key(upstream);
        self.berth(upstream).commons_of(upstream)
    }

    /// The session that those listen to with whom the client shares sessions.
    pub(crate) async fn common_session(
        &self,
        upstream: &Upstream,
    ) -> Option<Result<Session<WireLink>, Failure>> {
        let key = self.key(upstream);
        let commons = self.berth(upstream).commons_of(upstream)?;
        let home = commons.home(&self.fleet, upstream).await;
        let is_parting =
            home.as_ref().is_ok_and(|home| self.parts_from_sharers(upstream, key, home));
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
