//! What no client should send: one table of cases, each refused as the specification says, and nothing changes.
//! <https://spec.matrix.org/v1.19/client-server-api/#standard-error-response>
//!
//! The tables are text: who, method, path, body, status, errcode. A path without a slash at its beginning is below
//! `/_matrix/client/v3/`. `-` is an empty body. In paths and bodies `{room}`, `{event}`, `{alice}` and so on stand for
//! what there is, `{256}` and `{3000}` for names of that length.

mod accounts;
mod requests;
mod rooms;

use std::collections::BTreeMap;

use serde_json::json;
use starling_testkit::TestServer;

use crate::caller::{Caller, Server, event_ids, on_servers_with, segment};

/// One request, and how it is refused.
#[derive(Clone)]
struct Case {
    who: &'static str,
    method: &'static str,
    path: String,
    body: Vec<u8>,
    status: u16,
    errcode: &'static str,
}

impl Case {
    /// What a failure calls it.
    fn name(&self) -> String {
        let short = |text: &str| text.chars().take(90).collect::<String>();
        let (path, body) = (short(&self.path), String::from_utf8_lossy(&self.body));
        format!("{} {} {path} with {}", self.who, self.method, short(&body))
    }
}

/// The cases of a text.
fn table(text: &'static str) -> Vec<Case> {
    let case = |line: &'static str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [who, method, path, body, status, errcode] = fields[..] else {
            panic!("{line}")
        };
        Case {
            who,
            method,
            path: path.to_owned(),
            body: if body == "-" { Vec::new() } else { body.into() },
            status: status.parse().unwrap(),
            errcode,
        }
    };
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).map(case).collect()
}

/// Every case there is.
fn cases() -> Vec<Case> {
    let mut cases = requests::cases();
    cases.extend(accounts::cases());
    cases.extend(rooms::cases());
    cases
}

/// Text that no database compresses: it would hide what an index cannot hold.
fn noise(length: usize) -> String {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from_digit((state >> 16) % 36, 36).unwrap()
    };
    (0..length).map(|_| next()).collect()
}

/// A server with a room: Alice made it, Carol is in it, Mallory is banned from it, and Bob never was there.
struct World {
    server: Server,
    callers: BTreeMap<&'static str, Caller>,
    /// What stands in braces, and for what.
    names: Vec<(&'static str, String)>,
    room: String,
}

impl World {
    async fn new(server: Server) -> Self {
        let mut callers = BTreeMap::new();
        for name in ["alice", "bob", "carol", "mallory"] {
            callers.insert(name, server.user(name).await);
        }
        callers.insert("admin", server.admin("admin").await);
        callers.insert("guest", server.guest().await);
        callers.insert("nobody", server.anonymous());
        callers.insert("forger", server.with_token("forged"));
        callers.insert("babbler", server.with_token(&noise(20_000)));
        let gone = server.user("gone").await;
        gone.post("logout", &json!({})).await.ok();
        callers.insert("gone", gone);

        let (alice, mallory) = (&callers["alice"], &callers["mallory"]);
        let wanted = json!({ "preset": "public_chat", "room_alias_name": "taken" });
        let room = alice.create(wanted).await;
        for name in ["carol", "mallory"] {
            callers[name].join(&room).await.ok();
        }
        alice.act(&room, "ban", mallory).await.ok();
        let hello = json!({ "body": "hello" });
        let sent = alice.send(&room, "m.room.message", "1", &hello).await;
        let mut names = vec![
            ("{room}", room.clone()),
            ("{event}", sent.event_id()),
            ("{256}", noise(256)),
            ("{3000}", noise(3000)),
        ];
        for (word, name) in [
            ("{alice}", "alice"),
            ("{bob}", "bob"),
            ("{carol}", "carol"),
            ("{mallory}", "mallory"),
            ("{admin}", "admin"),
        ] {
            names.push((word, callers[name].user_id.clone()));
        }
        Self {
            server,
            callers,
            names,
            room,
        }
    }

    /// How it is answered wrongly, if it is.
    async fn mistake(&self, case: &Case) -> Option<String> {
        let (mut path, mut body) = (case.path.clone(), case.body.clone());
        for (word, name) in &self.names {
            path = path.replace(word, &segment(name));
        }
        if let Ok(mut text) = String::from_utf8(body.clone()) {
            for (word, name) in &self.names {
                text = text.replace(word, name);
            }
            body = text.into_bytes();
        }
        let caller = &self.callers[case.who];
        let answer = caller.send_raw(case.method, &path, &body).await;
        let wanted = (case.status, case.errcode);
        let is_right = answer.error() == wanted && answer.has_message();
        (!is_right).then(|| {
            let name = case.name();
            let (error, message) = (answer.error(), answer.message());
            format!("{name}: {error:?}, not {wanted:?}: {message}")
        })
    }

    /// All that users can see of themselves and of the room, and who has an account.
    async fn everything(&self) -> Vec<String> {
        let mut all = vec![self.server.accounts().await];
        let room = segment(&self.room);
        for name in ["alice", "bob", "carol", "mallory"] {
            let caller = &self.callers[name];
            let profile = format!("profile/{}", caller.user_id);
            for path in ["joined_rooms", &profile] {
                all.push(caller.get(path).await.ok().to_string());
            }
            let mut devices = caller.get("devices").await.ok();
            for device in devices["devices"].as_array_mut().unwrap() {
                device["last_seen_ts"].take();
            }
            all.push(devices.to_string());
            // Who looks is not there by looking: the token says what changed of that, too.
            let sync = caller.get("sync?set_presence=offline").await.ok();
            all.push(sync["next_batch"].to_string());
            all.push(sync["account_data"].to_string());
        }
        for name in ["alice", "carol"] {
            let caller = &self.callers[name];
            let history = caller.page_all(&self.room, "dir=f&limit=100", None).await;
            all.push(format!("{history:?}"));
            let state = caller.get(&format!("rooms/{room}/state")).await.ok();
            all.push(format!("{:?}", event_ids(&state)));
            let aliases = caller.get(&format!("rooms/{room}/aliases")).await;
            all.push(aliases.ok().to_string());
        }
        all
    }
}

#[tokio::test]
async fn bad_input_is_refused_and_changes_nothing() {
    let cases = cases();
    assert!(cases.len() >= 100, "{} cases", cases.len());
    let mut config = TestServer::config();
    config.registration.guests = true;
    on_servers_with(config, async |server| {
        let world = World::new(server).await;
        let before = world.everything().await;
        let mut mistakes = Vec::new();
        for case in &cases {
            mistakes.extend(world.mistake(case).await);
        }
        assert!(mistakes.is_empty(), "{mistakes:#?}");
        for (before, after) in before.iter().zip(world.everything().await) {
            assert_eq!(*before, after);
        }
    })
    .await;
}

#[test]
fn no_case_is_there_twice() {
    let mut seen = BTreeMap::new();
    for case in cases() {
        let key = (case.who, case.method, case.path.clone(), case.body.clone());
        let before = seen.insert(key, case.status);
        assert!(before.is_none(), "{}", case.name());
    }
}
