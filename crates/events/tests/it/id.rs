//! The grammar of identifiers.

use starling_events::{
    RoomVersion,
    id::{IdError, parse_event_id, parse_room_id, parse_server_name, parse_user_id},
};

#[test]
fn server_names() {
    for good in [
        "matrix.org",
        "matrix.org:8888",
        "1.2.3.4",
        "1.2.3.4:1234",
        "[1234:5678::abcd]",
        "[1234:5678::abcd]:5678",
        "localhost",
        "EXAMPLE.org",
        "a-b.c:1",
        "[::1]:65535",
    ] {
        assert!(parse_server_name(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        ":8448",
        "a b",
        "a_b",
        "a/b",
        "host:",
        "host:+80",
        "host:-1",
        "host:000080",
        "host:65536",
        "host:80:80",
        "[::1",
        "::1",
        "[::1]x",
        "[zz]",
        "é.org",
        "a\0",
    ] {
        assert_eq!(parse_server_name(bad), Err(IdError::Malformed), "{bad}");
    }
}

#[test]
fn user_ids() {
    for good in [
        "@u:h",
        "@:h",
        "@Ü ber\u{1}:h:1",
        "@a!b:[::1]:80",
        "@u:1.2.3.4",
    ] {
        assert!(parse_user_id(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "u:h",
        "@u",
        "@u:",
        "#u:h",
        "@a:b:c",
        "@a\0:h",
        "@u:h:+80",
        "@u:h:000080",
    ] {
        assert_eq!(parse_user_id(bad), Err(IdError::Malformed), "{bad}");
    }
    assert!(parse_user_id(&format!("@{}:h", "u".repeat(252))).is_ok());
    assert_eq!(
        parse_user_id(&format!("@{}:h", "u".repeat(253))),
        Err(IdError::TooLong)
    );
    // Bytes, not characters.
    assert_eq!(
        parse_user_id(&format!("@{}:h", "ü".repeat(127))),
        Err(IdError::TooLong)
    );
}

#[test]
fn room_ids() {
    let hash = format!("!{}", "-".repeat(43));
    for good in ["!r:h", "!:h", "!ü\n:h:1"] {
        assert!(parse_room_id(RoomVersion::V11, good).is_ok(), "{good}");
        assert!(parse_room_id(RoomVersion::V12, good).is_err(), "{good}");
    }
    for bad in ["!r", "r:h", "!r:", "!r:h:x", "!\0:h", &hash] {
        assert!(parse_room_id(RoomVersion::V11, bad).is_err(), "{bad}");
    }
    assert!(parse_room_id(RoomVersion::V12, &hash).is_ok());
    for bad in [
        hash.trim_start_matches('!'),
        &hash.replacen(['-', '_'], "", 1),
        "!",
        &format!("{hash}a"),
        &hash.replace('-', "+"),
        &hash.replace('!', "$"),
    ] {
        assert!(parse_room_id(RoomVersion::V12, bad).is_err(), "{bad}");
    }
}

#[test]
fn event_ids() {
    let hash = format!("${}", "_".repeat(43));
    assert!(parse_event_id(RoomVersion::V11, &hash).is_ok());
    for bad in [
        "",
        "$",
        "$a:h",
        &hash.replacen(['-', '_'], "", 1),
        &format!("{hash}a"),
        &hash.replace('_', "/"),
        &hash.replace('$', "!"),
    ] {
        assert_eq!(
            parse_event_id(RoomVersion::V12, bad),
            Err(IdError::Malformed),
            "{bad}"
        );
    }
    assert_eq!(
        parse_event_id(RoomVersion::V11, &"$".repeat(256)),
        Err(IdError::TooLong)
    );
}

#[test]
fn room_versions() {
    for version in RoomVersion::ALL {
        assert_eq!(RoomVersion::parse(version.as_str()), Some(version));
        assert_eq!(version.to_string(), version.as_str());
    }
    for unknown in ["", "1", "10", "13", "011", "v12", "org.matrix.msc1"] {
        assert_eq!(RoomVersion::parse(unknown), None);
    }
}
