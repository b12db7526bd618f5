//! Keys of other servers: from themselves, from notaries, and from what was kept.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Response, StatusCode};
use ruma_common::{OwnedServerName, ServerName};
use starling_db::{Dialect, Error};
use starling_events::server_keys::{OldKey, own_key_document};
use starling_events::{CanonicalObject, KeyValidity, SigningKey, sign};
use starling_outbound::{Addresses, Answer, KeyRing, OutboundError, Request, Transport, WantedKey};
use starling_store::{CacheSizes, SCHEMA, Store};
use starling_testkit::{TestDb, on_each_engine};

use crate::support::{Authority, Peer, Setting, dead_port};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn key(seed: u8) -> SigningKey {
    SigningKey::generate([seed; 32], &format!("k{seed}")).expect("a key")
}

fn server(port: u16) -> OwnedServerName {
    format!("127.0.0.1:{port}")
        .try_into()
        .expect("a server name")
}

fn wanted(server: &OwnedServerName, seed: u8, at_ms: Option<i64>) -> WantedKey {
    WantedKey {
        server: server.clone(),
        key_id: key(seed).key_id().to_owned(),
        at_ms,
    }
}

fn leak(object: &CanonicalObject) -> &'static str {
    let text = String::from_utf8(object.as_bytes().to_vec()).expect("JSON");
    Box::leak(text.into_boxed_str())
}

/// A server that publishes one key.
async fn publisher(
    authority: &Authority,
    seed: u8,
    valid_until_ms: i64,
) -> (Peer, OwnedServerName) {
    let peer = Peer::start(authority, "127.0.0.1").await;
    let name = server(peer.port);
    let document = own_key_document(&name, &key(seed), &[], valid_until_ms).expect("a document");
    peer.answers(Response::new(leak(&document)));
    (peer, name)
}

struct Rings {
    authority: Authority,
    setting: Setting,
    db: TestDb,
}

impl Rings {
    fn new(db: TestDb) -> Self {
        Self {
            authority: Authority::new(),
            setting: Setting::new(),
            db,
        }
    }

    /// One that knows only what is in the database.
    fn ring(&self, notaries: Vec<OwnedServerName>) -> KeyRing {
        let setting = &self.setting;
        let network = setting.network(&self.authority, Arc::default(), Addresses::All);
        let store = Store::new(self.db.db().clone(), 1, CacheSizes::new(1 << 20));
        KeyRing::new(
            store,
            setting.client(network),
            setting.clock.clone(),
            notaries,
        )
    }

    fn now_ms(&self) -> i64 {
        self.setting.clock.now_ms()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_servers_keys_are_asked_for_once_and_kept() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let rings = Rings::new(db);
        let (peer, name) = publisher(&rings.authority, 1, rings.now_ms() + DAY_MS).await;
        let wanted = [wanted(&name, 1, Some(rings.now_ms()))];
        for ring in [rings.ring(Vec::new()), rings.ring(Vec::new())] {
            for _ in 0..2 {
                let keys = ring.keys(&wanted).await.expect("keys");
                let known = keys.get(&name, "ed25519:k1").expect("the key");
                assert_eq!(known.key, key(1).verifying_key());
            }
        }
        assert_eq!(peer.asked.lock().len(), 1);
        assert_eq!(peer.last().uri, "/_matrix/key/v2/server");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_keys_are_asked_for_once_in_a_while() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let rings = Rings::new(db);
        let (peer, name) = publisher(&rings.authority, 1, rings.now_ms() + DAY_MS).await;
        let ring = rings.ring(Vec::new());
        for seed in 2..20 {
            let keys = ring.keys(&[wanted(&name, seed, None)]).await.expect("keys");
            assert!(keys.get(&name, key(seed).key_id()).is_none());
        }
        assert_eq!(peer.asked.lock().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_validity_has_ended_is_asked_for_again() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let rings = Rings::new(db);
        let (peer, name) = publisher(&rings.authority, 1, rings.now_ms() + DAY_MS).await;
        let first = rings.ring(Vec::new());
        first.keys(&[wanted(&name, 1, None)]).await.expect("keys");
        let later = own_key_document(&name, &key(1), &[], rings.now_ms() + 3 * DAY_MS);
        peer.answers(Response::new(leak(&later.expect("a document"))));
        let ring = rings.ring(Vec::new());
        // Not where its validity doesn't matter.
        ring.keys(&[wanted(&name, 1, None)]).await.expect("keys");
        assert_eq!(peer.asked.lock().len(), 1);
        let at_ms = rings.now_ms() + 2 * DAY_MS;
        let keys = ring
            .keys(&[wanted(&name, 1, Some(at_ms))])
            .await
            .expect("keys");
        assert_eq!(peer.asked.lock().len(), 2);
        let known = keys.get(&name, "ed25519:k1").expect("the key");
        assert!(known.validity.covers(at_ms));
    })
    .await;
}

