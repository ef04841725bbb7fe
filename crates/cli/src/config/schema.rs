//! What `wharf.toml` can say.

use std::{net::SocketAddr, ops::Range};

use toml::de::DeTable;
use wharf_gateway::{
    OnDisconnect, OnLost, Repeat, ScopeSetting, Separator, Settings, Transport, UpstreamId,
    UpstreamSettings,
};
use wharf_http::{Endpoint, Target};
use wharf_pool::{Limits, Probe};

use super::{
    Admin, LogFormat, Named,
    error::Complaint,
    header::header,
    place::{Origin, Placed, Source},
    section::{Reading, Section, Value},
};

/// The words for a transport.
pub(crate) const TRANSPORTS: [(&str, Transport); 3] = [
    ("auto", Transport::Auto),
    ("streamable-http", Transport::StreamableHttp),
    ("sse", Transport::Sse),
];

const SCOPES: [(&str, ScopeSetting); 3] = [
    ("client", ScopeSetting::Client),
    ("identity", ScopeSetting::Identity),
    ("shared", ScopeSetting::Shared),
];

const ON_DISCONNECT: [(&str, OnDisconnect); 2] =
    [("keep", OnDisconnect::Keep), ("cancel", OnDisconnect::Cancel)];

const ON_LOST: [(&str, OnLost); 2] = [("replace", OnLost::Replace), ("tell", OnLost::Tell)];

const REPEAT: [(&str, Repeat); 2] = [("never", Repeat::Never), ("hinted", Repeat::Hinted)];

const PROBES: [(&str, Probe); 5] = [
    ("ping", Probe::Ping),
    ("list_tools", Probe::ListTools),
    ("list_prompts", Probe::ListPrompts),
    ("list_resources", Probe::ListResources),
    ("skip", Probe::Skip),
];

const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// What a file says. What it does not say is the default.
#[derive(Debug)]
pub(crate) struct WharfToml {
    /// Where clients are listened for.
    pub(crate) listen: Option<Placed<SocketAddr>>,
    /// Where operators are listened for.
    pub(crate) admin: Option<Placed<Admin>>,
    /// How logs are written.
    pub(crate) log_format: Option<LogFormat>,
    /// Which logs are written.
    pub(crate) log_filter: Option<Placed<String>>,
    /// Everything else but the upstreams.
    pub(crate) settings: Settings,
    /// The upstreams.
    pub(crate) upstreams: Vec<Named>,
}

/// Reads a file. What is wrong is reported; what is returned is then not
/// complete.
pub(crate) fn read(reading: Reading<'_>) -> WharfToml {
    let (document, errors) = DeTable::parse_recoverable(reading.source.text());
    let mut toml = WharfToml {
        listen: None,
        admin: None,
        log_format: None,
        log_filter: None,
        settings: Settings::new(Vec::new()),
        upstreams: Vec::new(),
    };
    if errors.is_empty() {
        toml.fill(Section::root(reading, document.get_ref()));
    } else {
        // What was recovered is a guess; to complain of it would mislead.
        for error in errors {
            report_syntax(reading, &error);
        }
    }
    toml
}

impl WharfToml {
    fn fill(&mut self, mut root: Section<'_>) {
        let settings = &mut self.settings;
        self.listen = root.placed("listen", Value::address);
        self.admin = root.placed("admin", admin);
        root.set("separator", &mut settings.separator, separator);
        root.set("allowed_hosts", &mut settings.allowed_hosts, Value::strings);
        root.set("allowed_origins", &mut settings.allowed_origins, Value::strings);
        if let Some(limits) = root.section("limits") {
            fill_limits(settings, limits);
        }
        if let Some(mut log) = root.section("log") {
            self.log_format = log.read("format", |value| value.one_of(&LOG_FORMATS));
            self.log_filter = log.placed("filter", Value::string);
            log.finish();
        }
        if let Some(upstreams) = root.section("upstream") {
            for (id, origin, value) in upstreams.entries() {
                self.upstreams.extend(named(id, origin, &value));
            }
        }
        root.finish();
    }
}

fn fill_limits(settings: &mut Settings, mut limits: Section<'_>) {
    limits.set("sessions", &mut settings.sessions, Value::count);
    limits.set("clients", &mut settings.clients, Value::count);
    limits.set("page_size", &mut settings.page_size, Value::count);
    limits.set("max_message", &mut settings.max_message, Value::size);
    limits.set("acquire_timeout", &mut settings.acquire_timeout, Value::duration);
    limits.set("list_lifetime", &mut settings.list_lifetime, Value::duration_or_zero);
    limits.set("list_timeout", &mut settings.list_timeout, Value::duration);
    limits.set("keep_alive", &mut settings.keep_alive, Value::duration);
    limits.set("idle_session", &mut settings.idle_session, Value::duration);
    limits.set("idle_connection", &mut settings.idle_connection, Value::duration);
    limits.set("drain_timeout", &mut settings.drain_timeout, Value::duration_or_zero);
    limits.finish();
}

/// An upstream, under the key that is its id.
fn named(id: &str, origin: Origin, value: &Value<'_>) -> Option<Named> {
    let mut section = value.section().map_err(|complaint| value.report(complaint)).ok()?;
    let findings = section.reading().findings;
    let id = id.parse::<UpstreamId>().map_err(|bad| findings.report(origin.clone(), bad)).ok();
    let is_missing = !section.has("url");
    let endpoint = section.read("url", endpoint);
    if is_missing {
        findings.report(origin.clone(), Complaint::MissingKey("url"));
    }
    // The rest is read for what is wrong with it even where there is no URL
    // to use it with.
    let stand_in = || Endpoint::parse("http://localhost").expect("is a URL");
    let target = Target::new(endpoint.clone().unwrap_or_else(stand_in));
    let any_id = || "any".parse().expect("is an id");
    let mut upstream = UpstreamSettings::new(id.clone().unwrap_or_else(any_id), target);
    fill_upstream(&mut upstream, section);
    (endpoint.is_some() && id.is_some()).then_some(Named { origin, upstream })
}

