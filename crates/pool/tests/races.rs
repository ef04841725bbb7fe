//! The same rules on real threads, where nothing says who comes first.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Builder, time::Instant};
use wharf_pool::{CloseReason, Key, Limits};

use crate::support::{EMPTY, MockPool, Underway, books, client, identity, let_in, pool_with};

mod support;

/// Many callers of few keys and fewer sessions, some of whom give up, end
/// their session or retire their key. All the others are served long before
/// their deadline, and in the end the books balance.
#[test]
fn whoever_stays_in_line_is_served_and_nothing_is_left_behind() {
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_time().build();
    let runtime = runtime.expect("a runtime starts");
    runtime.block_on(async {
        let (pool, upstream) = pool_with(|settings| {
            settings.sessions = 3;
            settings.default = Limits { sessions_per_key: 2, ..Limits::default() };
        });
        let counting = let_in(upstream);
        let keys = Arc::new([client(1), client(2), identity("ann"), identity("bob")]);
        let callers = (0..8).map(|number| {
            let (pool, keys) = (pool.clone(), Arc::clone(&keys));
            Underway::start(async move { come_and_go(&pool, &*keys, number).await })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.outcome().await;
        }
        assert_eq!((books(&pool).leases, books(&pool).waiters), (0, 0));

        pool.shutdown(Instant::now()).await;
        assert_eq!(books(&pool), EMPTY);
        drop(pool);
        assert!(counting.outcome().await <= 3);
    });
}

async fn come_and_go(pool: &MockPool, keys: &[Key], number: usize) {
    for round in 0..2000 {
        let key = &keys[(number + round) % keys.len()];
        let deadline = Instant::now() + Duration::from_secs(20);
        let asking = pool.acquire(key, deadline);
        if (number + round).is_multiple_of(11) {
            // Gives up at some point on the way.
            let _ = tokio::time::timeout(Duration::from_micros(round as u64 % 50), asking).await;
            continue;
        }
        let lease = asking.await.unwrap_or_else(|error| {
            panic!("caller {number} was not served in round {round}: {error}; {pool:?}")
        });
        tokio::task::yield_now().await;
        match (number + round) % 13 {
            0 => lease.close(CloseReason::Retired),
            1 => pool.retire(key),
            _ => {}
        }
    }
}
