//! Server names and sizes, by their grammars.

use starling_config::{ByteSize, ServerName};

#[test]
fn server_names() {
    for name in [
        "matrix.org",
        "matrix.org:8888",
        "1.2.3.4",
        "1.2.3.4:1234",
        "[1234:5678::abcd]",
        "[1234:5678::abcd]:5678",
        "localhost",
        "hs1",
        "a-b.example:00080",
        "EXAMPLE.org",
        "127.0.0.1:18800",
        "1.2.3.4.5",
        "[::ffff:1.2.3.4]",
    ] {
        assert_eq!(name.parse::<ServerName>().expect(name).as_str(), name);
    }
    let long = "a".repeat(256);
    for name in [
        "",
        ":80",
        "example.org:",
        "example.org:123456",
        "example.org:65536",
        "example.org:8a",
        "exam_ple.org",
        "https://a",
        "a/b",
        "1.2.3.256",
        "1.2.3.0004",
        "[::1",
        "[]",
        "[1.2.3.4]",
        "[::1]x",
        "[fe80::1%eth0]",
        "::1",
        "ä.example",
        "a b",
        long.as_str(),
    ] {
        assert!(name.parse::<ServerName>().is_err(), "{name}");
    }
}

#[test]
fn sizes() {
    let size = |text: &str| text.parse::<ByteSize>().map(|size| size.0).ok();
    assert_eq!(size("256MiB"), Some(268_435_456));
    assert_eq!(size("1 GiB"), Some(1 << 30));
    assert_eq!(size("512KiB"), Some(524_288));
    assert_eq!(size("7B"), Some(7));
    for text in [
        "",
        "7",
        "MiB",
        "-1MiB",
        "1.5GiB",
        "7MB",
        "99999999999999999GiB",
    ] {
        assert_eq!(size(text), None, "{text}");
    }
}
