//! Joining rooms of other servers.

use ruma_common::OwnedServerName;
use serde_json::{Value, json};
use starling_events::sign::sign_event;
use starling_events::{Pdu, RoomVersion};
use starling_rooms::{Actor, RemoteError, SendError};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::graph::{Graph, OWNER, RESIDENT, raw, value};
use super::net::{Asked, Connected, key_of, refusal, server};

const USER: &str = "@alice:localhost";

/// A server that gives what it says of a room to who joins it.
pub(super) fn resident(template: Value, answer: Value) -> impl Fn(&Asked) -> Option<(u16, Value)> {
    move |asked| {
        if asked.uri.contains("/v1/make_join/") {
            Some((200, template.clone()))
        } else if asked.uri.contains("/v2/send_join/") {
            Some((200, answer.clone()))
        } else {
            None
        }
    }
}

pub(super) fn joins() -> Value {
    json!({ "membership": "join" })
}

fn via(servers: &[&str]) -> Vec<OwnedServerName> {
    servers.iter().map(|name| server(name)).collect()
}

async fn join(
    at: &Connected,
    alice: &Actor,
    graph: &Graph,
    through: &[&str],
) -> Result<(), SendError> {
    let (room, via) = (&graph.room_id, via(through));
    at.world
        .rooms
        .join(alice, (room, &via), Some("why not".to_owned()))
        .await
}

