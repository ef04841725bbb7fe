//! What a client has declared that it can be asked.

use wharf_proto::{ErrorObject, Json, Request, code, method};

/// Why a client cannot be asked this; `None` where it can. An upstream may ask
/// for no more than was declared to it (lifecycle, capability negotiation).
pub(crate) fn refusal(capabilities: &Json, request: &Request) -> Option<ErrorObject> {
    let has = |path: &[&str]| capabilities.path(path).is_some_and(|value| value.is_object());
    let (capability, mode) = match request.method() {
        method::CREATE_MESSAGE => ("sampling", uses_tools(request).then_some("tools")),
        method::ELICIT => ("elicitation", Some(elicitation_mode(request))),
        method::ROOTS_LIST => ("roots", None),
        tasks if tasks.starts_with("tasks/") => ("tasks", None),
        unknown => return Some(missing(unknown, code::METHOD_NOT_FOUND)),
    };
    if !has(&[capability]) {
        return Some(missing(request.method(), code::METHOD_NOT_FOUND));
    }
    let is_declared = match mode {
        None => true,
        // Before there were modes there were forms, and no word for them.
        Some("form") => has(&["elicitation", "form"]) || !has(&["elicitation", "url"]),
        Some(mode) => has(&[capability, mode]),
    };
    // A mode that was not declared is a parameter that does not fit
    // (2025-11-25, elicitation, error handling; sampling, tools).
    (!is_declared).then(|| missing(request.method(), code::INVALID_PARAMS))
}

fn missing(method: &str, code: i64) -> ErrorObject {
    ErrorObject::new(code, format!("the client has not declared what {method} needs"))
}

fn uses_tools(request: &Request) -> bool {
    request.param("tools").is_some() || request.param("toolChoice").is_some()
}

fn elicitation_mode(request: &Request) -> &'static str {
    let mode = request.param("mode").and_then(|mode| mode.to_text());
    if mode.as_deref() == Some("url") { "url" } else { "form" }
}

#[cfg(test)]
mod tests {
    use wharf_proto::RequestId;

    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.to_owned()).expect("the test's JSON is valid")
    }

    fn refused(capabilities: &str, method: &str, params: &str) -> Option<i64> {
        let request = Request::new(&RequestId::from(1), method, Some(&json(params)));
        refusal(&json(capabilities), &request).map(|error| error.code)
    }

    #[test]
    fn what_was_not_declared_is_an_unknown_method() {
        for method in [method::CREATE_MESSAGE, method::ELICIT, method::ROOTS_LIST, "tasks/get"] {
            assert_eq!(refused("{}", method, "{}"), Some(code::METHOD_NOT_FOUND), "{method}");
        }
        let all = r#"{"sampling":{},"elicitation":{},"roots":{},"tasks":{}}"#;
        for method in [method::CREATE_MESSAGE, method::ELICIT, method::ROOTS_LIST, "tasks/get"] {
            assert_eq!(refused(all, method, "{}"), None, "{method}");
        }
        assert_eq!(refused(all, "vendor/odd", "{}"), Some(code::METHOD_NOT_FOUND));
    }

    #[test]
    fn a_mode_that_was_not_declared_is_a_parameter_that_does_not_fit() {
        let (form, url) = (r#"{"mode":"form"}"#, r#"{"mode":"url"}"#);
        for (declared, asked, refusal) in [
            ("{}", "{}", None),
            ("{}", form, None),
            ("{}", url, Some(code::INVALID_PARAMS)),
            (r#"{"form":{}}"#, form, None),
            (r#"{"form":{}}"#, url, Some(code::INVALID_PARAMS)),
            (r#"{"url":{}}"#, url, None),
            (r#"{"url":{}}"#, "{}", Some(code::INVALID_PARAMS)),
            (r#"{"form":{},"url":{}}"#, form, None),
            (r#"{"form":{},"url":{}}"#, url, None),
        ] {
            let capabilities = format!(r#"{{"elicitation":{declared}}}"#);
            assert_eq!(refused(&capabilities, method::ELICIT, asked), refusal, "{declared}");
        }
    }

    #[test]
    fn tools_in_sampling_need_a_word_of_their_own() {
        let with_tools = r#"{"tools":[]}"#;
        let refusal = refused(r#"{"sampling":{}}"#, method::CREATE_MESSAGE, with_tools);
        assert_eq!(refusal, Some(code::INVALID_PARAMS));
        let declared = r#"{"sampling":{"tools":{}}}"#;
        assert_eq!(refused(declared, method::CREATE_MESSAGE, with_tools), None);
    }
}
