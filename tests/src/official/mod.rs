//! Server and client of the official Rust SDK, `rmcp`.

#![expect(deprecated, reason = "the revisions that are served here have sampling")]

mod guest;
mod host;

pub use guest::{Ears, Guest, connect};
pub use host::{Happenings, Host, Serving};

/// The text of a tool's answer.
///
/// # Panics
///
/// Where it has none.
#[must_use]
pub fn text(result: &rmcp::model::CallToolResult) -> &str {
    &result.content.first().expect("it has content").as_text().expect("it is text").text
}

/// The parameters of a tool call.
///
/// # Panics
///
/// Where the arguments are no object.
#[must_use]
pub fn calling(
    name: impl Into<std::borrow::Cow<'static, str>>,
    arguments: serde_json::Value,
) -> rmcp::model::CallToolRequestParams {
    let serde_json::Value::Object(arguments) = arguments else { panic!("{arguments}") };
    rmcp::model::CallToolRequestParams::new(name).with_arguments(arguments)
}
