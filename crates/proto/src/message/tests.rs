//! Reading, rewriting and writing messages.

use proptest::prelude::*;

use super::*;
use crate::{ErrorObject, Flaw, ParseError, Splice, code};

fn parse(text: &str) -> Message {
    Message::parse(text.to_owned()).expect("the test's message is valid")
}

fn request(text: &str) -> Request {
    match parse(text) {
        Message::Request(request) => request,
        other => panic!("a request, not {other:?}"),
    }
}

fn response(text: &str) -> Response {
    match parse(text) {
        Message::Response(response) => response,
        other => panic!("a response, not {other:?}"),
    }
}

fn flaw(text: &str) -> Flaw {
    match Body::parse(text.to_owned()).expect_err("the test's message is flawed") {
        ParseError::NotJsonRpc { flaw, .. } => flaw,
        other => panic!("a flaw, not {other}"),
    }
}

#[test]
fn a_message_that_is_only_forwarded_keeps_every_byte() {
    let text = "{ \"extra\":{ }, \"id\" : 340282366920938463463374607431768211456,\"params\":{\"b\":[],\"a\":1e400, \"a\":null},\n\"method\":\"x\",\"jsonrpc\":\"2.0\" }";
    assert_eq!(parse(text).text(), text);
}

#[test]
fn another_id_and_token_change_nothing_else() {
    let old = request(
        r#"{"params":{"_meta":{"progressToken":"p","v":[ ]},"n":18446744073709551616},"id":"1","x":null,"method":"tools/call","jsonrpc":"2.0"}"#,
    );
    let (token, part) = old.progress_token().expect("has one");
    assert_eq!(token.to_json().as_str(), "\"p\"");
    let new = old.rewrite().replace(&part, &Json::number(4711)).id(RequestId::from(4711)).finish();
    assert_eq!(
        new.text(),
        r#"{"params":{"_meta":{"progressToken":4711,"v":[ ]},"n":18446744073709551616},"id":4711,"x":null,"method":"tools/call","jsonrpc":"2.0"}"#
    );
    assert_eq!(new.id(), &RequestId::from(4711));
    assert_eq!(new.param("n").expect("is there").as_str(), "18446744073709551616");
    let back = new
        .rewrite()
        .id(RequestId::from("1"))
        .replace(&new.progress_token().expect("has one").1, &token.to_json());
    assert_eq!(back.finish().text(), old.text());
}

