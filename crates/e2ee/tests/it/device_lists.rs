//! Lists of devices of users of other servers, over restarts and while they change.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::StatusCode;
use ruma_common::{ServerName, server_name};
use serde_json::{Value, json};
use starling_e2ee::{Keys, KeysParts, ListUpdate};
use starling_outbound::{Answer, OutboundError, Request, Transport};
use starling_store::{SCHEMA, UserNum};
use starling_testkit::{TestDb, TestDevice, World, client_by, on_each_engine};

const BOB: &str = "@bob:peer.example";

/// A server that answers with a list of this version, of one device.
#[derive(Debug, Default)]
struct Peer {
    stream_id: Mutex<i64>,
    asked: Mutex<usize>,
}

impl Transport for Peer {
    fn send<'a>(
        &'a self,
        _: &'a ServerName,
        _: Request,
    ) -> BoxFuture<'a, Result<Answer, OutboundError>> {
        Box::pin(async move {
            *self.asked.lock().unwrap() += 1;
            let stream_id = *self.stream_id.lock().unwrap();
            let device_id = format!("D{stream_id}");
            let device = TestDevice::new(BOB, &device_id, 1);
            let body = json!({
                "user_id": BOB, "stream_id": stream_id,
                "devices": [{ "device_id": device_id, "keys": device.keys() }],
            });
            // Meanwhile others may do something.
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(Answer {
                status: StatusCode::OK,
                body: body.to_string().into(),
            })
        })
    }
}

impl Peer {
    fn asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

struct Setting {
    world: World,
    peer: Arc<Peer>,
    alice: UserNum,
}

impl Setting {
    async fn new(db: &TestDb) -> Self {
        let world = World::start(db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        world.join_remote(&room, BOB).await;
        let peer = Arc::new(Peer::default());
        let alice = alice.user;
        Self { world, peer, alice }
    }

    /// A server that has just started.
    fn keys(&self) -> Keys {
        let transport: Arc<dyn Transport> = Arc::clone(&self.peer) as _;
        Keys::new(KeysParts {
            store: self.world.store.clone(),
            bus: self.world.bus.clone(),
            server_name: "localhost".try_into().unwrap(),
            clock: self.world.clock.clone(),
            remote: Some(client_by(transport, &self.world.clock)),
        })
    }

    /// The ids of Bob's devices.
    async fn devices(&self, keys: &Keys) -> Vec<String> {
        let query = [(BOB.try_into().unwrap(), [].into())].into();
        let patience = Duration::from_secs(5);
        let queried = keys.query(self.alice, query, patience).await;
        let (queried, failures) = queried.unwrap();
        assert!(failures.is_empty(), "{failures:?}");
        let devices = queried.device_keys.into_values().next().unwrap();
        devices.into_keys().collect()
    }

    /// The server tells of a change that doesn't follow what is known.
    async fn gap(&self, keys: &Keys, stream_id: i64) {
        *self.peer.stream_id.lock().unwrap() = stream_id;
        let content: Value = json!({
            "user_id": BOB, "device_id": "X", "stream_id": stream_id, "prev_id": [stream_id - 1],
        });
        let update = ListUpdate::read("m.device_list_update", &content).unwrap();
        let peer = server_name!("peer.example");
        keys.receive_changes(peer, vec![update]).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_stale_is_fetched_after_a_restart() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let setting = Setting::new(&db).await;
        let keys = setting.keys();
        assert_eq!(setting.devices(&keys).await, ["D0"]);
        setting.gap(&keys, 5).await;
        let keys = setting.keys();
        setting.peer.asked();
        assert!(!keys.resync().await.unwrap());
        assert_eq!(setting.peer.asked(), 1);
        assert_eq!(setting.devices(&keys).await, ["D5"]);
        assert_eq!(setting.peer.asked(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_list_that_was_fetched_before_the_last_doubt_stays_stale() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let setting = Setting::new(&db).await;
        let keys = setting.keys();
        setting.devices(&keys).await;
        setting.gap(&keys, 5).await;
        let (fetched, ()) = tokio::join!(keys.resync(), async {
            while *setting.peer.asked.lock().unwrap() < 2 {
                tokio::task::yield_now().await;
            }
            // It has answered with the list as it was.
            setting.gap(&keys, 9).await;
        });
        fetched.unwrap();
        assert_eq!(setting.peer.asked(), 2);
        assert_eq!(setting.devices(&keys).await, ["D9"]);
        assert_eq!(setting.peer.asked(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_list_is_fetched_once_however_many_ask() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let setting = Setting::new(&db).await;
        let keys = setting.keys();
        let all = (0..10).map(|_| setting.devices(&keys));
        for devices in futures_util::future::join_all(all).await {
            assert_eq!(devices, ["D0"]);
        }
        assert_eq!(setting.peer.asked(), 1);
    })
    .await;
}

#[tokio::test]
async fn of_a_change_only_the_rooms_of_the_user_are_looked_at() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let setting = Setting::new(&db).await;
        let dora = setting.world.user("dora").await;
        let shared = setting.world.room(&dora).await;
        let other = setting.world.room(&dora).await;
        setting.world.join_remote(&shared, BOB).await;
        setting
            .world
            .join_remote(&other, "@carol:peer.example")
            .await;
        // A server that has no room in memory.
        let world = World::start(&db).await;
        let setting = Setting { world, ..setting };
        let keys = setting.keys();
        setting.gap(&keys, 5).await;
        let store = &setting.world.store;
        let is_read = async |room| {
            let room = store.room_num(room).await.unwrap().unwrap();
            store.rooms().get(room).is_some()
        };
        assert!(is_read(&shared).await);
        assert!(!is_read(&other).await, "Bob is not there");
    })
    .await;
}
