//! Messages to the device: told in order and capped, until a token says that they came.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use starling_bus::Topic;
use starling_db::{Error, Positions, Simulation, Tx, Write};
use starling_runtime::Chance;
use starling_store::to_device::{ToDeviceMessage, to_device_insert, to_device_read};
use starling_store::{DeviceNum, SCHEMA};
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{Server, json, next_batch, request};

/// Messages with these texts to the user's device.
async fn send(server: &Server, who: &str, texts: impl IntoIterator<Item = String>) {
    let device = server.reader(who).await.device;
    let texts: Vec<String> = texts.into_iter().collect();
    let bus = server.world.bus.clone();
    let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
        let mut messages = Vec::new();
        for text in &texts {
            let event =
                serde_json::json!({ "content": { "body": text }, "sender": "@b:x", "type": "m.t" });
            messages.push(ToDeviceMessage {
                position: positions.give()?,
                device,
                event: Arc::from(event.to_string().into_bytes()),
            });
        }
        to_device_insert(tx, &messages)?;
        let (bus, last) = (bus.clone(), positions.last());
        tx.after_commit(move || bus.advance(last, &[Topic::ToDevice(device.0)]));
        Ok::<_, Error>(())
    };
    let db = server.world.store.db();
    let sent = db.write_placed(Write::new("test"), |_| Ok(()), place);
    sent.await.unwrap();
}

/// The texts that an answer tells.
fn texts(answer: &Value) -> Vec<String> {
    let events = answer["to_device"]["events"].as_array();
    let text = |event: &Value| event["content"]["body"].as_str().map(str::to_owned);
    events.into_iter().flatten().filter_map(text).collect()
}

/// How many messages are stored for a device.
async fn stored(server: &Server, device: DeviceNum) -> usize {
    let read = move |tx: &mut Tx<'_>| to_device_read(tx, device, (0, i64::MAX), 1_000);
    let read = server.world.store.db().read("test", read);
    read.await.unwrap().len()
}

fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_told_until_a_token_says_that_they_came() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let server = Server::start(&db).await;
        let device = server.reader("alice").await.device;
        let since = server.token("alice").await;
        send(&server, "alice", numbers(0, 2)).await;
        let first = server.sync("alice", Some(&since)).await;
        assert_eq!(texts(&first), ["0", "1"]);
        let event = &first["to_device"]["events"][0];
        let expected =
            serde_json::json!({ "content": { "body": "0" }, "sender": "@b:x", "type": "m.t" });
        assert_eq!(*event, expected);
        // The answer was lost: the same once more, with what has come meanwhile; also after a restart.
        send(&server, "alice", numbers(2, 3)).await;
        assert_eq!(
            texts(&server.sync("alice", Some(&since)).await),
            ["0", "1", "2"]
        );
        drop(server);
        db.reopen().await;
        let server = Server::start(&db).await;
        let again = server.sync("alice", Some(&since)).await;
        assert_eq!(texts(&again), ["0", "1", "2"]);
        assert_eq!(stored(&server, device).await, 3);
        // The first answer's token acknowledges what was in that.
        let second = server.sync("alice", Some(&next_batch(&first))).await;
        assert_eq!(texts(&second), ["2"]);
        assert_eq!(stored(&server, device).await, 1);
        let third = server.sync("alice", Some(&next_batch(&second))).await;
        assert_eq!(third.get("to_device"), None);
        assert_eq!(stored(&server, device).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_messages_an_answer_has_the_next_hundred() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let server = Server::start(&db).await;
        let device = server.reader("alice").await.device;
        let room_id = server.room("alice").await;
        send(&server, "alice", numbers(0, 230)).await;
        // An initial sync has what waits.
        let first = server.sync("alice", None).await;
        assert_eq!(texts(&first), numbers(0, 100));
        server.say("alice", &room_id, "meanwhile").await;
        let second = server.sync("alice", Some(&next_batch(&first))).await;
        assert_eq!(texts(&second), numbers(100, 200));
        assert_eq!(
            crate::server::timeline(crate::server::room(&second, "join", &room_id)),
            ["meanwhile"]
        );
        assert_eq!(stored(&server, device).await, 130);
        drop(server);
        db.reopen().await;
        let server = Server::start(&db).await;
        // Nothing waits for the time to be up as long as there is more.
        let asked = starling_sync::SyncRequest {
            timeout: Duration::from_mins(2),
            ..request(&next_batch(&second), "{}")
        };
        let third = server.sync_with("alice", &asked).await;
        assert_eq!(texts(&third), numbers(200, 230));
        let last = server.sync("alice", Some(&next_batch(&third))).await;
        assert_eq!(texts(&last), Vec::<String>::new());
        assert_eq!(stored(&server, device).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_ends_with_a_message_whatever_the_filter_says() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let since = server.token("alice").await;
        let nothing =
            r#"{"presence":{"types":[]},"account_data":{"types":[]},"room":{"rooms":[]}}"#;
        let asked = starling_sync::SyncRequest {
            timeout: Duration::from_mins(2),
            ..request(&since, nothing)
        };
        let (sync, reader) = (server.sync.clone(), server.reader("alice").await);
        let waiting = tokio::spawn(async move { json(&sync.sync(&reader, &asked).await.unwrap()) });
        send(&server, "alice", numbers(0, 1)).await;
        let answer = waiting.await.unwrap();
        assert_eq!(texts(&answer), ["0"]);
        // Nobody else's device is told of it.
        assert_eq!(texts(&server.sync("bob", None).await), Vec::<String>::new());
        assert_eq!(
            texts(&server.sync("alice", Some(&next_batch(&answer))).await),
            Vec::<String>::new()
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_of_another_endpoint_acknowledges_messages() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let alice = server.reader("alice").await;
        send(&server, "alice", numbers(0, 1)).await;
        let answer = server.sync.initial_sync(&alice, None, false).await.unwrap();
        let answer = json(&answer);
        assert_eq!(answer.get("to_device"), None);
        let end = answer["end"].as_str().unwrap();
        let told = server.sync("alice", Some(end)).await;
        assert_eq!(texts(&told), ["0"]);
        assert_eq!(stored(&server, alice.device).await, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_stays_away_when_the_power_fails() {
    let calm = || Simulation::calm(Chance::seeded(1));
    let mut db = TestDb::simulated(&SCHEMA, calm()).await;
    let server = Server::start(&db).await;
    send(&server, "alice", numbers(0, 150)).await;
    let first = server.sync("alice", None).await;
    let second = server.sync("alice", Some(&next_batch(&first))).await;
    assert_eq!(texts(&second), numbers(100, 150));
    drop(server);
    db.simulate(calm());
    db.power_cut().await;
    let server = Server::start(&db).await;
    // The second answer was never acknowledged; the first was.
    assert_eq!(texts(&server.sync("alice", None).await), numbers(100, 150));
}
