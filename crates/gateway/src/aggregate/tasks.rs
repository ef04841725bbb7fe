//! The tasks of all upstreams (2025-11-25, tasks). A task keeps the id that
//! its upstream gave it: ids cannot be guessed, and so do not clash.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::timeout;
use wharf_proto::{Json, Request, RequestId, method, transport::Exchange as _};

use crate::{atlas::Lesson, downstream::Downstream, fleet::Fleet, upstream::Upstream};

/// How many pages of one upstream's tasks are read.
const MOST_PAGES: usize = 100;

/// The client's tasks at all upstreams that it has been to. One that cannot
/// be asked is left out.
pub(super) async fn list(fleet: &Arc<Fleet>, downstream: &Downstream) -> Json {
    let limit = fleet.settings.list_timeout;
    let visited = downstream.visited();
    let asked =
        visited.iter().map(async |upstream| timeout(limit, of(downstream, upstream)).await.ok()?);
    let tasks: Vec<Json> = join_all(asked).await.into_iter().flatten().flatten().collect();
    let tasks: Vec<_> = tasks.iter().map(Json::as_str).collect();
    Json::parse(format!(r#"{{"tasks":[{}]}}"#, tasks.join(","))).expect("its parts are JSON")
}

async fn of(downstream: &Downstream, upstream: &Arc<Upstream>) -> Option<Vec<Json>> {
    let lease = downstream.lease(upstream).await.ok()?;
    lease.handshake().capabilities().path(&["tasks", "list"])?;
    let (mut tasks, mut params) = (Vec::new(), None);
    for _ in 0..MOST_PAGES {
        let request = Request::new(&RequestId::from(0), method::TASKS_LIST, params.as_ref());
        let answer = lease.call(&request).answer().await.ok()?;
        downstream.note(Lesson::Anything, upstream, &request, &answer);
        tasks.extend(answer.result()?.field("tasks")?.items()?);
        let cursor = answer.result()?.field("nextCursor");
        let Some(cursor) = cursor.filter(|cursor| cursor.as_str() != "null") else { break };
        params = Some(Json::parse(format!(r#"{{"cursor":{cursor}}}"#)).expect("it is JSON"));
    }
    if !downstream.has_own_session(upstream) {
        // Of those that several have made it is shown the ones it can reach.
        tasks.retain(|task| is_known(downstream, upstream, task));
    }
    Some(tasks)
}

fn is_known(downstream: &Downstream, upstream: &Upstream, task: &Json) -> bool {
    let id = task.field("taskId").and_then(|id| id.to_text());
    id.is_some_and(|id| downstream.atlas().task(&id) == Some(upstream.number))
}
