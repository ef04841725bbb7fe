//! A reverse proxy that does nothing but pass HTTP on: what hyper costs, and so the measure for what Wharf adds.

use std::{convert::Infallible, env, net::SocketAddr};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    http::uri::{Authority, Scheme},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

type Body = BoxBody<Bytes, hyper::Error>;

/// Passes requests on until it is told to end: `bare-proxy LISTEN UPSTREAM`.
fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let mut address = || -> Result<SocketAddr> {
        let arg = args.next().context("usage: bare-proxy LISTEN UPSTREAM")?;
        arg.parse().with_context(|| format!("{arg} is no address"))
    };
    let (listen, upstream) = (address()?, address()?);
    let runtime = tokio::runtime::Runtime::new().context("cannot set up the runtime")?;
    runtime.block_on(async {
        let mut end = signal(SignalKind::terminate()).context("cannot hear of signals")?;
        tokio::select! {
            served = serve(listen, upstream) => served,
            // What it has counted of itself is written when it ends by itself.
            _ = end.recv() => Ok(()),
        }
    })
}

async fn serve(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen at {listen}"))?;
    let upstream: Authority = upstream.to_string().parse().context("it is an address")?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build::<_, Incoming>(connector);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept a connection")?;
        stream.set_nodelay(true).context("a connection has no options")?;
        let (client, upstream) = (client.clone(), upstream.clone());
        let service = service_fn(move |request| {
            let (client, upstream) = (client.clone(), upstream.clone());
            async move { Ok::<_, Infallible>(pass_on(&client, upstream, request).await) }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

async fn pass_on(
    client: &Client<HttpConnector, Incoming>,
    upstream: Authority,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(upstream);
    *request.uri_mut() = Uri::from_parts(parts).expect("it has a scheme, an authority and a path");
    match client.request(request).await {
        Ok(response) => response.map(BodyExt::boxed),
        Err(_) => {
            let empty = Empty::new().map_err(|never| match never {});
            let mut response = Response::new(empty.boxed());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}
