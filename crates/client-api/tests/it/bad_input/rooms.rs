//! Bad input to endpoints of rooms.

use super::{Case, noise, table};

pub(super) fn cases() -> Vec<Case> {
    let tables = [
        EVENTS,
        PATHS,
        CREATION,
        ALIASES,
        DIRECTORY,
        REPORTS,
        READING,
        MEMBERSHIPS,
        FORBIDDEN,
        RECEIPTS,
    ];
    let mut cases = tables.map(table).concat();
    cases.extend(event_cases());
    cases.extend(body_cases());
    cases.extend(room_id_cases());
    cases.extend(creation_cases());
    cases
}

fn case(
    method: &'static str,
    path: String,
    body: &[u8],
    (status, errcode): (u16, &'static str),
) -> Case {
    Case {
        who: "alice",
        method,
        path,
        body: body.to_vec(),
        status,
        errcode,
    }
}

fn nested(depth: usize) -> Vec<u8> {
    [
        b"{\"a\":".as_slice(),
        &b"[".repeat(depth),
        &b"]".repeat(depth),
        b"}",
    ]
    .concat()
}

fn text_of(bytes: usize) -> Vec<u8> {
    format!("{{\"body\":\"{}\"}}", "a".repeat(bytes)).into_bytes()
}

/// Contents that no event may have.
fn bad_contents() -> Vec<(Vec<u8>, u16, &'static str)> {
    vec![
        (b"".to_vec(), 400, "M_NOT_JSON"),
        (b"hello".to_vec(), 400, "M_NOT_JSON"),
        (b"{\"a\":}".to_vec(), 400, "M_NOT_JSON"),
        (b"{\"a\":1} x".to_vec(), 400, "M_NOT_JSON"),
        (b"{\"a\":01}".to_vec(), 400, "M_NOT_JSON"),
        (b"{\"a\":NaN}".to_vec(), 400, "M_NOT_JSON"),
        (b"{\"a\":\"\\ud800\"}".to_vec(), 400, "M_NOT_JSON"),
        (b"{\"a\":\"\xff\"}".to_vec(), 400, "M_NOT_JSON"),
        (b"\xef\xbb\xbf{}".to_vec(), 400, "M_NOT_JSON"),
        (b"[]".to_vec(), 400, "M_BAD_JSON"),
        (b"\"text\"".to_vec(), 400, "M_BAD_JSON"),
        (b"null".to_vec(), 400, "M_BAD_JSON"),
        (b"{\"a\":1.5}".to_vec(), 400, "M_BAD_JSON"),
        (b"{\"a\":1e-3}".to_vec(), 400, "M_BAD_JSON"),
        (b"{\"a\":9007199254740992}".to_vec(), 400, "M_BAD_JSON"),
        (b"{\"a\":-9007199254740992}".to_vec(), 400, "M_BAD_JSON"),
        (b"{\"a\":1e400}".to_vec(), 400, "M_BAD_JSON"),
        (b"{\"a\":1,\"a\":2}".to_vec(), 400, "M_BAD_JSON"),
        (b"{\"a\":1,\"\\u0061\":2}".to_vec(), 400, "M_BAD_JSON"),
        (nested(200), 400, "M_BAD_JSON"),
        (nested(100_000), 400, "M_BAD_JSON"),
        (text_of(65_536), 413, "M_TOO_LARGE"),
        (text_of(399_000), 413, "M_TOO_LARGE"),
        (text_of(5 << 20), 413, "M_TOO_LARGE"),
    ]
}

fn event_cases() -> Vec<Case> {
    let paths = [
        "rooms/{room}/send/m.room.message/bad",
        "rooms/{room}/state/org.example.kind/",
        "rooms/{room}/redact/{event}/bad",
    ];
    let with = |path: &'static str| {
        let contents = bad_contents().into_iter();
        contents
            .map(|(body, status, errcode)| case("PUT", path.to_owned(), &body, (status, errcode)))
    };
    paths.into_iter().flat_map(with).collect()
}

/// Bodies that are wrong everywhere.
fn body_cases() -> Vec<Case> {
    let paths = [
        "createRoom",
        "join/{room}",
        "knock/{room}",
        "rooms/{room}/join",
        "rooms/{room}/invite",
        "rooms/{room}/leave",
        "rooms/{room}/kick",
        "rooms/{room}/ban",
        "rooms/{room}/unban",
        "rooms/{room}/upgrade",
    ];
    let bodies: [(&[u8], &str); 5] = [
        (b"{", "M_NOT_JSON"),
        (b"{\"reason\":\"\xff\"}", "M_NOT_JSON"),
        (b"[]", "M_BAD_JSON"),
        (b"1", "M_BAD_JSON"),
        (
            b"{\"reason\":1,\"invite\":1,\"user_id\":1,\"new_version\":1}",
            "M_BAD_JSON",
        ),
    ];
    let with = |path: &'static str| {
        bodies.map(|(body, errcode)| case("POST", path.to_owned(), body, (400, errcode)))
    };
    paths.into_iter().flat_map(with).collect()
}

/// What no room id is: in each place that takes one.
fn room_id_cases() -> Vec<Case> {
    let rooms = [
        "room",
        "%",
        "%zz",
        "%21",
        "%21a%3A",
        "%21a%3Alocal%20host",
        "%23a%3Alocalhost",
        "%21a%00%3Alocalhost",
        "%21%FF%3Alocalhost",
        "%21{256}%3Alocalhost",
    ];
    let places = [
        ("GET", "state"),
        ("GET", "members"),
        ("GET", "messages?dir=b"),
        ("GET", "context/{event}"),
        ("POST", "join"),
        ("PUT", "send/a/1"),
    ];
    let with = |room: &'static str| {
        places.map(|(method, rest)| {
            let path = format!("rooms/{room}/{rest}");
            case(method, path, b"{}", (400, "M_INVALID_PARAM"))
        })
    };
    rooms.into_iter().flat_map(with).collect()
}

