//! `wharf check`: what is wrong with a configuration, and with its upstreams.

use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use wharf_gateway::UpstreamSettings;
use wharf_proto::Json;

use crate::{
    args::{CheckArgs, LogArgs, ServeArgs, SourceArgs},
    config::{ConfigError, ConfigErrors, Origin, interpolate::environment},
    failure::{Exit, Failure},
    list,
    output::{causes, print, printable, table},
    plan::Plan,
    visit::Visit,
};

/// How long an upstream may take for everything it is asked.
const LIMIT: Duration = Duration::from_secs(5);

/// What was found of one upstream.
#[derive(Debug, Serialize)]
struct Finding {
    id: String,
    url: String,
    ok: bool,
    /// Milliseconds from the first connection to the last list.
    milliseconds: u128,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Answers(Answers),
    Fails {
        /// The error, and then its causes.
        errors: Vec<String>,
    },
}

/// What an upstream says of itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answers {
    transport: &'static str,
    protocol_version: &'static str,
    server: String,
    tools: usize,
    prompts: usize,
    resources: usize,
}

#[derive(Serialize)]
struct Report<'a> {
    warnings: &'a [String],
    upstreams: &'a [Finding],
}

#[derive(Serialize)]
struct Broken<'a> {
    errors: Vec<BrokenAt<'a>>,
}

#[derive(Serialize)]
struct BrokenAt<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<&'static str>,
    message: String,
}

/// Checks the configuration of `args` and tries each upstream.
///
/// # Errors
///
/// Where the configuration is broken.
///
/// # Cancel safety
///
/// Cancel safe.
pub(crate) async fn run(args: &CheckArgs, log: &LogArgs) -> Result<Exit, Failure> {
    let plan = match plan(&args.sources, log) {
        Ok(plan) => plan,
        Err(errors) if args.json => {
            print(as_line(&Broken::of(&errors)))?;
            return Ok(Exit::Misused);
        }
        Err(errors) => return Err(errors.into()),
    };
    let findings = try_all(plan.settings.upstreams).await;
    if args.json {
        print(as_line(&Report { warnings: &plan.warnings, upstreams: &findings }))?;
    } else {
        print(as_text(&plan.warnings, &findings))?;
    }
    let is_fine = findings.iter().all(|finding| finding.ok);
    Ok(if is_fine { Exit::Fine } else { Exit::Failed })
}

fn plan(sources: &SourceArgs, log: &LogArgs) -> Result<Plan, ConfigErrors> {
    let args = ServeArgs { sources: sources.clone(), ..ServeArgs::default() };
    Plan::new(&args, log, &environment)
}

