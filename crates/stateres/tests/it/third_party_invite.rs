//! Rule 5.4.1: invitations by way of a third party.

use serde_json::{Value as Json, json};
use starling_events::{CanonicalObject, RoomVersion, SigningKey, sign::sign_json, unpadded_base64};
use starling_stateres::AuthError::{self, *};

use crate::support::Room;

fn key(seed: u8) -> SigningKey {
    SigningKey::generate([seed; 32], "0").unwrap()
}

/// The `signed` object for bob and token `t`, signed by the identity server `id` with this key.
fn signed(key: &SigningKey) -> Json {
    let mut object =
        CanonicalObject::from_serialize(&json!({"mxid": "@bob:h", "token": "t"})).unwrap();
    sign_json(&mut object, "id", key);
    serde_json::from_slice(object.as_bytes()).unwrap()
}

/// Bob is invited by alice with this `third_party_invite`; the room has an invitation for token `t` by alice with these
/// keys.
#[track_caller]
fn check(description: &str, keys: &Json, invite: &Json, expected: Result<(), AuthError>) {
    for version in RoomVersion::ALL {
        let mut room = Room::new(version, description);
        room.set("alice", "m.room.third_party_invite", "t", keys);
        let content = json!({"membership": "invite", "third_party_invite": invite});
        let event = room.event("alice", "m.room.member", Some("@bob:h"), &content);
        assert_eq!(room.check(&event), expected, "version {version}: {invite}");
    }
}

#[test]
fn keys_and_signatures() {
    let public = key(1).verifying_key().to_base64();
    let single = json!({"public_key": public});
    check("", &single, &json!({"signed": signed(&key(1))}), Ok(()));
    check(
        "",
        &single,
        &json!({"signed": signed(&key(2))}),
        Err(ThirdPartyInviteSignature),
    );
    let third = key(3).verifying_key().to_base64();
    let listed = json!({"public_key": third, "public_keys": [{}, 1, {"public_key": public}]});
    check("", &listed, &json!({"signed": signed(&key(1))}), Ok(()));
    check("", &listed, &json!({"signed": signed(&key(3))}), Ok(()));
    check(
        "",
        &listed,
        &json!({"signed": signed(&key(2))}),
        Err(ThirdPartyInviteSignature),
    );
    for no_keys in [
        json!({}),
        json!({"public_key": "x"}),
        json!({"public_key": 1}),
        json!({"public_keys": {}}),
    ] {
        check(
            "",
            &no_keys,
            &json!({"signed": signed(&key(1))}),
            Err(ThirdPartyInviteSignature),
        );
    }
    let bytes = unpadded_base64::decode(&public).unwrap();
    let url_safe = json!({"public_key": unpadded_base64::encode_url_safe(&bytes)});
    check("", &url_safe, &json!({"signed": signed(&key(1))}), Ok(()));
}

#[test]
fn what_is_signed() {
    let keys = json!({"public_key": key(1).verifying_key().to_base64()});
    let change = |name: &str, value: Json| {
        let mut signed = signed(&key(1));
        signed[name] = value;
        json!({"signed": signed})
    };
    check("", &keys, &json!({}), Err(ThirdPartyInviteUnsigned));
    check("", &keys, &Json::Null, Err(ThirdPartyInviteUnsigned));
    check(
        "",
        &keys,
        &json!({"signed": 1}),
        Err(ThirdPartyInviteUnsigned),
    );
    check(
        "",
        &keys,
        &change("mxid", Json::Null),
        Err(ThirdPartyInviteUnsigned),
    );
    check(
        "",
        &keys,
        &change("token", Json::Null),
        Err(ThirdPartyInviteUnsigned),
    );
    check(
        "",
        &keys,
        &change("mxid", json!("@carol:h")),
        Err(ThirdPartyInviteOfOther),
    );
    check(
        "",
        &keys,
        &change("token", json!("u")),
        Err(NoThirdPartyInvite),
    );
    check(
        "",
        &keys,
        &change("extra", json!(1)),
        Err(ThirdPartyInviteSignature),
    );
    check(
        "",
        &keys,
        &change("signatures", json!({})),
        Err(ThirdPartyInviteSignature),
    );
    check(
        "",
        &keys,
        &change("signatures", json!({"id": {"rsa:1": "AAAA"}})),
        Err(ThirdPartyInviteSignature),
    );
}

#[test]
fn membership_of_the_target_and_the_sender() {
    let keys = json!({"public_key": key(1).verifying_key().to_base64()});
    let invite = json!({"signed": signed(&key(1))});
    check("bob=ban", &keys, &invite, Err(TargetBanned));
    // Whoever made the invitation may have left, and the target may be in the room.
    check("alice=leave bob=join", &keys, &invite, Ok(()));
    for version in RoomVersion::ALL {
        let mut room = Room::new(version, "carol=join:100");
        room.set("alice", "m.room.third_party_invite", "t", &keys);
        let content = json!({"membership": "invite", "third_party_invite": invite});
        let event = room.event("carol", "m.room.member", Some("@bob:h"), &content);
        assert_eq!(room.check(&event), Err(ThirdPartyInviteSender));
    }
}

/// However many keys and signatures there are, only so many are tried.
#[test]
fn tries_are_bounded() {
    let mut signed = signed(&key(1));
    let signatures = signed["signatures"]["id"].as_object_mut().unwrap();
    let wrong = signatures
        .values()
        .next()
        .unwrap()
        .as_str()
        .unwrap()
        .replace('A', "B")
        .replace('a', "b");
    for number in 0..300 {
        // In front of the right one, which is `ed25519:0`.
        signatures.insert(format!("ed25519:!{number}"), json!(wrong));
    }
    let keys = json!({"public_key": key(1).verifying_key().to_base64()});
    check(
        "",
        &keys,
        &json!({"signed": signed}),
        Err(ThirdPartyInviteSignature),
    );
}

#[test]
fn making_one_takes_the_power_to_invite() {
    for version in RoomVersion::ALL {
        for (description, expected) in [
            ("alice=join", Ok(())),
            ("alice=join:0", Ok(())),
            ("alice=join:-1", Err(InviteLevel)),
            ("alice=leave:100", Err(SenderNotJoined)),
        ] {
            let room = Room::new(version, description);
            // Were it not for its own rule, it would take the level of state events.
            let event = room.event(
                "alice",
                "m.room.third_party_invite",
                Some("@token"),
                &json!({}),
            );
            assert_eq!(
                room.check(&event),
                expected,
                "version {version}: {description}"
            );
        }
    }
}
