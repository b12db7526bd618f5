//! Messages from device to device: who gets them, once each, and what bounds them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruma_common::{OwnedServerName, OwnedUserId, ServerName};
use serde_json::{Value, json};
use starling_db::{Error, Tx, Write};
use starling_e2ee::{MOST_STRANGERS, Messages, Sending, ToDevice, ToDeviceParts};
use starling_events::CanonicalObject;
use starling_runtime::Chance;
use starling_store::devices::{device_delete, device_upsert, user_devices_delete};
use starling_store::to_device::{
    Overfull, QueueLimit, QueueOf, outgoing_to_device_read, outgoing_to_device_servers,
    outgoing_to_device_sweep, to_device_cut, to_device_measure, to_device_overfull, to_device_read,
};
use starling_store::{DeviceNum, SCHEMA, UserNum};
use starling_testkit::{TestDb, World, on_each_engine};

/// A local user with a device, `PHONE`.
pub(crate) struct Person {
    user: UserNum,
    user_id: OwnedUserId,
    pub(crate) device: DeviceNum,
}

pub(crate) async fn person(world: &World, name: &str) -> Person {
    let actor = world.user(name).await;
    Person {
        user: actor.user,
        user_id: actor.user_id,
        device: actor.device,
    }
}

pub(crate) fn to_device(world: &World) -> ToDevice {
    ToDevice::new(ToDeviceParts {
        store: world.store.clone(),
        bus: world.bus.clone(),
        clock: world.clock.clone(),
        chance: Chance::seeded(5),
        server_name: "localhost".try_into().unwrap(),
    })
}

pub(crate) fn messages(messages: &Value) -> Messages {
    let body = CanonicalObject::from_serialize(&json!({ "messages": messages }));
    Messages::of_body(&body.unwrap()).unwrap()
}

pub(crate) async fn send(
    world: &World,
    who: &Person,
    txn_id: &str,
    to: &Messages,
) -> Result<(), Error> {
    let sending = Sending {
        sender: who.user_id.clone(),
        kind: "m.test".to_owned(),
    };
    let sender = (who.device, &sending);
    to_device(world).send(sender, txn_id, to).await
}

async fn device(world: &World, who: &Person, id: &'static str) -> DeviceNum {
    let user = who.user;
    let insert = move |tx: &mut Tx<'_>| device_upsert(tx, user, id, None, 0);
    let db = world.store.db();
    db.write(Write::new("test"), insert).await.unwrap()
}

/// The contents of what waits for a device.
pub(crate) async fn waiting(world: &World, device: DeviceNum) -> Vec<Value> {
    let read = move |tx: &mut Tx<'_>| to_device_read(tx, device, (0, i64::MAX), 10_000);
    let found = world.store.db().read("test", read).await.unwrap();
    let event = |json: &[u8]| serde_json::from_slice::<Value>(json).unwrap();
    let content = |json: &[u8]| event(json)["content"].clone();
    found.iter().map(|message| content(&message.json)).collect()
}

#[tokio::test]
async fn a_message_goes_to_one_device_or_to_all_and_unknown_ones_are_passed_over() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (person(&world, "alice").await, person(&world, "bob").await);
        let (tablet, own) = (
            device(&world, &bob, "TABLET").await,
            device(&world, &alice, "OWN").await,
        );
        let to = messages(&json!({
            "@bob:localhost": { "PHONE": { "n": 1 }, "NONE": { "n": 2 } },
            "@alice:localhost": { "*": { "n": 3 }, "OWN": { "n": 4 } },
            "@nobody:localhost": { "*": { "n": 5 }, "PHONE": {} },
            "nobody": { "*": {} },
        }));
        let head = world.bus.head();
        send(&world, &alice, "1", &to).await.unwrap();
        assert_eq!(waiting(&world, bob.device).await, [json!({ "n": 1 })]);
        assert_eq!(waiting(&world, tablet).await, Vec::<Value>::new());
        assert_eq!(waiting(&world, alice.device).await, [json!({ "n": 3 })]);
        assert_eq!(waiting(&world, own).await, [json!({ "n": 4 })]);
        assert_eq!(world.bus.head(), head + 3, "each at a position of its own");
        assert_eq!(world.store.db().head().await.unwrap().0, head + 3);
    })
    .await;
}