#[test]
fn a_member_can_be_inserted_into_the_parameters() {
    let old = request(r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{}}"#);
    let params = old.params().expect("has some").clone();
    let new = old.rewrite().insert(&params, "_meta", &Json::empty_object()).finish();
    assert_eq!(new.params().expect("has some").as_str(), r#"{"_meta":{}}"#);
}

#[test]
fn a_response_goes_back_under_the_id_of_its_request() {
    let given = response(r#"{"result":{"id":7,"x":[ ]},"id":7,"jsonrpc":"2.0","more":1}"#);
    let back = given.with_id(&RequestId::from("7"));
    assert_eq!(back.text(), r#"{"result":{"id":7,"x":[ ]},"id":"7","jsonrpc":"2.0","more":1}"#);
    assert_eq!(back.result().expect("is one").as_str(), r#"{"id":7,"x":[ ]}"#);
}

#[test]
fn a_member_can_be_inserted_into_a_result() {
    let given = response(r#"{"result":{"x":[ ]},"jsonrpc":"2.0","id":7}"#);
    let result = given.result().expect("is one").clone();
    let marked = given.insert(&result, "_meta", &Json::empty_object());
    assert_eq!(marked.text(), r#"{"result":{"_meta":{},"x":[ ]},"jsonrpc":"2.0","id":7}"#);
    let back = marked.with_id(&RequestId::from("a"));
    assert_eq!(back.text(), r#"{"result":{"_meta":{},"x":[ ]},"jsonrpc":"2.0","id":"a"}"#);
}

#[test]
fn an_error_without_an_id_gets_the_one_it_is_sent_back_under() {
    let given = response(r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"m"}}"#);
    assert_eq!(given.id(), None);
    assert_eq!(given.error_code(), Some(code::PARSE_ERROR));
    let back = given.with_id(&RequestId::from(3));
    assert_eq!(back.text(), r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32700,"message":"m"}}"#);
    let null = response(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#);
    assert_eq!(null.id(), None);
    assert_eq!(null.with_id(&RequestId::from(3)).id(), Some(&RequestId::from(3)));
}

#[test]
fn a_null_result_is_a_result() {
    assert_eq!(
        response(r#"{"jsonrpc":"2.0","id":1,"result":null}"#).result().map(Json::as_str),
        Some("null")
    );
}

#[test]
fn null_parameters_are_none_and_other_scalars_are_refused() {
    assert!(request(r#"{"jsonrpc":"2.0","id":1,"method":"m","params":null}"#).params().is_none());
    assert_eq!(flaw(r#"{"jsonrpc":"2.0","id":1,"method":"m","params":7}"#), Flaw::Params);
}

#[test]
fn each_flaw_is_told_by_name() {
    assert_eq!(flaw(r#"{"id":1,"method":"m"}"#), Flaw::Version);
    assert_eq!(flaw(r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#), Flaw::Version);
    assert_eq!(flaw(r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#), Flaw::Id);
    assert_eq!(flaw(r#"{"jsonrpc":"2.0","id":1.5,"method":"m"}"#), Flaw::Id);
    assert_eq!(flaw(r#"{"jsonrpc":"2.0","result":{}}"#), Flaw::Id);
    assert_eq!(flaw(r#"{"jsonrpc":"2.0","id":1}"#), Flaw::Nothing);
    assert_eq!(flaw(r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#), Flaw::Ambiguous);
    assert_eq!(flaw("[]"), Flaw::EmptyBatch);
    assert!(matches!(flaw("7"), Flaw::Shape(_)));
    assert!(matches!(flaw(r#"[["2.0",1,"ping",{},null,null]]"#), Flaw::Shape(_)));
    assert!(matches!(flaw(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#), Flaw::Shape(_)));
}

#[test]
fn a_broken_body_says_where_and_keeps_the_id_it_could_read() {
    let error = Body::parse("{\"jsonrpc\":\"2.0\",\n\"id\":1,,}").expect_err("is broken");
    assert_eq!(error.to_string(), "the body is not JSON: line 2 column 8");
    assert_eq!(error.code(), code::PARSE_ERROR);
    let error = Body::parse(r#"{"jsonrpc":"2.0","id":"q","method":7}"#).expect_err("is broken");
    assert_eq!(error.id(), Some(&RequestId::from("q")));
    assert_eq!(error.code(), code::INVALID_REQUEST);
    let error = Body::parse(r#"[{"jsonrpc":"2.0","method":"m"},{"jsonrpc":"2.0","id":4}]"#)
        .expect_err("is broken");
    assert!(error.to_string().starts_with("message 1 of the batch"), "{error}");
    assert_eq!(error.id(), Some(&RequestId::from(4)));
}

#[test]
fn an_array_is_read_up_to_its_first_flaw() {
    // What comes after it would not even be JSON.
    let Err(ParseError::NotJsonRpc { index, flaw, .. }) = Body::parse("[1,1,1 oops") else {
        panic!("the first item is no message")
    };
    assert!(matches!((index, flaw), (Some(0), Flaw::Shape(_))));
    let error = Body::parse(r#"[{"jsonrpc":"2.0","method":"m"} oops"#).expect_err("is broken");
    assert_eq!(error.to_string(), "the body is not JSON: line 1 column 33");
    let error = Body::parse(r#"[{"jsonrpc":"2.0","method":"m"}] oops"#).expect_err("is broken");
    assert_eq!(error.code(), code::PARSE_ERROR);
}

#[test]
fn a_batch_has_a_largest_number_of_messages() {
    let message = r#"{"jsonrpc":"2.0","method":"m"}"#;
    let most = vec![message; Body::MAX_MESSAGES].join(",");
    let Ok(Body::Batch(messages)) = Body::parse(format!("[{most}]")) else { panic!("a batch") };
    assert_eq!(messages.len(), Body::MAX_MESSAGES);
    assert_eq!(flaw(&format!("[{most},{message}]")), Flaw::TooManyMessages);
    assert_eq!(flaw(&format!("[{most},1 oops")), Flaw::TooManyMessages);
}

#[test]
fn a_batch_gives_its_messages_in_order() {
    let Ok(Body::Batch(messages)) = Body::parse(
        r#" [{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"} , {"jsonrpc":"2.0","id":"1","result":{}}]"#,
    ) else {
        panic!("a batch")
    };
    assert!(matches!(
        &messages[..],
        [Message::Request(_), Message::Notification(_), Message::Response(_)]
    ));
}

#[test]
fn a_log_of_a_message_holds_no_parameters() {
    let shown = format!(
        "{:?}",
        parse(r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"password":"hunter2"}}"#)
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_complaint_does_not_quote_the_message() {
    let error = Message::parse(r#"{"jsonrpc":"2.0","id":1,"method":{"hunter2":1}}"#);
    let error = error.expect_err("a method is a string").to_string();
    assert!(error.contains("line 1 column 33"), "{error}");
    let error = Message::parse(r#"{"jsonrpc":["hunter2"],"id":1,"method":"m"}"#);
    assert!(!error.expect_err("is no version").to_string().contains("hunter2"));
    let error = Message::parse(r#""hunter2""#).expect_err("is no object");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn messages_of_our_own_are_messages() {
    let cancelled = Notification::cancelled(&RequestId::from("a\"b"), "gone");
    assert_eq!(cancelled.cancelled_id(), Some(RequestId::from("a\"b")));
    let error = ErrorObject::new(code::INVALID_PARAMS, "no").with_data(Json::number(1));
    let response = Response::failure(Some(&RequestId::from(9)), &error);
    assert_eq!(
        response.text(),
        r#"{"jsonrpc":"2.0","id":9,"error":{"code":-32602,"message":"no","data":1}}"#
    );
}

/// JSON values as text, with the white space and spellings that a parser
/// which rebuilt them would lose.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("-0".to_owned()),
        Just("1e999".to_owned()),
        "[1-9][0-9]{0,40}",
        "\"([a-z]|\\\\u00e9|\\\\n|\u{e9})*\"",
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[ {}]", items.join(" ,"))),
            prop::collection::vec(("[a-d]", inner), 0..4).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
                format!("{{{}}}", members.join(",\n"))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_request_comes_out_byte_for_byte_and_takes_another_id(params in any_json(), extra in any_json(), id in 0u64.., new in 0u64..) {
        let params = format!("{{\"arguments\":{params}}}");
        let text = |id: u64| format!("{{\"x\":{extra},\"id\":{id},\"params\":{params},\"method\":\"m\",\"jsonrpc\":\"2.0\"}}");
        let old = request(&text(id));
        prop_assert_eq!(old.text(), &text(id));
        prop_assert_eq!(old.params().expect("has some").as_str(), &params);
        let new_request = old.rewrite().id(RequestId::from(new)).finish();
        prop_assert_eq!(new_request.text(), &text(new));
        prop_assert_eq!(new_request.params().expect("has some").as_str(), &params);
    }

    #[test]
    fn any_result_comes_out_byte_for_byte_under_another_id(result in any_json(), id in "[a-z]{0,9}") {
        let text = |id: &str| format!("{{\"jsonrpc\":\"2.0\",\"result\":{result},\"id\":\"{id}\" }}");
        let moved = response(&text(&id)).with_id(&RequestId::from("other"));
        prop_assert_eq!(moved.text(), &text("other"));
        prop_assert_eq!(moved.result().expect("is one").as_str(), &result);
    }

    #[test]
    fn any_part_of_a_value_can_be_replaced(before in any_json(), value in any_json(), after in any_json(), with in any_json()) {
        let whole = |value: &str| format!("{{\"p\":{before}, \"q\":{{\"r\":{value}}},\"s\":{after}}}");
        let json = Json::parse(whole(&value)).expect("is JSON");
        let part = json.path(&["q", "r"]).expect("is there");
        let with_json = Json::parse(with.clone()).expect("is JSON");
        let changed = Splice::of(&json).replace(&part, &with_json).finish();
        prop_assert_eq!(changed.as_str(), &whole(&with));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Body::parse(bytes);
    }
}
