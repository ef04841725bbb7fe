//! What was typed, and what it means: the flags and the files of a command
//! become one plan.

use std::net::SocketAddr;

use wharf_gateway::{Settings, UpstreamId, UpstreamSettings};
use wharf_http::{Endpoint, Target};

use crate::{
    args::{LogArgs, ServeArgs, SourceArgs},
    config::{
        Admin, Complaint, ConfigErrors, Findings, LogFormat, Named, Origin, Placed, Reading,
        Source, interpolate::Variables, mcp_json, schema,
    },
    log,
};

const LISTEN: &str = "--listen";
const ADMIN: &str = "--admin";
const UPSTREAM: &str = "--upstream";
const LOG: &str = "--log";

/// What a command is going to do.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the gateway is told.
    pub(crate) settings: Settings,
    /// Where clients are listened for.
    pub(crate) listen: Placed<SocketAddr>,
    /// Where operators are listened for.
    pub(crate) admin: Placed<Admin>,
    /// How logs are written.
    pub(crate) log: LogPlan,
    /// What was passed over in the configuration.
    pub(crate) warnings: Vec<String>,
}

/// How logs are written.
#[derive(Debug, Clone)]
pub(crate) struct LogPlan {
    /// Their format.
    pub(crate) format: LogFormat,
    /// Which are written.
    pub(crate) filter: Placed<String>,
}

// === impl Plan ===

impl Plan {
    /// Reads what `args` names. Flags go before the file; the upstreams of
    /// all sources add up.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors`] with everything that is wrong.
    pub(crate) fn new(
        args: &ServeArgs,
        log_args: &LogArgs,
        variables: Variables<'_>,
    ) -> Result<Self, ConfigErrors> {
        let findings = Findings::default();
        let mut plan = Self::of_defaults(log_args);
        let mut named = plan.read_file(&args.sources, log_args, &findings, variables);
        named.extend(read_mcp_json(&args.sources, &findings, variables));
        named.extend(args.sources.upstreams.iter().filter_map(|text| by_flag(text, &findings)));
        if let Some(listen) = args.listen {
            plan.listen = Placed::by_flag(listen, LISTEN);
        }
        if let Some(admin) = args.admin {
            plan.admin = Placed::by_flag(admin, ADMIN);
        }
        if !log::is_filter(&plan.log.filter.value) {
            findings.report(plan.log.filter.origin.clone(), Complaint::LogFilter);
        }
        plan.settings.upstreams = unique(named, &findings);
        if plan.settings.upstreams.is_empty() && findings.is_clean() {
            findings.report_at_large(Complaint::NoUpstream);
        }
        plan.warnings = findings.conclude()?;
        Ok(plan)
    }

    fn of_defaults(log: &LogArgs) -> Self {
        Self {
            settings: Settings::new(Vec::new()),
            listen: Placed::by_default(SocketAddr::from(([127, 0, 0, 1], 8080)), LISTEN),
            admin: Placed::by_default(Admin::On(([127, 0, 0, 1], 8081).into()), ADMIN),
            log: LogPlan::new(log, LogPlan::SERVE),
            warnings: Vec::new(),
        }
    }

    fn read_file(
        &mut self,
        sources: &SourceArgs,
        log: &LogArgs,
        findings: &Findings,
        variables: Variables<'_>,
    ) -> Vec<Named> {
        let Some(path) = &sources.config else { return Vec::new() };
        let Some(source) = findings.keep(Source::read(path)) else { return Vec::new() };
        let file = schema::read(Reading { source: &source, variables, findings });
        self.settings = file.settings;
        self.listen = file.listen.unwrap_or(self.listen.clone());
        self.admin = file.admin.unwrap_or(self.admin.clone());
        if let (Some(format), None) = (file.log_format, log.log_format) {
            self.log.format = format;
        }
        if let (Some(filter), None) = (file.log_filter, &log.log_filter) {
            self.log.filter = filter;
        }
        file.upstreams
    }
}

// === impl LogPlan ===

impl LogPlan {
    /// What `wharf serve` logs. The targets are the crates' names, and they
    /// all begin with this word.
    pub(crate) const SERVE: &str = "warn,wharf=info";
    /// What a command that prints an answer logs.
    pub(crate) const QUIET: &str = "warn";

    /// The plan of the flags, with `filter` where they name none.
    pub(crate) fn new(args: &LogArgs, filter: &str) -> Self {
        let filter = match &args.log_filter {
            Some(filter) => Placed::by_flag(filter.clone(), LOG),
            None => Placed::by_default(filter.to_owned(), LOG),
        };
        Self { format: args.log_format.unwrap_or_default(), filter }
    }
}

fn read_mcp_json(
    sources: &SourceArgs,
    findings: &Findings,
    variables: Variables<'_>,
) -> Vec<Named> {
    let Some(path) = &sources.mcp_json else { return Vec::new() };
    let Some(source) = findings.keep(Source::read(path)) else { return Vec::new() };
    mcp_json::read(Reading { source: &source, variables, findings })
}

fn by_flag(text: &str, findings: &Findings) -> Option<Named> {
    let read = || -> Result<UpstreamSettings, Complaint> {
        // A URL alone may have an equals sign too, and what is before that
        // shall not be shown as an id.
        let parts = text.split_once('=').filter(|(id, _)| !id.contains(':'));
        let (id, url) = parts.ok_or(Complaint::NotIdAndUrl)?;
        let id: UpstreamId = id.parse()?;
        let endpoint = Endpoint::parse(url).map_err(Complaint::Url)?;
        Ok(UpstreamSettings::new(id, Target::new(endpoint)))
    };
    let origin = Origin::Flag(UPSTREAM);
    match read() {
        Ok(upstream) => Some(Named { origin, upstream }),
        Err(complaint) => {
            findings.report(origin, complaint);
            None
        }
    }
}

/// Reports each upstream whose name another has had before.
fn unique(named: Vec<Named>, findings: &Findings) -> Vec<UpstreamSettings> {
    let mut kept: Vec<Named> = Vec::with_capacity(named.len());
    for Named { origin, upstream } in named {
        match kept.iter().find(|it| it.upstream.id == upstream.id) {
            Some(first) => {
                let (id, first) = (upstream.id.to_string(), first.origin.clone());
                findings.report(origin, Complaint::SameUpstream { id, first });
            }
            None => kept.push(Named { origin, upstream }),
        }
    }
    kept.into_iter().map(|it| it.upstream).collect()
}

#[cfg(test)]
mod tests;
