//! What servers are told of changed devices and cross-signing keys.

use std::sync::Arc;

use ruma_common::OwnedRoomId;
use serde_json::{Map, Value, json};
use starling_db::{Tx, Write};
use starling_e2ee::{CrossSigningUpload, KeyUpload, KeyUsage, Keys, KeysParts, Owner};
use starling_rooms::{Actor, MembershipAction};
use starling_store::SCHEMA;
use starling_store::purge::{PURGE_BEGUN, PurgeProgress};
use starling_store::restored::restored;
use starling_testkit::{CrossSigner, TestDb, TestDevice, World, on_each_engine};

use crate::support::{Manner, Received, Setting, seconds};

const ONE: &str = "one.example";

fn keys(setting: &Setting) -> Keys {
    Keys::new(KeysParts {
        store: setting.world.store.clone(),
        bus: setting.world.bus.clone(),
        server_name: "localhost".try_into().unwrap(),
        clock: setting.world.clock.clone(),
        remote: None,
    })
}

fn owner(setting: &Setting) -> Owner {
    Owner {
        user: setting.alice.user,
        user_id: setting.alice.user_id.clone(),
        device: setting.alice.device,
        device_id: Arc::from("PHONE"),
    }
}

/// Alice's device gets other keys.
async fn upload(setting: &Setting, seed: u8) -> Value {
    let device = TestDevice::new("@alice:localhost", "PHONE", seed);
    let none = Map::new();
    let upload = KeyUpload::read(Some(device.keys()), &none, &none).unwrap();
    let uploaded = keys(setting).upload(&owner(setting), upload).await;
    uploaded.unwrap();
    device.keys()
}

/// Somebody comes into the room, or goes.
async fn act(setting: &Setting, who: &Actor, action: MembershipAction) {
    let done = setting.world.act(who, &setting.room, action, who).await;
    done.unwrap();
}

#[tokio::test]
async fn servers_that_share_a_room_are_told_of_each_change_with_the_one_before() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        let running = setting.start();
        let first = upload(&setting, 1).await;
        let told = setting.next().await;
        assert_eq!(told.server, ONE);
        let [told] = &told.edus("m.device_list_update")[..] else {
            panic!("one update: {told:?}");
        };
        let id = &told["stream_id"];
        assert!(id.is_i64());
        let wanted = json!({
            "user_id": "@alice:localhost", "device_id": "PHONE", "stream_id": id, "prev_id": [], "keys": first,
        });
        assert_eq!(*told, wanted);
        upload(&setting, 2).await;
        let next = setting.next().await.edus("m.device_list_update");
        assert_eq!(next[0]["prev_id"], json!([id]));
        let signer = CrossSigner::new("@alice:localhost", 1);
        let usages = [KeyUsage::Master, KeyUsage::SelfSigning, KeyUsage::UserSigning];
        let all = usages.map(|usage| (usage, Some(signer.key_object(usage.word()))));
        let owner = owner(&setting);
        let all = CrossSigningUpload::read(&owner, all).unwrap();
        let uploaded = keys(&setting).upload_cross_signing(&owner, all, false).await;
        uploaded.unwrap();
        let told = setting.next().await.edus("m.signing_key_update");
        let wanted = json!({
            "user_id": "@alice:localhost", "master_key": signer.key_object("master"),
            "self_signing_key": signer.key_object("self_signing"),
        });
        assert_eq!(told, [wanted], "the user-signing key is nobody else's");
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn changes_that_a_server_missed_are_told_when_it_is_up_again_the_last_of_each_device() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        setting.net.set(ONE, Manner::Down);
        let running = setting.start();
        upload(&setting, 1).await;
        setting.next().await;
        upload(&setting, 2).await;
        let last = upload(&setting, 3).await;
        running.crash().await;
        // Also after a restart, and when it is up again.
        let running = setting.start();
        setting.net.set(ONE, Manner::Takes);
        seconds(10).await;
        let mut told = Vec::new();
        while told.is_empty() {
            told = setting.next().await.edus("m.device_list_update");
        }
        let current: Vec<&Value> = told.iter().map(|it| &it["keys"]).collect();
        assert_eq!(current, [&last]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_shares_a_room_again_is_told_of_what_it_may_have_missed() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        // Somebody stays in the room.
        let bob = setting.world.user("bob").await;
        act(&setting, &bob, MembershipAction::Join).await;
        let running = setting.start();
        let updates = |told: &Received| told.edus("m.device_list_update");
        let first = upload(&setting, 1).await;
        // It may have asked for her list before she was told that it comes.
        setting.join_remote("@a:one.example").await;
        assert_eq!(updates(&setting.next().await)[0]["keys"], first);
        upload(&setting, 2).await;
        let known = updates(&setting.next().await).remove(0)["stream_id"].clone();
        act(&setting, &setting.alice, MembershipAction::Leave).await;
        setting.next().await;
        upload(&setting, 3).await;
        let unseen = upload(&setting, 4).await;
        // In another room it comes to her.
        let other = setting.world.room(&setting.alice).await;
        setting.world.join_remote(&other, "@a:one.example").await;
        let told = updates(&setting.next().await);
        let [told] = &told[..] else {
            panic!("one update: {told:?}");
        };
        assert_eq!(told["keys"], unseen);
        assert!(
            told["prev_id"][0].as_i64() > known.as_i64(),
            "{told} after {known}"
        );
        // In the first she comes to it, which has her list already.
        act(&setting, &setting.alice, MembershipAction::Join).await;
        let told = setting.next().await;
        assert!(updates(&told).is_empty(), "{told:?}");
        running.stop().await;
    })
    .await;
}

