//! The task that owns a session for its whole life: handshake, attention,
//! goodbye. Nobody else opens, keeps or ends a session.

use std::sync::Arc;

use futures_channel::mpsc;
use tokio::{
    select,
    time::{Instant, sleep, timeout},
};
use wharf_proto::transport::{Connect, EndReason, Link};

use crate::{
    BreakerState, CloseReason, Key, OpenError, Session,
    bucket::{Bucket, Dates, Opening, jittered},
    capacity::Permit,
    pool::Inner,
    session::Handshake,
    shift::Shift,
};

mod attended;
mod handshake;

use attended::Attended;
use handshake::shake_hands;

/// The owner of one session, from before it is open until after it has ended.
pub(crate) struct Owner<C: Connect<Target = Key>> {
    pub(crate) pool: Arc<Inner<C>>,
    /// For which the session is opened.
    pub(crate) bucket: Arc<Bucket<C::Link>>,
    pub(crate) shift: Shift,
}

/// The session's life and its place in the bucket. Dropping it, be it by a
/// panic, ends the one and then the other.
struct Tenancy<'a, C: Connect<Target = Key>> {
    owner: &'a Owner<C>,
    session: Session<C::Link>,
}

// === impl Owner ===

impl<C: Connect<Target = Key>> Owner<C> {
    /// Lives the session's life. The permit is held to the very end, goodbye
    /// included: the upstream counts the session until then.
    ///
    /// What is over before the session is open, or begins after its end, is
    /// boxed: an idle session is to weigh what its own time takes, no more.
    pub(crate) async fn run(self, opening: Opening<C::Link>, permit: Permit<C>) {
        let begun = Instant::now();
        let mut connected = None;
        match Box::pin(self.open(&mut connected)).await {
            Ok(handshake) => {
                let connected = connected.expect("hands are shaken on a link");
                let number = self.bucket.upstream.tally.opened(begun.elapsed());
                let dates = Dates { dies: self.dies(number), passed: None };
                self.keep(opening, permit, dates, connected, handshake).await;
            }
            Err(error) => {
                let link = connected.map(|(link, _)| link);
                Box::pin(self.give_up(opening, permit, link, error)).await;
            }
        }
    }

    /// Tells those who wait that the session could not be opened, and takes
    /// leave of what is there of it.
    async fn give_up(
        &self,
        opening: Opening<C::Link>,
        permit: Permit<C>,
        link: Option<C::Link>,
        error: OpenError,
    ) {
        tracing::debug!(key = ?self.bucket.key(), %error, "a session could not be opened");
        if opening.fail(&error) {
            self.pool.refuse_behind(&self.bucket);
        }
        if let Some(link) = link {
            // The upstream may have opened it on its side.
            let _closing = self.bucket.upstream.tally.closing();
            self.say_goodbye(link.end_reason(), link.goodbye()).await;
        }
        drop(permit);
        if self.bucket.key().is_ahead() {
            self.try_again().await;
        } else if self.bucket.wants_session() {
            self.try_once_more().await;
        }
    }

    /// Some wait in line that the sessions in use may keep waiting for long:
    /// there is to be one for them as soon as the limits let one be tried.
    async fn try_once_more(&self) {
        select! {
            () = self.shift.closing.cancelled() => {}
            () = self.shift.stop.cancelled() => {}
            () = sleep(self.bucket.rules().breaker.pause()) => {
                self.pool.grow(&self.bucket);
            }
        }
    }

    /// Nobody waits for a session that is kept warm: so its owner sees to it
    /// that there is one, once it can be opened.
    async fn try_again(&self) {
        let upstream = &self.bucket.upstream;
        while let Some(retry) = upstream.warm.begin_retrying() {
            let pause = self.bucket.rules().breaker.pause();
            select! {
                () = self.shift.closing.cancelled() => return,
                () = self.shift.stop.cancelled() => return,
                () = sleep(pause) => {}
            }
            // Whoever fails at what is begun now may try again in its place.
            drop(retry);
            self.pool.keep_warm(upstream);
            let is_wished = !upstream.warm.wished(upstream.rules().limits.idle_timeout).is_empty();
            // Where attempts are let through, this one has no more to wait for.
            if !is_wished || self.bucket.rules().breaker.state() == BreakerState::Closed {
                return;
            }
        }
    }

    /// What it is told that ends before its time.
    fn stopped(&self) -> (CloseReason, OpenError) {
        if self.pool.is_shut() {
            (CloseReason::Shutdown, OpenError::Shutdown)
        } else {
            (CloseReason::Drained, OpenError::Draining)
        }
    }

    /// Connects and shakes hands, within the time there is for it. What is
    /// connected is put into `connected` at once, so that it can be taken
    /// leave of wherever this is dropped.
    async fn open(
        &self,
        connected: &mut Option<(C::Link, C::Feed)>,
    ) -> Result<Handshake, OpenError> {
        let limit = self.bucket.rules().limits.open_timeout;
        let open = async {
            let key = self.bucket.key();
            let made = self.pool.connect.connect(key).await.map_err(OpenError::Transport)?;
            let (link, feed) = connected.insert(made);
            let Handshake { revision, result } = shake_hands(link, feed, key).await?;
            Ok(Handshake { revision, result: self.bucket.upstream.greeting(&result) })
        };
        select! {
            biased;
            () = self.shift.stop.cancelled() => Err(self.stopped().1),
            opened = timeout(limit, open) => opened.unwrap_or(Err(OpenError::TimedOut { limit })),
        }
    }

