//! Which names a listener answers to, so that a web page cannot reach it
//! through a name that it had bound to this machine (DNS rebinding;
//! transports, security warning).

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};

use http::{HeaderMap, HeaderName, StatusCode, header, uri::Authority};

#[cfg(test)]
mod tests;

use crate::Origin;

/// Which values of `Host` and `Origin` are served.
///
/// A listener on a loopback address answers to loopback names; what else it
/// answers to has to be allowed. Any other listener answers to every name
/// until one is allowed, from then on only to those. An `Origin`, which
/// browsers send and nobody else, must be one that is allowed or be of the
/// host that is called.
#[derive(Debug, Clone)]
pub struct Guard {
    is_loopback: bool,
    hosts: Allowed<String>,
    origins: Allowed<String>,
    /// The first `Host` that was served, as it was written: nearly everybody
    /// says the same. Where the first was an odd one, the others are taken
    /// apart each time.
    usual: Arc<OnceLock<Box<str>>>,
}

/// Answered with 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The name in `Host` is not served here.
    #[error("the Host header names a host that is not served here")]
    Host,
    /// A page of that origin may not call.
    #[error("pages of the origin in the Origin header may not call this server")]
    Origin,
}

/// Longer than a name can be, with its port; nothing longer is kept.
const MAX_KEPT: usize = 300;

#[derive(Debug, Clone)]
enum Allowed<T> {
    All,
    These(Vec<T>),
}

// === impl Guard ===

impl Guard {
    /// What fits a listener on `address`.
    #[must_use]
    pub fn for_listener(address: SocketAddr) -> Self {
        Self {
            is_loopback: is_loopback(address.ip()),
            hosts: Allowed::These(Vec::new()),
            origins: Allowed::These(Vec::new()),
            usual: Arc::default(),
        }
    }

    /// Answers to this host name or address too, on any port. `*` is any.
    #[must_use]
    pub fn allow_host(mut self, host: &str) -> Self {
        self.hosts.add(host, bare(host));
        // Where every name was served, no other is from now on.
        self.usual = Arc::default();
        self
    }

    /// Lets pages of this origin call, such as `https://app.example.com`.
    /// `*` is any, `null` is that of a page without one.
    #[must_use]
    pub fn allow_origin(mut self, origin: &str) -> Self {
        let name = Origin::parse(origin).map_or_else(|_| bare(origin), |origin| origin.to_string());
        self.origins.add(origin, name);
        self
    }

    /// Looks at the headers of a request.
    ///
    /// # Errors
    ///
    /// [`Forbidden`], to be answered with 403.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Forbidden> {
        let written = only(headers, &header::HOST).map_err(|_| Forbidden::Host)?;
        if written.is_some_and(|host| self.is_usual(host)) && !headers.contains_key(header::ORIGIN)
        {
            return Ok(());
        }
        let host = match written {
            Some(host) => Some(host_of(host).ok_or(Forbidden::Host)?),
            None => None,
        };
        if !self.serves(host.as_deref()) {
            return Err(Forbidden::Host);
        }
        if let Some(host) = written.filter(|host| host.len() <= MAX_KEPT) {
            self.usual.get_or_init(|| host.into());
        }
        match only(headers, &header::ORIGIN).map_err(|_| Forbidden::Origin)? {
            Some(origin) if !self.admits(origin, host.as_deref()) => Err(Forbidden::Origin),
            _ => Ok(()),
        }
    }

    fn is_usual(&self, host: &str) -> bool {
        self.usual.get().is_some_and(|usual| **usual == *host)
    }

    fn serves(&self, host: Option<&str>) -> bool {
        match (&self.hosts, host) {
            (Allowed::All, _) => true,
            (Allowed::These(hosts), None) => !self.is_loopback && hosts.is_empty(),
            (Allowed::These(hosts), Some(host)) => {
                let is_named = hosts.iter().any(|allowed| allowed == host);
                is_named || if self.is_loopback { is_loopback_name(host) } else { hosts.is_empty() }
            }
        }
    }

    fn admits(&self, origin: &str, host: Option<&str>) -> bool {
        let Allowed::These(allowed) = &self.origins else {
            return true;
        };
        let Ok(parsed) = Origin::parse(origin) else {
            return allowed.iter().any(|allowed| allowed == origin);
        };
        let is_own = if self.is_loopback {
            is_loopback_name(parsed.host()) || Some(parsed.host()) == host
        } else {
            Some(parsed.host()) == host
        };
        is_own || allowed.contains(&parsed.to_string())
    }
}

// === impl Forbidden ===

impl Forbidden {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        StatusCode::FORBIDDEN
    }
}

// === impl Allowed ===

impl Allowed<String> {
    fn add(&mut self, given: &str, name: String) {
        match self {
            _ if given.trim() == "*" => *self = Self::All,
            Self::All => {}
            Self::These(names) => names.push(name),
        }
    }
}

/// The value of a header that may stand at most once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Ambiguous> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Ambiguous),
        (Some(_), Some(_)) => Err(Ambiguous),
    }
}

struct Ambiguous;

/// The host in a value of `Host`, without port, brackets and case.
fn host_of(value: &str) -> Option<String> {
    // Most are names or addresses as they are; the others have rules.
    let (host, port) = value.split_once(':').unwrap_or((value, "0"));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if is_port && !host.is_empty() && host.bytes().all(is_name) {
        return Some(bare(host));
    }
    let authority: Authority = value.parse().ok()?;
    let is_plain = !authority.as_str().contains('@') && !authority.host().is_empty();
    is_plain.then(|| bare(authority.host()))
}

/// A host's name as it is compared.
fn bare(host: &str) -> String {
    let host = host.trim().trim_end_matches('.');
    let host = host.strip_prefix('[').unwrap_or(host);
    host.strip_suffix(']').unwrap_or(host).to_ascii_lowercase()
}

fn is_loopback_name(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(is_loopback)
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
