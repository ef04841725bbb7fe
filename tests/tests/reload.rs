//! Another configuration is taken over while the gateway runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderValue, Method, StatusCode, header::AUTHORIZATION};
use serde_json::{Value, json};
use wharf_gateway::{OnLost, ScopeSetting, Transport as Spoken, UpstreamSettings};
use wharf_proto::{Response, method, transport::Exchange as _};
use wharf_testkit::{FastTest, FastTime, Hello, Sessions, TestClient, Upstream};
use wharf_tests::{
    Cue, Over, Puppet, Strings, Wharf, Wire, error_of, gateway_error, outcome, serving, soon,
    until, upstream,
};

/// Settings whose calls carry this token.
fn with_token(mut settings: UpstreamSettings, token: &'static str) -> UpstreamSettings {
    settings.target.headers.insert(AUTHORIZATION, HeaderValue::from_static(token));
    settings
}

fn token_of(cue: &Cue) -> &str {
    cue.headers[AUTHORIZATION].to_str().unwrap()
}

/// The next call of a tool. Lists that are asked for are empty.
async fn tool_call(strings: &mut Strings) -> Cue {
    loop {
        let cue = strings.call().await;
        if cue.request.method() == method::TOOLS_CALL {
            return cue;
        }
        cue.answer(r#"{"tools":[]}"#);
    }
}

/// A client's call, answered by the puppet.
async fn played(client: &TestClient, strings: &mut Strings, token: &str) -> Response {
    let mut call = client.exchange(method::TOOLS_CALL, &json!({"name": "t"}));
    let play = async {
        let cue = strings.call().await;
        assert_eq!(token_of(&cue), token);
        cue.answer(r#"{"content":[]}"#);
    };
    let (answer, ()) =
        soon("the call is answered", async { tokio::join!(call.answer(), play) }).await;
    answer.unwrap()
}

async fn echo(client: &TestClient, tool: &str) {
    let answer = soon("echo", client.call_tool(tool, &json!({"message": "m"}))).await;
    assert_eq!(answer.unwrap_or_else(|error| panic!("{tool}: {error:?}")).text(), "m");
}

async fn try_tool(client: &TestClient, tool: &str) -> Response {
    let call = json!({"name": tool, "arguments": {"message": "m"}});
    soon("an answer", client.call(method::TOOLS_CALL, &call)).await.unwrap()
}

/// The names of the tools on `/mcp`.
async fn tools(wire: &Wire) -> Vec<String> {
    let list = wire.ask(method::TOOLS_LIST, "{}").await;
    let tools = list["result"]["tools"].as_array().unwrap().iter();
    tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

async fn ends(wharf: &Wharf, upstream: &str, reason: &str, count: u64) {
    soon(&format!("{count} sessions end: {reason}"), async {
        while wharf.figures(upstream).await["ends"][reason] != json!(count) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn ids(ids: &[wharf_gateway::UpstreamId]) -> Vec<&str> {
    ids.iter().map(wharf_gateway::UpstreamId::as_str).collect()
}

#[tokio::test]
async fn an_upstream_that_has_not_changed_keeps_its_sessions_whatever_becomes_of_others() {
    let (a, b, c) = (
        serving(FastTest::new()).await,
        serving(FastTest::new()).await,
        serving(FastTest::new()).await,
    );
    let settings = |id, one: &Upstream<FastTest>| upstream(id, &one.url());
    let wharf = Wharf::in_front_of([settings("a", &a), settings("b", &b)]).await;
    let alone = Over::Http.server(&wharf, "a").await;
    let all = Over::Sse.everything(&wharf).await;
    echo(&alone, "echo").await;
    echo(&all, "a__echo").await;
    let so_far = || (a.requests().rpc(method::INITIALIZE), a.requests().http(&Method::DELETE));
    let opened = so_far();

    let reloaded = wharf.reload([settings("c", &c), settings("a", &a)]).await.unwrap();
    assert_eq!((ids(&reloaded.added), ids(&reloaded.removed)), (vec!["c"], vec!["b"]));
    assert!(reloaded.changed.is_empty() && reloaded.ignored.is_empty(), "{reloaded:?}");
    echo(&alone, "echo").await;
    echo(&all, "a__echo").await;
    echo(&all, "c__echo").await;
    assert_eq!(so_far(), opened);
}

#[tokio::test]
async fn another_credential_is_sent_from_the_next_call_on_and_idle_sessions_end() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse] {
        for over in Over::BOTH {
            for listens in [false, true] {
                let row = format!("{over:?} to {spoken:?}, listening: {listens}");
                let (puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
                let wharf = Wharf::in_front_of([with_token(settings.clone(), "old")]).await;
                let client = over.server(&wharf, "p").await;
                if listens {
                    client.listen();
                }
                played(&client, &mut strings, "old").await;
                let opened = strings.session().await;
                assert_eq!(opened.headers()[AUTHORIZATION], "old", "{row}");

                let changed = wharf.reload([with_token(settings, "new")]).await.unwrap();
                assert_eq!(ids(&changed.changed), ["p"], "{row}");
                ends(&wharf, "p", "credential", 1).await;
                if spoken == Spoken::StreamableHttp {
                    until(&row, || puppet.requests().http(&Method::DELETE) == 1).await;
                }
                let answer = played(&client, &mut strings, "new").await;
                // The client is told that it goes on with another session.
                assert!(outcome(&answer).contains("wharf/sessionReplaced"), "{row}: {answer:?}");
                assert_eq!(strings.session().await.headers()[AUTHORIZATION], "new", "{row}");
                assert_eq!(wharf.figures("p").await["opens"], 2, "{row}");
                assert_eq!(wharf.figures("p").await["ends"]["credential"], 1, "{row}");
            }
        }
    }
}

#[tokio::test]
async fn a_call_under_way_is_answered_and_calls_beside_it_carry_the_other_credential() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse] {
        for over in Over::BOTH {
            let row = format!("{over:?} to {spoken:?}");
            let (_puppet, mut strings, settings) = Puppet::reached_by(spoken).await;
            let wharf = Wharf::in_front_of([with_token(settings.clone(), "old")]).await;
            let client = over.server(&wharf, "p").await;
            client.listen();
            let mut call = client.exchange(method::TOOLS_CALL, &json!({"name": "slow"}));
            let cue = tokio::select! {
                cue = strings.call() => cue,
                answer = call.answer() => panic!("{answer:?}"),
            };
            assert_eq!(token_of(&cue), "old", "{row}");
            wharf.reload([with_token(settings, "new")]).await.unwrap();
            played(&client, &mut strings, "new").await;
            let ended = wharf.figures("p").await["ends"]["credential"].clone();
            assert_eq!(ended.as_u64().unwrap_or(0), 0, "{row}");
            cue.answer(r#"{"slow":true}"#);
            let answer = soon(&row, call.answer()).await.unwrap();
            assert_eq!(answer.result().unwrap().as_str(), r#"{"slow":true}"#, "{row}");
            ends(&wharf, "p", "credential", 1).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_is_to_be_told_of_a_lost_session_is_told() {
    let (_puppet, mut strings, mut settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    settings.on_lost = OnLost::Tell;
    let wharf = Wharf::in_front_of([with_token(settings.clone(), "old")]).await;
    let client = Over::Http.server(&wharf, "p").await;
    played(&client, &mut strings, "old").await;
    wharf.reload([with_token(settings, "new")]).await.unwrap();
    let told = soon("it is told", client.call(method::TOOLS_CALL, &json!({"name": "t"}))).await;
    assert!(told.is_err(), "{told:?}");
    assert!(!strings.has_call());
}

#[tokio::test]
async fn those_in_line_for_a_session_get_one_of_the_new_configuration() {
    let (_puppet, mut strings, mut settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    settings.scope = ScopeSetting::Shared;
    settings.limits.sessions_per_key = 1;
    let wharf = Wharf::in_front_of([with_token(settings.clone(), "old")]).await;
    let client = Over::Http.server(&wharf, "p").await;
    let exchange = || client.exchange(method::TOOLS_CALL, &json!({"name": "t"}));
    let (mut first, mut second) = (exchange(), exchange());
    let play = async {
        let held = strings.call().await;
        soon("the other waits", async {
            while wharf.figures("p").await["waiters"] != 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        wharf.reload([with_token(settings, "new")]).await.unwrap();
        let next = strings.call().await;
        assert_eq!((token_of(&held), token_of(&next)), ("old", "new"));
        next.answer("{}");
        held.answer("{}");
    };
    let all = async { tokio::join!(first.answer(), second.answer(), play) };
    let (first, second, ()) = soon("both are answered", all).await;
    assert!(first.unwrap().result().is_some() && second.unwrap().result().is_some());
}

#[tokio::test]
async fn what_is_done_with_calls_changes_without_ending_a_session() {
    let (puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let settings = with_token(settings, "t");
    let wharf = Wharf::in_front_of([settings.clone()]).await;
    let client = Over::Http.server(&wharf, "p").await;
    played(&client, &mut strings, "t").await;
    let limit = Some(Duration::from_millis(50));
    let reloaded =
        wharf.reload([UpstreamSettings { call_timeout: limit, ..settings }]).await.unwrap();
    assert_eq!(ids(&reloaded.changed), ["p"]);
    let tool = json!({"name": "t"});
    let answer = soon("it takes too long", client.call(method::TOOLS_CALL, &tool)).await;
    let error = gateway_error(&answer.unwrap(), "p", true);
    assert_eq!(error["data"]["reason"], "timeout", "{error}");
    assert_eq!(puppet.requests().rpc(method::INITIALIZE), 1);
    assert_eq!(puppet.requests().http(&Method::DELETE), 0);
}

#[tokio::test]
async fn an_upstream_that_comes_is_announced_and_its_tools_work() {
    let (fast, time) = (serving(FastTest::new()).await, serving(FastTime::new()).await);
    let first = upstream("fast", &fast.url());
    let wharf = Wharf::in_front_of([first.clone()]).await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let before = tools(&wire).await;
    let mut stream = wire.listen().await;
    wharf.reload([first, upstream("time", &time.url())]).await.unwrap();
    assert_eq!(stream.value().await["method"], method::TOOLS_LIST_CHANGED);
    let after = tools(&wire).await;
    assert!(after.starts_with(&before) && after.iter().any(|name| name.starts_with("time__")));
    for client in [Over::Http.everything(&wharf).await, Over::Sse.everything(&wharf).await] {
        let answer = client.call_tool("time__get_system_time", &json!({"timezone": "UTC"})).await;
        assert!(!answer.unwrap().text().is_empty());
    }
    // A client that was there before.
    let call = r#"{"name":"time__get_system_time","arguments":{"timezone":"UTC"}}"#;
    assert!(wire.ask(method::TOOLS_CALL, call).await["result"]["content"].is_array());
    let direct = Over::Http.server(&wharf, "time").await;
    assert!(direct.call_tool("get_system_time", &json!({"timezone": "UTC"})).await.is_ok());
}

#[tokio::test]
async fn one_that_cannot_be_reached_when_it_comes_is_announced_when_it_can() {
    let fast = serving(FastTest::new()).await;
    let mut time = serving(FastTime::new()).await;
    let first = upstream("fast", &fast.url());
    let wharf = Wharf::in_front_of([first.clone()]).await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let before = tools(&wire).await;
    let mut stream = wire.listen().await;
    time.stop().await;
    wharf.reload([first, upstream("time", &time.url())]).await.unwrap();
    assert_eq!(tools(&wire).await, before);
    time.restart().await.unwrap();
    assert_eq!(stream.value().await["method"], method::TOOLS_LIST_CHANGED);
    assert!(tools(&wire).await.len() > before.len());
}

#[tokio::test]
async fn one_that_goes_vanishes_from_the_lists_and_its_calls_are_refused() {
    let (fast, time) = (serving(FastTest::new()).await, serving(FastTime::new()).await);
    let (first, second) = (upstream("fast", &fast.url()), upstream("time", &time.url()));
    let wharf = Wharf::in_front_of([first.clone(), second]).await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let client = Over::Http.everything(&wharf).await;
    let direct = Wire::connect(&wharf.url("/servers/time/mcp"), "{}").await;
    let sse = Over::Sse.server(&wharf, "time").await;
    assert!(tools(&wire).await.iter().any(|name| name.starts_with("time__")));
    client.call_tool("time__get_system_time", &json!({"timezone": "UTC"})).await.unwrap();
    let mut stream = wire.listen().await;

    wharf.reload([first]).await.unwrap();
    assert_eq!(stream.value().await["method"], method::TOOLS_LIST_CHANGED);
    assert!(tools(&wire).await.iter().all(|name| name.starts_with("fast__")));
    let known = error_of(&try_tool(&client, "time__get_system_time").await);
    let unknown = error_of(&try_tool(&client, "never__get_system_time").await);
    assert_eq!(known["code"], unknown["code"]);
    assert_eq!(known["message"].as_str().unwrap().replace("time__", "never__"), unknown["message"]);
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert_eq!(direct.post(body.to_owned()).await.status, StatusCode::NOT_FOUND);
    soon("its clients are told", sse.ended()).await;
    until("its sessions end", || time.sessions() == 0).await;
    echo(&client, "fast__echo").await;
}

#[tokio::test]
async fn calls_to_one_that_goes_finish_within_the_drain_timeout_and_no_later() {
    for over in Over::BOTH {
        let fast = serving(FastTest::new()).await;
        let (puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
        let first = upstream("fast", &fast.url());
        let wharf = Wharf::start([first.clone(), settings], |settings| {
            settings.drain_timeout = Duration::from_millis(500);
        })
        .await;
        let (all, alone) = (over.everything(&wharf).await, over.server(&wharf, "p").await);
        let mut exchanges = [
            all.exchange(method::TOOLS_CALL, &json!({"name": "p__finishes"})),
            alone.exchange(method::TOOLS_CALL, &json!({"name": "finishes"})),
            all.exchange(method::TOOLS_CALL, &json!({"name": "p__lingers"})),
            alone.exchange(method::TOOLS_CALL, &json!({"name": "lingers"})),
        ];
        let play = async {
            let mut cues = Vec::new();
            for _ in 0..4 {
                cues.push(tool_call(&mut strings).await);
            }
            wharf.reload([first.clone()]).await.unwrap();
            let finishes =
                |cue: &Cue| cue.request.param("name").unwrap().as_str() == r#""finishes""#;
            let (finishing, lingering): (Vec<_>, Vec<_>) = cues.into_iter().partition(finishes);
            finishing.into_iter().for_each(|cue| cue.answer("{}"));
            lingering
        };
        let answers = join_all(exchanges.iter_mut().map(|exchange| exchange.answer()));
        let both = async { tokio::join!(answers, play) };
        let (answers, lingering) = soon(&format!("{over:?}"), both).await;
        assert_eq!(lingering.len(), 2);
        for answer in &answers[..2] {
            let answer = answer.as_ref().unwrap_or_else(|error| panic!("{over:?}: {error:?}"));
            assert!(answer.result().is_some(), "{over:?}: {}", outcome(answer));
        }
        // A client of it alone has no session any more.
        for answer in answers[2..].iter().flatten() {
            let _ = gateway_error(answer, "p", true);
        }
        until("its sessions end", || puppet.sessions() == 0).await;
    }
}

#[tokio::test]
async fn one_that_goes_and_comes_back_serves_at_once_while_its_last_calls_finish() {
    let fast = serving(FastTest::new()).await;
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let (first, second) = (upstream("fast", &fast.url()), with_token(settings, "t"));
    let wharf = Wharf::in_front_of([first.clone(), second.clone()]).await;
    let client = Over::Http.everything(&wharf).await;
    let mut call = client.exchange(method::TOOLS_CALL, &json!({"name": "p__slow"}));
    let play = async {
        let cue = tool_call(&mut strings).await;
        wharf.reload([first.clone()]).await.unwrap();
        assert!(error_of(&try_tool(&client, "p__t").await)["message"].is_string());
        wharf.reload([first.clone(), second.clone()]).await.unwrap();
        let mut next = client.exchange(method::TOOLS_CALL, &json!({"name": "p__t"}));
        let (answer, ()) = tokio::join!(next.answer(), async {
            tool_call(&mut strings).await.answer("{}");
        });
        assert!(answer.unwrap().result().is_some());
        cue.answer(r#"{"slow":true}"#);
    };
    let (answer, ()) = soon("both are answered", async { tokio::join!(call.answer(), play) }).await;
    assert_eq!(answer.unwrap().result().unwrap().as_str(), r#"{"slow":true}"#);
}

#[tokio::test]
async fn another_url_is_called_from_then_on_and_what_is_offered_there_is_announced() {
    let (fast, time) = (serving(FastTest::new()).await, serving(FastTime::new()).await);
    let wharf = Wharf::in_front_of([upstream("x", &fast.url())]).await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    assert!(tools(&wire).await.contains(&"x__echo".to_owned()));
    let direct = Over::Http.server(&wharf, "x").await;
    echo(&direct, "echo").await;
    let mut stream = wire.listen().await;
    wharf.reload([upstream("x", &time.sse_url())]).await.unwrap();
    assert_eq!(stream.value().await["method"], method::TOOLS_LIST_CHANGED);
    assert!(tools(&wire).await.contains(&"x__get_system_time".to_owned()));
    let answer = direct.call_tool("get_system_time", &json!({"timezone": "UTC"})).await.unwrap();
    assert!(!answer.text().is_empty());
    let figures = wharf.figures("x").await;
    assert_eq!(figures["transport"], "sse");
    assert!(figures["ends"]["configuration"].as_u64() >= Some(2), "{figures}");
    until("all sessions there end", || fast.sessions() == 0).await;
}

#[tokio::test]
async fn clients_share_no_session_once_it_is_to_be_each_ones_own() {
    let (_puppet, mut strings, settings) = Puppet::reached_by(Spoken::StreamableHttp).await;
    let own = with_token(settings, "t");
    let shared = UpstreamSettings { scope: ScopeSetting::Shared, ..own.clone() };
    let wharf = Wharf::in_front_of([shared.clone()]).await;
    let hello = Hello::default();
    let clients = [
        Over::Http.connect(&wharf, "/servers/p", &hello).await,
        Over::Sse.connect(&wharf, "/servers/p", &hello).await,
    ];
    for (settings, keys) in [(own, 2), (shared, 1)] {
        for client in &clients {
            played(client, &mut strings, "t").await;
        }
        let before = wharf.figures("p").await["opens"].as_u64().unwrap();
        wharf.reload([settings]).await.unwrap();
        for client in &clients {
            played(client, &mut strings, "t").await;
        }
        let figures = wharf.figures("p").await;
        assert_eq!(figures["opens"].as_u64(), Some(before + keys), "{figures}");
    }
}

#[tokio::test]
async fn clients_of_what_kept_no_sessions_share_none_with_what_does() {
    let settings =
        wharf_testkit::UpstreamSettings { sessions: Sessions::None, ..Default::default() };
    let without = Upstream::start(FastTest::new(), settings).await.unwrap();
    let with = serving(FastTest::new()).await;
    let wharf = Wharf::in_front_of([upstream("x", &without.url())]).await;
    let clients = [Over::Http.server(&wharf, "x").await, Over::Http.server(&wharf, "x").await];
    for client in &clients {
        echo(client, "echo").await;
        echo(client, "echo").await;
    }
    wharf.reload([upstream("x", &with.url())]).await.unwrap();
    for client in &clients {
        echo(client, "echo").await;
    }
    assert_eq!(with.sessions(), 2);
}

#[tokio::test]
async fn sharers_of_a_session_keep_what_they_have_set_up_in_it() {
    let (_puppet, mut strings) = Puppet::offering(
        r#"{"resources":{"subscribe":true},"logging":{}}"#,
        wharf_testkit::UpstreamSettings::default(),
    )
    .await;
    let mut settings = upstream("p", &_puppet.url());
    settings.scope = ScopeSetting::Shared;
    let wharf = Wharf::in_front_of([with_token(settings.clone(), "old")]).await;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    let subscribe = wire.ask(method::RESOURCES_SUBSCRIBE, r#"{"uri":"x://a"}"#);
    tokio::join!(subscribe, strings.serve(method::RESOURCES_SUBSCRIBE, "{}"));
    let _stream = wire.listen().await;
    wharf.reload([with_token(settings, "new")]).await.unwrap();
    let again = strings.call().await;
    assert_eq!(again.request.method(), method::RESOURCES_SUBSCRIBE);
    assert_eq!(token_of(&again), "new");
    again.answer("{}");
}

#[tokio::test]
async fn two_upstreams_of_one_id_change_nothing() {
    let (fast, other) = (serving(FastTest::new()).await, serving(FastTest::new()).await);
    let settings = upstream("a", &fast.url());
    let wharf = Wharf::in_front_of([settings.clone()]).await;
    let client = Over::Http.server(&wharf, "a").await;
    let two = [upstream("a", &other.url()), settings];
    let refused = wharf.reload(two).await.expect_err("there are two of one id");
    assert!(refused.to_string().contains("two upstreams of the id a"), "{refused}");
    echo(&client, "echo").await;
    assert_eq!(other.requests().rpc(method::INITIALIZE), 0);
    let figures: Value = wharf.figures("a").await;
    assert_eq!(figures["opens"], 1, "{figures}");
}
