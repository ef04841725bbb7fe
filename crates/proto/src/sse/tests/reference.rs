//! The standard's section 9.2.6 word for word, on a whole stream: slow, and
//! plain enough to be right by looking at it.

use std::time::Duration;

use bytes::Bytes;

use super::super::{Event, Line};

/// What a blank line ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) event: Event,
    /// Whether the standard dispatches the event.
    pub(super) dispatched: bool,
    /// The event source's last event id string after the block.
    pub(super) last_event_id: String,
}

/// The blocks that are events to the standard, or to us because of an `id` or a
/// `retry`.
pub(super) fn interpret(stream: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut data = String::new();
    let mut event_type = String::new();
    let mut last_event_id = String::new();
    // Not of the standard, which keeps no account of what the block itself
    // said.
    let mut id = None;
    let mut retry = None;

    for line in lines(stream.strip_prefix('\u{feff}').unwrap_or(stream)) {
        if line.is_empty() {
            let dispatched = !data.is_empty();
            if data.ends_with('\n') {
                data.pop();
            }
            if dispatched || id.is_some() || retry.is_some() {
                let name = Some(Line(event_type.clone().into())).filter(|name| !name.is_empty());
                let event = Event {
                    name,
                    data: Bytes::from(data.clone()),
                    id: id.take().map(|id: String| Line(id.into())),
                    retry: retry.take(),
                };
                blocks.push(Block { event, dispatched, last_event_id: last_event_id.clone() });
            }
            data.clear();
            event_type.clear();
            continue;
        }
        let (field, value) = match line.split_once(':') {
            Some(("", _)) => continue,
            Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
            None => (line.as_str(), ""),
        };
        match field {
            "event" => event_type = value.to_owned(),
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => {
                last_event_id = value.to_owned();
                id = Some(value.to_owned());
            }
            "retry" => {
                // As browsers do, an empty value is ignored, and so is one that
                // does not fit.
                if value.chars().all(|c| c.is_ascii_digit())
                    && let Ok(milliseconds) = value.parse()
                {
                    retry = Some(Duration::from_millis(milliseconds));
                }
            }
            _ => {}
        }
    }
    blocks
}

/// The lines that have ended.
fn lines(stream: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut chars = stream.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                if chars.peek() == Some(&'\n') {
                    chars.next();
                }
                lines.push(std::mem::take(&mut line));
            }
            '\n' => lines.push(std::mem::take(&mut line)),
            c => line.push(c),
        }
    }
    lines
}
