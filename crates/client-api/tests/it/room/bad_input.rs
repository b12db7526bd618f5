//! What no client should send: each is refused as the specification says, and changes nothing.
//! <https://spec.matrix.org/v1.19/client-server-api/#standard-error-response>

use serde_json::json;

use super::caller::{Caller, on_servers, segment};

/// Method, path, body, status, errcode. `{room}`, `{event}`, `{alice}` and `{bob}` stand for what there is,
/// `{256}` and `{3000}` for names of that length.
type Case = (&'static str, String, Vec<u8>, u16, &'static str);

/// Text that no database compresses: it would hide what an index cannot hold.
fn noise(length: usize) -> String {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from_digit((state >> 16) % 36, 36).unwrap()
    };
    (0..length).map(|_| next()).collect()
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
        let case = move |(body, status, errcode)| -> Case {
            ("PUT", path.to_owned(), body, status, errcode)
        };
        bad_contents().into_iter().map(case)
    };
    paths.into_iter().flat_map(with).collect()
}

/// Bodies that are wrong everywhere.
fn body_cases() -> Vec<Case> {
    let paths = [
        "createRoom",
        "join/{room}",
        "rooms/{room}/join",
        "rooms/{room}/invite",
        "rooms/{room}/leave",
        "rooms/{room}/kick",
        "rooms/{room}/ban",
        "rooms/{room}/unban",
    ];
    let bodies: [(&[u8], &str); 5] = [
        (b"{", "M_NOT_JSON"),
        (b"{\"reason\":\"\xff\"}", "M_NOT_JSON"),
        (b"[]", "M_BAD_JSON"),
        (b"1", "M_BAD_JSON"),
        (b"{\"reason\":1,\"invite\":1,\"user_id\":1}", "M_BAD_JSON"),
    ];
    let with = |path: &'static str| {
        bodies.map(|(body, errcode)| -> Case {
            ("POST", path.to_owned(), body.to_vec(), 400, errcode)
        })
    };
    paths.into_iter().flat_map(with).collect()
}

/// One case a line: method, path, body, status, errcode.
const FORGED: &str = r#"
    PUT rooms/{room}/state/m.room.member/{bob} {"membership":"join"} 403 M_FORBIDDEN
    PUT rooms/{room}/state/m.room.member/{bob} {"membership":"join","join_authorised_via_users_server":"@alice:localhost"} 403 M_FORBIDDEN
    PUT rooms/{room}/state/m.room.member/bob {"membership":"leave"} 403 M_FORBIDDEN
    PUT rooms/{room}/state/m.room.member/ {"membership":"join"} 403 M_FORBIDDEN
    PUT rooms/{room}/state/m.room.member/{alice} {"membership":"king"} 403 M_FORBIDDEN
    PUT rooms/{room}/state/m.room.member/{alice} {} 403 M_FORBIDDEN
    PUT rooms/{room}/state/org.example.kind/{bob} {} 403 M_FORBIDDEN
    PUT rooms/{room}/send/m.room.member/bad {"membership":"join"} 403 M_FORBIDDEN
    PUT rooms/{room}/send/m.room.create/bad {} 403 M_FORBIDDEN
    PUT rooms/{room}/state/m.room.create/ {"room_version":"12"} 403 M_FORBIDDEN
    PUT rooms/{room}/send/m.room.redaction/bad {} 400 M_MISSING_PARAM
    PUT rooms/{room}/send/m.room.redaction/bad {"redacts":1} 400 M_BAD_JSON
    PUT rooms/{room}/send/m.room.redaction/bad {"redacts":"x"} 400 M_INVALID_PARAM
    PUT rooms/{room}/redact/%24unknown/bad {} 404 M_NOT_FOUND
    POST rooms/{room}/invite {"user_id":"bob"} 400 M_INVALID_PARAM
    POST rooms/{room}/invite {"user_id":"@nobody:localhost"} 404 M_NOT_FOUND
    POST rooms/{room}/invite {} 400 M_BAD_JSON
    POST rooms/{room}/invite {"medium":"email","address":"a@b","id_server":"c","id_access_token":"d"} 403 M_FORBIDDEN
    POST rooms/{room}/kick {"user_id":"@:"} 400 M_INVALID_PARAM
    POST rooms/{room}/ban {"user_id":""} 400 M_INVALID_PARAM
    POST rooms/{room}/unban {"user_id":"@a:localhost\u0000"} 400 M_INVALID_PARAM
