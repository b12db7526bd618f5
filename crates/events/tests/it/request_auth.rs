//! `Authorization: X-Matrix …`: <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use starling_events::request_auth::{RequestAuth, RequestAuthError, sign_request};
use starling_events::{SigningKey, unpadded_base64};

fn key() -> SigningKey {
    SigningKey::generate([7; 32], "key1").expect("a key")
}

fn server(name: &str) -> ruma_common::OwnedServerName {
    name.try_into().expect("a server name")
}

#[test]
fn a_signed_request_verifies_and_no_other_does() {
    let (origin, destination) = (server("a.example:8448"), server("[::1]:1234"));
    let body = br#"{"a":1}"#.as_slice();
    let uri = "/_matrix/federation/v1/send/1?x=y";
    let header = sign_request(("PUT", uri, Some(body)), (&origin, &destination), &key());
    let auth = RequestAuth::parse(&header).expect("a header");
    assert_eq!(auth.origin, origin);
    assert_eq!(auth.destination.as_ref(), Some(&destination));
    assert_eq!(auth.key_id, "ed25519:key1");
    let verifying = key().verifying_key();
    let holds =
        |method, uri, body, to: &str| auth.verifies((method, uri, body), &server(to), &verifying);
    assert!(holds("PUT", uri, Some(body), "[::1]:1234"));
    assert!(!holds("POST", uri, Some(body), "[::1]:1234"));
    assert!(!holds(
        "PUT",
        "/_matrix/federation/v1/send/1",
        Some(body),
        "[::1]:1234"
    ));
    assert!(!holds("PUT", uri, Some(b"{}"), "[::1]:1234"));
    assert!(!holds("PUT", uri, None, "[::1]:1234"));
    assert!(!holds("PUT", uri, Some(body), "[::1]:1235"));
    let other = SigningKey::generate([8; 32], "key1").expect("a key");
    assert!(!auth.verifies(
        ("PUT", uri, Some(body)),
        &destination,
        &other.verifying_key()
    ));
}

/// Signed as the specification's example code does: one JSON object.
#[test]
fn what_is_signed_is_the_specifications_object() {
    let mut object = starling_events::CanonicalObject::parse(
        br#"{"method":"POST","uri":"/target","origin":"origin.hs.example.com","destination":"destination.hs.example.com","content":{"b":[1,"\u00e9"],"a":null}}"#,
    )
    .expect("an object");
    starling_events::sign::sign_json(&mut object, "origin.hs.example.com", &key());
    let signature = object.value().get("signatures").and_then(|all| {
        let of_origin = all.get("origin.hs.example.com")?;
        of_origin
            .get("ed25519:key1")?
            .as_str()
            .map(std::borrow::Cow::into_owned)
    });
    let content = starling_events::canonical_json::canonicalize_request(
        br#"{ "b": [1, "\u00e9"], "a": null }"#,
    )
    .expect("an object");
    let header = sign_request(
        ("POST", "/target", Some(&content)),
        (
            &server("origin.hs.example.com"),
            &server("destination.hs.example.com"),
        ),
        &key(),
    );
    assert_eq!(
        header,
        format!(
            "X-Matrix origin=\"origin.hs.example.com\",destination=\"destination.hs.example.com\",key=\"ed25519:key1\",sig=\"{}\"",
            signature.expect("a signature")
        )
    );
}

#[test]
fn a_request_from_before_destinations_verifies() {
    let mut object = starling_events::CanonicalObject::parse(
        br#"{"method":"GET","uri":"/x","origin":"a.example"}"#,
    )
    .expect("an object");
    starling_events::sign::sign_json(&mut object, "a.example", &key());
    let signature = object.value().get("signatures").and_then(|all| {
        let of_origin = all.get("a.example")?;
        of_origin
            .get("ed25519:key1")?
            .as_str()
            .map(std::borrow::Cow::into_owned)
    });
    let header = format!(
        "X-Matrix origin=a.example,key=ed25519:key1,sig={}",
        signature.expect("a signature")
    );
    let auth = RequestAuth::parse(&header).expect("a header");
    assert_eq!(auth.destination, None);
    assert!(auth.verifies(
        ("GET", "/x", None),
        &server("b.example"),
        &key().verifying_key()
    ));
}

#[test]
fn headers_are_read_in_all_their_forms() {
    let sig = unpadded_base64::encode(&[1; 64]);
    let read = |header: &str| RequestAuth::parse(&header.replace("SIG", &sig));
    let expected = read(
        "X-Matrix origin=\"a.example\",destination=\"b.example\",key=\"ed25519:1\",sig=\"SIG\"",
    );
    assert!(expected.is_ok());
    let same = [
        "x-matrix origin=\"a.example\",destination=\"b.example\",key=\"ed25519:1\",sig=\"SIG\"",
        "X-Matrix   sig=\"SIG\" ,\tKEY=\"ed25519:1\" , Destination=b.example,ORIGIN=a.example",
        "X-Matrix origin=a.example,destination=b.example,key=ed25519:1,sig=SIG",
        "X-Matrix origin=\"a\\.example\",destination=\"b.example\",key=\"ed25519:1\",sig=\"SIG\",new=\"x, y\"",
        "X-Matrix ,origin=a.example,,destination=b.example,key=ed25519:1,sig=SIG,",
    ];
    for header in same {
        assert_eq!(read(header), expected, "{header}");
    }
}

#[test]
fn malformed_headers_are_refused() {
    let sig = unpadded_base64::encode(&[1; 64]);
    let read = |header: &str| RequestAuth::parse(&header.replace("SIG", &sig));
    let cases = [
        ("Bearer abc", RequestAuthError::Scheme),
        ("X-Matrix", RequestAuthError::Missing("sig")),
        ("X-Matrix origin=a,key=k", RequestAuthError::Missing("sig")),
        (
            "X-Matrix origin=\"a\",key=\"k\",sig=\"SIG",
            RequestAuthError::Syntax,
        ),
        (
            "X-Matrix origin=\"a\"key=\"k\",sig=\"SIG\"",
            RequestAuthError::Syntax,
        ),
        ("X-Matrix origin", RequestAuthError::Syntax),
        ("X-Matrix =a", RequestAuthError::Syntax),
        (
            "X-Matrix origin=a,key=k,sig=abc",
            RequestAuthError::Malformed("sig"),
        ),
        (
            "X-Matrix origin=\"a b\",key=k,sig=SIG",
            RequestAuthError::Malformed("origin"),
        ),
        (
            "X-Matrix origin=a,destination=\"/\",key=k,sig=SIG",
            RequestAuthError::Malformed("destination"),
        ),
    ];
    for (header, error) in cases {
        assert_eq!(read(header), Err(error), "{header}");
    }
    let long = format!("X-Matrix origin={},key=k,sig={sig}", "a".repeat(2048));
    assert_eq!(RequestAuth::parse(&long), Err(RequestAuthError::Syntax));
    let many = format!("X-Matrix {}", "a=b,".repeat(17));
    assert_eq!(RequestAuth::parse(&many), Err(RequestAuthError::Syntax));
}