fn fill_upstream(upstream: &mut UpstreamSettings, mut section: Section<'_>) {
    section.set("transport", &mut upstream.transport, |value| value.one_of(&TRANSPORTS));
    fill_scope(&mut upstream.scope, &mut section);
    section.set("on_disconnect", &mut upstream.on_disconnect, |it| it.one_of(&ON_DISCONNECT));
    section.set("on_lost", &mut upstream.on_lost, |value| value.one_of(&ON_LOST));
    section.set("repeat", &mut upstream.repeat, |value| value.one_of(&REPEAT));
    if let Some(headers) = section.section("headers") {
        fill_headers(&mut upstream.target, &headers);
    }
    section.set("call_timeout", &mut upstream.call_timeout, |value| value.duration().map(Some));
    fill_pool(&mut upstream.limits, &mut section);
    section.finish();
}

/// Who may share a session; nobody where none is kept.
fn fill_scope(scope: &mut ScopeSetting, section: &mut Section<'_>) {
    section.set("scope", scope, |value| value.one_of(&SCOPES));
    let has_scope = section.has("scope");
    let pool = section.read("pool", |value| match value.boolean()? {
        false if has_scope => Err(Complaint::Idle { key: "scope", with: "pool = false" }),
        pool => Ok(pool),
    });
    if pool == Some(false) {
        *scope = ScopeSetting::Call;
    }
}

fn fill_pool(limits: &mut Limits, section: &mut Section<'_>) {
    section.set("sessions", &mut limits.sessions, Value::count);
    section.set("sessions_per_key", &mut limits.sessions_per_key, Value::count);
    section.set("calls_per_session", &mut limits.calls_per_session, Value::count);
    section.set("waiters", &mut limits.waiters_per_key, Value::count);
    section.set("open_timeout", &mut limits.open_timeout, Value::duration);
    section.set("goodbye_timeout", &mut limits.goodbye_timeout, Value::duration);
    section.set("idle_timeout", &mut limits.idle_timeout, Value::duration);
    section.set("max_age", &mut limits.max_age, |value| value.duration().map(Some));
    section.set("warm", &mut limits.warm, Value::count_or_zero);
    section.set("probes", &mut limits.probes, |value| value.all_of(&PROBES));
    section.set("probe_after", &mut limits.probe_after, Value::duration);
    section.set("probe_timeout", &mut limits.probe_timeout, Value::duration);
    let breaker = &mut limits.breaker;
    section.set("breaker_failures", &mut breaker.failures, |value| {
        value.count_or_zero().map(|count| u32::try_from(count).expect("it is small enough"))
    });
    section.set("breaker_pause", &mut breaker.pause, Value::duration);
    section.set("breaker_longest_pause", &mut breaker.longest_pause, Value::duration);
}

fn fill_headers(target: &mut Target, headers: &Section<'_>) {
    for (name, origin, value) in headers.entries() {
        let read = value.string().and_then(|value| Ok(header(name, &value)?));
        match read {
            Ok((name, value)) => {
                target.headers.append(name, value);
            }
            Err(complaint) => headers.reading().findings.report(origin, complaint),
        }
    }
}

fn endpoint(value: &Value<'_>) -> Result<Endpoint, Complaint> {
    Endpoint::parse(&value.string()?).map_err(Complaint::Url)
}

fn separator(value: &Value<'_>) -> Result<Separator, Complaint> {
    let filled = value.filled()?;
    filled.value.parse().map_err(|_| filled.unfit("\"__\" or \".\""))
}

fn admin(value: &Value<'_>) -> Result<Admin, Complaint> {
    let filled = value.filled()?;
    let wanted = "\"off\", or an address and a port such as \"127.0.0.1:8081\"";
    filled.value.parse().map_err(|_| filled.unfit(wanted))
}

/// Reports what breaks TOML's grammar.
fn report_syntax(reading: Reading<'_>, error: &toml::de::Error) {
    let (source, findings) = (reading.source, reading.findings);
    let Some(span) = error.span() else {
        return findings.report(source.whole(), Complaint::Syntax(error.message().to_owned()));
    };
    let complaint = if error.message() == "duplicate key" {
        repeated(source, span.clone())
    } else {
        Complaint::Syntax(error.message().to_owned())
    };
    findings.report(source.origin(span.start), complaint);
}

/// A key or a table that is there a second time. Of a table, says where it
/// is first.
fn repeated(source: &Source, span: Range<usize>) -> Complaint {
    let text = source.text();
    let line_start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let name = text[span.clone()].trim_matches(['"', '\'']).to_owned();
    let (earlier, _) = DeTable::parse_recoverable(&text[..line_start]);
    let earlier = earlier.get_ref();
    let first = |table: &DeTable<'_>| {
        let (key, _) = table.get_key_value(&*name)?;
        Some(source.origin(key.span().start))
    };
    let first = match text[line_start..span.start].replace(' ', "").as_str() {
        "[upstream." => {
            earlier.get("upstream").and_then(|it| it.get_ref().as_table()).and_then(first)
        }
        "[" => first(earlier),
        _ => None,
    };
    Complaint::Repeated { name, first }
}
