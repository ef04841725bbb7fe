//! `mcp.json`: the `mcpServers` object by which IDEs and agents name their
//! servers.

use std::fmt;

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use wharf_gateway::{Transport, UpstreamId, UpstreamSettings};
use wharf_http::{Endpoint, Target};

use super::{
    Named, error::Complaint, header::header, interpolate::interpolate, place::Origin,
    section::Reading,
};

/// The words that clients use for a transport.
const TYPES: [(&str, Transport); 5] = [
    ("http", Transport::StreamableHttp),
    ("streamable-http", Transport::StreamableHttp),
    ("streamable_http", Transport::StreamableHttp),
    ("streamableHttp", Transport::StreamableHttp),
    ("sse", Transport::Sse),
];

/// A part of the file.
#[derive(Clone, Copy)]
struct Part<'a> {
    reading: Reading<'a>,
    raw: &'a RawValue,
}

/// A member of an object.
struct Member<'a> {
    key: Part<'a>,
    name: String,
    value: Part<'a>,
}

/// An object's members as they are written, in their order.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

struct InOrder;

/// Reads a file. What is wrong is reported; the format is not ours, so what
/// is not known is passed over with a warning.
pub(crate) fn read(reading: Reading<'_>) -> Vec<Named> {
    let Reading { source, findings, .. } = reading;
    let root: &RawValue = match serde_json::from_str(source.text()) {
        Ok(root) => root,
        Err(error) => {
            let place = format!(" at line {} column {}", error.line(), error.column());
            let message = error.to_string().replace(&place, "");
            let origin = source.origin_at(error.line(), error.column());
            findings.report(origin, Complaint::Syntax(message));
            return Vec::new();
        }
    };
    let root = Part { reading, raw: root };
    let Some(members) = root.members() else { return Vec::new() };
    let Some(servers) = members.iter().find(|member| member.name == "mcpServers") else {
        root.report(Complaint::MissingKey("mcpServers"));
        return Vec::new();
    };
    let servers = servers.value.members().unwrap_or_default();
    servers.into_iter().filter_map(named).collect()
}

fn named(server: Member<'_>) -> Option<Named> {
    let members = server.value.members()?;
    let Reading { findings, .. } = server.key.reading;
    let origin = server.key.origin();
    let find = |name: &str| members.iter().find(|member| member.name == name);
    if find("disabled").is_some_and(|member| member.value.raw.get() == "true") {
        findings.warn(&origin, format_args!("`{}` is disabled and left out", server.name));
        return None;
    }
    let kind = find("type").or_else(|| find("transport")).map(|member| member.value);
    let is_stdio = kind.is_some_and(|kind| kind.raw.get() == r#""stdio""#);
    if is_stdio || find("command").is_some() {
        findings.report(origin, Complaint::Stdio(server.name));
        return None;
    }
    for member in &members {
        if !matches!(&*member.name, "type" | "transport" | "url" | "headers" | "disabled") {
            let what = format_args!("`{}` is not known here and passed over", member.name);
            findings.warn(&member.key.origin(), what);
        }
    }
    let id = server.name.parse::<UpstreamId>();
    let id = id.map_err(|bad| findings.report(origin.clone(), bad)).ok();
    let endpoint = find("url").map(|member| member.value.endpoint());
    if endpoint.is_none() {
        findings.report(origin.clone(), Complaint::MissingKey("url"));
    }
    let transport = kind.map_or(Some(Transport::Auto), Part::transport);
    let headers = find("headers").map(|member| member.value);
    let mut target = Target::new(endpoint??);
    if let Some(headers) = headers {
        headers.fill_headers(&mut target);
    }
    let upstream = UpstreamSettings::new(id?, target);
    Some(Named { origin, upstream: UpstreamSettings { transport: transport?, ..upstream } })
}

// === impl Part ===

impl<'a> Part<'a> {
    fn origin(self) -> Origin {
        self.reading.source.origin_of(self.raw.get())
    }

    fn report(self, complaint: impl Into<Complaint>) {
        self.reading.findings.report(self.origin(), complaint);
    }

    fn mistyped<T>(self, wanted: &'static str) -> Option<T> {
        let found = match self.raw.get().bytes().next() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        };
        self.report(Complaint::Mistyped { wanted, found });
        None
    }

    fn members(self) -> Option<Vec<Member<'a>>> {
        let Ok(Members(members)) = serde_json::from_str(self.raw.get()) else {
            return self.mistyped("an object");
        };
        let part = |raw| Part { reading: self.reading, raw };
        let member = |(key, value): (&'a RawValue, &'a RawValue)| Member {
            key: part(key),
            name: serde_json::from_str(key.get()).unwrap_or_default(),
            value: part(value),
        };
        Some(members.into_iter().map(member).collect())
    }

    /// A string with its variables filled in.
    fn filled(self) -> Option<String> {
        let Ok(written) = serde_json::from_str::<String>(self.raw.get()) else {
            return self.mistyped("a string");
        };
        let filled = interpolate(&written, self.reading.variables);
        filled.map_err(|complaint| self.report(complaint)).ok()
    }

    fn endpoint(self) -> Option<Endpoint> {
        let url = self.filled()?;
        Endpoint::parse(&url).map_err(|bad| self.report(Complaint::Url(bad))).ok()
    }

    fn transport(self) -> Option<Transport> {
        let word = self.filled()?;
        let found = TYPES.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let words: Vec<_> = TYPES.iter().map(|(name, _)| format!("{name:?}")).collect();
            let wanted = format!("one of {}", words.join(", "));
            self.report(Complaint::Unfit { wanted, written: self.raw.get().to_owned() });
        }
        found.map(|(_, transport)| *transport)
    }

    fn fill_headers(self, target: &mut Target) {
        for member in self.members().unwrap_or_default() {
            let Some(value) = member.value.filled() else { continue };
            match header(&member.name, &value) {
                Ok((name, value)) => {
                    target.headers.append(name, value);
                }
                Err(bad) => member.key.report(bad),
            }
        }
    }
}

// === impl Members ===

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

impl<'de> Visitor<'de> for InOrder {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
