//! Third-party invites whose keys somebody must be asked about.

use serde_json::json;
use starling_events::sign::sign_json;
use starling_events::{CanonicalObject, SigningKey};
use starling_rooms::SendError;
use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};

use super::net::{Connected, refusal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_a_key_is_valid_yet_is_asked_at_its_url() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let (alice, bob) = (at.world.user("alice").await, at.world.user("bob").await);
        let room = at.world.room(&alice).await;
        let identity = SigningKey::generate([7; 32], "0").unwrap();
        let key = identity.verifying_key().to_base64();
        let made = json!({
            "display_name": "b", "public_key": key, "key_validity_url": "https://identity.example/valid?v=2",
        });
        let pending = ("m.room.third_party_invite", "token");
        at.world.set(&alice, &room, pending, &made).await.unwrap();
        let signed = json!({ "sender": alice.user_id, "mxid": bob.user_id, "token": "token" });
        let mut signed = CanonicalObject::from_serialize(&signed).unwrap();
        sign_json(&mut signed, "identity.example", &identity);
        let accept = || at.world.rooms.accept_third_party_invite(&bob, &room, &signed);

        at.net.add("identity.example:443", |_| Some(refusal(404, "M_NOT_FOUND")));
        let refused = accept().await.unwrap_err();
        assert!(matches!(refused, SendError::UncheckedKey), "{refused}");
        at.net.add("identity.example:443", |_| Some((200, json!({ "valid": false }))));
        let refused = accept().await.unwrap_err();
        assert!(matches!(refused, SendError::Forbidden(_)), "{refused}");
        at.net.add("identity.example:443", |_| Some((200, json!({ "valid": true }))));
        accept().await.unwrap();
        let asked = at.net.asked().pop().unwrap();
        let escaped = key.replace('+', "%2B").replace('/', "%2F");
        assert_eq!(asked.uri, format!("/valid?v=2&public_key={escaped}"));
    })
    .await;
}
