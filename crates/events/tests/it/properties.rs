//! Properties: nothing panics, and another implementation computes the same hashes and signatures.

use std::{collections::BTreeMap, hint::black_box};

use proptest::prelude::*;
use ruma_common::{
    CanonicalJsonObject, canonical_json::redact, room_version_rules::RoomVersionRules,
    serde::Base64,
};
use ruma_signatures::{PublicKeyMap, Verified, content_hash, reference_hash, verify_event};
use serde_json::{Map, Value as Json};
use starling_events::{
    CanonicalObject, Pdu, RoomVersion, Value, canonical_json::canonicalize, hash, redact, sign,
    unpadded_base64,
};

use crate::support::{build, builder, event_id, key, server, text};

fn other_rules(version: RoomVersion) -> RoomVersionRules {
    match version {
        RoomVersion::V11 => RoomVersionRules::V11,
        RoomVersion::V12 => RoomVersionRules::V12,
    }
}

fn strings() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z_.]{0,8}",
        2 => any::<String>(),
        1 => "[\u{0}-\u{20}\"\\\\é😀]{0,6}",
        1 => prop::sample::select(vec![
            "membership", "third_party_invite", "signed", "users", "invite", "redacts", "join_rule", "allow",
            "signatures", "hashes",
        ]).prop_map(str::to_owned),
    ]
}

fn json_values() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Json::from),
        strings().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::btree_map(strings(), inner, 0..6)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

fn contents() -> impl Strategy<Value = Map<String, Json>> {
    prop::collection::btree_map(strings(), json_values(), 0..8)
        .prop_map(|map| map.into_iter().collect())
}

fn kinds() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "m.room.message",
            "m.room.member",
            "m.room.join_rules",
            "m.room.power_levels",
            "m.room.history_visibility",
            "m.room.redaction",
            "m.room.aliases",
        ])
        .prop_map(str::to_owned),
        strings().prop_filter("short", |text| text.len() < 256 && text != "m.room.create"),
    ]
}

fn versions() -> impl Strategy<Value = RoomVersion> {
    prop::sample::select(RoomVersion::ALL.to_vec())
}

/// Everything that reads untrusted bytes.
fn read(version: RoomVersion, bytes: &[u8]) {
    let view = Value::new(bytes);
    black_box((view.as_str(), view.as_integer(), view.get("content")));
    black_box((view.members().count(), view.elements().count()));
    black_box((
        redact::redact(version, bytes),
        hash::verify_content_hash(bytes),
    ));
    black_box(sign::signatures(bytes).count());
    black_box(Pdu::from_stored(version, event_id('x'), bytes.into()).is_ok());
    black_box(CanonicalObject::parse(bytes).is_ok());
    if let Ok(event) = Pdu::parse(version, bytes) {
        let again = Pdu::parse(version, event.json()).unwrap();
        assert_eq!(again.event_id(), event.event_id());
        assert_eq!(event.redacted().event_id(), event.event_id());
        black_box(sign::required_servers(&event));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_safe(bytes: Vec<u8>, version in versions()) {
        read(version, &bytes);
    }

    #[test]
    fn almost_json_is_safe(
        bytes in r#"([\[\]{}:,"\\un0123456789eE.+-]|true|null|content|\\u0000){0,60}"#,
        version in versions(),
    ) {
        read(version, bytes.as_bytes());
    }

    #[test]
    fn almost_events_are_safe(position: prop::sample::Index, byte: u8, version in versions(), content in contents()) {
        let event = build(version, "m.room.member", &Json::Object(content).to_string());
        let mut bytes = event.json().to_vec();
        let at = position.index(bytes.len());
        bytes[at] = byte;
        read(version, &bytes);
    }

    #[test]
    fn same_canonical_json(value in json_values()) {
        let other = serde_json::from_value::<ruma_common::CanonicalJsonValue>(value.clone()).unwrap();
        let canonical = canonicalize(&serde_json::to_vec_pretty(&value).unwrap()).unwrap();
        prop_assert_eq!(text(&canonical), serde_json::to_string(&other).unwrap());
        let again: Json = serde_json::from_slice(&canonical).unwrap();
        prop_assert_eq!(again, value);
    }

    #[test]
    fn views_agree_with_a_tree(object in contents()) {
        let canonical = canonicalize(&serde_json::to_vec(&object).unwrap()).unwrap();
        let view = Value::new(&canonical);
        for (key, value) in &object {
            let seen = view.get(key).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Json>(seen.as_bytes()).unwrap(), value);
            let text = seen.as_str();
            prop_assert_eq!(text.as_deref(), value.as_str());
            prop_assert_eq!(seen.as_integer(), value.as_i64());
            prop_assert_eq!(seen.elements().count(), value.as_array().map_or(0, Vec::len));
        }
        prop_assert_eq!(view.members().count(), object.len());
    }

    #[test]
    fn same_hashes_and_signatures(
        version in versions(), kind in kinds(), content in contents(),
        state_key in prop::option::of("[ -~é\u{0}]{0,20}"),
        depth in 0..1_000_000_i64, extra in prop::option::of(json_values()),
    ) {
        let mut content = content;
        if kind == "m.room.member" {
            // The other demands types that the format leaves to the authorization rules.
            content.insert("membership".to_owned(), "join".into());
            content.remove("join_authorised_via_users_server");
            // An object in this place is redacted by both; of anything else the text keeps nothing, the other all.
            if content.get("third_party_invite").is_some_and(|value| !value.is_object()) {
                content.remove("third_party_invite");
            }
        }
        let mut event = builder(version, &kind, &Json::Object(content).to_string());
        event.state_key = state_key;
        event.depth = depth;
        let event = event.build(version, server(), &key()).unwrap();
        let rules = other_rules(version);
        let mut other: CanonicalJsonObject = serde_json::from_slice(event.json()).unwrap();

        let public = Base64::parse(key().verifying_key().to_base64()).unwrap();
        let by_key = BTreeMap::from([("ed25519:1".to_owned(), public)]);
        let keys: PublicKeyMap = BTreeMap::from([("domain".to_owned(), by_key)]);
        if !sign::required_servers(&event).is_empty() {
            prop_assert!(matches!(verify_event(&keys, &other, &rules), Ok(Verified::All)));
        }
        let redacted = redact(other.clone(), &rules.redaction, None).unwrap();
        let ours = event.redacted();
        prop_assert_eq!(text(ours.json()), serde_json::to_string(&redacted).unwrap());

        // Keys that no version knows are hashed with the rest.
        if let Some(extra) = extra {
            other.insert("extra".to_owned(), serde_json::from_value(extra).unwrap());
        }
        let received = Pdu::parse(version, &serde_json::to_vec(&other).unwrap()).unwrap();
        let other_id = format!("${}", reference_hash(&other, &rules).unwrap());
        prop_assert_eq!(received.event_id().as_str(), other_id);
        let ours = unpadded_base64::encode(&hash::content_hash(received.json()));
        prop_assert_eq!(ours, content_hash(&other).unwrap().encode());
    }
}
