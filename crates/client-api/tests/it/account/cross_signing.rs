//! Cross-signing. <https://spec.matrix.org/v1.19/client-server-api/#cross-signing>

use serde_json::{Value, json};
use starling_testkit::{CrossSigner, TestDevice};

use crate::caller::{Caller, on_servers};

/// The device of a caller, with keys that are uploaded.
async fn device(caller: &Caller, seed: u8) -> (String, TestDevice) {
    let whoami = caller.get("account/whoami").await.ok();
    let device_id = whoami["device_id"].as_str().unwrap().to_owned();
    let device = TestDevice::new(&caller.user_id, &device_id, seed);
    let upload = json!({ "device_keys": device.keys() });
    caller.post("keys/upload", &upload).await.ok();
    (device_id, device)
}

async fn queried(by: &Caller, of: &Caller) -> Value {
    let query = json!({ "device_keys": { &of.user_id: [] } });
    by.post("keys/query", &query).await.ok()
}

async fn sign(by: &Caller, of: &Caller, key_id: &str, object: Value) -> Value {
    let signed = json!({ &of.user_id: { key_id: object } });
    let answer = by.post("keys/signatures/upload", &signed).await.ok();
    answer["failures"].clone()
}

async fn set_up(caller: &Caller, seed: u8) -> CrossSigner {
    let signer = CrossSigner::new(&caller.user_id, seed);
    let uploaded = caller
        .post("keys/device_signing/upload", &signer.upload())
        .await;
    assert_eq!(uploaded.ok(), json!({}));
    signer
}