"#;

/// Identifiers that are none, and rooms that are not here.
const PATHS: &str = "
    PUT rooms/{room}/send/m.room.message/{256} {} 400 M_INVALID_PARAM
    PUT rooms/{room}/send/{3000}/bad {} 413 M_TOO_LARGE
    PUT rooms/{room}/state/{3000}/ {} 413 M_TOO_LARGE
    PUT rooms/{room}/state/a/{3000} {} 413 M_TOO_LARGE
    PUT rooms/{room}/state/a/{256} {} 413 M_TOO_LARGE
    GET rooms/{room}/state/a/{3000} {} 404 M_NOT_FOUND
    GET rooms/{room}/event/event {} 400 M_INVALID_PARAM
    GET rooms/{room}/event/%24{256} {} 400 M_INVALID_PARAM
    PUT rooms/{room}/redact/event/1 {} 400 M_INVALID_PARAM
    GET directory/room/alias {} 400 M_INVALID_PARAM
    GET directory/room/%23{256}%3Alocalhost {} 400 M_INVALID_PARAM
    PUT directory/room/%23alias {} 400 M_INVALID_PARAM
    DELETE directory/room/alias {} 400 M_INVALID_PARAM
    POST join/alias {} 400 M_INVALID_PARAM
    POST join/%23alias {} 400 M_INVALID_PARAM
    PUT rooms/%21unknown%3Alocalhost/send/m.room.message/1 {} 403 M_FORBIDDEN
    PUT rooms/%21unknown%3Alocalhost/state/a/ {} 403 M_FORBIDDEN
    PUT rooms/%21unknown%3Alocalhost/redact/{event}/1 {} 403 M_FORBIDDEN
    GET rooms/%21unknown%3Alocalhost/state {} 403 M_FORBIDDEN
    GET rooms/%21unknown%3Alocalhost/state/a/ {} 403 M_FORBIDDEN
    GET rooms/%21unknown%3Alocalhost/members {} 403 M_FORBIDDEN
    GET rooms/%21unknown%3Alocalhost/joined_members {} 403 M_FORBIDDEN
    GET rooms/%21unknown%3Alocalhost/messages?dir=b {} 403 M_FORBIDDEN
    GET rooms/%21unknown%3Alocalhost/aliases {} 403 M_FORBIDDEN
    GET rooms/%21unknown%3Alocalhost/event/{event} {} 404 M_NOT_FOUND
    POST join/%21unknown%3Alocalhost {} 404 M_NOT_FOUND
    POST rooms/%21unknown%3Alocalhost/join {} 404 M_NOT_FOUND
    POST rooms/%21unknown%3Alocalhost/leave {} 404 M_NOT_FOUND
    POST rooms/%21unknown%3Alocalhost/forget {} 404 M_NOT_FOUND
    POST rooms/{room}/send/m.room.message/1 {} 405 M_UNRECOGNIZED
    POST rooms/{room}/state/a/b {} 405 M_UNRECOGNIZED
    DELETE rooms/{room}/state {} 405 M_UNRECOGNIZED
    PUT createRoom {} 405 M_UNRECOGNIZED
    POST sync {} 405 M_UNRECOGNIZED
    GET rooms/{room}/nothing {} 404 M_UNRECOGNIZED
    GET rooms {} 404 M_UNRECOGNIZED
    PUT rooms/{room}/send/m.room.message {} 404 M_UNRECOGNIZED
";