/// Rooms that would begin with too much.
fn creation_cases() -> Vec<Case> {
    let create =
        |body: String, answer| case("POST", "createRoom".to_owned(), body.as_bytes(), answer);
    let invites: Vec<String> = (0..101)
        .map(|number| format!("\"@user{number}:localhost\""))
        .collect();
    let state =
        |content: &str| format!("{{\"type\":\"a\",\"state_key\":\"\",\"content\":{content}}}");
    let initial = |events: String| format!("{{\"initial_state\":[{events}]}}");
    let states: Vec<String> = (0..201).map(|_| state("{}")).collect();
    let deep = String::from_utf8(nested(200)).unwrap();
    vec![
        create(
            format!("{{\"invite\":[{}]}}", invites.join(",")),
            (400, "M_INVALID_PARAM"),
        ),
        create(initial(states.join(",")), (400, "M_INVALID_PARAM")),
        create(initial(state("{\"a\":1.5}")), (400, "M_BAD_JSON")),
        create(
            initial(state("{\"a\":9007199254740992}")),
            (400, "M_BAD_JSON"),
        ),
        create(initial(state(&deep)), (400, "M_BAD_JSON")),
        create(
            initial(state(&format!("{{\"a\":\"{}\"}}", noise(70_000)))),
            (413, "M_TOO_LARGE"),
        ),
        create(
            format!("{{\"name\":\"{}\"}}", noise(70_000)),
            (413, "M_TOO_LARGE"),
        ),
        create(
            format!("{{\"topic\":\"{}\"}}", noise(5 << 20)),
            (413, "M_TOO_LARGE"),
        ),
    ]
}

/// One case a line: method, path, body, status, errcode.
const EVENTS: &str = r##"
    alice PUT rooms/{room}/state/m.room.member/{bob} {"membership":"join"} 403 M_FORBIDDEN
    alice PUT rooms/{room}/state/m.room.member/{bob} {"membership":"join","join_authorised_via_users_server":"@alice:localhost"} 403 M_FORBIDDEN
    alice PUT rooms/{room}/state/m.room.member/bob {"membership":"leave"} 403 M_FORBIDDEN
    alice PUT rooms/{room}/state/m.room.member/ {"membership":"join"} 403 M_FORBIDDEN
    alice PUT rooms/{room}/state/m.room.member/{alice} {"membership":"king"} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.member/{alice} {} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/org.example.kind/{bob} {} 403 M_FORBIDDEN
    alice PUT rooms/{room}/send/m.room.member/bad {"membership":"join"} 400 M_BAD_JSON
    alice PUT rooms/{room}/send//bad {} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/state// {} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/state//key {} 400 M_INVALID_PARAM
    alice POST createRoom {"initial_state":[{"type":"","content":{}}]} 400 M_INVALID_ROOM_STATE
    alice PUT rooms/{room}/send/m.room.create/bad {} 403 M_FORBIDDEN
    alice PUT rooms/{room}/state/m.room.create/ {"room_version":"12"} 403 M_FORBIDDEN
    alice PUT rooms/{room}/send/m.room.redaction/bad {} 400 M_MISSING_PARAM
    alice PUT rooms/{room}/send/m.room.redaction/bad {"redacts":1} 400 M_BAD_JSON
    alice PUT rooms/{room}/send/m.room.redaction/bad {"redacts":"x"} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/redact/%24unknown/bad {} 404 M_NOT_FOUND
    alice POST rooms/{room}/invite {"user_id":"bob"} 400 M_INVALID_PARAM
    alice POST rooms/{room}/invite {"user_id":"@nobody:localhost"} 404 M_NOT_FOUND
    alice POST rooms/{room}/invite {"user_id":"@bob:example.org"} 403 M_FORBIDDEN
    alice POST rooms/{room}/invite {} 400 M_BAD_JSON
    alice POST rooms/{room}/invite {"medium":"email","address":"a@b","id_server":"c","id_access_token":"d"} 400 M_SERVER_NOT_TRUSTED
    alice POST rooms/{room}/invite {"medium":"email","address":1,"id_server":"c"} 400 M_BAD_JSON
    alice POST rooms/{room}/kick {"user_id":"@:"} 400 M_INVALID_PARAM
    alice POST rooms/{room}/ban {"user_id":""} 400 M_INVALID_PARAM
    alice POST rooms/{room}/unban {"user_id":"@a:localhost\u0000"} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/state/m.room.member/{carol} {"membership":"sneeze"} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.member/{carol} {"membership":1} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.power_levels/ {"users":{"bob":100}} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.power_levels/ {"users":{"{alice}":100}} 403 M_FORBIDDEN
    alice PUT rooms/{room}/state/m.room.power_levels/ {"users":{"{carol}":"50"}} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.power_levels/ {"users":{"{carol}":null}} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.power_levels/ {"users":[]} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.power_levels/ {"ban":"50"} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.power_levels/ {"users_default":true} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.power_levels/ {"users_default":1.5} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.power_levels/ {"events":{"a":{}}} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.power_levels/ {"events":7} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.power_levels/ {"notifications":{"room":"x"}} 400 M_BAD_JSON
    alice PUT rooms/{room}/state/m.room.canonical_alias/ {"alias":"#unknown:localhost"} 400 M_BAD_ALIAS
    alice PUT rooms/{room}/state/m.room.canonical_alias/ {"alias":"nonsense"} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/state/m.room.canonical_alias/ {"alt_aliases":["#unknown:localhost"]} 400 M_BAD_ALIAS
    alice PUT rooms/{room}/state/m.room.canonical_alias/ {"alt_aliases":["#taken:elsewhere"]} 400 M_BAD_ALIAS
    alice PUT rooms/{room}/state/m.room.canonical_alias/ {"alt_aliases":"#taken:localhost"} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/state/m.room.canonical_alias/ {"alias":1} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/state/m.room.canonical_alias/ {"alias":"#a\u0000:localhost"} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/send/%FF/bad {} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/send/m.room.message/%FF {} 400 M_INVALID_PARAM
