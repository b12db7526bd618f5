//! What other servers say of their users.

use ruma_common::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId};
use serde_json::{Value, json};
use starling_db::Tx;
use starling_ephemeral::{
    Ephemeral, MOST_PRESENCES, PresenceError, PresenceState, RemoteTyping, read_presences,
    read_receipts,
};
use starling_store::receipts::receipts_changed;
use starling_store::{RoomNum, SCHEMA, UserNum};
use starling_testkit::{TestDb, World, on_each_engine};

use crate::{ephemeral, seconds};

const A: &str = "@a:one.example";

fn one() -> OwnedServerName {
    "one.example".try_into().unwrap()
}

fn two() -> OwnedServerName {
    "two.example".try_into().unwrap()
}

/// Alice's room, in which a user of another server is.
async fn shared(world: &World) -> (OwnedRoomId, RoomNum) {
    let room = world.room(&world.user("alice").await).await;
    world.join_remote(&room, A).await;
    let number = world.store.room_num(&room).await.unwrap();
    (room, number.unwrap())
}

async fn number(world: &World, user_id: &'static str) -> UserNum {
    let names = world.store.names().clone();
    let find = move |tx: &mut Tx<'_>| names.user(tx, user_id.try_into().unwrap());
    let found: Result<_, starling_db::Error> = world.store.db().read("user", find).await;
    found.unwrap().unwrap()
}

#[tokio::test]
async fn who_types_elsewhere_is_told_for_a_minute() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let ephemeral = ephemeral(&world);
        let (room, number) = shared(&world).await;
        let receive = async |origin: OwnedServerName, user: &str, is_typing: bool| {
            let content = json!({ "room_id": room, "user_id": user, "typing": is_typing });
            let typing = RemoteTyping::read(&content).unwrap();
            ephemeral.receive_typing(&origin, typing).await.unwrap();
            world.bus.typing(number.0).len()
        };
        assert_eq!(receive(two(), A, true).await, 0, "not theirs to say");
        assert_eq!(
            receive(one(), "@b:one.example", true).await,
            0,
            "not in the room"
        );
        assert_eq!(receive(one(), A, true).await, 1);
        assert_eq!(receive(one(), A, false).await, 0);
        assert_eq!(receive(one(), A, true).await, 1);
        seconds(58).await;
        assert_eq!(world.bus.typing(number.0).len(), 1);
        seconds(4).await;
        assert!(world.bus.typing(number.0).is_empty());
        for content in [
            json!({}),
            json!([]),
            json!({ "room_id": 1, "user_id": A, "typing": true }),
        ] {
            assert_eq!(RemoteTyping::read(&content), None);
        }
    })
    .await;
}

/// The public receipts of a room, as sync tells them: the events.
async fn receipts(world: &World, room: RoomNum) -> Vec<(String, String, i64)> {
    let read = move |tx: &mut Tx<'_>| receipts_changed(tx, UserNum(0), &[room], (0, i64::MAX));
    let found: Result<_, starling_db::Error> = world.store.db().read("receipts", read).await;
    let found = found.unwrap().into_iter();
    let mut all: Vec<_> = found
        .map(|(_, it)| (it.user_id.to_string(), it.event_id.to_string(), it.sent_at))
        .collect();
    all.sort();
    all
}

async fn receive(ephemeral: &Ephemeral, origin: OwnedServerName, room: &RoomId, content: &Value) {
    let room_id = room.as_str();
    let mut rooms = read_receipts(&json!({ room_id: { "m.read": content } }));
    let receipts = rooms.remove(room).unwrap();
    let received = ephemeral.receive_receipts(&origin, room, receipts);
    received.await.unwrap();
}

