//! Invites that are made out to third-party ids.
//! <https://spec.matrix.org/v1.19/client-server-api/#third-party-invites>

use serde_json::{Value, json};
use starling_events::sign::sign_json;
use starling_events::{CanonicalObject, SigningKey};

use super::caller::{Caller, on_servers, segment};

/// What an identity server knows.
struct IdentityServer(SigningKey);

impl IdentityServer {
    fn new(seed: u8) -> Self {
        Self(SigningKey::generate([seed; 32], "0").unwrap())
    }

    fn key(&self) -> String {
        self.0.verifying_key().to_base64()
    }

    /// The proof that `invited` owns the id to which `sender` made out the invite `token`.
    fn proof(&self, sender: &Caller, invited: &Caller, token: &str) -> Value {
        let object = json!({ "sender": sender.user_id, "mxid": invited.user_id, "token": token });
        let mut object = CanonicalObject::from_serialize(&object).unwrap();
        sign_json(&mut object, "identity.example", &self.0);
        serde_json::from_slice(object.as_bytes()).unwrap()
    }
}

/// Alice's private room with an invite for `token`.
async fn invite(alice: &Caller, token: &str, content: &Value) -> String {
    let room = alice.create(json!({ "preset": "private_chat" })).await;
    let path = format!(
        "rooms/{}/state/m.room.third_party_invite/{token}",
        segment(&room)
    );
    alice.put(&path, content).await.ok();
    room
}

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`, `POST /_matrix/client/v3/rooms/{roomId}/join`
#[tokio::test]
async fn who_owns_the_id_is_invited_by_who_made_the_invite_and_joins() {
    on_servers(async |server| {
        let (alice, bob, eve) = (server.user("alice").await, server.user("bob").await, server.user("eve").await);
        let identity = IdentityServer::new(1);
        let content = json!({ "display_name": "b...@example.org", "public_keys": [{ "public_key": identity.key() }] });
        for by in ["join/", "rooms/"] {
            let room = invite(&alice, "token", &content).await;
            let path = match by {
                "join/" => format!("join/{}", segment(&room)),
                _ => format!("rooms/{}/join", segment(&room)),
            };
            bob.post(&path, &json!({})).await.fails(403, "M_FORBIDDEN");
            let signed = identity.proof(&alice, &bob, "token");
            // It is Bob's, and nobody else's.
            eve.post(&path, &json!({ "third_party_signed": signed })).await.fails(403, "M_FORBIDDEN");
            bob.post(&path, &json!({ "third_party_signed": signed, "reason": "yours" })).await.ok();
            let member = bob.state(&room, "m.room.member", &bob.user_id).await.ok();
            assert_eq!((&member["membership"], &member["reason"]), (&json!("join"), &json!("yours")));
            let page = bob.get(&format!("rooms/{}/messages?dir=b&limit=2", segment(&room))).await.ok();
            let invite = &page["chunk"][1];
            assert_eq!(invite["sender"], alice.user_id);
            assert_eq!(invite["content"]["membership"], "invite");
            let expected = json!({ "display_name": "b...@example.org", "signed": signed });
            assert_eq!(invite["content"]["third_party_invite"], expected);
            // Once in, nothing more happens.
            let before = alice.page_all(&room, "dir=f", None).await.len();
            bob.post(&path, &json!({ "third_party_signed": signed })).await.ok();
            assert_eq!(alice.page_all(&room, "dir=f", None).await.len(), before);
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/join`
#[tokio::test]
async fn a_proof_that_proves_nothing_changes_nothing() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let (identity, other) = (IdentityServer::new(1), IdentityServer::new(2));
        let content = json!({ "display_name": "b", "public_keys": [{ "public_key": identity.key() }] });
        let room = invite(&alice, "token", &content).await;
        let path = format!("rooms/{}/join", segment(&room));
        let cases = [
            ("another key", other.proof(&alice, &bob, "token")),
            ("another token", identity.proof(&alice, &bob, "other")),
            ("another sender", identity.proof(&bob, &bob, "token")),
            ("another user", identity.proof(&alice, &alice, "token")),
            ("nothing", json!({ "sender": alice.user_id, "mxid": bob.user_id, "token": "token", "signatures": {} })),
        ];
        for (case, signed) in cases {
            bob.post(&path, &json!({ "third_party_signed": signed })).await.fails_for(case, 403, "M_FORBIDDEN");
            assert_eq!(alice.state(&room, "m.room.member", &bob.user_id).await.status, 404, "{case}");
        }
        // Taken back.
        let signed = json!({ "third_party_signed": identity.proof(&alice, &bob, "token") });
        let pending = format!("rooms/{}/state/m.room.third_party_invite/token", segment(&room));
        alice.put(&pending, &json!({})).await.ok();
        bob.post(&path, &signed).await.fails(403, "M_FORBIDDEN");
        // Another server would have to say whether the key still holds.
        let revocable = json!({
            "display_name": "b", "public_key": identity.key(), "key_validity_url": "https://identity.example/valid",
        });
        alice.put(&pending, &revocable).await.ok();
        bob.post(&path, &signed).await.fails(400, "M_SERVER_NOT_TRUSTED");
        // A ban holds, whatever the proof.
        alice.put(&pending, &content).await.ok();
        alice.act(&room, "ban", &bob).await.ok();
        bob.post(&path, &signed).await.fails(403, "M_FORBIDDEN");
        assert_eq!(alice.state(&room, "m.room.member", &bob.user_id).await.ok()["membership"], "ban");
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`, `POST /_matrix/client/v3/createRoom`
#[tokio::test]
async fn invites_by_third_party_id_need_an_identity_server_and_leave_nothing_behind() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let by_mail = json!({
            "id_server": "identity.example", "id_access_token": "abc", "medium": "email", "address": "bob@example.org",
        });
        let before = alice.page_all(&room, "dir=f", None).await;
        let path = format!("rooms/{}/invite", segment(&room));
        alice.post(&path, &by_mail).await.fails(400, "M_SERVER_NOT_TRUSTED");
        assert_eq!(alice.page_all(&room, "dir=f", None).await, before);
        let wanted = json!({ "room_alias_name": "new", "invite_3pid": [by_mail] });
        alice.post("createRoom", &wanted).await.fails(400, "M_SERVER_NOT_TRUSTED");
        alice.get("directory/room/%23new%3Alocalhost").await.fails(404, "M_NOT_FOUND");
        assert_eq!(alice.get("joined_rooms").await.ok(), json!({ "joined_rooms": [room] }));
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
#[tokio::test]
async fn who_may_invite_may_make_out_an_invite() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let path = format!(
            "rooms/{}/state/m.room.third_party_invite/token",
            segment(&room)
        );
        let content = json!({ "display_name": "c" });
        bob.put(&path, &content).await.fails(403, "M_FORBIDDEN");
        let levels = format!("rooms/{}/state/m.room.power_levels/", segment(&room));
        alice.put(&levels, &json!({ "invite": 0 })).await.ok();
        bob.put(&path, &content).await.ok();
    })
    .await;
}