"##;

/// Identifiers that are none, and rooms that are not here.
const PATHS: &str = "
    alice PUT rooms/{room}/send/m.room.message/{256} {} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/send/{3000}/bad {} 413 M_TOO_LARGE
    alice PUT rooms/{room}/state/{3000}/ {} 413 M_TOO_LARGE
    alice PUT rooms/{room}/state/a/{3000} {} 413 M_TOO_LARGE
    alice PUT rooms/{room}/state/a/{256} {} 413 M_TOO_LARGE
    alice GET rooms/{room}/state/a/{3000} {} 404 M_NOT_FOUND
    alice GET rooms/{room}/event/event {} 400 M_INVALID_PARAM
    alice GET rooms/{room}/event/%24{256} {} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/redact/event/1 {} 400 M_INVALID_PARAM
    alice GET directory/room/alias {} 400 M_INVALID_PARAM
    alice GET directory/room/%23{256}%3Alocalhost {} 400 M_INVALID_PARAM
    alice PUT directory/room/%23alias {} 400 M_INVALID_PARAM
    alice DELETE directory/room/alias {} 400 M_INVALID_PARAM
    alice POST join/alias {} 400 M_INVALID_PARAM
    alice POST join/%23alias {} 400 M_INVALID_PARAM
    alice PUT rooms/%21unknown%3Alocalhost/send/m.room.message/1 {} 403 M_FORBIDDEN
    alice PUT rooms/%21unknown%3Alocalhost/state/a/ {} 403 M_FORBIDDEN
    alice PUT rooms/%21unknown%3Alocalhost/redact/{event}/1 {} 403 M_FORBIDDEN
    alice GET rooms/%21unknown%3Alocalhost/state {} 403 M_FORBIDDEN
    alice GET rooms/%21unknown%3Alocalhost/state/a/ {} 403 M_FORBIDDEN
    alice GET rooms/%21unknown%3Alocalhost/members {} 403 M_FORBIDDEN
    alice GET rooms/%21unknown%3Alocalhost/joined_members {} 403 M_FORBIDDEN
    alice GET rooms/%21unknown%3Alocalhost/messages?dir=b {} 403 M_FORBIDDEN
    alice GET rooms/%21unknown%3Alocalhost/aliases {} 403 M_FORBIDDEN
    alice GET rooms/%21unknown%3Alocalhost/event/{event} {} 404 M_NOT_FOUND
    alice POST join/%21unknown%3Alocalhost {} 404 M_NOT_FOUND
    alice POST rooms/%21unknown%3Alocalhost/join {} 404 M_NOT_FOUND
    alice POST rooms/%21unknown%3Alocalhost/leave {} 404 M_NOT_FOUND
    alice POST rooms/%21unknown%3Alocalhost/forget {} 404 M_NOT_FOUND