/// Else whoever takes a server over could say anything of what it had signed before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_key_takes_the_id_of_one_that_is_known() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let rings = Rings::new(db);
        let (peer, name) = publisher(&rings.authority, 1, rings.now_ms() + DAY_MS).await;
        rings
            .ring(Vec::new())
            .keys(&[wanted(&name, 1, None)])
            .await
            .expect("keys");
        let other = SigningKey::generate([9; 32], "k1").expect("a key");
        let document = own_key_document(&name, &other, &[], rings.now_ms() + 3 * DAY_MS);
        peer.answers(Response::new(leak(&document.expect("a document"))));
        let at_ms = rings.now_ms() + 2 * DAY_MS;
        let ring = rings.ring(Vec::new());
        let keys = ring
            .keys(&[wanted(&name, 1, Some(at_ms))])
            .await
            .expect("keys");
        assert_eq!(peer.asked.lock().len(), 2);
        let known = keys.get(&name, "ed25519:k1").expect("the key");
        assert_eq!(known.key, key(1).verifying_key());
        assert!(!known.validity.covers(at_ms));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notary_vouches_for_a_server_that_is_gone() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let rings = Rings::new(db);
        let gone = server(dead_port().await);
        let document = |signed_by_notary: Option<&OwnedServerName>, notary_key: &SigningKey| {
            let document = own_key_document(&gone, &key(1), &[], rings.now_ms() + DAY_MS);
            let mut document = document.expect("a document");
            if let Some(notary) = signed_by_notary {
                sign::sign_json(&mut document, notary.as_str(), notary_key);
            }
            format!("{{\"server_keys\":[7,{}]}}", leak(&document))
        };
        let own_key = key(5);
        for (is_signed, signing, believed) in [
            (false, &own_key, false),
            (true, &key(6), false),
            (true, &own_key, true),
        ] {
            let (peer, notary) = publisher(&rings.authority, 5, rings.now_ms() + DAY_MS).await;
            let answer = document(is_signed.then_some(&notary), signing);
            peer.answers_to(
                "/_matrix/key/v2/query",
                Response::new(Box::leak(answer.into_boxed_str())),
            );
            let ring = rings.ring(vec![notary]);
            let keys = ring.keys(&[wanted(&gone, 1, None)]).await.expect("keys");
            assert_eq!(keys.get(&gone, "ed25519:k1").is_some(), believed);
            let asked: serde_json::Value = serde_json::from_slice(&peer.last().body).expect("JSON");
            assert_eq!(
                asked,
                serde_json::json!({"server_keys": {gone.as_str(): {"ed25519:k1": {}}}})
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_keys_are_at_hand_and_the_old_ones_prove_nothing_new() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let rings = Rings::new(db);
        let own: OwnedServerName = "here.example".try_into().expect("a server name");
        let wanted = WantedKey {
            server: own.clone(),
            key_id: "ed25519:k".to_owned(),
            at_ms: Some(rings.now_ms()),
        };
        let old = OldKey {
            key_id: key(3).key_id().to_owned(),
            key: key(3).verifying_key(),
            expired_ts: 5,
        };
        let ring = rings.ring(Vec::new()).with_old_keys(vec![old]);
        let keys = ring.keys(&[wanted]).await.expect("keys");
        assert!(keys.get(&own, "ed25519:k").is_some());
        let old = keys.get(&own, "ed25519:k3").expect("the old key");
        assert_eq!(old.validity, KeyValidity::ExpiredAt(5));
        let current = ring.current(&own, "ed25519:k3").await.expect("keys");
        assert_eq!(current, None);
    })
    .await;
}

