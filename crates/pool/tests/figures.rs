//! What the pool says of itself.

use wharf_pool::{CloseReason, LatencySnapshot, Limits, UpstreamSnapshot};
use wharf_proto::transport::Connect;

use crate::support::{
    ask, client, ends,
    manners::{self, Manners},
    open, pass, pool, secs, settle,
};

mod support;

/// The figures of the one upstream that has been used.
fn figures<C: Connect<Target = wharf_pool::Key>>(pool: &wharf_pool::Pool<C>) -> UpstreamSnapshot {
    let [figures] = pool.snapshot().upstreams.try_into().expect("one has been used");
    figures
}

/// The range that a duration falls into.
fn range_of(took: std::time::Duration) -> usize {
    LatencySnapshot::BOUNDS.partition_point(|bound| *bound < took)
}

#[tokio::test(start_paused = true)]
async fn who_is_served_at_once_has_waited_for_the_shortest_time_there_is() {
    let (pool, mut upstream) = pool(|_| {});
    let asking = ask(&pool, &client(1));
    let opening = upstream.opening().await.expect("it is tried");
    pass(secs(3)).await;
    let mut peer = opening.accept();
    peer.shake_hands().await;
    drop(asking.lease().await);
    for _ in 0..2 {
        drop(pool.try_acquire(&client(1)).expect("it is idle"));
    }

    let figures = figures(&pool);
    assert_eq!((figures.hits, figures.misses), (2, 1));
    let waited = figures.acquire_latency;
    assert_eq!((waited.counts[0], waited.counts[range_of(secs(3))], waited.count()), (2, 1, 3));
    let took = figures.open_latency;
    assert_eq!((took.counts[range_of(secs(3))], took.count()), (1, 1));
    for sum in [waited.sum, took.sum] {
        assert!(sum >= secs(3) && sum < secs(4), "{sum:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_has_ended_is_counted_until_it_has_said_goodbye() {
    let (pool, mut upstream, _) = manners::mannered(Manners::HangsAtGoodbye, |_| {});
    let (lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
    lease.close(CloseReason::Retired);
    settle().await;
    assert_eq!((figures(&pool).closing, ends(&pool, "retired")), (1, 1));
    assert_eq!(figures(&pool).ends, [("retired", 1)]);
    pass(Limits::default().goodbye_timeout).await;
    assert_eq!(figures(&pool).closing, 0);
}