";

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>
const CREATION: &str = r#"
    alice POST createRoom - 400 M_NOT_JSON
    alice POST createRoom {"room_version":"13"} 400 M_UNSUPPORTED_ROOM_VERSION
    alice POST createRoom {"room_version":""} 400 M_UNSUPPORTED_ROOM_VERSION
    alice POST createRoom {"room_version":"12\u0000"} 400 M_UNSUPPORTED_ROOM_VERSION
    alice POST createRoom {"room_version":"{3000}"} 400 M_UNSUPPORTED_ROOM_VERSION
    alice POST createRoom {"room_version":12} 400 M_BAD_JSON
    alice POST createRoom {"preset":"sneeze"} 400 M_BAD_JSON
    alice POST createRoom {"visibility":"secret"} 400 M_BAD_JSON
    alice POST createRoom {"room_alias_name":"taken"} 400 M_ROOM_IN_USE
    alice POST createRoom {"room_alias_name":"a:b"} 400 M_INVALID_PARAM
    alice POST createRoom {"room_alias_name":"{256}"} 400 M_INVALID_PARAM
    alice POST createRoom {"room_alias_name":"a\u0000"} 400 M_INVALID_PARAM
    alice POST createRoom {"room_alias_name":1} 400 M_BAD_JSON
    alice POST createRoom {"name":1} 400 M_BAD_JSON
    alice POST createRoom {"topic":{}} 400 M_BAD_JSON
    alice POST createRoom {"is_direct":"yes"} 400 M_BAD_JSON
    alice POST createRoom {"invite":"{bob}"} 400 M_BAD_JSON
    alice POST createRoom {"invite":["bob"]} 400 M_INVALID_PARAM
    alice POST createRoom {"invite":["@bob\u0000:localhost"]} 400 M_INVALID_PARAM
    alice POST createRoom {"invite":["@unknown:localhost"]} 404 M_NOT_FOUND
    alice POST createRoom {"invite":["@bob:example.org"]} 403 M_FORBIDDEN
    alice POST createRoom {"invite_3pid":[{}]} 400 M_BAD_JSON
    alice POST createRoom {"invite_3pid":[{"medium":"email","address":"a@b","id_server":"c"}]} 400 M_SERVER_NOT_TRUSTED
    alice POST createRoom {"initial_state":{}} 400 M_BAD_JSON
    alice POST createRoom {"initial_state":[{}]} 400 M_BAD_JSON
    alice POST createRoom {"initial_state":[{"type":"a"}]} 400 M_BAD_JSON
    alice POST createRoom {"initial_state":[{"type":"a","content":[]}]} 400 M_BAD_JSON
    alice POST createRoom {"initial_state":[{"type":1,"content":{}}]} 400 M_BAD_JSON
    alice POST createRoom {"initial_state":[{"type":"a","state_key":1,"content":{}}]} 400 M_BAD_JSON
    alice POST createRoom {"initial_state":[{"type":"m.room.create","content":{}}]} 400 M_INVALID_ROOM_STATE
    alice POST createRoom {"initial_state":[{"type":"m.room.member","state_key":"{bob}","content":{"membership":"join"}}]} 400 M_INVALID_ROOM_STATE
    alice POST createRoom {"initial_state":[{"type":"a","state_key":"{3000}","content":{}}]} 413 M_TOO_LARGE
    alice POST createRoom {"creation_content":[]} 400 M_BAD_JSON
    alice POST createRoom {"creation_content":{"a":1.5}} 400 M_BAD_JSON
    alice POST createRoom {"creation_content":{"additional_creators":["bob"]}} 400 M_INVALID_ROOM_STATE
    alice POST createRoom {"creation_content":{"additional_creators":"{bob}"}} 400 M_INVALID_ROOM_STATE
    alice POST createRoom {"power_level_content_override":1} 400 M_BAD_JSON
    alice POST createRoom {"power_level_content_override":{"users":{"bob":1}}} 400 M_INVALID_ROOM_STATE
    alice POST createRoom {"power_level_content_override":{"users":{"{alice}":100}}} 400 M_INVALID_ROOM_STATE
    alice POST createRoom {"power_level_content_override":{"ban":"50"}} 400 M_INVALID_ROOM_STATE
"#;

/// <https://spec.matrix.org/v1.19/client-server-api/#room-aliases>
const ALIASES: &str = r#"
    nobody GET directory/room/%23unknown%3Alocalhost - 404 M_NOT_FOUND
    nobody GET directory/room/%23a%3Aelsewhere - 404 M_NOT_FOUND
    nobody GET directory/room/%23a%00%3Alocalhost - 400 M_INVALID_PARAM
    nobody GET directory/room/%23%FF%3Alocalhost - 400 M_INVALID_PARAM
    alice PUT directory/room/%23a%3Alocalhost {} 400 M_BAD_JSON
    alice PUT directory/room/%23a%3Alocalhost {"room_id":1} 400 M_BAD_JSON
    alice PUT directory/room/%23a%3Alocalhost {"room_id":"room"} 400 M_INVALID_PARAM
    alice PUT directory/room/%23a%3Alocalhost {"room_id":"!unknown:localhost"} 403 M_FORBIDDEN
    alice PUT directory/room/%23a%3Aelsewhere {"room_id":"{room}"} 400 M_INVALID_PARAM
    alice PUT directory/room/%23a%00%3Alocalhost {"room_id":"{room}"} 400 M_INVALID_PARAM
    alice PUT directory/room/%23taken%3Alocalhost {"room_id":"{room}"} 409 M_UNKNOWN
    alice DELETE directory/room/%23unknown%3Alocalhost - 404 M_NOT_FOUND
    bob PUT directory/room/%23a%3Alocalhost {"room_id":"{room}"} 403 M_FORBIDDEN
    bob DELETE directory/room/%23taken%3Alocalhost - 403 M_FORBIDDEN
    carol DELETE directory/room/%23taken%3Alocalhost - 403 M_FORBIDDEN
    bob GET rooms/{room}/aliases - 403 M_FORBIDDEN
"#;

