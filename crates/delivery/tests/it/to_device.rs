//! Messages to devices of other servers: sent in order until the server has them, across outages and restarts.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use starling_db::Tx;
use starling_e2ee::{Messages, Sending, ToDevice, ToDeviceParts};
use starling_events::CanonicalObject;
use starling_store::SCHEMA;
use starling_store::to_device::outgoing_to_device_read;
use starling_testkit::{TestDb, on_each_engine};

use crate::support::{Manner, Received, Setting, seconds, server};

const ONE: &str = "one.example";

fn to_device(setting: &Setting) -> ToDevice {
    ToDevice::new(ToDeviceParts {
        store: setting.world.store.clone(),
        bus: setting.world.bus.clone(),
        clock: setting.world.clock.clone(),
        chance: setting.chance.clone(),
        server_name: server("localhost"),
    })
}

/// Alice sends this to somebody's device.
pub(crate) async fn send(setting: &Setting, user: &str, number: i64) {
    send_content(setting, user, number, &json!({ "n": number })).await;
}

/// Alice sends this to somebody's device, by a request of her own number.
async fn send_content(setting: &Setting, user: &str, number: i64, content: &Value) {
    let body = json!({ "messages": { user: { "D": content } } });
    let body = CanonicalObject::from_serialize(&body).unwrap();
    let sending = Sending {
        sender: setting.alice.user_id.clone(),
        kind: "m.test".to_owned(),
    };
    let messages = Messages::of_body(&body).unwrap();
    let (to_device, txn_id) = (to_device(setting), number.to_string());
    let sender = (setting.alice.device, &sending);
    let sent = to_device.send(sender, &txn_id, &messages);
    sent.await.unwrap();
}

/// What a transaction has for somebody's device, and the ids of the messages.
pub(crate) fn numbers(received: &Received, user: &str) -> Vec<i64> {
    let edus = received.edus("m.direct_to_device").into_iter();
    let number = |edu: Value| {
        assert_eq!(
            (&edu["sender"], &edu["type"]),
            (&json!("@alice:localhost"), &json!("m.test"))
        );
        edu["messages"][user]["D"]["n"].as_i64()
    };
    edus.filter_map(number).collect()
}

fn ids(received: &Received) -> Vec<String> {
    let edus = received.edus("m.direct_to_device").into_iter();
    edus.map(|edu| edu["message_id"].as_str().unwrap().to_owned())
        .collect()
}

async fn left(setting: &Setting) -> usize {
    let read = |tx: &mut Tx<'_>| outgoing_to_device_read(tx, &server(ONE), 1_000);
    let read = setting.world.store.db().read("test", read);
    read.await.unwrap().len()
}

/// Waits until nothing is left.
async fn all_are_forgotten(setting: &Setting) {
    let wait = async {
        while left(setting).await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    waited.expect("the server has all");
}

#[tokio::test]
async fn messages_go_to_their_server_and_are_forgotten_when_it_has_them() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        let running = setting.start();
        send(&setting, "@a:one.example", 1).await;
        let first = setting.next().await;
        assert_eq!(
            (first.server.as_str(), numbers(&first, "@a:one.example")),
            (ONE, vec![1])
        );
        assert_eq!(first.body["pdus"], json!([]));
        send(&setting, "@b:two.example", 2).await;
        let second = setting.next().await;
        assert_eq!(second.server, "two.example");
        assert_eq!(numbers(&second, "@b:two.example"), [2]);
        assert!(ids(&first)[0].chars().count() <= 32);
        assert_ne!(ids(&first), ids(&second));
        all_are_forgotten(&setting).await;
        running.stop().await;
        // Nothing is sent again by the next start.
        let running = setting.start();
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

#[tokio::test]
async fn a_transaction_is_not_large() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.net.set(ONE, Manner::Down);
        let running = setting.start();
        // They wait together.
        send(&setting, "@a:one.example", 0).await;
        setting.next().await;
        for number in 0..30 {
            let content = json!({ "n": number, "x": "x".repeat(60_000) });
            send_content(&setting, "@b:one.example", number + 100, &content).await;
        }
        setting.net.set(ONE, Manner::Takes);
        seconds(2).await;
        setting.client.health().is_up(&server(ONE));
        let mut all = Vec::new();
        while all.len() < 30 {
            let next = setting.next().await;
            assert!(next.body.to_string().len() < (1 << 20) + 10_000);
            all.extend(numbers(&next, "@b:one.example"));
        }
        assert_eq!(all, (0..30).collect::<Vec<i64>>());
        all_are_forgotten(&setting).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn messages_outlast_an_outage_and_a_restart_and_keep_their_ids_and_order() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.net.set(ONE, Manner::Down);
        let running = setting.start();
        send(&setting, "@a:one.example", 0).await;
        let lost = setting.next().await;
        assert_eq!(numbers(&lost, "@a:one.example"), [0]);
        for number in 1..100 {
            send(&setting, "@a:one.example", number).await;
        }
        running.crash().await;
        let running = setting.start();
        let again = setting.next().await;
        assert_eq!(ids(&again)[0], ids(&lost)[0], "the same message");
        assert_eq!(left(&setting).await, 100, "nothing is forgotten");
        setting.net.set(ONE, Manner::Takes);
        seconds(2).await;
        setting.client.health().is_up(&server(ONE));
        let (mut all, mut known) = (Vec::new(), BTreeSet::new());
        while all.len() < 100 {
            let next = setting.next().await;
            assert!(next.body["edus"].as_array().unwrap().len() <= 100);
            let new = ids(&next).into_iter().zip(numbers(&next, "@a:one.example"));
            // What got no answer is sent once more as it was: the server knows the messages by their ids.
            all.extend(
                new.filter(|(id, _)| known.insert(id.clone()))
                    .map(|(_, number)| number),
            );
        }
        assert_eq!(all, (0..100).collect::<Vec<i64>>());
        all_are_forgotten(&setting).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn who_refuses_messages_gets_them_again_later() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.net.set(ONE, Manner::Refuses);
        let running = setting.start();
        send(&setting, "@a:one.example", 1).await;
        let refused = setting.next().await;
        setting.net.set(ONE, Manner::Takes);
        seconds(3).await;
        let again = setting.next().await;
        assert_eq!(ids(&again), ids(&refused));
        all_are_forgotten(&setting).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_message_that_its_server_refuses_keeps_nothing_else_from_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        setting.net.set(ONE, Manner::Down);
        let running = setting.start();
        send(&setting, "@a:one.example", 1).await;
        setting.next().await;
        send_content(&setting, "@a:one.example", 2, &json!({ "bad": true })).await;
        send(&setting, "@a:one.example", 3).await;
        setting.say("first").await;
        setting.rest();
        setting.net.set(ONE, Manner::Picky);
        let wait = async {
            while left(&setting).await > 0 {
                seconds(10).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_mins(1_000), wait).await;
        waited.expect("nothing waits for ever");
        let is_bad = |received: &Received| received.body.to_string().contains("\"bad\"");
        let (mut taken, mut said) = (Vec::new(), Vec::new());
        for received in setting.rest() {
            if !is_bad(&received) {
                taken.extend(numbers(&received, "@a:one.example"));
                said.extend(received.texts());
            }
        }
        assert_eq!(taken, [1, 3]);
        assert!(said.contains(&"first".to_owned()), "{said:?}");
        setting.say("second").await;
        let next = setting.next().await;
        assert_eq!(next.texts(), ["second"]);
        assert!(next.edus("m.direct_to_device").is_empty());
        running.stop().await;
    })
    .await;
}
