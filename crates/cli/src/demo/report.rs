//! What the demo prints: a table for people.

use std::{fmt::Arguments, time::Duration};

use crate::output;

/// How much of an answer is shown.
const ANSWER_WIDTH: usize = 24;

/// The table as it grows.
#[derive(Debug, Default)]
pub(super) struct Report {
    first: Option<Duration>,
}

/// One call.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) client: &'static str,
    pub(super) what: String,
    /// Whether a session with an upstream was opened for it.
    pub(super) opened: bool,
    /// HTTP requests that the upstreams got meanwhile.
    pub(super) posts: u64,
    pub(super) elapsed: Duration,
    pub(super) answer: String,
}

// === impl Report ===

impl Report {
    pub(super) fn begin(&mut self, cast: &[(&str, String)]) {
        line(format_args!("wharf demo: everything below is in this process, on loopback.\n"));
        for (who, url) in cast {
            line(format_args!("  {who:<32} {url}"));
        }
        line(format_args!(""));
        line(format_args!(
            "  {:<15} {:<30} {:<7} {:>8} {:>9}  answer",
            "client over", "call", "session", "requests", "took"
        ));
        line(format_args!("  {}", "-".repeat(75 + ANSWER_WIDTH)));
    }

    pub(super) fn row(&mut self, row: Row) {
        let Row { client, what, opened, posts, elapsed, answer } = row;
        if opened && self.first.is_none() {
            self.first = Some(elapsed);
        }
        let session = if opened { "OPENED" } else { "reused" };
        let answer = shortened(&answer);
        line(format_args!(
            "  {client:<15} {what:<30} {session:<7} {posts:>8} {:>9}  {answer}",
            millis(elapsed)
        ));
    }

    pub(super) fn aside(&mut self, what: &str) {
        line(format_args!("\n  {what}\n"));
    }

    /// What reuse has brought, next to the first call.
    pub(super) fn reuse(&mut self, calls: usize, median: Duration, opened: u64, posts: u64) {
        let first = self.first.unwrap_or_default();
        let times = first.as_secs_f64() / median.as_secs_f64().max(1e-9);
        line(format_args!(
            "\n  {calls} more calls: {opened} sessions opened, {posts} requests to the upstream, {} each (median);",
            millis(median)
        ));
        line(format_args!(
            "  the first call, for which the session was opened, took {}: {times:.1} times as long.",
            millis(first)
        ));
    }

    pub(super) fn end(&mut self) {
        line(format_args!(
            "\n  Every call succeeded. \"requests\" are the HTTP requests that reached an upstream: opening a"
        ));
        line(format_args!(
            "  session costs several, a call on an open one costs one; over a network each is a round trip."
        ));
    }

    /// How to connect, for those who want to try it themselves.
    pub(super) fn invite(&mut self, url: &str, admin: &str) {
        line(format_args!("\n  Staying up. Paste this URL into an MCP client:\n\n      {url}\n"));
        line(format_args!("  or this into its configuration:\n"));
        line(format_args!(
            "      {{\"mcpServers\": {{\"wharf\": {{\"type\": \"http\", \"url\": \"{url}\"}}}}}}\n"
        ));
        line(format_args!("  What the pool holds: {admin}\n  Ctrl-C ends it."));
    }
}

/// Prints a line. A reader who has gone misses nothing that matters.
fn line(text: Arguments<'_>) {
    let _ = output::print(format!("{text}\n"));
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

/// The beginning of an answer, on one line.
fn shortened(answer: &str) -> String {
    let line = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= ANSWER_WIDTH {
        return line;
    }
    let start: String = line.chars().take(ANSWER_WIDTH - 1).collect();
    format!("{start}\u{2026}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_takes_no_more_than_its_column() {
        assert_eq!(shortened("short"), "short");
        let long = shortened(&"word \u{e9}\n".repeat(40));
        assert_eq!(long.chars().count(), ANSWER_WIDTH);
        assert!(!long.contains('\n'));
    }
}