/// Lists of rooms, and what is told of them.
const DIRECTORY: &str = r#"
    nobody GET directory/list/room/%21unknown%3Alocalhost - 404 M_NOT_FOUND
    nobody GET directory/list/room/room - 400 M_INVALID_PARAM
    alice PUT directory/list/room/%21unknown%3Alocalhost {} 404 M_NOT_FOUND
    alice PUT directory/list/room/{room} {"visibility":"secret"} 400 M_BAD_JSON
    alice PUT directory/list/room/{room} {"visibility":null} 400 M_BAD_JSON
    bob PUT directory/list/room/{room} {"visibility":"public"} 403 M_FORBIDDEN
    carol PUT directory/list/room/{room} {"visibility":"public"} 403 M_FORBIDDEN
    mallory PUT directory/list/room/{room} {"visibility":"public"} 403 M_FORBIDDEN
    guest PUT directory/list/room/{room} {"visibility":"public"} 403 M_GUEST_ACCESS_FORBIDDEN
    nobody GET publicRooms - 401 M_MISSING_TOKEN
    nobody POST publicRooms {} 401 M_MISSING_TOKEN
    alice GET publicRooms?limit=-1 - 400 M_INVALID_PARAM
    alice GET publicRooms?limit=99999999999999999999999 - 400 M_INVALID_PARAM
    alice GET publicRooms?since=forged - 400 M_INVALID_PARAM
    alice GET publicRooms?since=%00 - 400 M_INVALID_PARAM
    alice GET publicRooms?since=n1_99999999999999999999 - 400 M_INVALID_PARAM
    alice GET publicRooms?since={3000} - 400 M_INVALID_PARAM
    alice GET publicRooms?server=other.example - 403 M_FORBIDDEN
    alice GET publicRooms?server=%00 - 400 M_INVALID_PARAM
    alice POST publicRooms - 400 M_NOT_JSON
    alice POST publicRooms [] 400 M_BAD_JSON
    alice POST publicRooms {"limit":"1"} 400 M_BAD_JSON
    alice POST publicRooms {"since":1} 400 M_BAD_JSON
    alice POST publicRooms {"since":"forged"} 400 M_INVALID_PARAM
    alice POST publicRooms {"filter":[1]} 400 M_BAD_JSON
    alice POST publicRooms {"filter":{"generic_search_term":1}} 400 M_BAD_JSON
    alice POST publicRooms {"filter":{"room_types":["m.space",1]}} 400 M_BAD_JSON
    bob GET /_matrix/client/v1/room_summary/room - 400 M_INVALID_PARAM
    bob GET /_matrix/client/v1/room_summary/%21unknown%3Alocalhost - 404 M_NOT_FOUND
    bob GET /_matrix/client/v1/room_summary/%23unknown%3Alocalhost - 404 M_NOT_FOUND
    forger GET /_matrix/client/v1/room_summary/{room} - 401 M_UNKNOWN_TOKEN
    mallory GET /_matrix/client/v1/rooms/{room}/hierarchy - 403 M_FORBIDDEN
    alice GET /_matrix/client/v1/rooms/%21unknown%3Alocalhost/hierarchy - 403 M_FORBIDDEN
    alice GET /_matrix/client/v1/rooms/{room}/hierarchy?limit=0 - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/hierarchy?max_depth=-1 - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/hierarchy?suggested_only=perhaps - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/hierarchy?from=forged - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/hierarchy?from=a_%21a%00%3Alocalhost - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/hierarchy?from=a1_{room} - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/mutual_rooms - 400 M_MISSING_PARAM
    alice GET /_matrix/client/v1/mutual_rooms?user_id=bob - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/mutual_rooms?user_id={alice} - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/mutual_rooms?user_id=%40a%00%3Alocalhost - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/mutual_rooms?user_id={bob}&from=forged - 400 M_INVALID_PARAM
"#;

/// <https://spec.matrix.org/v1.19/client-server-api/#reporting-content>
const REPORTS: &str = r#"
    bob POST rooms/{room}/report/{event} {} 404 M_NOT_FOUND
    mallory POST rooms/{room}/report/{event} {} 404 M_NOT_FOUND
    alice POST rooms/{room}/report/%24unknown {} 404 M_NOT_FOUND
    alice POST rooms/{room}/report/%24a%00 {} 400 M_INVALID_PARAM
    alice POST rooms/{room}/report/{event} {"reason":1} 400 M_BAD_JSON
    alice POST rooms/{room}/report/{event} - 400 M_NOT_JSON
    alice POST rooms/{room}/report {} 400 M_BAD_JSON
    alice POST rooms/{room}/report {"reason":null} 400 M_BAD_JSON
    alice POST rooms/%21unknown%3Alocalhost/report {"reason":"x"} 404 M_NOT_FOUND
    alice POST users/%40unknown%3Alocalhost/report {"reason":"x"} 404 M_NOT_FOUND
    alice POST users/%40a%00%3Alocalhost/report {"reason":"x"} 400 M_INVALID_PARAM
    alice POST users/{bob}/report {} 400 M_BAD_JSON
    guest POST users/{bob}/report {"reason":"x"} 403 M_GUEST_ACCESS_FORBIDDEN
"#;