async fn is_in(at: &Connected, alice: &Actor, graph: &Graph) -> bool {
    at.world
        .rooms
        .joined_rooms(alice)
        .await
        .unwrap()
        .contains(&graph.room_id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_of_every_version_is_joined() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        for version in RoomVersion::ALL {
            let graph = Graph::new(version);
            let template = graph.template(USER, &joins());
            at.net.add(RESIDENT, resident(template, graph.answer()));
            join(&at, &alice, &graph, &[RESIDENT]).await.unwrap();
            assert!(is_in(&at, &alice, &graph).await, "version {version}");
            let room = at
                .world
                .store
                .room_num(&graph.room_id)
                .await
                .unwrap()
                .unwrap();
            let snapshot = at.world.store.room(room).await.unwrap().unwrap();
            assert_eq!(
                snapshot.state.len(),
                graph.state.len() + 1,
                "version {version}"
            );
            assert_eq!(snapshot.joined, 2, "version {version}");
            at.world.say(&alice, &graph.room_id, "here").await.unwrap();
            let asked = at.net.asked().pop().unwrap();
            let sent = Pdu::parse(version, &serde_json::to_vec(&asked.body).unwrap()).unwrap();
            assert!(sent.has_valid_content_hash(), "version {version}");
            let said: Value = serde_json::from_slice(sent.content()).unwrap();
            assert_eq!(said, json!({ "membership": "join", "reason": "why not" }));
            assert_eq!(sent.sender(), alice.user_id, "version {version}");
            assert_eq!(sent.prev_events().len(), 1, "version {version}");
            let id = sent.event_id().as_str().trim_start_matches('$');
            let id = id
                .replace(':', "%3A")
                .replace('/', "%2F")
                .replace('+', "%2B");
            assert!(asked.uri.ends_with(&format!("%24{id}")), "{}", asked.uri);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_tried_until_one_lets_the_user_in() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let graph = Graph::new(RoomVersion::V10);
        let template = graph.template(USER, &joins());
        at.net
            .add(RESIDENT, resident(template.clone(), graph.answer()));
        at.net
            .add("left.example", |_| Some(refusal(404, "M_NOT_FOUND")));
        at.net.add("unable.example", |_| {
            Some(refusal(400, "M_UNABLE_TO_GRANT_JOIN"))
        });
        // Its template is right, and its room is another.
        let other = Graph::new(RoomVersion::V11);
        at.net
            .add("liar.example", resident(template, other.answer()));
        let through = [
            "gone.example",
            "left.example",
            "unable.example",
            "liar.example",
            RESIDENT,
        ];
        join(&at, &alice, &graph, &through).await.unwrap();
        assert!(is_in(&at, &alice, &graph).await);
        let paths = [
            "gone.example v1/make_join",
            "left.example v1/make_join",
            "unable.example v1/make_join",
            "liar.example v1/make_join",
            "liar.example v2/send_join",
            "resident.example v1/make_join",
            "resident.example v2/send_join",
        ];
        assert_eq!(at.net.paths(), paths);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_server_is_asked_when_one_takes_long() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let graph = Graph::new(RoomVersion::V10);
        let template = graph.template(USER, &joins());
        at.net.add(RESIDENT, resident(template, graph.answer()));
        at.net.silence("silent.example");
        join(&at, &alice, &graph, &["silent.example", RESIDENT])
            .await
            .unwrap();
        assert!(is_in(&at, &alice, &graph).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_failed_lately_is_asked_after_the_others() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        // Of a version whose ids name no server.
        let graph = Graph::new(RoomVersion::V12);
        let gone = join(&at, &alice, &graph, &["gone.example"]).await;
        gone.unwrap_err();
        let template = graph.template(USER, &joins());
        at.net.add(RESIDENT, resident(template, graph.answer()));
        join(&at, &alice, &graph, &["gone.example", RESIDENT])
            .await
            .unwrap();
        let asked = at.net.paths();
        let paths = [
            "gone.example v1/make_join",
            "resident.example v1/make_join",
            "resident.example v2/send_join",
        ];
        assert_eq!(asked, paths);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_let_in_is_told_why() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let graph = Graph::new(RoomVersion::V10);
        let refused = |result: Result<(), SendError>| match result {
            Err(SendError::Remote(RemoteError::Refused { errcode, .. })) => errcode,
            other => panic!("{other:?}"),
        };
        at.net.add(RESIDENT, |_| Some(refusal(403, "M_FORBIDDEN")));
        at.net.add("left.example", |_| Some(refusal(404, "M_NOT_FOUND")));
        at.net.add("unable.example", |_| Some(refusal(400, "M_UNABLE_TO_GRANT_JOIN")));
        // No other server is asked once one says that the room doesn't want the user.
        let result = join(&at, &alice, &graph, &[RESIDENT, "left.example"]).await;
        assert_eq!(refused(result), "M_FORBIDDEN");
        assert_eq!(at.net.paths(), ["resident.example v1/make_join"]);
        // The first that says why is told.
        at.net.add(RESIDENT, |_| None);
        let result = join(&at, &alice, &graph, &["gone.example", "unable.example", "left.example"]).await;
        assert_eq!(refused(result), "M_UNABLE_TO_GRANT_JOIN");
        at.net.add(RESIDENT, |asked| {
            assert!(asked.uri.contains("ver=12"));
            Some((400, json!({ "errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "", "room_version": "99" })))
        });
        let result = join(&at, &alice, &graph, &[RESIDENT]).await;
        assert_eq!(refused(result), "M_INCOMPATIBLE_ROOM_VERSION");
        assert!(!is_in(&at, &alice, &graph).await);
        // Nobody could be asked but the server in the room's id.
        let room = ruma_common::room_id!("!room:gone.example");
        let result = at.world.rooms.join(&alice, (room, &[]), None).await;
        assert!(matches!(result, Err(SendError::Remote(_))), "{result:?}");
        let room = ruma_common::room_id!("!room:localhost");
        let result = at.world.rooms.join(&alice, (room, &via(&["localhost"])), None).await;
        assert!(matches!(result, Err(SendError::UnknownRoom)), "{result:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_of_anything_else_are_not_signed() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let graph = Graph::new(RoomVersion::V10);
        let good = graph.template(USER, &joins());
        let lies: [(&str, Value); 8] = [
            ("/event/type", json!("m.room.power_levels")),
            ("/event/room_id", json!("!other:resident.example")),
            ("/event/sender", json!(OWNER)),
            ("/event/state_key", json!("@bob:localhost")),
            ("/event/content/membership", json!("leave")),
            ("/event/prev_events", json!([["$a", { "sha256": "" }]])),
            ("/event", json!("nothing")),
            ("/room_version", json!("of our own")),
        ];
        for (pointer, lie) in lies {
            let mut template = good.clone();
            *template.pointer_mut(pointer).unwrap() = lie;
            at.net.add(RESIDENT, resident(template, graph.answer()));
            let result = join(&at, &alice, &graph, &[RESIDENT]).await;
            let is_right = match &result {
                Err(SendError::IncompatibleVersion(version)) => {
                    pointer == "/room_version" && version == "of our own"
                }
                Err(SendError::Remote(RemoteError::Malformed { .. })) => pointer != "/room_version",
                _ => false,
            };
            assert!(is_right, "{pointer}: {result:?}");
        }
        assert!(
            at.net
                .paths()
                .iter()
                .all(|path| path.ends_with("make_join"))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_do_not_hold_are_not_joined() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let graph = Graph::new(RoomVersion::V10);
        let template = graph.template(USER, &joins());
        let without = |kind: &str| {
            let keep = |event: &&Value| event["type"] != kind;
            let answer = graph.answer();
            let list = |name: &str| -> Vec<Value> {
                answer[name]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(keep)
                    .cloned()
                    .collect()
            };
            json!({ "state": list("state"), "auth_chain": list("auth_chain") })
        };
        let mut banned = graph.clone();
        banned.add(
            OWNER,
            ("m.room.member", Some(USER)),
            &json!({ "membership": "ban" }),
        );
        let mut twice = graph.answer();
        let second = graph
            .clone()
            .add(OWNER, ("m.room.name", Some("")), &json!({ "name": "B" }));
        twice["state"].as_array_mut().unwrap().push(value(&second));
        // What is forged falls away, and with it what it allows: here all.
        let mut forged = graph.answer();
        for list in ["state", "auth_chain"] {
            for event in forged[list].as_array_mut().unwrap() {
                if event["type"] == "m.room.create" {
                    event["origin_server_ts"] = json!(7);
                }
            }
        }
        let room_id = graph.room_id.clone();
        let older = Graph::named(RoomVersion::V9, room_id, &json!({ "join_rule": "public" }));
        let lies = [
            ("no create event", without("m.room.create")),
            ("no join rules", without("m.room.join_rules")),
            ("no owner", without("m.room.member")),
            ("banned", banned.answer()),
            ("two names", twice),
            ("forged", forged),
            ("another version", older.answer()),
            ("nothing", json!({ "state": [], "auth_chain": [] })),
            ("no lists", json!({})),
        ];
        for (what, answer) in lies {
            at.net.add(RESIDENT, resident(template.clone(), answer));
            let result = join(&at, &alice, &graph, &[RESIDENT]).await;
            let malformed = matches!(
                result,
                Err(SendError::Remote(RemoteError::Malformed { .. }))
            );
            assert!(malformed, "{what}: {result:?}");
            assert!(!is_in(&at, &alice, &graph).await, "{what}");
        }
    })
    .await;
}

/// Only the state that nobody needs: what is forged of it is left out, and the rest is a room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_event_does_not_keep_the_user_out() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let graph = Graph::new(RoomVersion::V10);
        let mut answer = graph.answer();
        for event in answer["state"].as_array_mut().unwrap() {
            if event["type"] == "m.room.name" {
                event["origin_server_ts"] = json!(7);
            }
        }
        at.net
            .add(RESIDENT, resident(graph.template(USER, &joins()), answer));
        join(&at, &alice, &graph, &[RESIDENT]).await.unwrap();
        assert!(is_in(&at, &alice, &graph).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_join_needs_the_signature_of_who_authorises_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let rule = json!({ "join_rule": "restricted", "allow": [] });
        let graph = Graph::with_rule(RoomVersion::V10, &rule);
        let said = json!({ "membership": "join", "join_authorised_via_users_server": OWNER });
        let template = graph.template(USER, &said);
        // What comes back as the join: nothing, what was sent, or that with the resident's signature.
        let returns = |what: &'static str| {
            let (template, answer) = (template.clone(), graph.answer());
            move |asked: &Asked| {
                if asked.uri.contains("/make_join/") {
                    return Some((200, template.clone()));
                }
                let join = serde_json::to_vec(&asked.body).unwrap();
                let join = Pdu::parse(RoomVersion::V10, &join).unwrap();
                let signed = sign_event(&join, &server(RESIDENT), &key_of(RESIDENT)).unwrap();
                let mut answer = answer.clone();
                match what {
                    "sent" => answer["event"] = value(&join),
                    "signed" => answer["event"] = value(&signed),
                    _ => {}
                }
                Some((200, answer))
            }
        };
        for what in ["nothing", "sent"] {
            at.net.add(RESIDENT, returns(what));
            let result = join(&at, &alice, &graph, &[RESIDENT]).await;
            let malformed = matches!(
                result,
                Err(SendError::Remote(RemoteError::Malformed { .. }))
            );
            assert!(malformed, "{what}: {result:?}");
        }
        at.net.add(RESIDENT, returns("signed"));
        join(&at, &alice, &graph, &[RESIDENT]).await.unwrap();
        assert!(is_in(&at, &alice, &graph).await);
        let sent = &at.net.asked().pop().unwrap().body;
        assert_eq!(sent["content"]["join_authorised_via_users_server"], OWNER);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_join_no_rooms_elsewhere() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let guest = Actor {
            is_guest: true,
            ..at.world.user("alice").await
        };
        let graph = Graph::new(RoomVersion::V10);
        let result = join(&at, &guest, &graph, &[RESIDENT]).await;
        assert!(matches!(result, Err(SendError::NoGuests)), "{result:?}");
        assert!(at.net.asked().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_send_while_this_server_comes_in_is_part_of_the_room() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let graph = Graph::new(RoomVersion::V11);
        let (template, answer) = (graph.template(USER, &joins()), graph.answer());
        let (rooms, runtime) = (at.world.rooms.clone(), Handle::current());
        let (sends, says) = (
            graph.clone(),
            json!({ "body": "welcome", "msgtype": "m.text" }),
        );
        // It tells of the next event before it answers.
        at.net.add(RESIDENT, move |asked| {
            if !asked.uri.contains("/v2/send_join/") {
                return resident(template.clone(), answer.clone())(asked);
            }
            let join = serde_json::to_vec(&asked.body).unwrap();
            let mut graph = sends.clone();
            graph.take(Pdu::parse(RoomVersion::V11, &join).unwrap());
            let next = graph.make(OWNER, ("m.room.message", None), &says);
            let (id, next) = (next.event_id().to_owned(), raw(&value(&next)));
            let origin = server(RESIDENT);
            let receive = rooms.receive_events(&origin, vec![next]);
            let verdicts = block_in_place(|| runtime.block_on(receive)).unwrap();
            assert_eq!(verdicts.get(&id), Some(&None), "it is taken in");
            Some((200, answer.clone()))
        });
        join(&at, &alice, &graph, &[RESIDENT]).await.unwrap();
        let room = at.world.store.room_num(&graph.room_id).await.unwrap();
        let last = async || {
            let snapshot = at.world.store.room(room.unwrap()).await.unwrap().unwrap();
            snapshot.append_count
        };
        while last().await < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
