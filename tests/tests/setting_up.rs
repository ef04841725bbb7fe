//! What clients set up in sessions with an upstream: log levels and
//! subscriptions, and upstreams that are slow to take them, or take none.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_gateway::{Repeat, ScopeSetting, Transport as Spoken, UpstreamSettings};
use wharf_proto::method;
use wharf_testkit::Upstream;
use wharf_tests::{Cue, Puppet, Strings, Wharf, Wire, soon, until, upstream};

const OFFER: &str = r#"{"tools":{},"prompts":{},"logging":{},"resources":{"subscribe":true}}"#;
const CALL: &str = r#"{"name":"t"}"#;
const LEVEL: &str = r#"{"level":"debug"}"#;
const URI: &str = r#"{"uri":"x://x"}"#;

/// Longer than anything takes that is under way.
const A_MOMENT: Duration = Duration::from_millis(300);

/// A puppet behind the gateway.
async fn stage(change: impl FnOnce(&mut UpstreamSettings)) -> (Upstream<Puppet>, Strings, Wharf) {
    let (puppet, strings) = Puppet::offering(OFFER, Default::default()).await;
    let mut settings = upstream("p", &puppet.url());
    settings.transport = Spoken::StreamableHttp;
    change(&mut settings);
    let wharf = Wharf::in_front_of([settings]).await;
    (puppet, strings, wharf)
}

async fn client_of(wharf: &Wharf) -> Wire {
    Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await
}

/// Asks for something that the puppet is asked for in turn, and says yes to.
async fn served(wire: &Wire, strings: &mut Strings, method: &str, params: &str) -> Value {
    tokio::join!(wire.ask(method, params), strings.serve(method, "{}")).0
}

/// Answers the next call of that method, and holds those before it.
async fn answer_one(strings: &mut Strings, method: &str) -> Vec<Cue> {
    let mut held = Vec::new();
    loop {
        let cue = strings.call().await;
        if cue.request.method() == method {
            cue.answer("{}");
            return held;
        }
        held.push(cue);
    }
}

#[tokio::test]
async fn a_call_ends_with_its_time_also_while_its_session_is_set_up() {
    let (_puppet, _strings, wharf) = stage(|settings| {
        settings.scope = ScopeSetting::Shared;
        settings.call_timeout = Some(A_MOMENT);
    })
    .await;
    let wire = client_of(&wharf).await;
    // The upstream answers nothing at all.
    let set = wire.ask(method::SET_LEVEL, LEVEL).await;
    assert_eq!(set["error"]["data"]["mayHaveRun"], true, "{set}");
    let called = wire.ask(method::TOOLS_CALL, CALL).await;
    assert_eq!(called["error"]["data"]["mayHaveRun"], false, "{called}");
    assert_eq!(called["error"]["data"]["reason"], "no_session_in_time", "{called}");
}

#[tokio::test]
async fn a_shared_session_goes_without_the_level_that_its_upstream_does_not_answer() {
    let (_puppet, mut strings, wharf) = stage(|settings| {
        settings.scope = ScopeSetting::Shared;
        settings.limits.open_timeout = Duration::from_secs(2);
    })
    .await;
    let wire = client_of(&wharf).await;
    let held = {
        let set = wire.ask(method::SET_LEVEL, LEVEL);
        let cue = strings.call();
        tokio::join!(set, cue).1
    };
    // It is not asked again: calls are not to wait for it each time.
    assert_eq!(served(&wire, &mut strings, method::TOOLS_CALL, CALL).await["result"], json!({}));
    drop(held);
}

#[tokio::test]
async fn a_fresh_session_goes_without_the_subscription_that_its_upstream_does_not_answer() {
    let (mut puppet, mut strings, wharf) =
        stage(|settings| settings.limits.open_timeout = Duration::from_secs(2)).await;
    let wire = client_of(&wharf).await;
    served(&wire, &mut strings, method::RESOURCES_SUBSCRIBE, URI).await;
    puppet.restart().await.unwrap();
    let answer = answer_one(&mut strings, method::TOOLS_CALL);
    let (called, held) = tokio::join!(wire.ask(method::TOOLS_CALL, CALL), answer);
    assert!(called["result"].is_object(), "{called}");
    assert_eq!(held.len(), 1);
}

#[tokio::test]
async fn a_call_that_is_made_again_has_no_more_time_than_any_other() {
    let (_puppet, mut strings, wharf) = stage(|settings| {
        settings.repeat = Repeat::Hinted;
        settings.call_timeout = Some(Duration::from_secs(1));
    })
    .await;
    let wire = client_of(&wharf).await;
    let play = async {
        let first = strings.call().await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        drop(first);
        let second = strings.call().await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        second.answer("{}");
    };
    let (got, ()) = tokio::join!(wire.ask(method::PROMPTS_GET, CALL), play);
    assert_eq!(got["error"]["data"]["reason"], "timeout", "{got}");
}

