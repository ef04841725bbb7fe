//! `wharf call`: one call of one tool.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, anyhow, bail};
use wharf_proto::{Json, NotJson, Notification, method};

use crate::{
    args::CallArgs,
    failure::{Exit, Failure},
    list,
    output::{print, printable},
    signals::Signals,
    visit::{self, AskError, Visit},
};

/// Calls the tool of `args`. A signal cancels the call.
///
/// # Errors
///
/// Where there is no such server or tool, or the arguments are none.
///
/// # Cancel safety
///
/// Cancel safe: dropped midway, the call ends.
pub(crate) async fn run(args: &CallArgs) -> Result<Exit, Failure> {
    let server = visit::server(&args.server)?;
    let params = params(args).map_err(Failure::Usage)?;
    let visit = list::open(server).await?;
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let outcome = tokio::select! {
        answer = call(&visit, &params) => Ok(answer),
        signal = signals.next() => Err(signal),
    };
    visit.leave().await;
    let answer = match outcome {
        Ok(answer) => answer,
        Err(signal) => return Ok(Exit::Signal(signal.number())),
    };
    let result = answer.with_context(|| format!("cannot call {:?}", args.tool))?;
    if args.json {
        print(format!("{result}\n"))?;
    } else {
        print(shown(&result))?;
    }
    let is_error = result.field("isError").is_some_and(|flag| flag.as_str() == "true");
    if is_error {
        return Err(anyhow!("the tool {:?} says that it failed", args.tool).into());
    }
    Ok(Exit::Fine)
}

async fn call(visit: &Visit, params: &Json) -> Result<Json, AskError> {
    visit.ask(method::TOOLS_CALL, Some(params), show_progress).await
}

/// The parameters of the call. Progress is asked for where somebody would
/// see it.
fn params(args: &CallArgs) -> anyhow::Result<Json> {
    let arguments = match args.arguments.as_deref() {
        None => "{}".to_owned(),
        Some("-") => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            text
        }
        Some(text) => text.to_owned(),
    };
    let arguments = parsed(arguments)?;
    let name = Json::string(&args.tool);
    let meta = if io::stderr().is_terminal() { r#","_meta":{"progressToken":1}"# } else { "" };
    let params = format!(r#"{{"name":{name},"arguments":{arguments}{meta}}}"#);
    Ok(Json::parse(params).expect("its parts are JSON"))
}

fn parsed(arguments: String) -> anyhow::Result<Json> {
    let json = Json::parse(arguments).map_err(|error| match error {
        NotJson::Syntax { source } => anyhow!("the tool's arguments are not JSON: {source}"),
        error => anyhow!("the tool's arguments are not JSON: {error}"),
    })?;
    if !json.is_object() {
        bail!("the tool's arguments must be a JSON object, such as {{\"message\": \"hello\"}}");
    }
    Ok(json)
}

fn show_progress(notification: &Notification) {
    if notification.method() != method::PROGRESS {
        return;
    }
    let number = |name| notification.param(name).map(|number| number.to_string());
    let of = number("total").map(|total| format!("/{total}")).unwrap_or_default();
    let message = notification.param("message").and_then(|message| message.to_text());
    let message = message.map(|message| format!(" {}", printable(&message))).unwrap_or_default();
    let line = format!("progress: {}{of}{message}\n", number("progress").unwrap_or_default());
    // Progress that cannot be shown is no reason to give the call up.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// A result for people: its text as it is, everything else in a word. Where
/// there is nothing but structured content, that.
fn shown(result: &Json) -> String {
    let blocks = result.field("content").and_then(|content| content.items()).unwrap_or_default();
    if blocks.is_empty()
        && let Some(structured) = result.field("structuredContent")
    {
        return format!("{structured}\n");
    }
    blocks.iter().map(|block| format!("{}\n", shown_block(block))).collect()
}

fn shown_block(block: &Json) -> String {
    let text = |path: &[&str]| block.path(path).and_then(|value| value.to_text());
    let kind = text(&["type"]).map(|kind| printable(&kind)).unwrap_or_else(|| "block".to_owned());
    let described =
        |path: &[&str]| text(path).map(|text| format!(" {}", printable(&text))).unwrap_or_default();
    match &*kind {
        "text" => text(&["text"]).map(|text| text.to_string()).unwrap_or_default(),
        "image" | "audio" => {
            // Base64: four letters for three bytes.
            let bytes = text(&["data"]).map_or(0, |data| data.trim_end_matches('=').len() * 3 / 4);
            format!("[{kind}{}, {bytes} bytes]", described(&["mimeType"]))
        }
        "resource" => match text(&["resource", "text"]) {
            Some(text) => text.to_string(),
            None => format!("[{kind}{}]", described(&["resource", "uri"])),
        },
        _ => format!("[{kind}{}]", described(&["uri"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn text_is_shown_as_it_is_and_the_rest_in_a_word() {
        let result = json(
            r#"{"content":[
                {"type":"text","text":"a\nb"},
                {"type":"image","mimeType":"image/png","data":"AAAA"},
                {"type":"audio","data":"AAA="},
                {"type":"resource","resource":{"uri":"t://1","text":"inside"}},
                {"type":"resource","resource":{"uri":"t://2","blob":"AAAA"}},
                {"type":"resource_link","uri":"t://3"},
                {"type":"hologram"}
            ]}"#,
        );
        let expected = "a\nb\n[image image/png, 3 bytes]\n[audio, 2 bytes]\ninside\n\
                        [resource t://2]\n[resource_link t://3]\n[hologram]\n";
        assert_eq!(shown(&result), expected);
    }

    #[test]
    fn structured_content_alone_is_shown() {
        assert_eq!(shown(&json(r#"{"structuredContent":{"a":1}}"#)), "{\"a\":1}\n");
        assert_eq!(shown(&json(r#"{"content":[]}"#)), "");
    }

    #[test]
    fn arguments_that_are_none_are_refused_with_the_place() {
        for (arguments, expected) in [
            (
                "{\"a\": 1,}",
                "the tool's arguments are not JSON: key must be a string at line 1 column 9",
            ),
            ("[1]", "the tool's arguments must be a JSON object, such as {\"message\": \"hello\"}"),
        ] {
            let error = parsed(arguments.to_owned()).expect_err("are none");
            assert_eq!(error.to_string(), expected);
        }
    }
}
