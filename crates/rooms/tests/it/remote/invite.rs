//! Invites between servers.

use std::time::Duration;

use parking_lot::Mutex;
use ruma_common::{OwnedUserId, RoomId};
use serde_json::{Value, json};
use starling_db::{Positions, Tx, Write};
use starling_events::sign::{sign_event, signatures};
use starling_events::{Pdu, RoomVersion};
use starling_rooms::{
    Actor, CreateRoom, Invite, Membership, MembershipAction, Preset, ReceivedInvite, RemoteError,
    ResidentError, SendError,
};
use starling_store::SCHEMA;
use starling_store::account_data::{AccountData, GLOBAL, account_data_set};
use starling_store::memberships::membership_read;
use starling_testkit::{TestDb, World, on_each_engine};
use tokio::task::block_in_place;

use super::graph::{Graph, OWNER, RESIDENT, raw, value};
use super::net::{Asked, Connected, key_of, refusal, server};

const INVITED: &str = "@bob:resident.example";
const USER: &str = "@alice:localhost";

/// The invited user's server, which signs.
fn signs(version: RoomVersion) -> impl Fn(&Asked) -> Option<(u16, Value)> {
    move |asked| {
        let invite = serde_json::to_vec(&asked.body["event"]).unwrap();
        let invite = Pdu::parse(version, &invite).unwrap();
        let signed = sign_event(&invite, &server(RESIDENT), &key_of(RESIDENT)).unwrap();
        Some((200, json!({ "event": value(&signed) })))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_is_shown_to_the_invited_users_server_with_the_rooms_state() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let room = at.world.room(&alice).await;
        let bob: OwnedUserId = INVITED.try_into().unwrap();
        let invite = || {
            let action = MembershipAction::Invite;
            let why = Some("come".to_owned());
            at.world
                .rooms
                .change_membership(&alice, &room, action, &bob, why)
        };
        at.net
            .add(RESIDENT, |_| Some(refusal(403, "M_INVITE_BLOCKED")));
        let refused = invite().await;
        let Err(SendError::Remote(RemoteError::Refused { errcode, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(errcode, "M_INVITE_BLOCKED");
        // What comes back must be the invite.
        at.net.add(RESIDENT, |asked| {
            let mut event = asked.body["event"].clone();
            event["content"]["membership"] = json!("leave");
            Some((200, json!({ "event": event })))
        });
        let refused = invite().await;
        let malformed = matches!(
            refused,
            Err(SendError::Remote(RemoteError::Malformed { .. }))
        );
        assert!(malformed, "{refused:?}");
        at.net.add(RESIDENT, signs(RoomVersion::V12));
        invite().await.unwrap();
        let num = at.world.store.room_num(&room).await.unwrap().unwrap();
        let invited = at.world.rooms.current_membership(num, &bob).await.unwrap();
        assert_eq!(invited, Some(Membership::Invite));
        let Asked { uri, body, .. } = at.net.asked().pop().unwrap();
        assert!(uri.starts_with("/_matrix/federation/v2/invite/"), "{uri}");
        assert_eq!(body["room_version"], "12");
        assert_eq!(body["event"]["state_key"], INVITED);
        assert_eq!(
            body["event"]["content"],
            json!({ "membership": "invite", "reason": "come" })
        );
        let state = body["invite_room_state"].as_array().unwrap();
        let kinds: Vec<&str> = state
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        assert_eq!(
            kinds,
            ["m.room.create", "m.room.join_rules", "m.room.member"]
        );
        for event in state {
            let event = Pdu::parse(RoomVersion::V12, &serde_json::to_vec(event).unwrap()).unwrap();
            assert_eq!(event.room_id(), room);
            assert!(event.has_valid_content_hash());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_made_also_where_an_invited_users_server_refuses() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let wanted = CreateRoom {
            invites: vec![Invite {
                user: INVITED.try_into().unwrap(),
            }],
            is_direct: true,
            ..World::plain(Preset::TrustedPrivateChat)
        };
        at.net.add(RESIDENT, |_| Some(refusal(403, "M_FORBIDDEN")));
        at.world.rooms.create(&alice, wanted).await.unwrap();
        let asked = at.net.asked().pop().unwrap();
        assert_eq!(
            asked.body["event"]["content"],
            json!({ "is_direct": true, "membership": "invite" })
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_waits_for_invites_to_new_rooms() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let bob: OwnedUserId = INVITED.try_into().unwrap();
        let wanted = CreateRoom {
            invites: vec![Invite { user: bob.clone() }],
            ..World::plain(Preset::PrivateChat)
        };
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let waits = Mutex::new(waits);
        at.net.add(RESIDENT, move |asked| {
            block_in_place(|| waits.lock().recv()).unwrap();
            signs(RoomVersion::V12)(asked)
        });
        let rooms = at.world.rooms.clone();
        let creating = tokio::spawn(async move { rooms.create(&alice, wanted).await });
        while at.net.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        // The client goes away, and the server stops.
        creating.abort();
        let stopping = at.world.rooms.finish_invites();
        let mut stopping = std::pin::pin!(stopping);
        let is_over = tokio::time::timeout(Duration::ZERO, stopping.as_mut()).await;
        assert!(is_over.is_err(), "an invite is yet to be sent");
        go_on.send(()).unwrap();
        stopping.await;
        let path = at.net.asked().pop().unwrap().uri;
        let room = path.split('/').nth(5).unwrap();
        let room = room.replace("%21", "!").replace("%3A", ":");
        let room = <&RoomId>::try_from(room.as_str()).unwrap();
        let num = at.world.store.room_num(room).await.unwrap().unwrap();
        let invited = at.world.rooms.current_membership(num, &bob).await;
        assert_eq!(invited.unwrap(), Some(Membership::Invite));
        at.world.rooms.finish_invites().await;
    })
    .await;
}

/// What the user is in the room.
async fn membership(at: &Connected, user: &Actor, room: &RoomId) -> Option<Membership> {
    let room = at.world.store.room_num(room).await.unwrap()?;
    let user = user.user;
    let read = move |tx: &mut Tx<'_>| membership_read(tx, user, room);
    let row = at.world.store.db().read("membership", read).await.unwrap();
    row.map(|row| row.membership)
}

fn received(graph: &Graph, invite: &Pdu, state: &[Value]) -> ReceivedInvite {
    ReceivedInvite {
        version: graph.version.as_str().to_owned(),
        event: raw(&value(invite)),
        state: state.iter().map(raw).collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_of_another_server_is_signed_shown_and_declined() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        at.net.add(RESIDENT, |_| None);
        for version in RoomVersion::ALL {
            let graph = Graph::with_rule(version, &json!({ "join_rule": "invite" }));
            let said = json!({ "membership": "invite" });
            let invite = graph.make(OWNER, ("m.room.member", Some(USER)), &said);
            let state: Vec<Value> = graph.events.iter().map(value).collect();
            let place = (&*graph.room_id, invite.event_id());
            let sent = received(&graph, &invite, &state);
            let origin = server(RESIDENT);
            let signed = at
                .world
                .rooms
                .receive_invite(&origin, place, sent)
                .await
                .unwrap();
            assert_eq!(signed.event_id(), invite.event_id());
            let mut signers: Vec<String> =
                signatures(signed.json()).map(|one| one.entity).collect();
            signers.sort();
            assert_eq!(signers, ["localhost", RESIDENT], "version {version}");
            assert_eq!(
                membership(&at, &alice, &graph.room_id).await,
                Some(Membership::Invite)
            );
            // Once more, as servers do that got no answer: it is the same invite.
            let again = received(&graph, &invite, &state);
            let head = at.world.bus.head();
            at.world
                .rooms
                .receive_invite(&origin, place, again)
                .await
                .unwrap();
            assert_eq!(at.world.bus.head(), head);
            // Its server knows nothing of leaving any longer; the invite goes all the same.
            let leave = MembershipAction::Leave;
            let room = &graph.room_id;
            let left = at
                .world
                .rooms
                .change_membership(&alice, room, leave, &alice.user_id, None);
            left.await.unwrap();
            assert_eq!(membership(&at, &alice, room).await, Some(Membership::Leave));
            let left = at
                .world
                .rooms
                .change_membership(&alice, room, leave, &alice.user_id, None);
            assert!(matches!(left.await, Err(SendError::Forbidden(_))));
        }
    })
    .await;
}

/// The user wants no invites.
async fn block_invites(at: &Connected, user: &Actor) {
    let user = user.user;
    let block = move |tx: &mut Tx<'_>, positions: &mut Positions, (): ()| {
        let data = AccountData {
            room: GLOBAL,
            kind: "m.invite_permission_config".to_owned(),
            content: r#"{"default_action":"block"}"#.to_owned(),
            position: positions.give()?,
        };
        account_data_set(tx, user, &data)
    };
    let write = Write::new("block");
    let db = at.world.store.db();
    db.write_placed(write, |_| Ok(()), block).await.unwrap();
}

/// Whether that is why.
fn is_right(what: &str, refused: &ResidentError) -> bool {
    match what {
        "unknown version" => matches!(refused, ResidentError::UnsupportedVersion(_)),
        "nobody" => matches!(refused, ResidentError::UnknownUser),
        "blocked" => matches!(refused, ResidentError::InviteBlocked),
        _ => matches!(
            refused,
            ResidentError::Invalid(_) | ResidentError::Forbidden(_)
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_invite_of_a_user_here_is_not_signed() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let (alice, carol) = (at.world.user("alice").await, at.world.user("carol").await);
        block_invites(&at, &carol).await;
        at.net.add(RESIDENT, |_| None);
        at.net.add("other.example", |_| None);
        let graph = Graph::new(RoomVersion::V12);
        let state: Vec<Value> = graph.events.iter().map(value).collect();
        let invite = |sender: &str, user: &str, membership: &str| {
            let said = json!({ "membership": membership });
            graph.make(sender, ("m.room.member", Some(user)), &said)
        };
        let good = invite(OWNER, USER, "invite");
        let other_id = invite(OWNER, USER, "ban");
        let rooms = &at.world.rooms;
        let origin = server(RESIDENT);
        let mut forged = value(&good);
        forged["origin_server_ts"] = json!(5);
        let forged = ReceivedInvite {
            event: raw(&forged),
            ..received(&graph, &good, &state)
        };
        let unknown = ReceivedInvite {
            version: "99".to_owned(),
            ..received(&graph, &good, &state)
        };
        let of = |event: &Pdu| (event.event_id().to_owned(), received(&graph, event, &state));
        let nobody = invite(OWNER, "@nobody:localhost", "invite");
        let blocked = invite(OWNER, carol.user_id.as_str(), "invite");
        let elsewhere = invite(OWNER, "@bob:other.example", "invite");
        let stranger = invite("@eve:other.example", USER, "invite");
        let cases = [
            ("forged", (good.event_id().to_owned(), forged)),
            ("unknown version", (good.event_id().to_owned(), unknown)),
            (
                "other id",
                (
                    other_id.event_id().to_owned(),
                    received(&graph, &good, &state),
                ),
            ),
            ("a ban", of(&other_id)),
            ("nobody", of(&nobody)),
            ("blocked", of(&blocked)),
            ("elsewhere", of(&elsewhere)),
            ("of another server", of(&stranger)),
            (
                "no state",
                (good.event_id().to_owned(), received(&graph, &good, &[])),
            ),
        ];
        for (what, (event_id, sent)) in cases {
            let place = (&*graph.room_id, &*event_id);
            let refused = rooms
                .receive_invite(&origin, place, sent)
                .await
                .unwrap_err();
            assert!(is_right(what, &refused), "{what}: {refused:?}");
        }
        assert_eq!(membership(&at, &alice, &graph.room_id).await, None);
        assert_eq!(membership(&at, &carol, &graph.room_id).await, None);
    })
    .await;
}
