//! `/mcp`: many upstreams at one endpoint.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wharf_gateway::{OnDisconnect, UpstreamSettings};
use wharf_proto::{Json, code, method};
use wharf_testkit::{
    FastTest, FastTime, Faulty, FaultySettings, Script, TestClient, Toolbox, When,
    faulty::{Fault, Gate},
    toolbox::{Content, Contents, NoArguments, Prompt, Reference, Resource, Template, Tool},
};
use wharf_tests::{
    Oddity, Over, Puppet, Wharf, Wire, error_of, gateway_error, outcome, serving, soon, upstream,
    value,
};

/// A server whose tools say whose they are.
fn box_of(owner: &'static str, tools: &[&str]) -> Toolbox<()> {
    tools.iter().fold(Toolbox::named(owner, "1", ()), |toolbox, name| {
        let answer = format!("{owner}: {name}");
        toolbox.tool(Tool::new(*name, "", json!({"type": "object"})), move |_: NoArguments, _| {
            let answer = answer.clone();
            async move { Ok(Content::text(answer)) }
        })
    })
}

/// An upstream at an address where nobody listens any more.
async fn dead(id: &str) -> UpstreamSettings {
    let mut gone = serving(box_of("gone", &[])).await;
    gone.stop().await;
    upstream(id, &gone.url())
}

async fn ask(client: &TestClient, method: &str, params: Value) -> Value {
    let answer = soon(method, client.call(method, &params)).await.unwrap();
    value(answer.result().unwrap_or_else(|| panic!("{method} {params}: {}", outcome(&answer))))
}

async fn refused(client: &TestClient, method: &str, params: Value) -> Value {
    error_of(&soon(method, client.call(method, &params)).await.unwrap())
}