#[tokio::test]
async fn who_has_read_elsewhere_is_kept_and_nobody_who_is_not_in_the_room() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let ephemeral = ephemeral(&world);
        let (room, number) = shared(&world).await;
        let alice = world.user("alice").await;
        let first = world.say(&alice, &room, "first").await.unwrap();
        let second = world.say(&alice, &room, "second").await.unwrap();
        let read = |event: &OwnedEventId, at_ms: i64| json!({ "event_ids": [event], "data": { "ts": at_ms } });
        let content = json!({
            A: read(&second, 5),
            "@b:one.example": read(&second, 5),
            "@c:two.example": read(&second, 5),
        });
        let head = world.bus.head();
        receive(&ephemeral, two(), &room, &content).await;
        assert_eq!(receipts(&world, number).await, [], "not theirs to say, or not in the room");
        receive(&ephemeral, one(), &room, &content).await;
        let kept = [(A.to_owned(), second.to_string(), 5)];
        assert_eq!(receipts(&world, number).await, kept);
        assert!(world.bus.head() > head, "sync is told");
        // Not backwards.
        receive(&ephemeral, one(), &room, &json!({ A: read(&first, 6) })).await;
        assert_eq!(receipts(&world, number).await, kept);
        // Not in the future, and of a thread that the event isn't in not at all.
        let third = world.say(&alice, &room, "third").await.unwrap();
        let thread = json!({ "event_ids": [third], "data": { "ts": 7, "thread_id": first } });
        receive(&ephemeral, one(), &room, &json!({ A: thread })).await;
        assert_eq!(receipts(&world, number).await, kept);
        receive(&ephemeral, one(), &room, &json!({ A: read(&third, i64::MAX) })).await;
        let kept = receipts(&world, number).await;
        let [(_, event, at_ms)] = &kept[..] else {
            panic!("one receipt: {kept:?}");
        };
        assert_eq!(*event, third.to_string());
        assert!(*at_ms <= world.clock.now_ms());
        let broken = json!({ A: { "event_ids": [], "data": {} }, "x": 1 });
        let room_id = room.as_str();
        let read = read_receipts(&json!({ room_id: { "m.read": broken }, "!x": 1, "y": {} }));
        assert!(read.values().all(Vec::is_empty), "{read:?}");
    })
    .await;
}

#[tokio::test]
async fn who_is_there_elsewhere_is_told_until_nothing_is_heard_for_long() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let ephemeral = ephemeral(&world);
        let (room, _) = shared(&world).await;
        let alice = world.user("alice").await;
        let bob = world.user("bob").await;
        let number = number(&world, A).await;
        let push = |user: &str, presence: &str| {
            json!({ "push": [{
                "user_id": user, "presence": presence, "status_msg": "far away",
                "last_active_ago": 5_000, "currently_active": true,
            }] })
        };
        let receive = async |origin: OwnedServerName, content: Value| {
            let presences = read_presences(&content);
            ephemeral
                .receive_presences(&origin, presences)
                .await
                .unwrap();
        };
        receive(two(), push(A, "online")).await;
        assert_eq!(world.bus.presence(number.0), None, "not theirs to say");
        receive(one(), push("@b:one.example", "online")).await;
        receive(one(), push(A, "online")).await;
        let told = world.bus.presence(number.0).unwrap();
        assert_eq!(
            (told.state, told.is_active()),
            (PresenceState::Online, Some(true))
        );
        assert_eq!(told.status.as_deref(), Some("far away"));
        assert_eq!(
            told.active_ago(world.clock.now_ms()).map(|ago| ago / 1_000),
            Some(5)
        );
        let room = world.store.room_num(&room).await.unwrap().unwrap();
        assert_eq!(world.bus.presence_rooms(number.0), [room.0]);
        let asked = ephemeral.presence(alice.user, A.try_into().unwrap()).await;
        assert_eq!(asked.unwrap().state, PresenceState::Online);
        let asked = ephemeral.presence(bob.user, A.try_into().unwrap()).await;
        assert!(matches!(asked, Err(PresenceError::NotShared)), "{asked:?}");
        let state = || world.bus.presence(number.0).unwrap().state;
        seconds(20 * 60).await;
        receive(one(), push(A, "unavailable")).await;
        seconds(29 * 60).await;
        assert_eq!(state(), PresenceState::Unavailable);
        seconds(2 * 60).await;
        assert_eq!(state(), PresenceState::Offline);
        let many = json!({ "user_id": A, "presence": "online" });
        let many = json!({ "push": vec![many; MOST_PRESENCES + 1] });
        assert_eq!(read_presences(&many).len(), MOST_PRESENCES);
        assert_eq!(read_presences(&push(A, "dancing")), []);
    })
    .await;
}

#[tokio::test]
async fn who_is_there_elsewhere_is_told_however_many_rooms_their_server_is_in() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        // Others of their server are in many.
        for _ in 0..55 {
            let room = world.room(&alice).await;
            world.join_remote(&room, "@b:one.example").await;
        }
        let room = world.room(&alice).await;
        world.join_remote(&room, A).await;
        // Nobody has been interested in any of them since the start.
        let world = World::start(&db).await;
        let ephemeral = ephemeral(&world);
        let online = json!({ "push": [{ "user_id": A, "presence": "online" }] });
        let presences = read_presences(&online);
        ephemeral
            .receive_presences(&one(), presences)
            .await
            .unwrap();
        let number = number(&world, A).await;
        let told = world.bus.presence(number.0).unwrap();
        assert_eq!(told.state, PresenceState::Online);
        let room = world.store.room_num(&room).await.unwrap().unwrap();
        assert_eq!(world.bus.presence_rooms(number.0), [room.0]);
    })
    .await;
}
