//! What a server offers: the descriptions its lists are made of, and the
//! contents it answers with.

use serde::{Deserialize, Serialize};
use wharf_proto::Json;

/// A tool, as `tools/list` describes it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    name: String,
    description: String,
    input_schema: serde_json::Value,
}

/// A resource, as `resources/list` describes it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    uri: String,
    name: String,
    description: String,
    mime_type: String,
}

/// A family of resources, as `resources/templates/list` describes it: a
/// prefix and one variable after it, which may hold any character of a URI
/// (RFC 6570, `{+variable}`).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    uri_template: String,
    name: String,
    description: String,
    mime_type: String,
    #[serde(skip)]
    prefix: String,
}

/// A prompt, as `prompts/list` describes it.
#[derive(Debug, Clone, Serialize)]
pub struct Prompt {
    name: String,
    description: String,
    arguments: Vec<Argument>,
}

#[derive(Debug, Clone, Serialize)]
struct Argument {
    name: String,
    description: String,
    required: bool,
}

/// What `completion/complete` completes an argument of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type")]
pub enum Reference {
    /// A prompt.
    #[serde(rename = "ref/prompt")]
    Prompt {
        /// Its name.
        name: String,
    },
    /// A template, or a resource, which has nothing to complete.
    #[serde(rename = "ref/resource")]
    Resource {
        /// The template as it is listed.
        uri: String,
    },
}

/// What a tool answers: one text or several.
#[derive(Debug, Clone, Serialize)]
pub struct Content(Vec<Block>);

#[derive(Debug, Clone, Serialize)]
struct Block {
    r#type: &'static str,
    text: String,
}

/// A tool has run and failed, or could not make sense of its arguments. The
/// text is for the model, which can try again; the answer is a result with
/// `isError`, not a JSON-RPC error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

/// What a resource holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// What kind of text it is.
    pub mime_type: &'static str,
    /// The text.
    pub text: String,
}

/// The arguments of a tool that takes none.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

// === impl Tool ===

impl Tool {
    /// Describes a tool whose arguments fit `input_schema` (JSON Schema).
    pub fn new(
        name: impl Into<String>,
        description: impl Into<String>,
        input_schema: serde_json::Value,
    ) -> Self {
        Self { name: name.into(), description: description.into(), input_schema }
    }

    /// The name, and the entry in the list.
    pub(super) fn into_parts(self) -> (String, Json) {
        let listed = written(&self);
        (self.name, listed)
    }
}

// === impl Resource ===

impl Resource {
    /// Describes a resource.
    pub fn new(
        uri: impl Into<String>,
        name: impl Into<String>,
        description: impl Into<String>,
        mime_type: impl Into<String>,
    ) -> Self {
        Self {
            uri: uri.into(),
            name: name.into(),
            description: description.into(),
            mime_type: mime_type.into(),
        }
    }

    /// The URI, and the entry in the list.
    pub(super) fn into_parts(self) -> (String, Json) {
        let listed = written(&self);
        (self.uri, listed)
    }
}

// === impl Template ===

impl Template {
    /// Describes the resources `{prefix}{+variable}`.
    pub fn new(
        prefix: impl Into<String>,
        variable: &str,
        name: impl Into<String>,
        description: impl Into<String>,
        mime_type: impl Into<String>,
    ) -> Self {
        let prefix = prefix.into();
        Self {
            uri_template: format!("{prefix}{{+{variable}}}"),
            name: name.into(),
            description: description.into(),
            mime_type: mime_type.into(),
            prefix,
        }
    }

    /// The template as it is listed, for [`Reference::Resource`].
    #[must_use]
    pub fn uri_template(&self) -> &str {
        &self.uri_template
    }

    /// The template, the entry in the list, and the prefix.
    pub(super) fn into_parts(self) -> (String, Json, String) {
        let listed = written(&self);
        (self.uri_template, listed, self.prefix)
    }
}

// === impl Prompt ===

impl Prompt {
    /// Describes a prompt without arguments.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into(), arguments: Vec::new() }
    }

    /// Adds an argument that must be given.
    #[must_use]
    pub fn requires(self, name: impl Into<String>, description: impl Into<String>) -> Self {
        self.argument(name.into(), description.into(), true)
    }

    /// Adds an argument that may be given.
    #[must_use]
    pub fn takes(self, name: impl Into<String>, description: impl Into<String>) -> Self {
        self.argument(name.into(), description.into(), false)
    }

    fn argument(mut self, name: String, description: String, required: bool) -> Self {
        self.arguments.push(Argument { name, description, required });
        self
    }

    /// The name, the entry in the list, and the description.
    pub(super) fn into_parts(self) -> (String, Json, String) {
        let listed = written(&self);
        (self.name, listed, self.description)
    }
}

// === impl Content ===

impl Content {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self(vec![Block::text(text.into())])
    }

    /// Adds another text.
    #[must_use]
    pub fn and_text(mut self, text: impl Into<String>) -> Self {
        self.0.push(Block::text(text.into()));
        self
    }

    pub(super) fn into_result(self, is_error: bool) -> Json {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct ToolResult {
            content: Content,
            is_error: bool,
        }
        written(&ToolResult { content: self, is_error })
    }
}

impl Block {
    const fn text(text: String) -> Self {
        Self { r#type: "text", text }
    }
}

// === impl Failed ===

impl Failed {
    /// A failure, in words for the model.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

// === impl Contents ===

impl Contents {
    /// A plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { mime_type: "text/plain", text: text.into() }
    }

    /// A JSON text.
    #[must_use]
    pub fn json(value: &serde_json::Value) -> Self {
        Self { mime_type: "application/json", text: value.to_string() }
    }

    pub(super) fn into_result(self, uri: &str) -> Json {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Read<'a> {
            uri: &'a str,
            mime_type: &'a str,
            text: &'a str,
        }
        #[derive(Serialize)]
        struct ReadResult<'a> {
            contents: [Read<'a>; 1],
        }
        written(&ReadResult {
            contents: [Read { uri, mime_type: self.mime_type, text: &self.text }],
        })
    }
}

/// The result of `prompts/get`: one message, in the user's name.
pub(super) fn prompt_result(description: &str, text: String) -> Json {
    #[derive(Serialize)]
    struct Spoken {
        role: &'static str,
        content: Block,
    }
    #[derive(Serialize)]
    struct PromptResult<'a> {
        description: &'a str,
        messages: [Spoken; 1],
    }
    written(&PromptResult {
        description,
        messages: [Spoken { role: "user", content: Block::text(text) }],
    })
}

/// The JSON text of one of the kit's own types.
pub(super) fn written<T: Serialize>(value: &T) -> Json {
    Json::from_value(value).expect("the kit's own types have string keys only")
}