/// Queries.
const READING: &str = r#"
    alice GET sync?timeout=-1 - 400 M_INVALID_PARAM
    alice GET sync?timeout=soon - 400 M_INVALID_PARAM
    alice GET sync?timeout=99999999999999999999999 - 400 M_INVALID_PARAM
    alice GET sync?timeout=1&timeout=2 - 400 M_INVALID_PARAM
    alice GET notifications?from=nonsense - 400 M_INVALID_PARAM
    alice GET notifications?from=s9999999_1 - 400 M_INVALID_PARAM
    alice GET notifications?limit=many - 400 M_INVALID_PARAM
    alice GET sync?since=forged - 400 M_INVALID_PARAM
    alice GET sync?since= - 400 M_INVALID_PARAM
    alice GET sync?since=%00 - 400 M_INVALID_PARAM
    alice GET sync?since={3000} - 400 M_INVALID_PARAM
    alice GET sync?full_state=perhaps - 400 M_INVALID_PARAM
    alice GET sync?set_presence=sneezing - 400 M_INVALID_PARAM
    alice GET sync?filter=999 - 400 M_INVALID_PARAM
    alice GET sync?filter=nonsense - 400 M_INVALID_PARAM
    alice GET sync?filter=%7B - 400 M_INVALID_PARAM
    alice GET sync?filter=%7B%22room%22%3A1%7D - 400 M_INVALID_PARAM
    alice GET sync?use_state_after=perhaps - 400 M_INVALID_PARAM
    alice GET events?from=forged - 400 M_INVALID_PARAM
    alice GET events?from=s1_9007199254740992 - 400 M_INVALID_PARAM
    alice GET events?timeout=-1 - 400 M_INVALID_PARAM
    alice GET events?room_id=nonsense - 400 M_INVALID_PARAM
    alice GET events?room_id=%21unknown%3Alocalhost - 403 M_FORBIDDEN
    bob GET events?room_id={room} - 403 M_FORBIDDEN
    alice GET events/%24unknown - 404 M_NOT_FOUND
    alice GET events/%24a%00 - 400 M_INVALID_PARAM
    bob GET events/{event} - 404 M_NOT_FOUND
    alice GET initialSync?limit=-1 - 400 M_INVALID_PARAM
    alice GET initialSync?archived=perhaps - 400 M_INVALID_PARAM
    guest GET initialSync - 403 M_GUEST_ACCESS_FORBIDDEN
    alice GET rooms/nonsense/initialSync - 400 M_INVALID_PARAM
    alice GET rooms/%21unknown%3Alocalhost/initialSync - 403 M_FORBIDDEN
    bob GET rooms/{room}/initialSync - 403 M_FORBIDDEN
    alice GET rooms/{room}/messages - 400 M_MISSING_PARAM
    alice GET rooms/{room}/messages?dir=up - 400 M_INVALID_PARAM
    alice GET rooms/{room}/messages?dir=b&limit=-1 - 400 M_INVALID_PARAM
    alice GET rooms/{room}/messages?dir=b&limit=1.5 - 400 M_INVALID_PARAM
    alice GET rooms/{room}/messages?dir=b&limit=many - 400 M_INVALID_PARAM
    alice GET rooms/{room}/messages?dir=b&limit=99999999999999999999999 - 400 M_INVALID_PARAM
    alice GET rooms/{room}/messages?dir=b&from=forged - 400 M_INVALID_PARAM
    alice GET rooms/{room}/messages?dir=b&from=%FF - 400 M_INVALID_PARAM
    alice GET rooms/{room}/messages?dir=b&to=forged - 400 M_INVALID_PARAM
    alice GET rooms/{room}/messages?dir=b&filter=%5B%5D - 400 M_INVALID_PARAM
    alice GET rooms/{room}/messages?dir=b&filter=%7B%22limit%22%3A-1%7D - 400 M_INVALID_PARAM
    alice GET rooms/{room}/context/{event}?limit=-1 - 400 M_INVALID_PARAM
    alice GET rooms/{room}/context/{event}?limit=99999999999999999999999 - 400 M_INVALID_PARAM
    alice GET rooms/{room}/context/{event}?filter=%5B%5D - 400 M_INVALID_PARAM
    alice GET rooms/{room}/context/event - 400 M_INVALID_PARAM
    alice GET rooms/{room}/context/%24{256} - 400 M_INVALID_PARAM
    alice GET rooms/{room}/context/%24a%00 - 400 M_INVALID_PARAM
    alice GET rooms/{room}/context/%24unknown - 404 M_NOT_FOUND
    alice GET /_matrix/client/v1/rooms/{room}/relations/event - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/relations/%24a%00 - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/relations/%24unknown - 404 M_NOT_FOUND
    alice GET /_matrix/client/v1/rooms/{room}/relations/%24unknown/m.thread - 404 M_NOT_FOUND
    alice GET /_matrix/client/v1/rooms/{room}/relations/{event}/%FF - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/relations/{event}/m.thread/%FF - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/relations/{event}?dir=up - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/relations/{event}?from=forged - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/relations/{event}?to=%FF - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/relations/{event}?recurse=1 - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/threads?include=none - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/threads?limit=0 - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/threads?from=forged - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/timestamp_to_event?dir=f - 400 M_MISSING_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/timestamp_to_event?dir=f&ts=now - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/timestamp_to_event?dir=up&ts=1 - 400 M_INVALID_PARAM
    alice GET /_matrix/client/v1/rooms/{room}/timestamp_to_event?dir=b&ts=-1 - 404 M_NOT_FOUND
    alice GET rooms/{room}/members?at=forged - 400 M_INVALID_PARAM
    alice GET rooms/{room}/members?membership=king - 400 M_INVALID_PARAM
    alice GET rooms/{room}/members?not_membership=king - 400 M_INVALID_PARAM
    alice GET rooms/{room}/state/m.room.name/?format=xml - 400 M_INVALID_PARAM
    alice GET rooms/{room}/state/m.room.unknown/ - 404 M_NOT_FOUND
    alice GET rooms/{room}/state/a%00/ - 404 M_NOT_FOUND
    alice GET rooms/{room}/state/a/b%00 - 404 M_NOT_FOUND
    alice GET rooms/{room}/state/%FF/ - 400 M_INVALID_PARAM
    alice GET rooms/{room}/event/%24unknown - 404 M_NOT_FOUND
    alice GET rooms/{room}/event/%24a%00 - 400 M_INVALID_PARAM
    alice PUT rooms/{room}/redact/%24a%00/1 {} 400 M_INVALID_PARAM
    alice PUT rooms/{room}/send/m.room.redaction/1 {"redacts":"$a\u0000"} 400 M_INVALID_PARAM
    alice GET rooms/%21a%00/state - 400 M_INVALID_PARAM
    alice PUT directory/room/%23a%3Alocalhost {"room_id":"!a\u0000"} 400 M_INVALID_PARAM
    alice GET rooms/{room}/event/%FF - 400 M_INVALID_PARAM
"#;