/// `POST /_matrix/client/v3/keys/device_signing/upload`
#[tokio::test]
async fn the_first_keys_need_no_password_and_others_do() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let path = "keys/device_signing/upload";
        let first = CrossSigner::new(&alice.user_id, 1);
        let missing = json!({ "self_signing_key": first.key_object("self_signing") });
        let answer = alice.post(path, &missing).await;
        assert_eq!(answer.error(), (400, "M_MISSING_PARAM"));
        alice.post(path, &first.upload()).await.ok();
        alice.post(path, &first.upload()).await.ok();
        let told = queried(&alice, &alice).await;
        let key = |usage: &str| json!({ &alice.user_id: first.key_object(usage) });
        assert_eq!(told["master_keys"], key("master"));
        assert_eq!(told["self_signing_keys"], key("self_signing"));
        assert_eq!(told["user_signing_keys"], key("user_signing"));
        let told = queried(&bob, &alice).await;
        assert_eq!(told["master_keys"], key("master"));
        assert_eq!(told["self_signing_keys"], key("self_signing"));
        assert_eq!(told["user_signing_keys"], json!({}), "nobody else sees it");
        let other = CrossSigner::new(&alice.user_id, 10);
        let mut upload = other.upload();
        let asked = alice.post(path, &upload).await;
        assert_eq!(asked.status, 401);
        assert_eq!(queried(&alice, &alice).await["master_keys"], key("master"));
        upload["auth"] =
            json!({ "type": "m.login.password", "user": "alice", "password": "alice" });
        alice.post(path, &upload).await.ok();
        let told = queried(&alice, &alice).await;
        let master = json!({ &alice.user_id: other.key_object("master") });
        assert_eq!(told["master_keys"], master);
        let other = CrossSigner::new(&alice.user_id, 20);
        let mut upload = other.upload();
        upload["auth"] =
            json!({ "type": "m.login.password", "user": "alice", "password": "wrong" });
        assert_eq!(
            alice.post(path, &upload).await.error(),
            (401, "M_FORBIDDEN")
        );
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/device_signing/upload`
#[tokio::test]
async fn keys_must_be_the_users_and_signed_by_the_master_key() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let path = "keys/device_signing/upload";
        let own = CrossSigner::new(&alice.user_id, 1);
        let other = CrossSigner::new(&alice.user_id, 10);
        let bobs = CrossSigner::new("@bob:localhost", 1);
        let mut unsigned = own.key_object("user_signing");
        unsigned.as_object_mut().unwrap().remove("signatures");
        let mut two = own.key_object("master");
        two["keys"]["ed25519:x"] = "x".into();
        for (key, value, errcode) in [
            (
                "self_signing_key",
                other.key_object("self_signing"),
                "M_INVALID_SIGNATURE",
            ),
            ("user_signing_key", unsigned, "M_INVALID_SIGNATURE"),
            (
                "user_signing_key",
                own.key_object("self_signing"),
                "M_INVALID_PARAM",
            ),
            ("master_key", bobs.key_object("master"), "M_INVALID_PARAM"),
            ("master_key", two, "M_INVALID_PARAM"),
            ("master_key", json!("key"), "M_INVALID_PARAM"),
        ] {
            let mut upload = own.upload();
            upload[key] = value;
            let answer = alice.post(path, &upload).await;
            assert_eq!(answer.error(), (400, errcode), "{key}");
        }
        let told = queried(&alice, &alice).await;
        assert_eq!(told["master_keys"], json!({}), "nothing was taken");
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/signatures/upload`
#[tokio::test]
async fn signatures_are_told_to_whom_they_are_for() {
    on_servers(async |server| {
        let (alice, bob, _) = server.two_in_a_room().await;
        let carol = server.user("carol").await;
        let (device_id, device) = device(&alice, 1).await;
        let alices = set_up(&alice, 1).await;
        let bobs = set_up(&bob, 20).await;
        let (_, since) = bob.sync("").await;
        let (_, own) = alice.sync("").await;

        let signed = alices.sign("self_signing", &device.keys());
        assert_eq!(
            sign(&alice, &alice, &device_id, signed.clone()).await,
            json!({})
        );
        let master = alices.key_object("master");
        let public = alices.public("master");
        let signed_master = device.signed(&master);
        let failures = sign(&alice, &alice, &public, signed_master.clone()).await;
        assert_eq!(failures, json!({}));
        for who in [&alice, &bob] {
            let told = queried(who, &alice).await;
            assert_eq!(told["device_keys"][&alice.user_id][&device_id], signed);
            assert_eq!(told["master_keys"][&alice.user_id], signed_master);
        }
        let (told, _) = bob.sync(&format!("since={since}")).await;
        assert_eq!(told["device_lists"]["changed"], json!([&alice.user_id]));

        // What Alice says of Bob nobody else is told.
        let of_bob = alices.sign("user_signing", &bobs.key_object("master"));
        let (_, since) = bob.sync("").await;
        let bobs_key = bobs.public("master");
        assert_eq!(
            sign(&alice, &bob, &bobs_key, of_bob.clone()).await,
            json!({})
        );
        let told = queried(&alice, &bob).await;
        assert_eq!(told["master_keys"][&bob.user_id], of_bob);
        for who in [&bob, &carol] {
            let told = queried(who, &bob).await;
            assert_eq!(told["master_keys"][&bob.user_id], bobs.key_object("master"));
        }
        let (told, _) = bob.sync(&format!("since={since}")).await;
        assert_eq!(told["device_lists"], Value::Null);
        let (told, _) = alice.sync(&format!("since={own}")).await;
        let changed = json!([&alice.user_id, &bob.user_id]);
        assert_eq!(
            told["device_lists"]["changed"], changed,
            "her other devices ask again"
        );
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/signatures/upload`
#[tokio::test]
async fn signatures_that_come_again_wake_nobody() {
    on_servers(async |server| {
        let (alice, bob, _) = server.two_in_a_room().await;
        let (device_id, device) = device(&alice, 1).await;
        let alices = set_up(&alice, 1).await;
        let bobs = set_up(&bob, 20).await;
        let signed = json!({
            &alice.user_id: { &device_id: alices.sign("self_signing", &device.keys()) },
            &bob.user_id: { bobs.public("master"): alices.sign("user_signing", &bobs.key_object("master")) },
        });
        let path = "keys/signatures/upload";
        let taken = json!({ "failures": {} });
        assert_eq!(alice.post(path, &signed).await.ok(), taken);
        let ((_, alices_since), (_, bobs_since)) = (alice.sync("").await, bob.sync("").await);
        assert_eq!(alice.post(path, &signed).await.ok(), taken);
        for (who, since) in [(&alice, alices_since), (&bob, bobs_since)] {
            let (told, _) = who.sync(&format!("since={since}")).await;
            assert_eq!(told["device_lists"], Value::Null);
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/upload`
#[tokio::test]
async fn keys_that_come_again_with_another_signature_stay_signed() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let (device_id, device) = device(&alice, 1).await;
        let alices = set_up(&alice, 1).await;
        let signed = alices.sign("self_signing", &device.keys());
        sign(&alice, &alice, &device_id, signed).await;
        let mut keys = device.keys();
        keys["signatures"]["@nobody:localhost"] = json!({ "ed25519:X": "a" });
        let upload = json!({ "device_keys": keys });
        alice.post("keys/upload", &upload).await.ok();
        let told = queried(&bob, &alice).await;
        let signatures = &told["device_keys"][&alice.user_id][&device_id]["signatures"];
        let by_alice = signatures[&alice.user_id].as_object().unwrap();
        assert!(by_alice.contains_key(&format!("ed25519:{}", alices.public("self_signing"))));
        assert_eq!(signatures["@nobody:localhost"], json!({ "ed25519:X": "a" }));
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/signatures/upload`
#[tokio::test]
async fn a_signature_that_does_not_hold_is_refused_by_itself() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let (device_id, device) = device(&alice, 1).await;
        let alices = set_up(&alice, 1).await;
        let bobs = set_up(&bob, 20).await;
        let errcode = async |of: &Caller, key_id: &str, object: Value| {
            let failures = sign(&alice, of, key_id, object).await;
            failures[&of.user_id][key_id]["errcode"].clone()
        };
        let good = alices.sign("self_signing", &device.keys());
        let mut wrong = good.clone();
        let name = format!("ed25519:{}", alices.public("self_signing"));
        wrong["signatures"][&alice.user_id][&name] = "x".repeat(86).into();
        assert_eq!(
            errcode(&alice, &device_id, wrong).await,
            "M_INVALID_SIGNATURE"
        );
        let mut other = good.clone();
        other["algorithms"] = json!([]);
        assert_eq!(errcode(&alice, &device_id, other).await, "M_INVALID_PARAM");
        assert_eq!(
            errcode(&alice, "UNKNOWN", good.clone()).await,
            "M_NOT_FOUND"
        );
        let by_master = alices.sign("master", &device.keys());
        assert_eq!(
            errcode(&alice, &device_id, by_master).await,
            "M_INVALID_SIGNATURE"
        );
        let bobs_key = bobs.public("master");
        let by_device = device.signed(&bobs.key_object("master"));
        assert_eq!(
            errcode(&bob, &bobs_key, by_device).await,
            "M_INVALID_SIGNATURE"
        );
        let ssk = bobs.public("self_signing");
        let of_ssk = alices.sign("user_signing", &bobs.key_object("self_signing"));
        assert_eq!(errcode(&bob, &ssk, of_ssk).await, "M_NOT_FOUND");
        // The good one among them is taken.
        let both = json!({ &alice.user_id: { &device_id: good, "UNKNOWN": {} } });
        let answer = alice.post("keys/signatures/upload", &both).await.ok();
        assert_eq!(
            answer["failures"][&alice.user_id]
                .as_object()
                .unwrap()
                .len(),
            1
        );
        let told = queried(&bob, &alice).await;
        assert_eq!(told["device_keys"][&alice.user_id][&device_id], good);
        // With another master key, what the old ones signed is gone.
        let mut upload = CrossSigner::new(&alice.user_id, 10).upload();
        upload["auth"] =
            json!({ "type": "m.login.password", "user": "alice", "password": "alice" });
        alice.post("keys/device_signing/upload", &upload).await.ok();
        let told = queried(&bob, &alice).await;
        assert_eq!(
            told["device_keys"][&alice.user_id][&device_id],
            device.keys()
        );
    })
    .await;
}
