//! The grammar of identifiers.

use starling_events::{
    RoomVersion,
    id::{
        IdError, event_id_domain, parse_event_id, parse_room_id, parse_server_name, parse_user_id,
        room_id_domain,
    },
    room_version::{EventIdForm, RoomIdForm},
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
    let longest = format!("!{}:h", "r".repeat(252));
    let with_domain = ["!r:h", "!:h", "!ü\n:h:1", "!r:[::1]:80", &longest];
    for version in RoomVersion::ALL {
        let by_hash = version.rules().room_id == RoomIdForm::CreateEventHash;
        for good in with_domain {
            assert_eq!(parse_room_id(version, good).is_ok(), !by_hash, "{good}");
        }
        assert_eq!(parse_room_id(version, &hash).is_ok(), by_hash);
        for bad in [
            "",
            "!",
            "!r",
            "r:h",
            "!r:",
            "!r:h:x",
            "!\0:h",
            "#r:h",
            hash.trim_start_matches('!'),
            &hash.replacen(['-', '_'], "", 1),
            &format!("{hash}a"),
            &hash.replace('-', "+"),
            &hash.replace('!', "$"),
        ] {
            assert_eq!(
                parse_room_id(version, bad),
                Err(IdError::Malformed),
                "version {version}: {bad}"
            );
        }
        assert_eq!(
            parse_room_id(version, &longest.replace(':', "r:")),
            Err(IdError::TooLong)
        );
    }
}

#[test]
fn event_ids() {
    let letters = format!("${}", "x".repeat(43));
    let standard = format!("${}", "+/".repeat(21) + "A");
    let url_safe = format!("${}", "-_".repeat(21) + "A");
    let longest = format!("${}:h", "e".repeat(252));
    let stated = ["$a:h", "$:h", "$ü\n/+-_:h:1", "$a:[::1]", &longest];
    for version in RoomVersion::ALL {
        let form = version.rules().event_id;
        let check = |id: &str, good: bool| {
            let parsed = parse_event_id(version, id);
            assert_eq!(parsed.is_ok(), good, "version {version}: {id}");
            if let Ok(parsed) = parsed {
                assert_eq!(parsed, id);
            }
        };
        for id in stated {
            check(id, form == EventIdForm::Stated);
        }
        check(&letters, form != EventIdForm::Stated);
        check(&standard, form == EventIdForm::Hash);
        check(&url_safe, form == EventIdForm::UrlSafeHash);
        for bad in [
            "",
            "$",
            "a:h",
            "!a:h",
            "$a:",
            "$a:h:x",
            "$a:h:000080",
            "$a:b:c",
            "$a:é",
            "$\0:h",
            letters.trim_start_matches('$'),
            letters.strip_suffix('x').unwrap(),
            &format!("{letters}x"),
            &format!("{letters}="),
            &letters.replace('$', "!"),
            &letters.replacen('x', "é", 1),
            &letters.replacen("xx", "é", 1),
            &letters.replacen('x', ".", 1),
            &standard.replacen("+/", "-_", 1),
        ] {
            assert_eq!(
                parse_event_id(version, bad),
                Err(IdError::Malformed),
                "version {version}: {bad}"
            );
        }
        for long in [&longest.replace(':', "e:"), &"$".repeat(256)] {
            assert_eq!(parse_event_id(version, long), Err(IdError::TooLong));
        }
    }
}

#[test]
fn domains() {
    let event = parse_event_id(RoomVersion::V1, "$a:[::1]:80").unwrap();
    assert_eq!(event_id_domain(&event), Some("[::1]:80"));
    let hash = parse_event_id(RoomVersion::V3, &format!("${}", "/".repeat(43))).unwrap();
    assert_eq!(event_id_domain(&hash), None);
    let room = parse_room_id(RoomVersion::V11, "!r:h:1").unwrap();
    assert_eq!(room_id_domain(&room), Some("h:1"));
    let hash = parse_room_id(RoomVersion::V12, &format!("!{}", "r".repeat(43))).unwrap();
    assert_eq!(room_id_domain(&hash), None);
}

#[test]
fn room_versions() {
    for version in RoomVersion::ALL {
        assert_eq!(RoomVersion::parse(version.as_str()), Some(version));
        assert_eq!(version.to_string(), version.as_str());
    }
    for unknown in ["", "0", "13", "01", "011", "1.0", "v12", "org.matrix.msc1"] {
        assert_eq!(RoomVersion::parse(unknown), None);
    }
}