/// A server that takes its time to say what its key is.
#[derive(Debug)]
struct Slow;

impl Transport for Slow {
    fn send<'a>(
        &'a self,
        name: &'a ServerName,
        _: Request,
    ) -> BoxFuture<'a, Result<Answer, OutboundError>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let until_ms = 4_102_444_800_000;
            let document = own_key_document(name, &key(1), &[], until_ms).expect("a document");
            Ok(Answer {
                status: StatusCode::OK,
                body: document.as_bytes().to_vec().into(),
            })
        })
    }
}

#[tokio::test]
async fn who_wants_a_key_waits_for_who_asks_for_it_already() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let setting = Setting::new();
        let store = Store::new(db.db().clone(), 1, CacheSizes::new(1 << 20));
        let ring = KeyRing::new(
            store,
            setting.client(Slow),
            setting.clock.clone(),
            Vec::new(),
        );
        for (number, is_eager_first) in [(1, true), (2, false)] {
            let name = server(number);
            let (wanted, key_id) = (wanted(&name, 1, None), key(1).key_id().to_owned());
            let patient = async { ring.keys(std::slice::from_ref(&wanted)).await };
            let eager = async { ring.current(&name, &key_id).await };
            let pause = || tokio::time::sleep(Duration::from_millis(100));
            let (keys, current) = if is_eager_first {
                let later = async {
                    pause().await;
                    patient.await
                };
                let (current, keys) = tokio::join!(eager, later);
                (keys, current)
            } else {
                let later = async {
                    pause().await;
                    eager.await
                };
                tokio::join!(patient, later)
            };
            assert!(keys.expect("keys").get(&name, &key_id).is_some(), "{name}");
            assert!(current.expect("a key").is_some(), "{name}");
        }
    })
    .await;
}

/// Servers that take every request and answer none.
#[derive(Debug)]
struct Silent;

impl Transport for Silent {
    fn send<'a>(
        &'a self,
        _: &'a ServerName,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, OutboundError>> {
        Box::pin(async move {
            tokio::time::sleep(request.patience).await;
            Err(OutboundError::Timeout(request.patience))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn where_too_many_are_asked_a_key_is_not_said_to_be_missing() {
    let db = TestDb::open(Dialect::Sqlite, &SCHEMA).await;
    let setting = Setting::new();
    let store = Store::new(db.db().clone(), 1, CacheSizes::new(1 << 20));
    let client = setting.client(Silent);
    let ring = KeyRing::new(store, client, setting.clock.clone(), Vec::new());
    let made_up = |call: u16| {
        let names = (0..16).map(|number| server(1000 + 16 * call + number));
        let wanted: Vec<WantedKey> = names.map(|name| wanted(&name, 1, None)).collect();
        let ring = ring.clone();
        tokio::spawn(async move { ring.keys(&wanted).await.map(drop) })
    };
    let calls: Vec<_> = (0..16).map(made_up).collect();
    let mut refused = 0;
    for call in calls {
        match call.await.expect("an end") {
            Ok(()) => {}
            Err(Error::Unavailable(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    // 64 at a time, 10 s each: who would come fourth has waited for too long.
    assert_eq!(refused, 4);
}
