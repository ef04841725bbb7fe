//! How the set of sessions grows, as callers want and limits allow.

use std::sync::{Arc, atomic::Ordering};

use wharf_proto::transport::Connect;

use crate::{
    Key,
    bucket::Bucket,
    capacity::{Permit, Scarce},
    owner::Owner,
    pool::Inner,
    session::Order,
    upstream::Upstream,
};

// === impl Inner ===

impl<C: Connect<Target = Key>> Inner<C> {
    /// Opens as many sessions for a key as those in line want and the limits
    /// allow. Where a limit of other keys is in the way, an idle session of
    /// theirs is asked to make room, and the key waits in line for it. Says
    /// whether any is being opened now.
    pub(crate) fn grow(self: &Arc<Self>, bucket: &Arc<Bucket<C::Link>>) -> bool {
        let (key, upstream) = (bucket.key(), &bucket.upstream);
        if key.is_ahead() && !upstream.warm.is_wished(key, upstream.rules().limits.idle_timeout) {
            return false;
        }
        let mut has_grown = false;
        // What is opened ahead of demand is wanted still where the runtime has
        // gone and each owner is dropped as soon as it is spawned.
        let mut left =
            if key.is_ahead() { bucket.rules().limits.sessions_per_key } else { usize::MAX };
        while left > 0 && bucket.wants_session() {
            left -= 1;
            if self.give_warm(bucket) {
                continue;
            }
            // Asked first, so that nobody makes room for what is not tried.
            let attempt = match bucket.rules().breaker.attempt() {
                Ok(attempt) => attempt,
                Err(tripped) => {
                    bucket.refuse(&tripped.into());
                    break;
                }
            };
            let Some(permit) = self.permit(bucket) else { break };
            // A shutdown that sees the opening must also see its owner.
            let shift = upstream.shift();
            let _seen = shift.presence();
            // Somebody else may have begun to open it meanwhile.
            let Some(opening) = bucket.begin_opening(Some(attempt)) else { break };
            let owner =
                Owner { pool: Arc::clone(self), bucket: Arc::clone(bucket), shift: shift.clone() };
            shift.spawn(owner.run(opening, permit), &self.runtime);
            has_grown = true;
        }
        has_grown
    }

    fn permit(self: &Arc<Self>, bucket: &Arc<Bucket<C::Link>>) -> Option<Permit<C>> {
        if bucket.key().is_ahead() {
            // Nobody is waiting, so nobody is to make room.
            return self.capacity.spare_permit(self, bucket.key().upstream());
        }
        let permit = self.capacity.permit(self, bucket);
        permit.map_err(|scarce| self.make_room(bucket, scarce)).ok()
    }

    /// Gives a session that is kept warm to those in line, if there is one
    /// for them.
    fn give_warm(&self, bucket: &Arc<Bucket<C::Link>>) -> bool {
        if !bucket.keeps_warm() {
            return false;
        }
        let Some(warm) = self.registry.find(&bucket.key().ahead()) else { return false };
        while let Some(opening) = bucket.begin_opening(None) {
            let Some(session) = warm.give_away() else {
                opening.call_off();
                return false;
            };
            session.move_to(bucket);
            if opening.succeed(&session) {
                bucket.upstream.tally.warm_hits.fetch_add(1, Ordering::Relaxed);
                session.order(Order::Moved);
                return true;
            }
        }
        false
    }

    /// Somebody new asks for a session: the next one like it is to find one
    /// that is open.
    pub(crate) fn keep_warm_like(self: &Arc<Self>, bucket: &Bucket<C::Link>) {
        if !bucket.keeps_warm() {
            return;
        }
        if let Some(given_up) = bucket.upstream.warm.wish(bucket.key().ahead()) {
            self.retire(&given_up);
        }
        self.keep_warm(&bucket.upstream);
    }

    /// Opens those sessions that are to be kept warm and are not open.
    pub(crate) fn keep_warm(self: &Arc<Self>, upstream: &Upstream) {
        for key in upstream.warm.wished(upstream.rules().limits.idle_timeout) {
            let bucket = self.bucket(&key);
            // Asked once the bucket is in the registry, as for a lease.
            if self.refusal(upstream).is_none() {
                self.grow(&bucket);
            }
            self.registry.drop_if_empty(&bucket);
        }
    }

    /// The breaker of `failed` has opened: those in line at other keys behind
    /// it are told at once.
    pub(crate) fn refuse_behind(&self, failed: &Bucket<C::Link>) {
        let breaker = &failed.rules().breaker;
        let Err(tripped) = breaker.attempt() else { return };
        let refusal = tripped.into();
        for bucket in self.registry.all() {
            if Arc::ptr_eq(&bucket.rules().breaker, breaker) {
                bucket.refuse(&refusal);
            }
        }
    }

    /// Asks an idle session to make room for a starved key, if it is the
    /// key's turn to ask.
    fn make_room(&self, bucket: &Arc<Bucket<C::Link>>, scarce: Scarce) {
        let upstream = bucket.key().upstream();
        let is_here = |key: &Key| key.upstream() == upstream;
        let leaving = match scarce {
            Scarce::Everywhere => self.evict_one(|_| true),
            Scarce::AtThisUpstream => self.evict_one(is_here),
            Scarce::InTurn => None,
        };
        if let Some(upstream) = leaving {
            self.capacity.leaves(&upstream);
        }
    }

    /// Ends one idle session of a key that `fits`, and says to which upstream
    /// it was. One that is kept warm is the first to go: nothing is lost with
    /// it.
    fn evict_one(&self, fits: impl Fn(&Key) -> bool) -> Option<Arc<str>> {
        for upstream in self.upstreams.all() {
            for key in upstream.warm.wished(upstream.rules().limits.idle_timeout) {
                let warm = self.registry.find(&key).filter(|bucket| fits(bucket.key()));
                if warm.is_some_and(|bucket| bucket.evict_one()) {
                    return Some(Arc::clone(&upstream.id));
                }
            }
        }
        self.roll.evict_one(fits)
    }

    /// A session of `idle` has become so: it makes room for a starved key
    /// that has use for it.
    pub(crate) fn feed_from(self: &Arc<Self>, idle: &Bucket<C::Link>) {
        let upstream = idle.key().upstream();
        let Some(needy) = self.capacity.needy_for(upstream, &self.settings()) else {
            return;
        };
        if idle.evict_one() {
            self.capacity.leaves(upstream);
        } else {
            // Leased again meanwhile; perhaps another is idle.
            self.grow(&needy);
        }
    }

    /// A session has ended: lets the first key grow that there is room for
    /// now. One that ends is room for one.
    pub(crate) fn feed_starved(self: &Arc<Self>) {
        // Who is in here already does it for the others. Where the runtime
        // has gone, an owner is dropped as soon as it is spawned, and its
        // permit comes back here: it must not go deeper with each.
        if self.ended.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        loop {
            while let Some(bucket) = self.capacity.next_starved(&self.settings()) {
                if self.grow(&bucket) {
                    break;
                }
            }
            // What a session left room for and another key took it is to be
            // asked for again.
            for bucket in self.capacity.needy(&self.settings()) {
                self.grow(&bucket);
            }
            if self.ended.fetch_sub(1, Ordering::AcqRel) == 1 {
                return;
            }
        }
    }
}
