//! What servers are told of local users' typing, receipts and presence.

use std::time::Duration;

use ruma_common::{OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};
use starling_ephemeral::{
    Client, Ephemeral, Mark, Marker, Parts, PresenceState, ReceiptKey, ReceiptKind, ReceiptThread,
};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};

use crate::support::{Manner, Received, Setting, seconds, server};

const ONE: &str = "one.example";

fn ephemeral(setting: &Setting) -> Ephemeral {
    Ephemeral::new(Parts {
        store: setting.world.store.clone(),
        bus: setting.world.bus.clone(),
        clock: setting.world.clock.clone(),
        has_presence: true,
    })
}

fn client(setting: &Setting) -> Client {
    Client {
        user: setting.alice.user,
        user_id: setting.alice.user_id.clone(),
        device: setting.alice.device,
    }
}

async fn mark(
    ephemeral: &Ephemeral,
    setting: &Setting,
    (kind, thread): (ReceiptKind, ReceiptThread),
    event_id: &OwnedEventId,
) {
    let marker = Marker {
        mark: Mark::Receipt(ReceiptKey { kind, thread }),
        event_id: event_id.clone(),
    };
    let written = ephemeral.mark_read(setting.alice.user, &setting.room, vec![marker]);
    written.await.unwrap();
}

/// The receipts of a transaction of Alice in a room: the events and threads.
fn receipts(received: &Received, room: &OwnedRoomId) -> Vec<(Value, Value)> {
    let edus = received.edus("m.receipt").into_iter();
    let of_alice = edus.map(|edu| edu[room.as_str()]["m.read"]["@alice:localhost"].clone());
    let mut all: Vec<(Value, Value)> = of_alice
        .inspect(|receipt| assert!(receipt["data"]["ts"].is_i64()))
        .map(|receipt| {
            (
                receipt["event_ids"].clone(),
                receipt["data"]["thread_id"].clone(),
            )
        })
        .collect();
    all.sort_by_key(|(_, thread)| thread.to_string());
    all
}

#[tokio::test]
async fn typing_is_told_where_other_servers_are_and_again_while_it_goes_on() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        let own = setting.world.room(&setting.alice).await;
        let running = setting.start();
        let (ephemeral, alice) = (ephemeral(&setting), client(&setting));
        let long = Some(Duration::from_secs(100));
        ephemeral.set_typing(&alice, &own, long).await.unwrap();
        let typing = async |time| {
            ephemeral
                .set_typing(&alice, &setting.room, time)
                .await
                .unwrap();
        };
        typing(long).await;
        // Nothing new for others, so soon.
        typing(long).await;
        let told = |is_typing: bool| {
            let room_id = setting.room.as_str();
            vec![json!({ "room_id": room_id, "user_id": "@alice:localhost", "typing": is_typing })]
        };
        let (yes, no) = (told(true), told(false));
        assert_eq!(setting.next().await.edus("m.typing"), yes);
        seconds(45).await;
        let again = ephemeral.set_typing(&alice, &setting.room, long).await;
        again.unwrap();
        assert_eq!(setting.next().await.edus("m.typing"), yes);
        ephemeral
            .set_typing(&alice, &setting.room, None)
            .await
            .unwrap();
        let ended = setting.next().await;
        assert_eq!(ended.edus("m.typing"), no);
        assert_eq!(ended.body["pdus"], json!([]));
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

#[tokio::test]
async fn public_receipts_are_told_with_their_thread_and_private_ones_never() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        let running = setting.start();
        let said = setting.say("read this").await;
        assert_eq!(setting.next().await.texts(), ["read this"]);
        let ephemeral = ephemeral(&setting);
        let unthreaded = ReceiptThread::Unthreaded;
        mark(
            &ephemeral,
            &setting,
            (ReceiptKind::Private, unthreaded.clone()),
            &said,
        )
        .await;
        mark(&ephemeral, &setting, (ReceiptKind::Read, unthreaded), &said).await;
        let received = setting.next().await;
        assert_eq!(
            receipts(&received, &setting.room),
            [(json!([said]), Value::Null)]
        );
        mark(
            &ephemeral,
            &setting,
            (ReceiptKind::Read, ReceiptThread::Main),
            &said,
        )
        .await;
        let received = setting.next().await;
        assert_eq!(
            receipts(&received, &setting.room),
            [(json!([said]), json!("main"))]
        );
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

#[tokio::test]
async fn receipts_that_a_server_missed_are_told_when_it_is_up_again() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        let running = setting.start();
        let ephemeral = ephemeral(&setting);
        let said = setting.say("read this").await;
        setting.next().await;
        setting.net.set(ONE, Manner::Down);
        mark(
            &ephemeral,
            &setting,
            (ReceiptKind::Read, ReceiptThread::Unthreaded),
            &said,
        )
        .await;
        let unthreaded = (json!([said]), Value::Null);
        let first = setting.next().await;
        assert_eq!(
            receipts(&first, &setting.room),
            std::slice::from_ref(&unthreaded)
        );
        mark(
            &ephemeral,
            &setting,
            (ReceiptKind::Read, ReceiptThread::Main),
            &said,
        )
        .await;
        seconds(2).await;
        assert_eq!(setting.next().await.bytes, first.bytes);
        setting.net.set(ONE, Manner::Takes);
        setting.client.health().is_up(&server(ONE));
        let missed = setting.next().await;
        let main = (json!([said]), json!("main"));
        assert_eq!(receipts(&missed, &setting.room), [main, unthreaded]);
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

#[tokio::test]
async fn presence_is_told_to_servers_that_share_a_room() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        let other = setting.world.room(&setting.world.user("bob").await).await;
        setting.world.join_remote(&other, "@c:two.example").await;
        let running = setting.start();
        let (ephemeral, alice) = (ephemeral(&setting), client(&setting));
        let status = Some("at work".to_owned());
        let set = ephemeral.set_presence(&alice, PresenceState::Online, status);
        set.await.unwrap();
        let received = setting.next().await;
        assert_eq!(
            received.server, ONE,
            "nobody of two.example is in a room with her"
        );
        let [told] = &received.edus("m.presence")[..] else {
            panic!("one EDU: {received:?}");
        };
        let expected = json!({
            "user_id": "@alice:localhost", "presence": "online", "status_msg": "at work",
            "currently_active": true, "last_active_ago": told["push"][0]["last_active_ago"],
        });
        assert_eq!(told["push"], json!([expected]));
        assert!(told["push"][0]["last_active_ago"].is_i64());
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_comes_into_a_room_is_told_who_is_there() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        let running = setting.start();
        let (ephemeral, alice) = (ephemeral(&setting), client(&setting));
        let set = ephemeral.set_presence(&alice, PresenceState::Online, None);
        set.await.unwrap();
        setting.join_remote("@a:one.example").await;
        let received = setting.next().await;
        assert_eq!(received.server, ONE);
        let [told] = &received.edus("m.presence")[..] else {
            panic!("one EDU: {received:?}");
        };
        assert_eq!(told["push"][0]["user_id"], "@alice:localhost");
        // Its second user tells it nothing new: at most the same, where her change is heard of after the join.
        setting.join_remote("@b:one.example").await;
        running.stop().await;
        for again in setting.rest() {
            assert_eq!(again.server, ONE);
            assert_eq!(again.edus("m.presence").len(), 1, "{again:?}");
        }
    })
    .await;
}
