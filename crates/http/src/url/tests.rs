//! Tests of endpoints.

use proptest::prelude::*;

use super::*;

fn endpoint(url: &str) -> Endpoint {
    Endpoint::parse(url).expect("the test's URL is one")
}

#[test]
fn what_is_no_endpoint_is_refused_with_the_reason() {
    for (url, reason) in [
        ("", BadEndpoint::Scheme),
        ("localhost", BadEndpoint::Scheme),
        ("localhost:8080/mcp", BadEndpoint::Scheme),
        ("/mcp", BadEndpoint::Scheme),
        ("ftp://example.com/", BadEndpoint::Scheme),
        ("ws://example.com/", BadEndpoint::Scheme),
        ("http://", BadEndpoint::Host),
        ("http:///mcp", BadEndpoint::Host),
        ("http://:8080/mcp", BadEndpoint::Host),
        ("http://user:s3cret@example.com/", BadEndpoint::Credentials),
        ("http://s3cret@example.com/", BadEndpoint::Credentials),
        ("http://example.com:0/", BadEndpoint::Port),
        ("http://example.com:65536/", BadEndpoint::Port),
        ("http://example.com/a b", BadEndpoint::Syntax),
    ] {
        assert_eq!(Endpoint::parse(url), Err(reason), "{url}");
    }
}

#[test]
fn neither_query_nor_fragment_is_shown() {
    let endpoint = endpoint("https://example.com:8443/mcp?key=s3cret#s3cret");
    assert_eq!(endpoint.to_string(), "https://example.com:8443/mcp");
    assert!(!format!("{endpoint:?}").contains("s3cret"));
    assert_eq!(endpoint.uri().query(), Some("key=s3cret"));
}

#[test]
fn a_target_shows_no_value_of_its_headers() {
    let mut target = Target::new(endpoint("http://example.com/mcp"));
    let credential = HeaderValue::from_static("Bearer s3cret");
    target.headers.insert("authorization", credential);
    let shown = format!("{target:?}");
    assert!(shown.contains("authorization") && !shown.contains("s3cret"));
}

#[test]
fn origins_compare_by_scheme_host_and_effective_port() {
    let origin = |url| endpoint(url).origin();
    assert_eq!(origin("http://A.example/x"), origin("http://a.example:80/y"));
    assert_eq!(origin("https://a.example"), origin("https://a.example.:443"));
    assert_ne!(origin("http://a.example"), origin("https://a.example"));
    assert_ne!(origin("http://a.example"), origin("http://b.example"));
    assert_ne!(origin("http://a.example"), origin("http://a.example:81"));
    assert_eq!(origin("http://[::1]:8080").to_string(), "http://[::1]:8080");
    assert_eq!(origin("http://[::1]:8080").host(), "::1");
}

#[test]
fn references_are_resolved_as_the_standard_says() {
    let base = endpoint("http://example.com:8080/a/b/sse?key=1");
    for (reference, joined) in [
        ("http://other.example/x?y=1", "http://other.example/x?y=1"),
        ("HTTPS://other.example/x", "https://other.example/x"),
        ("//other.example/x", "http://other.example/x"),
        ("/messages?session_id=7", "http://example.com:8080/messages?session_id=7"),
        ("messages?session_id=7", "http://example.com:8080/a/b/messages?session_id=7"),
        ("./messages/", "http://example.com:8080/a/b/messages/"),
        ("../messages", "http://example.com:8080/a/messages"),
        ("../../../../messages", "http://example.com:8080/messages"),
        ("..", "http://example.com:8080/a/"),
        ("?session_id=7", "http://example.com:8080/a/b/sse?session_id=7"),
        ("", "http://example.com:8080/a/b/sse?key=1"),
        ("messages?to=http://x/../y", "http://example.com:8080/a/b/messages?to=http://x/../y"),
        ("a:b", ""),
        ("javascript:alert(1)", ""),
        ("//user@other.example/", ""),
    ] {
        let expected = if joined.is_empty() { None } else { Some(joined.to_owned()) };
        let found = base.join(reference).ok().map(|found| found.uri().to_string());
        assert_eq!(found, expected, "{reference}");
    }
}

#[test]
fn a_base_without_a_path_takes_references() {
    let joined = endpoint("http://example.com").join("messages");
    let joined = joined.expect("resolves").uri().to_string();
    assert_eq!(joined, "http://example.com/messages");
}

proptest! {
    #[test]
    fn reading_an_endpoint_never_panics(url in "\\PC{0,40}", reference in "\\PC{0,40}") {
        if let Ok(endpoint) = Endpoint::parse(&url) {
            let _ = endpoint.join(&reference);
            let _ = endpoint.origin();
        }
        let base = endpoint("http://example.com/a/b");
        if let Ok(joined) = base.join(&reference) {
            prop_assert!(Endpoint::parse(&joined.uri().to_string()).is_ok());
        }
    }

    #[test]
    fn a_path_reference_stays_on_its_server(path in "(/?[a-z.]{1,5}){1,5}") {
        prop_assume!(!path.starts_with("//"));
        let base = endpoint("http://example.com/a/b");
        let joined = base.join(&path).expect("a path resolves");
        prop_assert_eq!(joined.origin(), base.origin());
        prop_assert!(!joined.uri().path().split('/').any(|segment| segment == ".."));
    }
}

#[test]
fn the_host_header_names_the_port_where_it_is_not_the_usual_one() {
    for (url, host) in [
        ("http://example.com/mcp", "example.com"),
        ("http://example.com:80/mcp", "example.com"),
        ("https://example.com:443/", "example.com"),
        ("https://example.com:80/", "example.com:80"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080/mcp?key=secret", "[::1]:8080"),
    ] {
        let endpoint = Endpoint::parse(url).expect("an endpoint");
        assert_eq!(endpoint.host_header(), host, "{url}");
    }
}