/// Tries every upstream at once; what is found is in their order.
async fn try_all(upstreams: Vec<UpstreamSettings>) -> Vec<Finding> {
    let mut tries = JoinSet::new();
    for (index, upstream) in upstreams.into_iter().enumerate() {
        tries.spawn(async move { (index, try_one(upstream).await) });
    }
    let mut findings = tries.join_all().await;
    findings.sort_by_key(|(index, _)| *index);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

async fn try_one(upstream: UpstreamSettings) -> Finding {
    let (id, url) = (upstream.id.to_string(), upstream.target.endpoint.to_string());
    let begun = Instant::now();
    let answers = timeout(LIMIT, ask(upstream)).await;
    let answers = answers.unwrap_or_else(|_| Err(anyhow!("no answer within {LIMIT:?}")));
    let milliseconds = begun.elapsed().as_millis();
    let outcome = match answers {
        Ok(answers) => Outcome::Answers(answers),
        Err(error) => Outcome::Fails { errors: causes(error.as_ref()) },
    };
    let ok = matches!(outcome, Outcome::Answers(_));
    Finding { id, url, ok, milliseconds, outcome }
}

async fn ask(upstream: UpstreamSettings) -> anyhow::Result<Answers> {
    let visit = Visit::open(upstream).await?;
    let offers = list::offers(&visit).await;
    let handshake = visit.handshake();
    let answers = offers.map(|offers| Answers {
        transport: visit.transport().label(),
        protocol_version: handshake.revision.as_str(),
        server: server(&handshake.result),
        tools: offers.tools.len(),
        prompts: offers.prompts.len(),
        resources: offers.resources.len(),
    });
    visit.leave().await;
    Ok(answers?)
}

/// A server's name and version.
fn server(handshake: &Json) -> String {
    let text = |name: &str| handshake.path(&["serverInfo", name]).and_then(|it| it.to_text());
    let words = [text("name"), text("version")].into_iter().flatten();
    printable(&words.map(|word| word.to_string()).collect::<Vec<_>>().join(" "))
}

fn as_line(report: &impl Serialize) -> String {
    let mut text = serde_json::to_string(report).expect("it has neither maps nor odd numbers");
    text.push('\n');
    text
}

fn as_text(warnings: &[String], findings: &[Finding]) -> String {
    let mut text: String = warnings.iter().map(|it| format!("warning: {it}\n")).collect();
    let head =
        ["ID", "URL", "TRANSPORT", "REVISION", "SERVER", "TOOLS", "PROMPTS", "RESOURCES", "MS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(findings.iter().map(Finding::row));
    text.push_str(&table(&rows));
    for Finding { id, outcome, .. } in findings {
        let Outcome::Fails { errors } = outcome else { continue };
        let mut errors = errors.iter();
        text.push_str(&format!("\n{id}: {}\n", errors.next().map_or("", |it| it)));
        text.extend(errors.map(|cause| format!("  caused by: {cause}\n")));
    }
    text
}

// === impl Finding ===

impl Finding {
    fn row(&self) -> Vec<String> {
        let mut row = vec![self.id.clone(), self.url.clone()];
        match &self.outcome {
            Outcome::Answers(answers) => row.extend([
                answers.transport.to_owned(),
                answers.protocol_version.to_owned(),
                answers.server.clone(),
                answers.tools.to_string(),
                answers.prompts.to_string(),
                answers.resources.to_string(),
                self.milliseconds.to_string(),
            ]),
            Outcome::Fails { .. } => row.push("fails, see below".to_owned()),
        }
        row
    }
}

// === impl Broken ===

impl<'a> Broken<'a> {
    fn of(errors: &'a ConfigErrors) -> Self {
        Self { errors: errors.0.iter().map(BrokenAt::of).collect() }
    }
}

impl<'a> BrokenAt<'a> {
    fn of(error: &'a ConfigError) -> Self {
        let message = error.complaint.to_string();
        let nowhere = Self { file: None, line: None, column: None, flag: None, message };
        match &error.origin {
            Origin::File(place) => Self {
                file: Some(place.file()),
                line: Some(place.line()),
                column: Some(place.column()),
                ..nowhere
            },
            Origin::Whole(file) => Self { file: Some(file), ..nowhere },
            Origin::Flag(flag) => Self { flag: Some(flag), ..nowhere },
            Origin::Nowhere | Origin::Default(_) => nowhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_has_a_row_and_what_does_not_has_its_causes() {
        let finding = |id: &str, outcome| Finding {
            id: id.to_owned(),
            url: "http://h/mcp".to_owned(),
            ok: false,
            milliseconds: 7,
            outcome,
        };
        let answers = Answers {
            transport: "sse",
            protocol_version: "2024-11-05",
            server: "fast-time 1.0".to_owned(),
            tools: 2,
            prompts: 0,
            resources: 4,
        };
        let errors = vec!["cannot be reached".to_owned(), "refused".to_owned()];
        let findings =
            [finding("time", Outcome::Answers(answers)), finding("x", Outcome::Fails { errors })];
        let expected = "\
warning: w
ID    URL           TRANSPORT         REVISION    SERVER         TOOLS  PROMPTS  RESOURCES  MS
time  http://h/mcp  sse               2024-11-05  fast-time 1.0  2      0        4          7
x     http://h/mcp  fails, see below

x: cannot be reached
  caused by: refused
";
        assert_eq!(as_text(&["w".to_owned()], &findings), expected);
    }
}