/// What no room id is: in each place that takes one.
fn room_id_cases() -> Vec<Case> {
    let rooms = [
        "room",
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
        ("POST", "join"),
        ("PUT", "send/a/1"),
    ];
    let mut cases = Vec::new();
    for room in rooms {
        cases.extend(places.map(|(method, rest)| -> Case {
            let path = format!("rooms/{room}/{rest}");
            (method, path, b"{}".to_vec(), 400, "M_INVALID_PARAM")
        }));
    }
    cases
}

/// The cases of a table.
fn table(text: &'static str) -> Vec<Case> {
    let case = |line: &'static str| -> Case {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [method, path, body, status, errcode] = fields[..] else {
            panic!("{line}")
        };
        (
            method,
            path.to_owned(),
            body.as_bytes().to_vec(),
            status.parse().unwrap(),
            errcode,
        )
    };
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(case)
        .collect()
}

/// What two users can see: rooms, state and history.
async fn everything(callers: &[&Caller], room: &str) -> Vec<String> {
    let mut all = Vec::new();
    for caller in callers {
        all.push(caller.get("joined_rooms").await.ok().to_string());
        all.push(format!(
            "{:?}",
            caller.page_all(room, "dir=f&limit=100", None).await
        ));
        let mut state = caller
            .get(&format!("rooms/{}/state", segment(room)))
            .await
            .ok();
        let ids = state
            .as_array_mut()
            .unwrap()
            .iter()
            .map(|event| event["event_id"].to_string());
        all.extend(ids);
        let sync = caller.get("sync").await.ok();
        all.push(sync["next_batch"].to_string());
    }
    all
}

#[tokio::test]
async fn bad_input_is_refused_and_changes_nothing() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let carol = server.user("carol").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        carol.join(&room).await.ok();
        let event = alice
            .send(&room, "m.room.message", "1", &json!({ "body": "hello" }))
            .await
            .event_id();
        let before = everything(&[&alice, &carol], &room).await;
        let mut wrong = Vec::new();
        for (method, path, body, status, errcode) in [
            event_cases(),
            body_cases(),
            table(FORGED),
            table(PATHS),
            room_id_cases(),
        ]
        .concat()
        {
            let fill = |text: &str| {
                text.replace("{room}", &segment(&room))
                    .replace("{event}", &segment(&event))
                    .replace("{256}", &noise(256))
                    .replace("{3000}", &noise(3000))
            };
            let filled = fill(&path)
                .replace("{alice}", &segment(&alice.user_id))
                .replace("{bob}", &segment(&bob.user_id));
            let answer = alice.send_raw(method, &filled, &body).await;
            if answer.error() != (status, errcode) {
                let shown: String = String::from_utf8_lossy(&body).chars().take(80).collect();
                let path: String = path.chars().take(80).collect();
                let error = answer.error();
                wrong.push(format!(
                    "{method} {path} with {shown}: {error:?}, not {status} {errcode}"
                ));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(everything(&[&alice, &carol], &room).await, before);
    })
    .await;
}

#[tokio::test]
async fn without_a_valid_token_nothing_is_done() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        let id = segment(&room);
        let routes = [
            ("POST", "createRoom".to_owned()),
            ("POST", format!("join/{id}")),
            ("GET", "joined_rooms".to_owned()),
            ("GET", "sync".to_owned()),
            ("PUT", format!("rooms/{id}/send/m.room.message/1")),
            ("PUT", format!("rooms/{id}/state/a/")),
            ("GET", format!("rooms/{id}/state")),
            ("GET", format!("rooms/{id}/messages?dir=b")),
            ("PUT", "directory/room/%23a%3Alocalhost".to_owned()),
        ];
        let before = everything(&[&alice], &room).await;
        for (method, path) in routes {
            let none = server.anonymous().send_raw(method, &path, b"{}").await;
            none.fails_for(&path, 401, "M_MISSING_TOKEN");
            let forged = server
                .with_token("forged")
                .send_raw(method, &path, b"{}")
                .await;
            forged.fails_for(&path, 401, "M_UNKNOWN_TOKEN");
        }
        assert_eq!(everything(&[&alice], &room).await, before);
    })
    .await;
}