#[tokio::test]
async fn a_request_that_comes_again_changes_nothing() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let world = World::start(&db).await;
        world.store.outgoing().open();
        let (alice, bob) = (person(&world, "alice").await, person(&world, "bob").await);
        let to =
            messages(&json!({ "@bob:localhost": { "PHONE": {} }, "@c:one.example": { "D": {} } }));
        let both = tokio::join!(
            send(&world, &alice, "1", &to),
            send(&world, &alice, "1", &to)
        );
        both.0.and(both.1).unwrap();
        drop(world);
        db.reopen().await;
        let world = World::start(&db).await;
        world.store.outgoing().open();
        send(&world, &alice, "1", &to).await.unwrap();
        assert_eq!(waiting(&world, bob.device).await.len(), 1);
        let read =
            |tx: &mut Tx<'_>| outgoing_to_device_read(tx, "one.example".try_into().unwrap(), 10);
        assert_eq!(world.store.db().read("test", read).await.unwrap().len(), 1);
        // Another id, another device, another request.
        send(&world, &alice, "2", &to).await.unwrap();
        send(&world, &bob, "1", &to).await.unwrap();
        assert_eq!(waiting(&world, bob.device).await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_large_request_is_written_in_pieces_and_arrives_whole() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        world.store.outgoing().open();
        let alice = person(&world, "alice").await;
        let bob = person(&world, "bob").await;
        let (user, names) = (bob.user, (0..1_100).map(|it| format!("D{it}")));
        let names: Vec<String> = names.collect();
        let made = names.clone();
        let insert = move |tx: &mut Tx<'_>| {
            let devices = made.iter().map(|id| device_upsert(tx, user, id, None, 0));
            devices.collect::<Result<Vec<DeviceNum>, Error>>()
        };
        let db = world.store.db();
        let devices = db.write(Write::new("test"), insert).await.unwrap();
        let contents: BTreeMap<&String, Value> = names
            .iter()
            .map(|name| (name, json!({ "to": name })))
            .collect();
        // Others than this server's users get as many.
        let outside: BTreeMap<String, Value> = (0..300)
            .map(|it| (format!("@u{it}:one.example"), json!({ "D": { "n": it } })))
            .collect();
        let mut to = json!(outside);
        to["@bob:localhost"] = json!(contents);
        let to = messages(&to);
        for _ in 0..2 {
            send(&world, &alice, "1", &to).await.unwrap();
        }
        for (device, name) in devices.iter().zip(&names) {
            assert_eq!(waiting(&world, *device).await, [json!({ "to": name })]);
        }
        let read = |tx: &mut Tx<'_>| {
            let server = "one.example".try_into().unwrap();
            Ok::<_, Error>((
                outgoing_to_device_servers(tx)?,
                outgoing_to_device_read(tx, server, 100)?,
            ))
        };
        let (servers, edus) = world.store.db().read("test", read).await.unwrap();
        let one: OwnedServerName = "one.example".try_into().unwrap();
        assert_eq!(servers, BTreeSet::from([one]));
        let edus = edus
            .iter()
            .map(|edu| serde_json::from_slice::<Value>(&edu.json).unwrap());
        let users = edus.map(|edu| edu["messages"].as_object().unwrap().len());
        assert_eq!(users.sum::<usize>(), 300);
    })
    .await;
}