/// <https://spec.matrix.org/v1.19/client-server-api/#room-membership>
const MEMBERSHIPS: &str = r#"
    mallory POST join/{room} {} 403 M_FORBIDDEN
    mallory POST rooms/{room}/join {} 403 M_FORBIDDEN
    mallory POST rooms/{room}/leave {} 403 M_FORBIDDEN
    bob POST rooms/{room}/leave {} 403 M_FORBIDDEN
    bob POST rooms/{room}/forget {} 404 M_NOT_FOUND
    alice POST rooms/{room}/forget {} 400 M_UNKNOWN
    alice POST join/%23unknown%3Alocalhost {} 404 M_NOT_FOUND
    bob POST rooms/{room}/join {"third_party_signed":{}} 400 M_INVALID_PARAM
    bob POST rooms/{room}/join {"third_party_signed":[]} 400 M_BAD_JSON
    bob POST rooms/{room}/join {"third_party_signed":{"sender":"{alice}","mxid":"{bob}","token":"a","n":1.5}} 400 M_BAD_JSON
    bob POST rooms/{room}/join {"third_party_signed":{"sender":"{alice}","mxid":"{alice}","token":"a"}} 403 M_FORBIDDEN
    bob POST join/{room} {"third_party_signed":{"sender":"{alice}","mxid":"{bob}","token":"a\u0000"}} 403 M_FORBIDDEN
    bob POST knock/{room} {} 403 M_FORBIDDEN
    alice POST rooms/{room}/upgrade {} 400 M_BAD_JSON
    alice POST rooms/{room}/upgrade {"new_version":"13"} 400 M_UNSUPPORTED_ROOM_VERSION
    alice POST rooms/{room}/upgrade {"new_version":"12","additional_creators":["@a\u0000:localhost"]} 400 M_INVALID_PARAM
    alice POST rooms/{room}/upgrade {"new_version":"12","additional_creators":["@{256}:localhost"]} 400 M_INVALID_PARAM
    alice POST rooms/{room}/upgrade {"new_version":"12","additional_creators":{}} 400 M_BAD_JSON
    bob POST rooms/{room}/upgrade {"new_version":"12"} 403 M_FORBIDDEN
    carol POST rooms/{room}/upgrade {"new_version":"12"} 403 M_FORBIDDEN
    guest POST rooms/{room}/upgrade {"new_version":"12"} 403 M_GUEST_ACCESS_FORBIDDEN
    mallory POST knock/{room} {} 403 M_FORBIDDEN
    carol POST knock/{room} {} 403 M_FORBIDDEN
    bob POST knock/{room} {"reason":1} 400 M_BAD_JSON
    bob POST knock/room {} 400 M_INVALID_PARAM
    bob POST knock/%23alias {} 400 M_INVALID_PARAM
    bob POST knock/%23unknown%3Alocalhost {} 404 M_NOT_FOUND
    bob POST knock/%21unknown%3Alocalhost {} 404 M_NOT_FOUND
    guest POST knock/{room} {} 403 M_GUEST_ACCESS_FORBIDDEN
    bob POST join/{room} {"reason":1} 400 M_BAD_JSON
    alice POST rooms/{room}/invite {"user_id":"{carol}"} 403 M_FORBIDDEN
    alice POST rooms/{room}/invite {"user_id":"{mallory}"} 403 M_FORBIDDEN
    alice POST rooms/{room}/invite {"user_id":"@{256}:localhost"} 400 M_INVALID_PARAM
    alice POST rooms/{room}/invite {"user_id":"{bob}","reason":{}} 400 M_BAD_JSON
    alice POST rooms/{room}/kick {"user_id":"{bob}"} 403 M_FORBIDDEN
    alice POST rooms/{room}/kick {} 400 M_BAD_JSON
    alice POST rooms/{room}/unban {"user_id":"{carol}"} 403 M_BAD_STATE
    alice POST rooms/{room}/ban {"user_id":["{bob}"]} 400 M_BAD_JSON
    carol POST rooms/{room}/kick {"user_id":"{alice}"} 403 M_FORBIDDEN
    carol POST rooms/{room}/ban {"user_id":"{bob}"} 403 M_FORBIDDEN
    carol POST rooms/{room}/unban {"user_id":"{mallory}"} 403 M_FORBIDDEN
    bob POST rooms/{room}/invite {"user_id":"{bob}"} 403 M_FORBIDDEN
    bob POST rooms/{room}/kick {"user_id":"{carol}"} 403 M_FORBIDDEN
    bob POST rooms/{room}/unban {"user_id":"{carol}"} 403 M_FORBIDDEN
"#;