#[tokio::test]
async fn a_call_that_may_have_run_the_first_time_may_have_run_whatever_comes_of_the_second() {
    let (mut puppet, mut strings, wharf) = stage(|settings| settings.repeat = Repeat::Hinted).await;
    let wire = client_of(&wharf).await;
    let play = async {
        let first = strings.call().await;
        puppet.stop().await;
        drop(first);
    };
    let (got, ()) = tokio::join!(wire.ask(method::PROMPTS_GET, CALL), play);
    assert_eq!(got["error"]["data"]["mayHaveRun"], true, "{got}");
}

#[tokio::test]
async fn an_upstream_that_writes_no_log_is_told_no_level() {
    let (quiet, mut of_quiet) = Puppet::offering(r#"{"tools":{}}"#, Default::default()).await;
    let (talks, mut of_talks) = Puppet::offering(OFFER, Default::default()).await;
    let wharf =
        Wharf::in_front_of([upstream("q", &quiet.url()), upstream("t", &talks.url())]).await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    served(&wire, &mut of_talks, method::SET_LEVEL, LEVEL).await;
    served(&wire, &mut of_quiet, method::TOOLS_CALL, r#"{"name":"q__t"}"#).await;
    served(&wire, &mut of_talks, method::TOOLS_CALL, r#"{"name":"t__t"}"#).await;
}

#[tokio::test]
async fn a_call_on_a_session_that_is_there_is_one_hit() {
    let (_puppet, mut strings, wharf) =
        stage(|settings| settings.scope = ScopeSetting::Shared).await;
    let (sets, calls) = (client_of(&wharf).await, client_of(&wharf).await);
    served(&sets, &mut strings, method::SET_LEVEL, LEVEL).await;
    let hits = async || wharf.figures("p").await["hits"].as_u64().unwrap();
    for _ in 0..3 {
        let before = hits().await;
        served(&calls, &mut strings, method::TOOLS_CALL, CALL).await;
        assert_eq!(hits().await, before + 1);
    }
}

#[tokio::test]
async fn a_level_that_its_client_gave_up_setting_is_set_before_the_next_call() {
    let (_puppet, mut strings, wharf) =
        stage(|settings| settings.scope = ScopeSetting::Shared).await;
    let (sets, calls) = (client_of(&wharf).await, client_of(&wharf).await);
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{}","params":{LEVEL}}}"#, method::SET_LEVEL);
    let give_up = async {
        let cue = strings.call().await;
        assert_eq!(cue.request.method(), method::SET_LEVEL);
        sets.tell(method::CANCELLED, r#"{"requestId":7}"#).await;
        strings.heard(method::CANCELLED).await;
        drop(cue);
    };
    tokio::join!(sets.post(body), give_up);
    let play = async {
        strings.serve(method::SET_LEVEL, "{}").await;
        strings.serve(method::TOOLS_CALL, "{}").await;
    };
    let (called, ()) = tokio::join!(calls.ask(method::TOOLS_CALL, CALL), play);
    assert_eq!(called["result"], json!({}));
    // Once it is set it is not set again.
    served(&calls, &mut strings, method::TOOLS_CALL, CALL).await;
}

#[tokio::test]
async fn who_leaves_takes_no_subscription_of_a_sharers_away() {
    let (_puppet, mut strings, wharf) =
        stage(|settings| settings.scope = ScopeSetting::Shared).await;
    let (leaves, stays) = (client_of(&wharf).await, client_of(&wharf).await);
    served(&leaves, &mut strings, method::RESOURCES_SUBSCRIBE, URI).await;
    leaves.delete().await;
    let taken_back = strings.call().await;
    assert_eq!(taken_back.request.method(), method::RESOURCES_UNSUBSCRIBE);
    let play = async {
        // Of two requests under way nobody can say which is heard first.
        tokio::time::sleep(A_MOMENT).await;
        assert!(!strings.has_call(), "it is asked for what it may be about to take back");
        taken_back.answer("{}");
        strings.serve(method::RESOURCES_SUBSCRIBE, "{}").await;
    };
    let (subscribed, ()) = tokio::join!(stays.ask(method::RESOURCES_SUBSCRIBE, URI), play);
    assert_eq!(subscribed["result"], json!({}));
}

#[tokio::test]
async fn who_tells_something_finds_its_subscriptions_in_the_session() {
    let (puppet, mut strings, wharf) =
        stage(|settings| settings.limits.idle_timeout = A_MOMENT).await;
    let wire = client_of(&wharf).await;
    served(&wire, &mut strings, method::RESOURCES_SUBSCRIBE, URI).await;
    until("the session ends", || puppet.sessions() == 0).await;
    let tell = wire.tell(method::ROOTS_LIST_CHANGED, "{}");
    tokio::join!(tell, strings.serve(method::RESOURCES_SUBSCRIBE, "{}"));
    soon("it is told", strings.heard(method::ROOTS_LIST_CHANGED)).await;
}
