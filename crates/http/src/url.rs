//! Where an upstream is.

use std::fmt;

use http::{
    HeaderMap, HeaderValue, Uri,
    uri::{PathAndQuery, Scheme},
};

#[cfg(test)]
mod tests;

/// An absolute `http` or `https` URL. `Debug` and `Display` show neither the
/// query nor anything else that may be a credential.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint(Uri);

/// Where a URL's pages come from: scheme, host and port. Two URLs of one
/// origin are of one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

/// An upstream's URL, and what is sent with every request to it. `Debug`
/// shows the names of the headers and not their values.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The URL.
    pub endpoint: Endpoint,
    /// Sent with every request: credentials, mostly.
    pub headers: HeaderMap,
}

/// Text that is not the URL of an upstream. Does not repeat it, since it may
/// hold a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadEndpoint {
    /// It is no URL.
    #[error("it is not a URL")]
    Syntax,
    /// It is relative, or of a scheme that is not spoken here.
    #[error("it must begin with http:// or https://")]
    Scheme,
    /// There is no host in it.
    #[error("it has no host")]
    Host,
    /// The port is none.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// A user name or a password stands in it.
    #[error("it must not hold a user name or a password; send credentials in a header")]
    Credentials,
}

// === impl Endpoint ===

impl Endpoint {
    /// Reads an absolute URL. A fragment is dropped.
    ///
    /// # Errors
    ///
    /// [`BadEndpoint`] where it is not an `http` or `https` URL with a host
    /// and without credentials.
    pub fn parse(url: &str) -> Result<Self, BadEndpoint> {
        let url = without_fragment(url.trim());
        let uri: Uri = url.parse().map_err(|_| complaint(url))?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_http {
            return Err(BadEndpoint::Scheme);
        }
        let authority = uri.authority().ok_or(BadEndpoint::Host)?;
        if authority.as_str().contains('@') {
            return Err(BadEndpoint::Credentials);
        }
        if authority.host().is_empty() {
            return Err(BadEndpoint::Host);
        }
        // A port that is too large, or empty, is there and yet no number.
        let after_host = &authority.as_str()[authority.host().len()..];
        let is_port = after_host.is_empty() || authority.port_u16().is_some_and(|port| port != 0);
        if is_port { Ok(Self(uri)) } else { Err(BadEndpoint::Port) }
    }

    /// The URL for a request. Secrets may be in its query.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.0
    }

    /// What the `Host` header of a request says. A request without the header
    /// is given it; whoever sends many can make it once.
    #[must_use]
    pub fn host_header(&self) -> HeaderValue {
        host_header(&self.0)
    }

    /// The origin of the URL.
    ///
    /// # Panics
    ///
    /// Never: an endpoint has a host.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let is_https = self.0.scheme() == Some(&Scheme::HTTPS);
        let authority = self.0.authority().expect("an endpoint is absolute");
        let default = if is_https { 443 } else { 80 };
        let host = authority.host();
        let host = host.strip_prefix('[').unwrap_or(host);
        let host = host.strip_suffix(']').unwrap_or(host);
        Origin {
            is_https,
            host: host.trim_end_matches('.').to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(default),
        }
    }

    /// Resolves a reference that a server gave in an answer from this URL, as
    /// a browser would (RFC 3986, 5.2): an absolute URL, a path, a path
    /// relative to this one, each with or without a query.
    ///
    /// # Errors
    ///
    /// [`BadEndpoint`] where the result is no endpoint.
    pub fn join(&self, reference: &str) -> Result<Self, BadEndpoint> {
        let reference = without_fragment(reference.trim());
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        let scheme = self.0.scheme_str().ok_or(BadEndpoint::Scheme)?;
        if reference.starts_with("//") {
            return Self::parse(&format!("{scheme}:{reference}"));
        }
        let (path, query) = split_query(reference);
        let path = if path.is_empty() {
            self.0.path().to_owned()
        } else if path.starts_with('/') {
            without_dots(path)
        } else {
            let folder = self.0.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            without_dots(&format!("{folder}/{path}"))
        };
        let query = match query {
            None if reference.is_empty() => self.0.query(),
            query => query,
        };
        let path_and_query = match query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let mut parts = self.0.clone().into_parts();
        let path_and_query: PathAndQuery =
            path_and_query.parse().map_err(|_| BadEndpoint::Syntax)?;
        parts.path_and_query = Some(path_and_query);
        Uri::from_parts(parts).map(Self).map_err(|_| BadEndpoint::Syntax)
    }
}

impl std::str::FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(url: &str) -> Result<Self, BadEndpoint> {
        Self::parse(url)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        write!(f, "{scheme}://{authority}{}", self.0.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

// === impl Origin ===

impl Origin {
    /// Reads the value of an `Origin` header, or any URL.
    ///
    /// # Errors
    ///
    /// [`BadEndpoint`], for `null` too.
    pub fn parse(origin: &str) -> Result<Self, BadEndpoint> {
        Endpoint::parse(origin).map(|endpoint| endpoint.origin())
    }

    /// Whether the scheme is `https`.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host: a name in lower case, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where the URL names none.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

// === impl Target ===

impl Target {
    /// An upstream that wants no headers of its own.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, headers: HeaderMap::new() }
    }
}

impl From<Endpoint> for Target {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().collect();
        f.debug_struct("Target").field("endpoint", &self.endpoint).field("headers", &names).finish()
    }
}

/// What is wrong with text that is no URI at all.
fn complaint(url: &str) -> BadEndpoint {
    let Some((scheme, rest)) = url.split_once("://") else {
        return BadEndpoint::Scheme;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        BadEndpoint::Scheme
    } else if authority.contains('@') {
        BadEndpoint::Credentials
    } else if authority.is_empty() || authority.starts_with(':') {
        BadEndpoint::Host
    } else {
        BadEndpoint::Syntax
    }
}

/// The value of `Host` for a URI with an authority: its port where it is not
/// the usual one (RFC 9110, 7.2).
pub(crate) fn host_header(uri: &Uri) -> HeaderValue {
    let usual = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let host = uri.host().unwrap_or_default();
    let value = match uri.port_u16().filter(|port| *port != usual) {
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")),
        None => HeaderValue::from_str(host),
    };
    value.expect("a host is visible ASCII")
}

fn without_fragment(url: &str) -> &str {
    url.split_once('#').map_or(url, |(url, _)| url)
}

fn split_query(reference: &str) -> (&str, Option<&str>) {
    match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    }
}

/// Whether a reference begins with a scheme: a colon before the first slash,
/// question mark or number sign, after a letter and what a scheme is made of.
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else {
        return false;
    };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// The path with `.` and `..` resolved (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments = path.strip_prefix('/').unwrap_or(path);
    for segment in segments.split('/') {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let ends_in_folder = matches!(segments.rsplit('/').next(), Some("." | ".."));
    let slash = if ends_in_folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{slash}", kept.join("/"))
}
