//! Fast Test: a server that answers at once, or exactly as late as it is
//! told to.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    fast_time::{Clock, SystemTime},
    toolbox::{Call, Content, Failed, NoArguments, Severity, Tool, Toolbox},
};

#[cfg(test)]
mod tests;

/// A server with the tools `echo`, `get_system_time`, `get_stats` and
/// `slow_count`. It has a log.
pub type FastTest = Toolbox<Echoes>;

/// How often Fast Test has echoed.
#[derive(Debug, Default)]
pub struct Echoes(AtomicU64);

/// How long `slow_count` takes for one number, in milliseconds, where it is
/// not told.
const USUAL_STEP: u64 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Echo {
    message: String,
    #[serde(default)]
    delay: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlowCount {
    to: u64,
    every: Option<u64>,
}

// === impl FastTest ===

impl FastTest {
    /// A server that nobody has called yet.
    #[must_use]
    pub fn new() -> Self {
        Self::named("fast-test", env!("CARGO_PKG_VERSION"), Echoes::default())
            .instructions("For tests: echo answers at once or after a delay.")
            .with_log()
            .tool(echo_tool(), echo)
            .tool(SystemTime::tool(), async |asked: SystemTime, _| asked.answer(&Clock::default()))
            .tool(stats_tool(), stats)
            .tool(slow_count_tool(), slow_count)
    }
}

impl Default for FastTest {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Echoes ===

impl Echoes {
    /// How many echoes were asked for, the delayed ones under way included.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn echo_tool() -> Tool {
    Tool::new(
        "echo",
        "Answers with the message as it is, after a delay where one is asked for",
        json!({
            "type": "object",
            "properties": {
                "message": {"type": "string", "description": "What to answer with"},
                "delay": {"type": "integer", "minimum": 0, "description": "Milliseconds to wait"},
            },
            "required": ["message"],
            "additionalProperties": false,
        }),
    )
}

async fn echo(echo: Echo, call: Call<Echoes>) -> Result<Content, Failed> {
    call.state().0.fetch_add(1, Ordering::Relaxed);
    if echo.delay > 0 {
        sleep(Duration::from_millis(echo.delay)).await;
    }
    Ok(Content::text(echo.message))
}

fn stats_tool() -> Tool {
    Tool::new(
        "get_stats",
        "Says in JSON how many calls and echoes there were, how many sessions are open and how \
         long the server has been up",
        json!({"type": "object", "properties": {}, "additionalProperties": false}),
    )
}

async fn stats(_: NoArguments, call: Call<Echoes>) -> Result<Content, Failed> {
    let figures = call.figures();
    let stats = json!({
        "calls": figures.calls(),
        "echoes": call.state().count(),
        "running": figures.running(),
        "sessions": figures.sessions(),
        "uptime_seconds": figures.uptime().as_secs_f64(),
    });
    Ok(Content::text(stats.to_string()))
}

fn slow_count_tool() -> Tool {
    Tool::new(
        "slow_count",
        "Counts, and says each number as progress and in the log",
        json!({
            "type": "object",
            "properties": {
                "to": {"type": "integer", "minimum": 0, "description": "The last number"},
                "every": {
                    "type": "integer",
                    "minimum": 0,
                    "default": USUAL_STEP,
                    "description": "Milliseconds before each number",
                },
            },
            "required": ["to"],
            "additionalProperties": false,
        }),
    )
}

async fn slow_count(count: SlowCount, call: Call<Echoes>) -> Result<Content, Failed> {
    let step = Duration::from_millis(count.every.unwrap_or(USUAL_STEP));
    for number in 1..=count.to {
        sleep(step).await;
        let text = format!("{number} of {}", count.to);
        call.progress(number, Some(count.to), &text);
        call.log(Severity::Info, "slow_count", &text);
    }
    Ok(Content::text(format!("counted to {}", count.to)))
}
