//! One connection: its requests, one after the other.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpStream;

use super::{
    Arrival, Fault, MCP, MESSAGES, SESSION_PARAMETER, SSE, Status,
    line::{Line, Over},
    request::Request,
    session::Session,
    shared::Shared,
    sse, streamable,
    visit::Visit,
};

/// Serves a connection until it is closed.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let connected = shared.record.connected();
    let mut line = Line::new(stream);
    // Which side closes it is all that an error says.
    let _ = converse(&shared, &mut line, connected.number()).await;
}

async fn converse(shared: &Arc<Shared>, line: &mut Line, connection: u64) -> Result<(), Over> {
    match shared.script.fault_of_connection() {
        Fault::Hang => {
            line.closed().await;
            return Err(Over::There);
        }
        Fault::Close => return Err(Over::Here),
        Fault::ResetBeforeHeaders => return Err(line.reset()),
        _ => {}
    }
    loop {
        let request = line.request().await?;
        let keeps_alive = request.keeps_alive;
        let visit = enter(shared, request, connection);
        let number = visit.number;
        let answered = answer(visit, line).await;
        if answered == Err(Over::There) {
            shared.record.abandoned(number);
        }
        answered?;
        if !keeps_alive {
            return Ok(());
        }
    }
}

/// Enters a request into the record and looks up what goes wrong with it.
fn enter(shared: &Arc<Shared>, request: Request, connection: u64) -> Visit {
    let message = serde_json::from_slice::<Value>(&request.body).ok();
    let message = message.filter(Value::is_object).map(Arc::new);
    let session = session_of(shared, &request);
    let session_number = session.as_ref().map(|session| session.number);
    let arrival = Arrival::new(connection, &request, message.clone(), session_number);
    let fault = shared.script.fault_of(&arrival);
    let number = shared.record.arrived(arrival.with_fault(fault.name()));
    Visit { shared: Arc::clone(shared), number, request, message, session, fault }
}

fn session_of(shared: &Shared, request: &Request) -> Option<Arc<Session>> {
    let id = match &*request.path {
        MCP => request.headers.get("mcp-session-id")?.to_str().ok()?,
        MESSAGES => request.query.as_deref()?.strip_prefix(SESSION_PARAMETER)?,
        _ => return None,
    };
    shared.sessions.find(id)
}

async fn answer(visit: Visit, line: &mut Line) -> Result<(), Over> {
    if visit.met_fault(line).await? {
        return Ok(());
    }
    match (&visit.request.method, &*visit.request.path) {
        (&Method::POST, MCP) => streamable::post(&visit, line).await,
        (&Method::GET, MCP) => streamable::listen(&visit, line).await,
        (&Method::DELETE, MCP) => streamable::delete(&visit, line).await,
        (&Method::GET, SSE) => sse::open(&visit, line).await,
        (&Method::POST, MESSAGES) => sse::post(&visit, line).await,
        (_, MCP | SSE | MESSAGES) => {
            let status = StatusCode::METHOD_NOT_ALLOWED.as_u16();
            visit.reply(line, &Status::new(status)).await
        }
        _ => visit.reply(line, &Status::new(404)).await,
    }
}
