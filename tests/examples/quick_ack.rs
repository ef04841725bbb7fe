//! What it is worth to acknowledge at once: calls to an upstream that leaves
//! Nagle's algorithm on and answers with event streams, with and without.
//!
//! ```sh
//! cargo run --release -p wharf-tests --example quick_ack
//! ```

#![expect(clippy::print_stdout, reason = "it says what it has measured")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on says where")]

use std::time::Duration;

use tokio::time::Instant;
use wharf_http::{ClientSettings, Endpoint, HttpClient, Target};
use wharf_proto::{
    Json, Notification, Request, RequestId,
    transport::{Exchange as _, Link as _},
};
use wharf_streamable_http::{client, server::Answers};
use wharf_testkit::{FastTest, Upstream, UpstreamSettings};

const CALLS: u64 = 100;

#[tokio::main]
async fn main() {
    for answers in [Answers::EventStream, Answers::Json] {
        let settings = UpstreamSettings { answers, nagle: true, ..UpstreamSettings::default() };
        let upstream = Upstream::start(FastTest::new(), settings).await.unwrap();
        let without = per_call(&upstream.url(), false).await;
        let with = per_call(&upstream.url(), true).await;
        let ratio = without.as_secs_f64() / with.as_secs_f64();
        println!("{answers:?}: {without:?} a call without, {with:?} with: {ratio:.1} times");
    }
}

async fn per_call(url: &str, quick_ack: bool) -> Duration {
    let mut settings = ClientSettings::default();
    settings.quick_ack = quick_ack;
    let http = HttpClient::new(&settings).unwrap();
    let target = Target::new(Endpoint::parse(url).unwrap());
    let (link, _feed) = client::open(http, target, client::ClientSettings::default());
    let hello = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"m","version":"1"}}"#;
    let answer = call(&link, 0, "initialize", hello).await;
    link.agree(answer);
    link.notify(Notification::new("notifications/initialized", None)).await.unwrap();
    let began = Instant::now();
    for id in 1..=CALLS {
        call(&link, id, "tools/list", "{}").await;
    }
    began.elapsed() / u32::try_from(CALLS).unwrap()
}

/// Makes a call; the latest revision, or the one that is agreed on.
async fn call(
    link: &client::HttpLink,
    id: u64,
    method: &str,
    params: &str,
) -> wharf_proto::Revision {
    let params = Json::parse(params.to_owned()).unwrap();
    let request = Request::new(&RequestId::from(id), method, Some(&params));
    let answer = link.call(request).answer().await.unwrap();
    answer.agreed_revision().unwrap_or(wharf_proto::Revision::LATEST)
}