/// The room is purged, by and by.
async fn purge(setting: &Setting) {
    let (store, room) = (setting.world.store.clone(), setting.room.clone());
    let number = store.room_num(&room).await.unwrap().unwrap();
    let begin = move |tx: &mut Tx<'_>| store.purge_begin(tx, number);
    let db = setting.world.store.db();
    let is_begun = db.write(Write::new("purge_begin"), begin).await;
    assert!(is_begun.unwrap());
    let mut progress = PURGE_BEGUN;
    loop {
        let piece = setting.world.store.purge_piece(number, progress).await;
        match piece.unwrap() {
            PurgeProgress::At(at) => progress = at,
            PurgeProgress::Ended(_) => return,
        }
    }
}

/// A room of Bob's that a user of the other server is in.
async fn room_of_bob(setting: &Setting) -> OwnedRoomId {
    let bob = setting.world.user("bob").await;
    let room = setting.world.room(&bob).await;
    setting.world.join_remote(&room, "@a:one.example").await;
    room
}

/// Alice comes into the room; what the other server is told of her devices beside that.
async fn told_when_joining(setting: &mut Setting, room: &OwnedRoomId) -> Vec<Value> {
    let alice = &setting.alice;
    let joined = setting
        .world
        .act(alice, room, MembershipAction::Join, alice);
    joined.await.unwrap();
    setting.next().await.edus("m.device_list_update")
}

#[tokio::test]
async fn who_shared_a_room_that_was_purged_is_told_of_what_it_may_have_missed() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        let running = setting.start();
        setting.join_remote("@a:one.example").await;
        upload(&setting, 1).await;
        setting.next().await;
        act(&setting, &setting.alice, MembershipAction::Leave).await;
        setting.next().await;
        let unseen = upload(&setting, 2).await;
        purge(&setting).await;
        let room = room_of_bob(&setting).await;
        let told = told_when_joining(&mut setting, &room).await;
        let told: Vec<&Value> = told.iter().map(|it| &it["keys"]).collect();
        assert_eq!(told, [&unseen]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn after_a_copy_was_put_back_servers_are_told_of_users_who_shared_no_room_in_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        let uploaded = upload(&setting, 1).await;
        let done = restored(db.db(), setting.world.clock.now_ms(), (0, 0))
            .await
            .unwrap();
        assert_eq!(done.local_users, 1);
        setting.world = World::start(&db).await;
        let running = setting.start();
        let room = room_of_bob(&setting).await;
        let told = told_when_joining(&mut setting, &room).await;
        let [told] = &told[..] else {
            panic!("one update: {told:?}");
        };
        assert_eq!(told["keys"], uploaded);
        assert_eq!(told["prev_id"], json!([done.position_after]));
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn after_a_copy_was_put_back_servers_are_told_of_a_change_that_does_not_follow_the_last() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        let running = setting.start();
        let uploaded = upload(&setting, 1).await;
        let told = setting.next().await.edus("m.device_list_update");
        let last = told[0]["stream_id"].as_i64().unwrap();
        running.stop().await;
        let done = restored(db.db(), setting.world.clock.now_ms(), (0, 0))
            .await
            .unwrap();
        assert_eq!(done.local_users, 1);
        setting.world = World::start(&db).await;
        let running = setting.start();
        let mut told = Vec::new();
        while told.is_empty() {
            told = setting.next().await.edus("m.device_list_update");
        }
        let [told] = &told[..] else {
            panic!("one update: {told:?}");
        };
        assert_eq!(told["keys"], uploaded);
        let previous = told["prev_id"][0].as_i64().unwrap();
        assert!(previous == done.position_after && previous > last);
        let now = &told["stream_id"];
        assert!(now.as_i64().unwrap() > previous);
        upload(&setting, 2).await;
        let next = setting.next().await.edus("m.device_list_update");
        assert_eq!(next[0]["prev_id"], json!([now]));
        running.stop().await;
    })
    .await;
}