#[tokio::test]
async fn a_device_takes_its_messages_with_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (person(&world, "alice").await, person(&world, "bob").await);
        let devices = [
            device(&world, &bob, "A").await,
            device(&world, &bob, "B").await,
            device(&world, &bob, "C").await,
        ];
        let to =
            messages(&json!({ "@bob:localhost": { "*": {} }, "@alice:localhost": { "*": {} } }));
        send(&world, &alice, "1", &to).await.unwrap();
        let (first, user) = (devices[0], bob.user);
        let delete = move |tx: &mut Tx<'_>| device_delete(tx, first).map(drop);
        let db = world.store.db();
        db.write(Write::new("test"), delete).await.unwrap();
        assert_eq!(waiting(&world, devices[0]).await.len(), 0);
        assert_eq!(waiting(&world, devices[1]).await.len(), 1);
        let kept = devices[2];
        let delete = move |tx: &mut Tx<'_>| user_devices_delete(tx, user, Some(kept)).map(drop);
        db.write(Write::new("test"), delete).await.unwrap();
        for (device, expected) in [
            (devices[1], 0),
            (devices[2], 1),
            (bob.device, 0),
            (alice.device, 1),
        ] {
            assert_eq!(waiting(&world, device).await.len(), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn of_a_queue_that_is_too_full_the_oldest_messages_go() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        world.store.outgoing().open();
        let (alice, bob) = (person(&world, "alice").await, person(&world, "bob").await);
        for number in 0..7 {
            let content = json!({ "D": { "n": number } });
            let to = messages(&json!({ "@bob:localhost": { "PHONE": { "n": number } }, "@c:one.example": content }));
            send(&world, &alice, &number.to_string(), &to).await.unwrap();
        }
        let to = messages(&json!({ "@alice:localhost": { "PHONE": {} } }));
        send(&world, &alice, "last", &to).await.unwrap();
        let limit = |messages, bytes| QueueLimit { messages, bytes };
        let overfull = async |of_device, of_server| {
            let read = move |tx: &mut Tx<'_>| to_device_overfull(tx, of_device, of_server);
            world.store.db().read("test", read).await.unwrap()
        };
        let plenty = limit(100, 100_000);
        assert!(overfull(plenty, plenty).await.is_empty());
        let few = limit(4, 100_000);
        let found = overfull(few, few).await;
        let [of_device, of_server] = &found[..] else {
            panic!("two queues: {found:?}");
        };
        assert_eq!((&of_device.of, of_device.messages), (&QueueOf::Device(bob.device), 7));
        assert_eq!(of_server.of, QueueOf::Server("one.example".try_into().unwrap()));
        let cut = async |queue: &Overfull, most| {
            let queue = queue.clone();
            let cut = move |tx: &mut Tx<'_>| to_device_cut(tx, &queue, most);
            world.store.db().write(Write::new("test"), cut).await.unwrap()
        };
        let left = cut(of_device, 2).await;
        assert!(left.is_too_full() && left.messages == 5);
        assert!(!cut(&left, 2).await.is_too_full());
        let numbers: Vec<Value> = (3..7).map(|n| json!({ "n": n })).collect();
        assert_eq!(waiting(&world, bob.device).await, numbers);
        cut(of_server, 100).await;
        assert!(overfull(few, few).await.is_empty());
        // By their size.
        let size = of_device.bytes / 7;
        let found = overfull(limit(100, size * 2), plenty).await;
        cut(&found[0], 100).await;
        assert_eq!(waiting(&world, bob.device).await, numbers[2..]);
        to_device(&world).cut_queues(100).await.unwrap();
        assert_eq!(waiting(&world, bob.device).await.len(), 2);
        // What the device has got since the queue was found full is gone: the rest stays.
        assert!(!cut(of_device, 100).await.is_too_full());
        assert_eq!(waiting(&world, bob.device).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_other_servers_is_bounded_in_all_and_by_its_age() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        world.store.outgoing().open();
        let alice = person(&world, "alice").await;
        for number in 0..6 {
            let to = messages(&json!({ format!("@c:s{number}.example"): { "D": {} } }));
            send(&world, &alice, &number.to_string(), &to)
                .await
                .unwrap();
        }
        let db = world.store.db();
        let cut = async |messages| {
            let limit = QueueLimit {
                messages,
                bytes: 100_000,
            };
            let cut = move |tx: &mut Tx<'_>| {
                let all = to_device_measure(tx, &QueueOf::AllServers, limit)?;
                to_device_cut(tx, &all, 100)
            };
            db.write(Write::new("test"), cut).await.unwrap().messages
        };
        assert_eq!((cut(6).await, cut(4).await), (6, 4));
        let names = |servers: BTreeSet<OwnedServerName>| {
            let names = servers.into_iter().map(|it| it.to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        let left = db.read("test", outgoing_to_device_servers).await.unwrap();
        assert_eq!(names(left), "s2.example s3.example s4.example s5.example");
        // Nothing is a month old; then two of the oldest go.
        assert_eq!(to_device(&world).sweep_outgoing(100).await.unwrap(), 0);
        let sweep = |tx: &mut Tx<'_>| outgoing_to_device_sweep(tx, i64::MAX, 2);
        assert_eq!(db.write(Write::new("test"), sweep).await.unwrap(), 2);
        let left = db.read("test", outgoing_to_device_servers).await.unwrap();
        assert_eq!(names(left), "s4.example s5.example");
    })
    .await;
}

#[tokio::test]
async fn a_request_goes_to_few_servers_that_share_no_room_with_the_sender() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        world.store.outgoing().open();
        let actor = world.user("alice").await;
        let room = world.room(&actor).await;
        world.join_remote(&room, "@z:zz.example").await;
        let alice = Person {
            user: actor.user,
            user_id: actor.user_id,
            device: actor.device,
        };
        let mut to: BTreeMap<String, Value> = (0..MOST_STRANGERS + 20)
            .map(|it| (format!("@c:s{it:03}.example"), json!({ "D": {} })))
            .collect();
        to.insert("@z:zz.example".to_owned(), json!({ "D": {} }));
        send(&world, &alice, "1", &messages(&json!(to)))
            .await
            .unwrap();
        let found = world
            .store
            .db()
            .read("test", outgoing_to_device_servers)
            .await
            .unwrap();
        assert_eq!(found.len(), MOST_STRANGERS + 1);
        assert!(found.contains(<&ServerName>::try_from("zz.example").unwrap()));
    })
    .await;
}

#[tokio::test]
async fn a_message_of_another_server_comes_once_and_is_forgotten_in_the_end() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let bob = person(&world, "bob").await;
        let received = Arc::new(to_device(&world));
        let many: BTreeMap<String, Value> = (0..600).map(|it| (format!("D{it}"), json!({}))).collect();
        let mut messages = json!({ "@bob:localhost": many, "@eve:peer.example": { "PHONE": {} } });
        messages["@bob:localhost"]["PHONE"] = json!({ "n": 1 });
        let content = json!({
            "sender": "@eve:peer.example", "type": "m.test", "message_id": "a\0b", "messages": messages,
        });
        let origin: OwnedServerName = "peer.example".try_into().unwrap();
        let receive = || {
            let (received, content, origin) = (Arc::clone(&received), content.clone(), origin.clone());
            tokio::spawn(async move { received.receive(&origin, &content).await })
        };
        for receiving in [receive(), receive(), receive()] {
            receiving.await.unwrap().unwrap();
        }
        assert_eq!(waiting(&world, bob.device).await, [json!({ "n": 1 })]);
        assert_eq!(received.sweep_received(10).await.unwrap(), 0, "it may come again");
    })
    .await;
}
