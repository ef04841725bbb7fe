//! Idle sessions that do not work any more, and how it is found out.

use tokio::time::{Instant, timeout};
use wharf_proto::mock::MockPeer;

use super::super::{
    Hold as _, Host, Kind, Specimen as _, Stage, Underway, Who, pass, secs, served,
};

/// A session of a pool of one that nobody has used for longer than it is
/// trusted; its upstream takes whatever it is asked and says nothing.
async fn hung_while_idle<K: Kind>(probe_timeout: u64) -> (Stage<K>, Underway<()>) {
    let mut stage = Stage::<K>::new(|bounds| {
        bounds.sessions_per_key = 1;
        bounds.probe_after = secs(60);
        bounds.probe_timeout = secs(probe_timeout);
    });
    let mut opener = stage.caller(&Who::of("ann", 1));
    let (hold, peer) = stage.open(&mut opener).await;
    hold.give_back(true).await;
    let hung = Underway::start(async move {
        let _opener = opener;
        hear_and_say_nothing(peer).await;
    });
    pass(secs(61)).await;
    (stage, hung)
}

async fn hear_and_say_nothing(mut peer: MockPeer) {
    let mut heard = Vec::new();
    while let Some(said) = peer.hear().await {
        heard.push(said);
    }
}

pub(super) async fn r5_an_upstream_that_hangs_is_not_taken_to_work<K: Kind>() {
    let (stage, _hung) = hung_while_idle::<K>(5).await;
    let host = Host::quick(stage.upstream);
    served(&mut stage.pool.caller(&Who::of("ann", 2)), "next").await;
    assert_eq!((host.opened(), host.calls()), (1, 1), "by another session");
}

pub(super) async fn b1_a_probe_has_the_time_that_is_configured<K: Kind>() {
    let (stage, _hung) = hung_while_idle::<K>(3).await;
    let _host = Host::quick(stage.upstream);
    let before = Instant::now();
    let mut next = stage.pool.caller(&Who::of("ann", 2));
    let served = timeout(secs(30), served(&mut next, "next")).await;
    served.expect("the next caller is not held up for longer");
    assert!(before.elapsed() <= secs(3), "{:?}", before.elapsed());
}

pub(super) async fn r9_a_restart_is_found_out_once_for_all_idle_sessions<K: Kind>() {
    let Stage { pool, upstream, .. } = Stage::<K>::new(|_| {});
    let host = Host::answering_after(secs(1), upstream);
    let mut clients: Vec<_> = (0..8).map(|n| pool.caller(&Who::of("ann", n))).collect();
    // At once, so that eight sessions are open.
    let warm = clients.iter_mut().map(|client| served(client, "warm"));
    futures_util::future::join_all(warm).await;
    assert_eq!(host.sessions(), 8);
    host.restart();
    for (round, client) in clients.iter_mut().enumerate() {
        served(client, &format!("call {round}")).await;
    }
}