/// <https://spec.matrix.org/v1.19/client-server-api/#receipts>
const RECEIPTS: &str = r#"
    alice POST rooms/{room}/receipt/m.seen/{event} {} 400 M_INVALID_PARAM
    alice POST rooms/{room}/receipt/m.read/event {} 400 M_INVALID_PARAM
    alice POST rooms/{room}/receipt/m.read/%24a%00 {} 400 M_INVALID_PARAM
    alice POST rooms/{room}/receipt/m.read/{event} {"thread_id":""} 400 M_INVALID_PARAM
    alice POST rooms/{room}/receipt/m.read/{event} {"thread_id":null} 400 M_INVALID_PARAM
    alice POST rooms/{room}/receipt/m.read/{event} {"thread_id":1} 400 M_INVALID_PARAM
    alice POST rooms/{room}/receipt/m.read/{event} {"thread_id":["main"]} 400 M_INVALID_PARAM
    alice POST rooms/{room}/receipt/m.read/{event} {"thread_id":"thread"} 400 M_INVALID_PARAM
    alice POST rooms/{room}/receipt/m.read/{event} {"thread_id":"$a\u0000"} 400 M_INVALID_PARAM
    alice POST rooms/{room}/receipt/m.read/{event} {"thread_id":"$unknown"} 400 M_INVALID_PARAM
    alice POST rooms/{room}/receipt/m.fully_read/{event} {"thread_id":"main"} 400 M_INVALID_PARAM
    alice POST rooms/{room}/receipt/m.fully_read/%24unknown {} 404 M_NOT_FOUND
    alice POST rooms/{room}/receipt/m.read/{event} [] 400 M_BAD_JSON
    alice POST rooms/{room}/receipt/m.read/{event} { 400 M_NOT_JSON
    alice POST rooms/%21unknown%3Alocalhost/receipt/m.read/{event} {} 403 M_FORBIDDEN
    bob POST rooms/{room}/receipt/m.read/{event} {} 403 M_FORBIDDEN
    mallory POST rooms/{room}/receipt/m.read/{event} {} 403 M_FORBIDDEN
    guest POST rooms/{room}/receipt/m.read/{event} {} 403 M_GUEST_ACCESS_FORBIDDEN
    alice POST rooms/{room}/read_markers {"m.read":1} 400 M_BAD_JSON
    alice POST rooms/{room}/read_markers {"m.read":"event"} 400 M_INVALID_PARAM
    alice POST rooms/{room}/read_markers {"m.fully_read":"$unknown"} 404 M_NOT_FOUND
    alice POST rooms/{room}/read_markers {"m.read.private":"$a\u0000"} 400 M_INVALID_PARAM
    alice POST rooms/{room}/read_markers - 400 M_NOT_JSON
    bob POST rooms/{room}/read_markers {"m.fully_read":"{event}"} 403 M_FORBIDDEN
    alice PUT rooms/{room}/typing/{alice} {} 400 M_BAD_JSON
    alice PUT rooms/{room}/typing/{alice} {"typing":1} 400 M_BAD_JSON
    alice PUT rooms/{room}/typing/{alice} {"typing":true,"timeout":-1} 400 M_BAD_JSON
    alice PUT rooms/{room}/typing/{alice} {"typing":true,"timeout":"soon"} 400 M_BAD_JSON
    alice PUT rooms/{room}/typing/{alice} - 400 M_NOT_JSON
    alice PUT rooms/{room}/typing/{bob} {"typing":true} 403 M_FORBIDDEN
    alice PUT rooms/{room}/typing/alice {"typing":true} 403 M_FORBIDDEN
    alice PUT rooms/%21unknown%3Alocalhost/typing/{alice} {"typing":true} 403 M_FORBIDDEN
    alice PUT rooms/%21a%00/typing/{alice} {"typing":true} 400 M_INVALID_PARAM
    bob PUT rooms/{room}/typing/{bob} {"typing":true} 403 M_FORBIDDEN
    mallory PUT rooms/{room}/typing/{mallory} {"typing":true} 403 M_FORBIDDEN
"#;

/// What is well-formed, and not for everybody.
const FORBIDDEN: &str = r#"
    bob PUT rooms/{room}/send/m.room.message/1 {"body":"hello"} 403 M_FORBIDDEN
    bob PUT rooms/{room}/state/m.room.name/ {"name":"Bob's"} 403 M_FORBIDDEN
    bob PUT rooms/{room}/redact/{event}/1 {} 403 M_FORBIDDEN
    bob GET rooms/{room}/state - 403 M_FORBIDDEN
    bob GET rooms/{room}/state/m.room.name/ - 403 M_FORBIDDEN
    bob GET rooms/{room}/members - 403 M_FORBIDDEN
    bob GET rooms/{room}/joined_members - 403 M_FORBIDDEN
    bob GET rooms/{room}/messages?dir=b - 403 M_FORBIDDEN
    bob GET rooms/{room}/context/{event} - 404 M_NOT_FOUND
    bob GET /_matrix/client/v1/rooms/{room}/relations/{event} - 404 M_NOT_FOUND
    bob GET /_matrix/client/v1/rooms/{room}/threads - 403 M_FORBIDDEN
    bob GET /_matrix/client/v1/rooms/{room}/timestamp_to_event?dir=b&ts=1 - 403 M_FORBIDDEN
    bob GET rooms/{room}/event/{event} - 404 M_NOT_FOUND
    mallory PUT rooms/{room}/send/m.room.message/1 {"body":"hello"} 403 M_FORBIDDEN
    mallory PUT rooms/{room}/redact/{event}/1 {} 403 M_FORBIDDEN
    carol PUT rooms/{room}/state/m.room.name/ {"name":"Carol's"} 403 M_FORBIDDEN
    carol PUT rooms/{room}/state/m.room.power_levels/ {"users":{"{carol}":100}} 403 M_FORBIDDEN
    carol PUT rooms/{room}/state/m.room.join_rules/ {"join_rule":"invite"} 403 M_FORBIDDEN
    carol PUT rooms/{room}/state/m.room.tombstone/ {"body":"gone","replacement_room":"!a"} 403 M_FORBIDDEN
    carol PUT rooms/{room}/state/m.room.member/{alice} {"membership":"leave"} 403 M_FORBIDDEN
    carol PUT rooms/{room}/redact/{event}/1 {} 403 M_FORBIDDEN
    guest POST join/{room} {} 403 M_GUEST_ACCESS_FORBIDDEN
    guest PUT rooms/{room}/send/m.room.message/1 {"body":"hello"} 403 M_FORBIDDEN
"#;
