//! Clients that do nothing but listen, while sessions come and go.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use wharf_gateway::{OnLost, ScopeSetting, Transport as Spoken, UpstreamSettings};
use wharf_proto::{Json, Notification, method};
use wharf_testkit::Upstream;
use wharf_tests::{Puppet, PuppetSession, Reply, Strings, Wharf, Wire, soon, upstream};

const OFFER: &str = r#"{"tools":{},"resources":{"subscribe":true}}"#;
const URI: &str = r#"{"uri":"x://x"}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"p__t"}}"#;

async fn stage(
    spoken: Spoken,
    change: impl FnOnce(&mut UpstreamSettings),
) -> (Upstream<Puppet>, Strings, Wharf) {
    let (puppet, strings) = Puppet::offering(OFFER, Default::default()).await;
    let url = if spoken == Spoken::Sse { puppet.sse_url() } else { puppet.url() };
    let mut settings = upstream("p", &url);
    settings.transport = spoken;
    change(&mut settings);
    let wharf = Wharf::in_front_of([settings]).await;
    (puppet, strings, wharf)
}

/// Says that the resource has changed until a client hears of it.
async fn hears(stream: &mut Reply, session: &PuppetSession) -> Value {
    let updated =
        Notification::new(method::RESOURCES_UPDATED, Some(&Json::parse(URI.to_owned()).unwrap()));
    soon("it is heard", async {
        loop {
            session.say(updated.clone());
            tokio::select! {
                heard = stream.value() => return heard,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn the_subscriptions_of_who_listens_outlive_a_restart_without_a_call() {
    let (mut puppet, mut strings, wharf) = stage(Spoken::Sse, |_| {}).await;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    let first = strings.session().await;
    let asked = wire.ask(method::RESOURCES_SUBSCRIBE, URI);
    tokio::join!(asked, strings.serve(method::RESOURCES_SUBSCRIBE, "{}"));
    let mut stream = wire.listen().await;
    hears(&mut stream, &first).await;
    puppet.restart().await.unwrap();
    // Nobody calls.
    let asked = strings.serve(method::RESOURCES_SUBSCRIBE, "{}").await;
    assert_eq!(asked.params().unwrap().as_str(), URI);
    let second = strings.session().await;
    assert_eq!(hears(&mut stream, &second).await["params"], json!({"uri": "x://x"}));
    // What else was kept in the session is lost, and the next call says so.
    let called = wire.ask(method::TOOLS_CALL, r#"{"name":"t"}"#);
    let (called, _) = tokio::join!(called, strings.serve(method::TOOLS_CALL, "{}"));
    assert_eq!(called["result"]["_meta"]["wharf/sessionReplaced"], true, "{called}");
}

#[tokio::test]
async fn who_only_listens_is_told_that_its_session_is_lost_where_it_is_to_be_told() {
    for path in ["/servers/p/mcp", "/mcp"] {
        let (mut puppet, mut strings, wharf) =
            stage(Spoken::Sse, |settings| settings.on_lost = OnLost::Tell).await;
        let wire = Wire::connect(&wharf.url(path), r#"{"roots":{}}"#).await;
        tokio::join!(wire.post(CALL), strings.serve(method::TOOLS_CALL, "{}"));
        let session = strings.session_declaring(r#"{"roots":{}}"#).await;
        let mut stream = wire.listen().await;
        hears(&mut stream, &session).await;
        puppet.restart().await.unwrap();
        while stream.next().await.is_some() {}
        assert_eq!(wire.post(CALL).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn who_listens_goes_along_from_an_old_session_to_the_next() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse] {
        let (_puppet, mut strings, wharf) =
            stage(spoken, |settings| settings.limits.max_age = Some(Duration::from_secs(2))).await;
        let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
        let mut stream = wire.listen().await;
        let first = strings.session().await;
        hears(&mut stream, &first).await;
        let second = strings.session().await;
        hears(&mut stream, &second).await;
    }
}

#[tokio::test]
async fn who_listens_to_a_shared_session_hears_the_next_once_it_was_idle() {
    let (_puppet, mut strings, wharf) = stage(Spoken::StreamableHttp, |settings| {
        settings.scope = ScopeSetting::Shared;
        settings.limits.idle_timeout = Duration::from_secs(1);
    })
    .await;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    let asked = wire.ask(method::RESOURCES_SUBSCRIBE, URI);
    tokio::join!(asked, strings.serve(method::RESOURCES_SUBSCRIBE, "{}"));
    let mut stream = wire.listen().await;
    let first = strings.session().await;
    hears(&mut stream, &first).await;
    // Each that is idle is followed by one that is set up alike.
    for _ in 0..3 {
        strings.serve(method::RESOURCES_SUBSCRIBE, "{}").await;
    }
}