    /// When the session that was opened as the `number`th will have reached
    /// its age.
    fn dies(&self, number: u64) -> Option<Instant> {
        let age = self.bucket.rules().limits.max_age.map(|age| jittered(age, number));
        age.and_then(|age| Instant::now().checked_add(age))
    }

    /// From the handshake to the goodbye. The order of ending: publish the
    /// reason, be leased no more, fail the calls, and only then take leave.
    async fn keep(
        &self,
        opening: Opening<C::Link>,
        permit: Permit<C>,
        dates: Dates,
        (link, feed): (C::Link, C::Feed),
        handshake: Handshake,
    ) {
        let (order, orders) = mpsc::unbounded();
        let home = Arc::clone(&self.bucket);
        let session = Session::new(home, link, handshake, order, permit.makes_room());
        let mut permit = Some(permit);
        let tenancy = Tenancy { owner: self, session: session.clone() };
        // Before anybody can lease it, and so before it can be idle.
        self.pool.roll.enter(session.clone());
        opening.succeed(&session);
        // Where a breaker let one attempt through, it now lets the others.
        self.pool.keep_warm(&self.bucket.upstream);

        let mut attended = Box::new(Attended::new(session, feed, orders, dates, &self.bucket));
        let reason = attended.until_end(self).await;
        tracing::debug!(key = ?attended.home().key(), %reason, "a session ends");
        if reason.is_death() {
            self.bucket.upstream.sound_alarm();
        }
        if matches!(reason, CloseReason::Link(EndReason::SessionGone)) {
            // The upstream counts it no more, so there is room for another.
            drop(permit.take());
            self.pool.grow(&attended.home());
            Box::pin(attended.let_calls_learn()).await;
        }
        // Publishing also wakes the calls in flight, which fail with it.
        tenancy.session.stop(reason.clone());
        let _closing = self.bucket.upstream.tally.closing();
        drop(tenancy);
        Box::pin(attended.take_leave(self)).await;
    }

    /// Says goodbye, but not to who does not know the session any more.
    async fn say_goodbye(&self, end: Option<EndReason>, goodbye: impl Future<Output = ()>) {
        if matches!(end, Some(EndReason::SessionGone)) {
            return;
        }
        if timeout(self.bucket.rules().limits.goodbye_timeout, goodbye).await.is_err() {
            tracing::debug!(key = ?self.bucket.key(), "an upstream did not take our leave in time");
        }
    }
}

impl<C: Connect<Target = Key>> Drop for Owner<C> {
    fn drop(&mut self) {
        // However it ended, a panic included, a key that only had this owner
        // is forgotten with it.
        self.pool.registry.drop_if_empty(&self.bucket);
    }
}

impl<C: Connect<Target = Key>> Drop for Tenancy<'_, C> {
    fn drop(&mut self) {
        self.session.stop(CloseReason::OwnerGone);
        let reason = self.session.close_reason().expect("it has just been published");
        self.owner.bucket.upstream.tally.closed(&reason);
        let (pool, home) = (&self.owner.pool, self.session.home());
        home.forget(&self.session);
        pool.roll.leave(&self.session);
        // Those in line may now have a session of their own.
        pool.grow(&home);
        pool.registry.drop_if_empty(&home);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, Instant, sleep};
    use wharf_proto::mock::{self, MockConnect, MockUpstream};

    use crate::{BreakerLimits, Key, Limits, Pool, Settings};

    const MINUTE: Duration = Duration::from_secs(60);

    /// A pool in which one session was to be kept warm for a client, and could
    /// not be opened.
    async fn in_vain() -> (Pool<MockConnect<Key>>, MockUpstream) {
        let breaker = BreakerLimits { failures: 1, ..BreakerLimits::default() };
        let limits = Limits { warm: 1, idle_timeout: MINUTE, breaker, ..Limits::default() };
        let (connect, mut upstream) = mock::pair();
        let pool = Pool::new(connect, Settings { default: limits, ..Settings::default() });
        let (key, deadline) = (Key::client(1), Instant::now() + MINUTE);
        let accepting = async {
            let peer = upstream.accept().await;
            upstream.opening().await.expect("one is to be kept").refuse();
            peer
        };
        let (lease, _peer) = tokio::join!(pool.acquire(&key, deadline), accepting);
        drop(lease.expect("there is a session"));
        (pool, upstream)
    }

    /// Whether an owner without a session goes on for the sake of others.
    fn is_tried_again(pool: &Pool<MockConnect<Key>>) -> bool {
        let upstream = pool.inner().upstreams.find("fast-time").expect("it is used");
        upstream.warm.begin_retrying().is_none()
    }

    #[tokio::test(start_paused = true)]
    async fn who_tries_again_is_done_once_there_is_one() {
        let (pool, mut upstream) = in_vain().await;
        sleep(Duration::from_millis(1)).await;
        assert!(is_tried_again(&pool));
        let _peer = upstream.accept().await;
        sleep(Duration::from_secs(2)).await;
        assert_eq!(pool.snapshot().upstreams[0].warm, 1);
        assert!(!is_tried_again(&pool));
    }

    #[tokio::test(start_paused = true)]
    async fn who_tries_again_gives_up_once_nobody_has_asked_for_long() {
        let (pool, mut upstream) = in_vain().await;
        let begun = Instant::now();
        while begun.elapsed() < MINUTE / 2 {
            upstream.opening().await.expect("it is tried again").refuse();
        }
        assert!(is_tried_again(&pool));
        let ending = async {
            while let Some(opening) = upstream.opening().await {
                opening.refuse()
            }
        };
        let _ = tokio::time::timeout(2 * MINUTE, ending).await;
        assert!(!is_tried_again(&pool));
    }
}
