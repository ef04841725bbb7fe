//! The level of log lines on `/mcp`: one for all upstreams.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::timeout;
use wharf_proto::{Json, Request, transport::Exchange as _};

use crate::{
    downstream::Downstream, error::Failure, fleet::Fleet, level::asked_for, upstream::Upstream,
};

/// Sets a client's level, at every upstream that writes a log. One that cannot
/// be told now is told before the client's next call to it.
pub(super) async fn set(
    fleet: &Arc<Fleet>,
    downstream: &Downstream,
    request: &Request,
) -> Result<Json, Failure> {
    downstream.level().set(asked_for(request)?);
    let roster = fleet.upstreams.roster();
    let told = roster.all().iter().map(|upstream| tell(fleet, downstream, upstream, request));
    join_all(told).await;
    Ok(Json::empty_object())
}

async fn tell(fleet: &Fleet, downstream: &Downstream, upstream: &Arc<Upstream>, request: &Request) {
    let limit = fleet.settings.list_timeout;
    if let Ok(Ok(handshake)) = timeout(limit, fleet.handshake(upstream)).await
        && !handshake.offers("logging")
    {
        return;
    }
    let told = timeout(limit, async {
        if let Some(set) = downstream.set_up_in_common(upstream, request).await {
            downstream.occupy(upstream);
            return set.map(drop);
        }
        let lease = downstream.lease(upstream).await?;
        downstream.come_along(upstream, &lease).await;
        downstream.occupy(upstream);
        let answer = lease.call(request).answer().await;
        let failed = |source| Failure::Call { upstream: upstream.id().clone(), source };
        answer.map(drop).map_err(failed)
    });
    match told.await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => tracing::debug!(%failure, "an upstream was not told a log level"),
        Err(_) => {
            tracing::debug!(upstream = %upstream.id(), "an upstream was not told a log level in time")
        }
    }
    downstream.berth(upstream).keep_level(request.clone());
}