/// Reads a list to its end; the pages, and what `key` is in each item.
async fn pages(client: &TestClient, method: &str, member: &str, key: &str) -> Vec<Vec<String>> {
    let (mut pages, mut params) = (Vec::new(), json!({}));
    loop {
        let page = ask(client, method, params).await;
        let items = page[member].as_array().unwrap().iter();
        pages.push(items.map(|item| item[key].as_str().unwrap().to_owned()).collect());
        assert!(pages.len() < 1000, "the list has no end");
        match page.get("nextCursor") {
            Some(cursor) => params = json!({"cursor": cursor}),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn a02_no_two_tools_get_the_same_name_and_each_name_leads_home() {
    let ids = ["a", "a_b", "a-b"];
    let names = ["c", "b__c", "_c", "__c", "b_c", "c__", "a__c", "\u{e9} \"q\\uote\"", "a.b/c"];
    let boxes = [box_of("a", &names), box_of("a_b", &names), box_of("a-b", &names)];
    let mut upstreams = Vec::new();
    for toolbox in boxes {
        upstreams.push(serving(toolbox).await);
    }
    let settings = ids.iter().zip(&upstreams).map(|(id, one)| upstream(id, &one.url()));
    let wharf = Wharf::in_front_of(settings).await;
    let client = Over::Http.everything(&wharf).await;
    let listed = pages(&client, method::TOOLS_LIST, "tools", "name").await.concat();
    let distinct: BTreeSet<_> = listed.iter().collect();
    assert_eq!((listed.len(), distinct.len()), (27, 27), "{listed:?}");
    for (shown, (id, own)) in
        listed.iter().zip(ids.iter().flat_map(|id| names.map(|own| (id, own))))
    {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if own.chars().all(is_fit) {
            assert_eq!(*shown, format!("{id}__{own}"));
        }
        assert!(shown.chars().all(is_fit) && shown.len() <= 128, "{shown}");
        let answer = client.call_tool(shown, &json!({})).await.unwrap();
        assert_eq!(answer.text(), format!("{id}: {own}"));
    }
}

#[tokio::test]
async fn another_separator_can_be_chosen() {
    let one = serving(box_of("a", &["b__c"])).await;
    let wharf = Wharf::start([upstream("a_b", &one.url())], |settings| {
        settings.separator = ".".parse().unwrap();
    })
    .await;
    let client = Over::Http.everything(&wharf).await;
    let listed = pages(&client, method::TOOLS_LIST, "tools", "name").await;
    assert_eq!(listed, [["a_b.b__c"]]);
    assert_eq!(client.call_tool("a_b.b__c", &json!({})).await.unwrap().text(), "a: b__c");
}

#[tokio::test]
async fn a04_pages_over_several_upstreams_hold_each_item_once() {
    let many = serving(box_of("many", &["0", "1", "2", "3", "4", "5", "6"])).await;
    // It gives its own list in pages, too.
    let paged = box_of("paged", &["0", "1", "2", "3", "4"]);
    let paged = serving(paged.page_size(std::num::NonZeroUsize::new(2))).await;
    let none = serving(box_of("none", &[])).await;
    let upstreams = [
        upstream("many", &many.url()),
        upstream("none", &none.url()),
        upstream("paged", &paged.url()),
    ];
    let wharf = Wharf::start(upstreams, |settings| settings.page_size = 5).await;
    let client = Over::Http.everything(&wharf).await;
    let pages = pages(&client, method::TOOLS_LIST, "tools", "name").await;
    let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [5, 5, 2]);
    let many = (0..7).map(|number| format!("many__{number}"));
    let expected: Vec<_> = many.chain((0..5).map(|number| format!("paged__{number}"))).collect();
    assert_eq!(pages.concat(), expected);
}

#[tokio::test]
async fn a05_a_cursor_that_was_not_given_out_for_the_list_is_refused() {
    let time = serving(FastTime::new()).await;
    let wharf =
        Wharf::start([upstream("time", &time.url())], |settings| settings.page_size = 1).await;
    let client = Over::Http.everything(&wharf).await;
    let page = ask(&client, method::TOOLS_LIST, json!({})).await;
    let cursor = &page["nextCursor"];
    assert!(cursor.is_string(), "{page}");
    assert_eq!(
        ask(&client, method::TOOLS_LIST, json!({"cursor": cursor})).await["tools"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    for (list, cursor) in [
        (method::PROMPTS_LIST, cursor.clone()),
        (method::RESOURCES_LIST, cursor.clone()),
        (method::TOOLS_LIST, json!("")),
        (method::TOOLS_LIST, json!("garbage")),
        (method::TOOLS_LIST, json!("tools-99")),
        (method::TOOLS_LIST, json!("tools/time/")),
        (method::TOOLS_LIST, json!("tools/nobody/0123456789abcdef0123456789abcdef")),
        (method::TOOLS_LIST, json!(1)),
        (method::TOOLS_LIST, json!({})),
    ] {
        let error = refused(&client, list, json!({"cursor": cursor})).await;
        assert_eq!(error["code"], code::INVALID_PARAMS, "{list} {cursor}: {error}");
    }
}

#[tokio::test]
async fn a22_a_dead_upstream_fails_neither_a_list_nor_the_handshake() {
    let fast = serving(FastTest::new()).await;
    let html = Oddity::saying("200 OK", "text/html", "<h1>It works!</h1>").await;
    let upstreams =
        [dead("dead").await, upstream("fast", &fast.url()), upstream("html", &html.url())];
    let wharf = Wharf::in_front_of(upstreams).await;
    for over in Over::BOTH {
        let client = over.everything(&wharf).await;
        let names = pages(&client, method::TOOLS_LIST, "tools", "name").await.concat();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("fast__")), "{names:?}");
        for list in [method::PROMPTS_LIST, method::RESOURCES_LIST, method::RESOURCES_TEMPLATES_LIST]
        {
            ask(&client, list, json!({})).await;
        }
        let answer = client.call_tool("fast__echo", &json!({"message": "m"})).await.unwrap();
        assert_eq!(answer.text(), "m");
        for id in ["dead", "html"] {
            let call = json!({"name": format!("{id}__echo")});
            let answer = client.call(method::TOOLS_CALL, &call).await.unwrap();
            let _ = gateway_error(&answer, id, false);
        }
    }
}

#[tokio::test]
async fn an_upstream_that_never_answers_a_list_does_not_hold_up_the_others() {
    let fast = serving(FastTest::new()).await;
    let (silent, _strings) = Puppet::start(wharf_testkit::UpstreamSettings::default()).await;
    let upstreams = [upstream("silent", &silent.url()), upstream("fast", &fast.url())];
    let wharf = Wharf::start(upstreams, |settings| {
        settings.list_timeout = std::time::Duration::from_secs(1);
    })
    .await;
    let client = Over::Http.everything(&wharf).await;
    let names = pages(&client, method::TOOLS_LIST, "tools", "name").await.concat();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[tokio::test]
async fn a20_what_is_unknown_is_refused_with_the_right_code() {
    let time = serving(FastTime::new()).await;
    let wharf = Wharf::in_front_of([upstream("time", &time.url())]).await;
    for over in Over::BOTH {
        let client = over.everything(&wharf).await;
        for (method, params, code) in [
            (method::TOOLS_CALL, json!({"name": "nope"}), code::INVALID_PARAMS),
            (method::TOOLS_CALL, json!({"name": "time__nope"}), code::INVALID_PARAMS),
            (method::TOOLS_CALL, json!({"name": "nope__convert_time"}), code::INVALID_PARAMS),
            (method::TOOLS_CALL, json!({"name": "__convert_time"}), code::INVALID_PARAMS),
            (method::TOOLS_CALL, json!({"name": 7}), code::INVALID_PARAMS),
            (method::TOOLS_CALL, json!({}), code::INVALID_PARAMS),
            (method::PROMPTS_GET, json!({"name": "nope"}), code::INVALID_PARAMS),
            (method::PROMPTS_GET, json!({"name": "time__nope"}), code::INVALID_PARAMS),
            (method::RESOURCES_READ, json!({"uri": "nope://nope"}), code::RESOURCE_NOT_FOUND),
            (method::RESOURCES_READ, json!({"uri": "time://zone/Moon"}), code::RESOURCE_NOT_FOUND),
            (method::RESOURCES_READ, json!({}), code::INVALID_PARAMS),
            (method::COMPLETE, json!({}), code::INVALID_PARAMS),
            (method::COMPLETE, json!({"ref": {"type": "ref/prompt"}}), code::INVALID_PARAMS),
            ("no/such/method", json!({}), code::METHOD_NOT_FOUND),
        ] {
            let error = refused(&client, method, params.clone()).await;
            assert_eq!(error["code"], code, "{method} {params}: {error}");
        }
        let missing = refused(&client, method::RESOURCES_READ, json!({"uri": "nope://nope"})).await;
        assert_eq!(missing["data"]["uri"], "nope://nope", "{missing}");
    }
}

fn library(owner: &'static str, uris: &[&str], prefixes: &[&'static str]) -> Toolbox<()> {
    let toolbox = uris.iter().fold(Toolbox::named(owner, "1", ()), |toolbox, uri| {
        toolbox
            .resource(Resource::new(*uri, *uri, "", "text/plain"), move |()| Contents::text(owner))
    });
    prefixes.iter().fold(toolbox, |toolbox, prefix| {
        let template = Template::new(*prefix, "rest", *prefix, "", "text/plain");
        let reference = Reference::Resource { uri: template.uri_template().to_owned() };
        toolbox.template(template, move |(), _| Some(Contents::text(owner))).completes(
            reference,
            "rest",
            move |(), _| vec![owner.to_owned()],
        )
    })
}

#[tokio::test]
async fn a_resource_is_read_where_it_is_listed_else_where_a_template_gives_most_of_it() {
    let first = serving(library("first", &["x://a", "x://both"], &["x://", "y://deep/"])).await;
    let second = serving(library("second", &["x://b", "x://both"], &["x://b/", "y://"])).await;
    let upstreams = [upstream("first", &first.url()), upstream("second", &second.url())];
    let wharf = Wharf::in_front_of(upstreams).await;
    let client = Over::Http.everything(&wharf).await;
    for (uri, owner) in [
        ("x://a", "first"),
        ("x://b", "second"),
        ("x://both", "first"),
        ("x://c", "first"),
        ("x://b/c", "second"),
        ("y://deep/z", "first"),
        ("y://z", "second"),
    ] {
        let read = ask(&client, method::RESOURCES_READ, json!({"uri": uri})).await;
        assert_eq!(read["contents"][0]["text"], owner, "{uri}");
    }
    for (template, owner) in [("x://{+rest}", "first"), ("x://b/{+rest}", "second")] {
        let params = json!({
            "ref": {"type": "ref/resource", "uri": template},
            "argument": {"name": "rest", "value": ""},
        });
        let completed = ask(&client, method::COMPLETE, params).await;
        assert_eq!(completed["completion"]["values"], json!([owner]), "{template}");
    }
}

#[tokio::test]
async fn a21_the_completion_of_a_prompt_goes_to_the_prompts_upstream() {
    let speaking = |owner: &'static str| {
        Toolbox::named(owner, "1", ())
            .prompt(Prompt::new("greet", "").requires("name", ""), |(), _: &Value| Ok("Hi".into()))
            .completes(Reference::Prompt { name: "greet".into() }, "name", move |(), typed| {
                vec![format!("{owner} {typed}")]
            })
    };
    let (first, second) = (serving(speaking("first")).await, serving(speaking("second")).await);
    let upstreams = [upstream("first", &first.url()), upstream("second", &second.url())];
    let wharf = Wharf::in_front_of(upstreams).await;
    let client = Over::Http.everything(&wharf).await;
    for owner in ["first", "second"] {
        let params = json!({
            "ref": {"type": "ref/prompt", "name": format!("{owner}__greet")},
            "argument": {"name": "name", "value": "jo"},
        });
        let completed = ask(&client, method::COMPLETE, params).await;
        assert_eq!(completed["completion"]["values"], json!([format!("{owner} jo")]));
    }
}

#[tokio::test]
async fn a24_what_a_tool_says_of_itself_survives_but_for_its_name() {
    let (one, mut strings) = Puppet::start(wharf_testkit::UpstreamSettings::default()).await;
    let wharf = Wharf::in_front_of([upstream("p", &one.url())]).await;
    let client = Over::Http.everything(&wharf).await;
    let nothing = json!({});
    let list = client.call(method::TOOLS_LIST, &nothing);
    let play = async {
        let cue = strings.call().await;
        assert_eq!(cue.request.method(), method::TOOLS_LIST);
        cue.answer(
            r#"{"tools":[{"zz":[] ,"name":"t","inputSchema":{"type":"object","max":184467440737095516160},"x":1.50}, {"name":"u"}],"nextCursor":"more"}"#,
        );
        let cue = strings.call().await;
        assert_eq!(cue.request.param("cursor").unwrap().as_str(), "\"more\"");
        cue.answer(r#"{"tools":[{"name":"v"}]}"#);
    };
    let (answer, ()) = tokio::join!(list, play);
    let answer = answer.unwrap();
    let expected = r#"{"tools":[{"zz":[] ,"name":"p__t","inputSchema":{"type":"object","max":184467440737095516160},"x":1.50},{"name":"p__u"},{"name":"p__v"}]}"#;
    assert_eq!(answer.result().map(Json::as_str), Some(expected));
}

#[tokio::test]
async fn many_who_ask_for_a_list_at_once_cost_the_upstream_one() {
    let fast = serving(FastTest::new()).await;
    let wharf = Wharf::in_front_of([upstream("fast", &fast.url())]).await;
    let client = Over::Http.everything(&wharf).await;
    let lists = (0..16).map(|_| ask(&client, method::TOOLS_LIST, json!({})));
    let lists = futures_util::future::join_all(lists).await;
    assert!(lists.iter().all(|list| *list == lists[0]));
    assert_eq!(fast.requests().rpc(method::TOOLS_LIST), 1);
}

#[tokio::test]
async fn all_lists_of_an_upstream_are_read_on_one_session() {
    let offer = r#"{"tools":{},"prompts":{},"resources":{}}"#;
    let (puppet, mut strings) = Puppet::offering(offer, Default::default()).await;
    let mut settings = upstream("p", &puppet.url());
    settings.transport = wharf_gateway::Transport::StreamableHttp;
    let wharf = Wharf::in_front_of([settings]).await;
    let client = Over::Http.everything(&wharf).await;
    let lists = [
        (method::TOOLS_LIST, r#"{"tools":[]}"#),
        (method::PROMPTS_LIST, r#"{"prompts":[]}"#),
        (method::RESOURCES_LIST, r#"{"resources":[]}"#),
        (method::RESOURCES_TEMPLATES_LIST, r#"{"resourceTemplates":[]}"#),
    ];
    let asked = lists.map(|(list, _)| ask(&client, list, json!({})));
    let play = async {
        // All of them are under way at once.
        let mut cues = Vec::new();
        for _ in lists {
            cues.push(strings.call().await);
        }
        for cue in cues {
            let list = lists.iter().find(|(list, _)| *list == cue.request.method());
            cue.answer(list.expect("it is a list").1);
        }
    };
    tokio::join!(futures_util::future::join_all(asked), play);
    assert_eq!(wharf.figures("p").await["opens"], 1);
}

#[tokio::test]
async fn a_list_that_an_upstream_does_not_offer_costs_no_lease() {
    let (puppet, mut strings) = Puppet::start(Default::default()).await;
    let mut settings = upstream("p", &puppet.url());
    settings.transport = wharf_gateway::Transport::StreamableHttp;
    let wharf = Wharf::in_front_of([settings]).await;
    let client = Over::Http.everything(&wharf).await;
    let tools = ask(&client, method::TOOLS_LIST, json!({}));
    tokio::join!(tools, strings.serve(method::TOOLS_LIST, r#"{"tools":[]}"#));
    let before = wharf.figures("p").await["hits"].clone();
    // A URI that nobody knows is looked for in all lists of resources.
    refused(&client, method::COMPLETE, json!({"ref": {"type": "ref/resource", "uri": "x://"}}))
        .await;
    assert_eq!(wharf.figures("p").await["hits"], before);
}

#[tokio::test]
async fn a_call_that_is_to_be_cancelled_with_its_client_is_so_before_it_has_a_session() {
    let faulty = Faulty::start(Script::new(), FaultySettings::default()).await.unwrap();
    let mut settings = upstream("f", &faulty.url());
    settings.transport = wharf_gateway::Transport::StreamableHttp;
    settings.on_disconnect = OnDisconnect::Cancel;
    let wharf = Wharf::in_front_of([settings]).await;
    let wire = Wire::connect(&wharf.url("/mcp"), r#"{"roots":{}}"#).await;
    let gate = Gate::new();
    faulty.script().push(When::method(method::INITIALIZE), Fault::Held(gate.clone()));
    let waiters = async |number: u64| {
        soon("the line is that long", async {
            while wharf.figures("f").await["waiters"] != number {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"f__add"}}"#;
    tokio::select! {
        reply = wire.post(body) => panic!("{reply:?}"),
        () = waiters(1) => {}
    }
    // Its client is gone, and it with it.
    waiters(0).await;
    gate.open();
}
