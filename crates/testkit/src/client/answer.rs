//! What a tool has answered.

use wharf_proto::Json;

/// What a tool has answered.
#[derive(Debug, Clone)]
pub struct ToolAnswer {
    result: Json,
}

// === impl ToolAnswer ===

impl ToolAnswer {
    pub(super) const fn new(result: Json) -> Self {
        Self { result }
    }

    /// The texts of its content, with line breaks between them.
    #[must_use]
    pub fn text(&self) -> String {
        let blocks = self.result.field("content").and_then(|all| all.items());
        let texts = blocks
            .unwrap_or_default()
            .into_iter()
            .filter_map(|block| block.field("text")?.to_text());
        texts.map(|text| text.as_str().to_owned()).collect::<Vec<_>>().join("\n")
    }

    /// Whether the tool says that it failed.
    #[must_use]
    pub fn is_error(&self) -> bool {
        let is_error = self.result.field("isError");
        is_error.is_some_and(|is_error| is_error.as_str() == "true")
    }

    /// The whole result, as it was written.
    #[must_use]
    pub const fn result(&self) -> &Json {
        &self.result
    }
}
