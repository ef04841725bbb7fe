//! A lease taken and given back, by one caller and by many at once who want the same session.
#![allow(missing_docs, reason = "the macros of criterion make functions without docs")]

use std::{sync::Arc, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::{runtime::Runtime, task::JoinSet, time::Instant};
use wharf_pool::{Fingerprint, Key, KeyParts, Pool, Profile, Scope, Settings};
use wharf_proto::{
    Json, Revision,
    mock::{self, MockConnect, MockUpstream},
};

type MockPool = Pool<MockConnect<Key>>;

/// How often each contender takes a lease.
const LEASES: u64 = 64;

fn key() -> Key {
    let profile = Profile {
        revision: Revision::LATEST,
        capabilities: Json::empty_object(),
        client_info: Json::empty_object(),
    };
    Key::new(KeyParts {
        upstream: "bench".into(),
        scope: Scope::Shared,
        credential: Fingerprint::NONE,
        profile: Arc::new(profile),
    })
}

/// Opens every session that the pool asks for, and keeps it open.
async fn welcome(mut upstream: MockUpstream) {
    let mut open = Vec::new();
    while let Some(opening) = upstream.opening().await {
        let mut peer = opening.accept();
        peer.shake_hands().await;
        open.push(peer);
    }
}

async fn contend(pool: &MockPool, key: &Key, contenders: usize) {
    let mut all = JoinSet::new();
    for _ in 0..contenders {
        let (pool, key) = (pool.clone(), key.clone());
        all.spawn(async move {
            for _ in 0..LEASES {
                let deadline = Instant::now() + Duration::from_secs(60);
                let lease = pool.acquire(&key, deadline).await.expect("there is a session");
                drop(std::hint::black_box(lease));
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.expect("a contender does not panic");
    }
}

fn acquire(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("there are threads");
    let mut group = criterion.benchmark_group("acquire and release");
    group.sample_size(20);
    for contenders in [1, 64, 1024] {
        group.throughput(Throughput::Elements(contenders as u64 * LEASES));
        group.bench_function(BenchmarkId::from_parameter(contenders), |bencher| {
            let mut settings = Settings::default();
            settings.default.waiters_per_key = 2048;
            let (connect, upstream) = mock::pair();
            let _inside = runtime.enter();
            let mut upstreams = JoinSet::new();
            upstreams.spawn(welcome(upstream));
            let (pool, key) = (Pool::new(connect, settings), key());
            bencher.to_async(&runtime).iter(|| contend(&pool, &key, contenders));
        });
    }
    group.finish();
}

criterion_group!(benches, acquire);
criterion_main!(benches);
