//! Tests of the guard.

use http::HeaderValue;

use super::*;

fn headers(host: Option<&str>, origin: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
        if let Some(value) = value {
            headers.append(name, HeaderValue::from_str(value).expect("fits a header"));
        }
    }
    headers
}

fn guard(listener: &str) -> Guard {
    Guard::for_listener(listener.parse().expect("an address"))
}

fn check(guard: &Guard, host: &str, origin: &str) -> Result<(), Forbidden> {
    let given = |value| Some(value).filter(|value: &&str| !value.is_empty());
    guard.check(&headers(given(host), given(origin)))
}

#[test]
fn a_loopback_listener_answers_to_loopback_names_alone() {
    const HOST: Result<(), Forbidden> = Err(Forbidden::Host);
    const ORIGIN: Result<(), Forbidden> = Err(Forbidden::Origin);
    for listener in ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        let guard = guard(listener);
        for (host, origin, verdict) in [
            ("localhost", "", Ok(())),
            ("LocalHost:8080", "", Ok(())),
            ("localhost.", "", Ok(())),
            ("127.0.0.1:8080", "", Ok(())),
            ("127.9.9.9", "", Ok(())),
            ("[::1]:8080", "", Ok(())),
            ("", "", HOST),
            ("evil.example.com", "", HOST),
            ("localhost.evil.example.com", "", HOST),
            ("127.0.0.1.evil.example.com", "", HOST),
            ("localhost@evil.example.com", "", HOST),
            ("evil@localhost", "", HOST),
            ("10.0.0.1", "", HOST),
            ("evil.example.com", "http://evil.example.com", HOST),
            ("localhost:8080", "http://localhost:3000", Ok(())),
            ("localhost:8080", "https://127.0.0.1", Ok(())),
            ("localhost:8080", "http://[::1]:1", Ok(())),
            ("localhost:8080", "http://evil.example.com", ORIGIN),
            ("localhost:8080", "http://localhost.evil.example.com", ORIGIN),
            ("localhost:8080", "null", ORIGIN),
            ("localhost:8080", "file://", ORIGIN),
        ] {
            assert_eq!(check(&guard, host, origin), verdict, "{host} {origin}");
        }
    }
}

#[test]
fn a_public_listener_answers_to_any_name_and_to_its_own_pages() {
    let guard = guard("0.0.0.0:80");
    for (host, origin, verdict) in [
        ("mcp.example.com", "", Ok(())),
        ("", "", Ok(())),
        ("mcp.example.com:8080", "https://MCP.example.com", Ok(())),
        ("mcp.example.com", "https://evil.example.com", Err(Forbidden::Origin)),
        ("", "https://evil.example.com", Err(Forbidden::Origin)),
        ("mcp.example.com", "null", Err(Forbidden::Origin)),
    ] {
        assert_eq!(check(&guard, host, origin), verdict, "{host} {origin}");
    }
}

#[test]
fn names_and_origins_can_be_allowed() {
    let local = guard("127.0.0.1:80")
        .allow_host("wharf.internal")
        .allow_origin("https://App.example.com:443")
        .allow_origin("null");
    assert_eq!(check(&local, "wharf.internal:80", ""), Ok(()));
    assert_eq!(check(&local, "localhost", "https://app.example.com"), Ok(()));
    assert_eq!(check(&local, "localhost", "null"), Ok(()));
    let other_port = check(&local, "localhost", "https://app.example.com:8443");
    assert_eq!(other_port, Err(Forbidden::Origin));

    let public = guard("0.0.0.0:80").allow_host("mcp.example.com");
    assert_eq!(check(&public, "mcp.example.com", ""), Ok(()));
    assert_eq!(check(&public, "other.example.com", ""), Err(Forbidden::Host));

    let open = guard("127.0.0.1:80").allow_host("*").allow_origin("*");
    assert_eq!(check(&open, "any.example.com", "https://evil.example"), Ok(()));
}

#[test]
fn a_header_that_stands_twice_is_refused() {
    let guard = guard("0.0.0.0:80");
    let mut twice = headers(Some("a.example.com"), None);
    twice.append(header::HOST, HeaderValue::from_static("b.example.com"));
    assert_eq!(guard.check(&twice), Err(Forbidden::Host));
}

#[test]
fn that_a_host_was_served_excuses_no_origin_and_no_other_host() {
    let guard = guard("127.0.0.1:80");
    assert_eq!(check(&guard, "localhost:8080", ""), Ok(()));
    assert_eq!(check(&guard, "localhost:8080", ""), Ok(()));
    assert_eq!(check(&guard, "localhost:8080", "http://evil.example.com"), Err(Forbidden::Origin));
    assert_eq!(check(&guard, "evil.example.com", ""), Err(Forbidden::Host));
}

#[test]
fn a_guard_that_is_narrowed_forgets_whom_it_served() {
    let open = guard("0.0.0.0:80");
    assert_eq!(check(&open, "any.example.com", ""), Ok(()));
    let narrow = open.clone().allow_host("one.example.com");
    assert_eq!(check(&narrow, "any.example.com", ""), Err(Forbidden::Host));
    assert_eq!(check(&narrow, "one.example.com", ""), Ok(()));
    assert_eq!(check(&open, "any.example.com", ""), Ok(()));
}
