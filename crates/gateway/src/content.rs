//! Blocks of content: what tools and prompts answer with. Each revision knows
//! types of them that those before it do not.

use wharf_proto::{Json, Request, Response, Revision, method};

/// The URI of sound that is shown as a resource, which must have one.
const SOUND: &str = "urn:wharf:audio";

/// The blocks in the answer to a request of that method.
pub(crate) fn blocks(method: &str, result: &Json) -> Vec<Json> {
    match method {
        method::TOOLS_CALL | method::TASKS_RESULT => {
            result.field("content").and_then(|content| content.items()).unwrap_or_default()
        }
        method::PROMPTS_GET => in_messages(result),
        _ => Vec::new(),
    }
}

fn in_messages(holder: &Json) -> Vec<Json> {
    let messages = holder.field("messages").and_then(|messages| messages.items());
    messages.iter().flatten().filter_map(|message| message.field("content")).collect()
}

/// An answer of a later revision as a client of `revision` can read it. Members
/// that it does not know stay: it passes over them, but it cannot pass over a
/// block of a type that it does not know.
pub(crate) fn readable(response: Response, method: &str, revision: Revision) -> Response {
    let blocks = response.result().map(|result| blocks(method, result)).unwrap_or_default();
    let change = |block: &Json| Some((block.clone(), known(block, revision, resource_of)?));
    let changes: Vec<_> = blocks.iter().filter_map(change).collect();
    if changes.is_empty() { response } else { response.replace(&changes) }
}

/// The same for a question. It can hold no resources, so that nothing is left
/// of sound but the word of it.
pub(crate) fn readable_question(question: Request, revision: Revision) -> Request {
    if question.method() != method::CREATE_MESSAGE {
        return question;
    }
    let blocks = question.params().map(in_messages).unwrap_or_default();
    let change = |block| Some((block, known(block, revision, |_| word_of_sound())?));
    let changes = blocks.iter().filter_map(change);
    let rewrite = question.rewrite();
    changes.fold(rewrite, |rewrite, (block, known)| rewrite.replace(block, &known)).finish()
}

/// What stands for a block in a revision that does not know its type.
fn known(block: &Json, revision: Revision, sound: impl Fn(&Json) -> Json) -> Option<Json> {
    match &*block.field("type")?.to_text()? {
        "audio" if revision < Revision::V2025_03_26 => Some(sound(block)),
        "resource_link" if revision < Revision::V2025_06_18 => Some(text_of(block)),
        _ => None,
    }
}

/// Sound as an embedded resource, which every revision knows.
fn resource_of(audio: &Json) -> Json {
    let member = |name: &str| audio.field(name).map(|value| value.to_string());
    let kind = member("mimeType").map(|kind| format!(r#","mimeType":{kind}"#)).unwrap_or_default();
    let data = member("data").unwrap_or_else(|| r#""""#.into());
    let rest = member("annotations").map(|rest| format!(r#","annotations":{rest}"#));
    json(format!(
        r#"{{"type":"resource","resource":{{"uri":"{SOUND}"{kind},"blob":{data}}}{}}}"#,
        rest.unwrap_or_default()
    ))
}

fn word_of_sound() -> Json {
    json(
        r#"{"type":"text","text":"(audio that this revision of the protocol cannot carry)"}"#
            .into(),
    )
}

/// A link as text: its name and where it leads.
fn text_of(link: &Json) -> Json {
    let member = |name: &str| link.field(name)?.to_text();
    let name = member("title").or_else(|| member("name")).unwrap_or_default();
    let uri = member("uri").unwrap_or_default();
    json(format!(r#"{{"type":"text","text":{}}}"#, Json::string(&format!("{name}: {uri}"))))
}

fn json(text: String) -> Json {
    Json::parse(text).expect("its parts are JSON")
}

#[cfg(test)]
mod tests {
    use wharf_proto::RequestId;

    use super::*;

    const AUDIO: &str =
        r#"{"type":"audio","data":"UklG","mimeType":"audio/wav","annotations":{"priority":1.0}}"#;
    const LINK: &str = r#"{"type":"resource_link","uri":"x://y","name":"n","title":"a \"t\""}"#;
    const AS_RESOURCE: &str = r#"{"type":"resource","resource":{"uri":"urn:wharf:audio","mimeType":"audio/wav","blob":"UklG"},"annotations":{"priority":1.0}}"#;
    const AS_TEXT: &str = r#"{"type":"text","text":"a \"t\": x://y"}"#;

    fn read(method: &str, result: &str, revision: Revision) -> String {
        let result = Json::parse(result.to_owned()).expect("the test's JSON is valid");
        let response = Response::success(&RequestId::from(1), &result);
        let response = readable(response, method, revision);
        response.result().expect("it is one").as_str().to_owned()
    }

    #[test]
    fn a_block_becomes_one_that_the_revision_knows_and_nothing_else_changes() {
        for (revision, audio, link) in [
            (Revision::V2024_11_05, AS_RESOURCE, AS_TEXT),
            (Revision::V2025_03_26, AUDIO, AS_TEXT),
            (Revision::V2025_06_18, AUDIO, LINK),
        ] {
            let tool = |audio, link| {
                format!(
                    r#"{{ "content":[{audio} , {{"type":"text","text":"t"}},{link}], "structuredContent":{{"big":18446744073709551616}}}}"#
                )
            };
            for method in [method::TOOLS_CALL, method::TASKS_RESULT] {
                assert_eq!(read(method, &tool(AUDIO, LINK), revision), tool(audio, link));
            }
            let prompt = |audio, link| {
                format!(
                    r#"{{"messages":[{{"role":"user","content":{audio}}},{{"content":{link}}}],"x":null}}"#
                )
            };
            assert_eq!(
                read(method::PROMPTS_GET, &prompt(AUDIO, LINK), revision),
                prompt(audio, link)
            );
        }
    }

    #[test]
    fn what_holds_no_blocks_stays_as_it_is() {
        let read_resource = format!(r#"{{"contents":[{AUDIO}]}}"#);
        for (method, result) in [
            (method::RESOURCES_READ, &*read_resource),
            (method::TOOLS_CALL, r#"{"content":7}"#),
            (method::TOOLS_CALL, r#"{"content":[{"type":1},[],{}]}"#),
            (method::PROMPTS_GET, "[]"),
        ] {
            assert_eq!(read(method, result, Revision::V2024_11_05), result);
        }
    }

    #[test]
    fn a_model_is_asked_about_sound_by_the_word_alone() {
        let ask = |content: &str| {
            let params = format!(
                r#"{{"messages":[{{"role":"user","content":{content}}}],"maxTokens":1.0}}"#
            );
            let params = Json::parse(params).expect("the test's JSON is valid");
            Request::new(&RequestId::from(1), method::CREATE_MESSAGE, Some(&params))
        };
        let asked = readable_question(ask(AUDIO), Revision::V2024_11_05);
        assert_eq!(asked.text(), ask(word_of_sound().as_str()).text());
        let asked = readable_question(ask(AUDIO), Revision::V2025_03_26);
        assert_eq!(asked.text(), ask(AUDIO).text());
    }
}
