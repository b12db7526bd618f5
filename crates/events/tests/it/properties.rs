//! Properties: nothing panics on any bytes, and another implementation computes the same hashes and signatures. Where
//! the two differ, the specification decides, and a test of its own says so.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::Index};
use ruma_common::{
    CanonicalJsonObject, OwnedServerName, RoomVersionId, canonical_json::redact,
    room_version_rules::RoomVersionRules, serde::Base64,
};
use ruma_signatures::{
    PublicKeyMap, Verified, content_hash, reference_hash,
    required_server_signatures_to_verify_event, verify_event,
};
use serde_json::{Map, Value as Json, json};
use starling_events::{
    EventBuilder, MAX_PDU_BYTES, ParseError, Pdu, RoomVersion, Value,
    canonical_json::canonicalize,
    hash,
    keys::{KeyValidity, ServerKey},
    room_version::{EventIdForm, JsonForm},
    sign, unpadded_base64,
};

use crate::support::{build, builder, key, room_id, server, text};

#[path = "../../../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "to the fuzz targets this is a library")]
mod checks;

fn other_rules(version: RoomVersion) -> RoomVersionRules {
    let id = RoomVersionId::try_from(version.as_str()).unwrap();
    id.rules().unwrap()
}

fn strings() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z_.]{0,8}",
        2 => any::<String>(),
        1 => "[\u{0}-\u{20}\"\\\\é😀]{0,6}",
        1 => prop::sample::select(vec![
            "membership", "third_party_invite", "signed", "users", "invite", "redacts", "join_rule", "allow",
            "signatures", "hashes", "aliases", "creator", "ban", "history_visibility", "origin", "event_id",
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

/// All that is to hold for any bytes.
fn check(version: RoomVersion, bytes: &[u8]) {
    checks::canonical_json(bytes);
    checks::pdu(version, bytes);
    checks::redaction(version, bytes);
    checks::signatures(version, bytes);
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The public keys of `domain` and `other`, as the other implementation takes them.
fn other_keys() -> PublicKeyMap {
    let public = Base64::parse(key().verifying_key().to_base64()).unwrap();
    let by_key = BTreeMap::from([("ed25519:1".to_owned(), public)]);
    BTreeMap::from([
        ("domain".to_owned(), by_key.clone()),
        ("other".to_owned(), by_key),
    ])
}

/// What is known of the one key that all servers here sign with.
fn our_key() -> ServerKey {
    ServerKey {
        key: key().verifying_key(),
        validity: KeyValidity::Until(i64::MAX),
    }
}

fn as_other(event: &Pdu) -> CanonicalJsonObject {
    serde_json::from_slice(event.json()).unwrap()
}

/// Makes the content such that both see the same in it; see the tests after the properties.
fn agree_on(version: RoomVersion, kind: &str, content: &mut Map<String, Json>) {
    let invite = content.get("third_party_invite");
    if kind == "m.room.member" && invite.is_some_and(|value| !value.is_object()) {
        content.remove("third_party_invite");
    }
    if kind != "m.room.member" || !version.rules().restricted {
        content.remove("join_authorised_via_users_server");
    }
}

fn members() -> impl Strategy<Value = Map<String, Json>> {
    let memberships = prop::sample::select(vec!["join", "invite", "leave", "ban", "knock"]);
    let authorisers = prop::option::of(prop::sample::select(vec!["@a:domain", "@a:other"]));
    (contents(), memberships, authorisers).prop_map(|(mut content, membership, authoriser)| {
        content.insert("membership".to_owned(), membership.into());
        content.remove("join_authorised_via_users_server");
        if let Some(authoriser) = authoriser {
            content.insert(
                "join_authorised_via_users_server".to_owned(),
                authoriser.into(),
            );
        }
        content
    })
}

/// A type of event with a content that the other implementation can read.
fn kinds_and_contents() -> impl Strategy<Value = (String, Map<String, Json>)> {
    prop_oneof![
        3 => (kinds(), contents()).prop_filter("has another content", |(kind, _)| kind != "m.room.member"),
        1 => members().prop_map(|content| ("m.room.member".to_owned(), content)),
    ]
}

/// Signs for all servers that must have signed.
fn signed_by_all(mut event: Pdu) -> Pdu {
    for server in sign::required_servers(&event) {
        event = sign::sign_event(&event, &server, &key()).unwrap();
    }
    event
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn same_canonical_json(value in json_values()) {
        let other = serde_json::from_value::<ruma_common::CanonicalJsonValue>(value.clone()).unwrap();
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        for form in [JsonForm::Strict, JsonForm::Loose] {
            let canonical = canonicalize(form, &pretty).unwrap();
            prop_assert_eq!(text(&canonical), serde_json::to_string(&other).unwrap());
            let again: Json = serde_json::from_slice(&canonical).unwrap();
            prop_assert_eq!(&again, &value);
        }
    }

    #[test]
    fn views_agree_with_a_tree(object in contents()) {
        let canonical = canonicalize(JsonForm::Strict, &serde_json::to_vec(&object).unwrap()).unwrap();
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
    fn same_signatures(
        version in versions(), (kind, mut content) in kinds_and_contents(),
        state_key in prop::option::of("[ -~é\u{0}]{0,20}"), depth in 0..1_000_000_i64,
    ) {
        agree_on(version, &kind, &mut content);
        let event = EventBuilder { state_key, depth, ..builder(version, &kind, &Json::Object(content).to_string()) };
        let event = signed_by_all(event.build(version, server(), &key()).unwrap());
        let rules = other_rules(version);
        let other = as_other(&event);

        let required = sign::required_servers(&event);
        let mut theirs: Vec<OwnedServerName> =
            required_server_signatures_to_verify_event(&other, &rules.signatures).unwrap().into_iter().collect();
        if version.rules().event_id == EventIdForm::Stated && required.is_empty() {
            theirs.clear();
        }
        let mut sorted = required;
        sorted.sort();
        prop_assert_eq!(sorted, theirs);
        prop_assert!(matches!(verify_event(&other_keys(), &other, &rules), Ok(Verified::All)));
        let known = our_key();
        prop_assert_eq!(sign::verify_event_signatures(&event, |_, _| Some(&known)), Ok(()));
        prop_assert!(event.has_valid_content_hash());
        let redacted = event.redacted();
        if sign::required_servers(&redacted).iter().all(|server| server == "domain") {
            let result = verify_event(&other_keys(), &as_other(&redacted), &rules);
            prop_assert!(result.is_ok(), "{:?}", result);
        }
    }

    #[test]
    fn same_hashes_and_redactions(
        version in versions(), (kind, mut content) in kinds_and_contents(), extra in contents(),
    ) {
        agree_on(version, &kind, &mut content);
        let event = build(version, &kind, &Json::Object(content).to_string());
        let rules = other_rules(version);
        let mut other = as_other(&event);
        // Keys that no version knows are hashed with the rest, and those that old versions know kept.
        for (key, value) in extra {
            // An `event_id` too, where the event isn't known by it.
            let is_id = key == "event_id" && version.rules().event_id == EventIdForm::Stated;
            if !is_id && !matches!(key.as_str(), "signatures" | "hashes") {
                other.insert(key, value.try_into().unwrap());
            }
        }
        let event = Pdu::parse(version, &serde_json::to_vec(&other).unwrap()).unwrap();

        let redacted = redact(other.clone(), &rules.redaction, None).unwrap();
        let ours = event.redacted();
        prop_assert_eq!(text(ours.json()), serde_json::to_string(&redacted).unwrap());
        let theirs = reference_hash(&other, &rules).unwrap();
        let ours = hash::reference_hash(version, event.json());
        match version.rules().event_id {
            EventIdForm::Stated => prop_assert_eq!(unpadded_base64::encode(&ours), theirs),
            EventIdForm::Hash | EventIdForm::UrlSafeHash => {
                prop_assert_eq!(event.event_id().as_str(), format!("${theirs}"));
            }
        }
        let ours = unpadded_base64::encode(&hash::content_hash(event.json()));
        prop_assert_eq!(ours, content_hash(&other).unwrap().encode());
    }
}

/// Of a `third_party_invite` a redaction keeps `signed`. Where it is no object it has none, and nothing is kept; the
/// other keeps all of it. <https://spec.matrix.org/v1.19/rooms/v11/#redactions>
#[test]
fn differs_in_third_party_invites_that_are_no_objects() {
    let content = r#"{"membership":"join","third_party_invite":1}"#;
    for version in [RoomVersion::V11, RoomVersion::V12] {
        let event = build(version, "m.room.member", content);
        assert_eq!(text(event.redacted().content()), r#"{"membership":"join"}"#);
        let theirs = redact(as_other(&event), &other_rules(version).redaction, None).unwrap();
        assert_eq!(serde_json::to_string(&theirs["content"]).unwrap(), content);
    }
}

/// "unless the event is a 3rd party invite, only the signature(s) from the originating server \[…\] Room versions 1 and 2
/// also require that a signature is present from the domain in the `event_id`, if it differs from the originating
/// server": the other asks for it also if it doesn't differ.
/// <https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events>
#[test]
fn differs_in_third_party_invites_with_an_id_of_the_sender() {
    let content = r#"{"membership":"invite","third_party_invite":{}}"#;
    for version in [RoomVersion::V1, RoomVersion::V2] {
        let event = build(version, "m.room.member", content);
        assert!(sign::required_servers(&event).is_empty());
        let rules = other_rules(version).signatures;
        let theirs = required_server_signatures_to_verify_event(&as_other(&event), &rules).unwrap();
        assert!(theirs.iter().eq([server()]));
    }
}

/// Only membership events are authorised by another user. The other looks at events of any type.
/// <https://spec.matrix.org/v1.19/rooms/v8/#authorization-rules>
#[test]
fn differs_in_authorisers_of_what_needs_none() {
    let content = r#"{"join_authorised_via_users_server":"@a:other"}"#;
    let event = build(RoomVersion::V8, "m.room.message", content);
    assert_eq!(sign::required_servers(&event), ["domain"]);
    let rules = other_rules(RoomVersion::V8).signatures;
    let theirs = required_server_signatures_to_verify_event(&as_other(&event), &rules).unwrap();
    assert_eq!(theirs.len(), 2);
}

/// JSON as room versions 1 to 5 allow it, which the other implementation can't read.
#[derive(Debug, Clone)]
enum Loose {
    Literal(String),
    Array(Vec<Loose>),
    Object(BTreeMap<String, Loose>),
}

fn loose_values() -> impl Strategy<Value = Loose> {
    let leaf = prop_oneof![
        "-?(0|[1-9][0-9]{0,40})",
        r"-?(0|[1-9][0-9]{0,20})\.[0-9]{1,20}",
        r"-?[0-9](\.[0-9]{1,5})?[eE][+-]?[0-9]{1,2}",
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        Just("null".to_owned()),
        strings().prop_map(|text| Json::from(text).to_string()),
    ]
    .prop_map(Loose::Literal);
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Loose::Array),
            prop::collection::btree_map(strings(), inner, 0..5).prop_map(Loose::Object),
        ]
    })
}

fn loose_objects() -> impl Strategy<Value = Loose> {
    prop::collection::btree_map(strings(), loose_values(), 0..6).prop_map(Loose::Object)
}

/// One of the ways to write the same JSON: these numbers choose whitespace, order, and the members that are written
/// twice, first with a value that doesn't count.
struct Writer<'a> {
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    out: String,
}

impl Writer<'_> {
    fn write(value: &Loose, choices: &[u8]) -> String {
        let mut writer = Writer {
            choices: choices.iter().cycle(),
            out: String::new(),
        };
        writer.value(value);
        writer.out
    }

    fn choice(&mut self) -> u8 {
        self.choices.next().copied().unwrap_or(0)
    }

    fn space(&mut self) {
        let choice = usize::from(self.choice());
        self.out
            .push_str(["", "", " ", "\n\t", "\r\n  "][choice % 5]);
    }

    fn value(&mut self, value: &Loose) {
        self.space();
        match value {
            Loose::Literal(text) => self.out.push_str(text),
            Loose::Array(elements) => {
                self.out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    self.out.push_str(if index > 0 { "," } else { "" });
                    self.value(element);
                }
                self.out.push(']');
            }
            Loose::Object(members) => self.object(members),
        }
        self.space();
    }

    fn object(&mut self, members: &BTreeMap<String, Loose>) {
        let mut members: Vec<_> = members
            .iter()
            .map(|member| (self.choice(), member))
            .collect();
        members.sort_by_key(|(choice, _)| *choice);
        self.out.push('{');
        for (index, (choice, (key, value))) in members.into_iter().enumerate() {
            self.out.push_str(if index > 0 { "," } else { "" });
            let key = self.key(key);
            if choice % 4 == 3 {
                self.out.push_str(&key);
                self.out.push_str(":[0],");
            }
            self.space();
            self.out.push_str(&key);
            self.space();
            self.out.push(':');
            self.value(value);
        }
        self.space();
        self.out.push('}');
    }

    /// The key, or the same with every character escaped.
    fn key(&mut self, key: &str) -> String {
        if self.choice().is_multiple_of(2) {
            return Json::from(key).to_string();
        }
        let units = key.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        format!("\"{}\"", units.collect::<String>())
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn loose_json_has_one_canonical_form(value in loose_values(), choices in prop::collection::vec(any::<u8>(), 1..64)) {
        let canonical = canonicalize(JsonForm::Loose, Writer::write(&value, &[0]).as_bytes()).unwrap();
        let other = canonicalize(JsonForm::Loose, Writer::write(&value, &choices).as_bytes()).unwrap();
        prop_assert_eq!(text(&canonical), text(&other));
        let again = canonicalize(JsonForm::Loose, &canonical).unwrap();
        prop_assert_eq!(text(&again), text(&canonical));
        checks::canonical_json(&canonical);
    }

    #[test]
    fn events_of_loose_json_have_one_id_and_hash(
        content in loose_objects(), extra in loose_values(), choices in prop::collection::vec(any::<u8>(), 1..64),
    ) {
        for version in RoomVersion::ALL.into_iter().filter(|version| version.rules().json == JsonForm::Loose) {
            let event = build(version, "m.room.power_levels", "{}");
            let fields: BTreeMap<String, Json> = serde_json::from_slice(event.json()).unwrap();
            let mut fields: BTreeMap<_, _> =
                fields.into_iter().map(|(key, value)| (key, Loose::Literal(value.to_string()))).collect();
            fields.insert("content".to_owned(), content.clone());
            fields.insert("extra".to_owned(), extra.clone());
            let event = Loose::Object(fields);
            let (one, other) = (Writer::write(&event, &[0]), Writer::write(&event, &choices));
            let one = Pdu::parse(version, one.as_bytes()).unwrap();
            check(version, other.as_bytes());
            let other = Pdu::parse(version, other.as_bytes()).unwrap();
            prop_assert_eq!(one.json(), other.json());
            prop_assert_eq!(one.event_id(), other.event_id());
            prop_assert_eq!(
                hash::reference_hash(version, one.json()), hash::reference_hash(version, other.json())
            );
            prop_assert_eq!(hash::content_hash(one.json()), hash::content_hash(other.json()));
        }
    }
}

/// Events with all that something looks at.
fn real_events(version: RoomVersion) -> Vec<Pdu> {
    let state = |kind: &str, content: Json| EventBuilder {
        state_key: Some(String::new()),
        ..builder(version, kind, &content.to_string())
    };
    let create = EventBuilder {
        room_id: Some(room_id(version)).filter(|_| version.rules().create_in_auth_events),
        prev_events: vec![],
        auth_events: vec![],
        ..state(
            "m.room.create",
            json!({"creator": "@u:domain", "room_version": version.as_str()}),
        )
    };
    let power_levels = json!({
        "ban": 50, "events": {"m.room.name": 50}, "invite": 0, "users": {"@u:domain": 100}, "users_default": -1
    });
    let redaction = EventBuilder {
        redacts: Some(crate::support::event_id(version, 'r')),
        ..builder(version, "m.room.redaction", r#"{"reason":"x"}"#)
    };
    let signed =
        json!({"mxid": "@a:other", "token": "t", "signatures": {"other": {"ed25519:0": "AAAA"}}});
    let invite = json!({
        "membership": "invite", "third_party_invite": {"display_name": "a", "signed": signed}
    });
    let join = json!({"membership": "join", "join_authorised_via_users_server": "@a:other"});
    [
        create,
        state("m.room.power_levels", power_levels),
        state(
            "m.room.join_rules",
            json!({"join_rule": "restricted", "allow": [{"room_id": "!a:b"}]}),
        ),
        state("m.room.aliases", json!({"aliases": ["#a:domain"]})),
        redaction,
        state("m.room.member", invite),
        state("m.room.member", join),
        builder(
            version,
            "m.room.message",
            r#"{"body":"\u0000é\"\\😀","n":[1,-5,{"a":null}]}"#,
        ),
    ]
    .into_iter()
    .map(|event| signed_by_all(event.build(version, server(), &key()).unwrap()))
    .collect()
}

#[derive(Debug, Clone)]
enum Mutation {
    FlipBit(Index, u8),
    Cut(Index),
    Remove(Index, Index),
    /// A piece is copied to another place.
    Splice(Index, Index, Index),
    /// One more member of an object.
    AddMember(Index, String),
    /// Something in place of a byte.
    Replace(Index, String),
}

/// Members that parsers may stumble over, or that an event has already.
fn tricky_members() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            r#""type":"x""#, r#""content":{}"#, r#""content":[]"#, r#""signatures":{}"#, r#""hashes":{}"#,
            r#""event_id":"$x:domain""#, r#""room_id":"!x:domain""#, r#""unsigned":{"a":1}"#, r#""type":1"#,
            r#""sender":"@x:other""#, r#""depth":1e400"#, r#""depth":9007199254740992"#, r#""a":-0"#,
            r#""a":0.1"#, r#""a":1E5"#, r#""depth":00"#, r#""":null"#, r#""\u0074ype":"y""#, r#""\u0000":"\u0000""#,
            r#""a":"\ud83d\ude00""#, r#""a":"\ud83d""#, r#""\ude00\ud83d":1"#, r#""signed":{}"#,
            r#""domain":{"ed25519:1":"AAAA"}"#, r#""ed25519:1":1"#, r#""sha256":"x""#,
        ]).prop_map(str::to_owned),
        1 => (1_usize..200).prop_map(|depth| format!(r#""a":{}{}"#, "[".repeat(depth), "]".repeat(depth))),
        1 => (1_usize..200).prop_map(|depth| format!(r#""a":{}1{}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth))),
        1 => (1_usize..600).prop_map(|digits| format!(r#""depth":{}"#, "9".repeat(digits))),
        1 => (1_usize..600).prop_map(|digits| format!(r#""a":0.{}e-{digits}"#, "1".repeat(digits))),
        1 => (1_usize..400).prop_map(|length| format!(r#""state_key":"{}""#, "é".repeat(length))),
        1 => json_values().prop_map(|value| format!(r#""content":{value}"#)),
        2 => (strings(), json_values()).prop_map(|(key, value)| format!("{}:{value}", Json::from(key))),
    ]
}

fn tokens() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        r"\u0000",
        r"\ud83d\ude00",
        r"\ud83d",
        r"\x",
        "\\",
        "\"",
        "\u{0}",
        "\u{7f}",
        "\u{feff}",
        " ",
        "1e400",
        "-",
        "NaN",
        "Infinity",
        "null",
        "/*x*/",
        "'",
        ",",
        ":",
        "{",
        "}",
        "[",
        "]",
        "{}",
        "[]",
        "1",
        "\"\"",
    ])
    .prop_map(str::to_owned)
}

fn mutations() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        1 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Mutation::FlipBit(at, bit)),
        1 => any::<Index>().prop_map(Mutation::Cut),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Remove(from, to)),
        1 => any::<(Index, Index, Index)>().prop_map(|(from, to, at)| Mutation::Splice(from, to, at)),
        6 => (any::<Index>(), tricky_members()).prop_map(|(at, member)| Mutation::AddMember(at, member)),
        2 => (any::<Index>(), tokens()).prop_map(|(at, token)| Mutation::Replace(at, token)),
    ]
}

/// A place after an opening brace, if there is one.
fn after_brace(bytes: &[u8], at: Index) -> Option<usize> {
    let braces = 0..bytes.len();
    let braces: Vec<_> = braces.filter(|&place| bytes[place] == b'{').collect();
    (!braces.is_empty()).then(|| at.get(&braces) + 1)
}

fn add_member(bytes: &mut Vec<u8>, at: Index, member: &str) {
    let Some(at) = after_brace(bytes, at) else {
        return;
    };
    let is_empty = bytes.get(at) == Some(&b'}');
    let comma = if is_empty { "" } else { "," };
    bytes.splice(at..at, format!("{member}{comma}").bytes());
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let ordered = |from: &Index, to: &Index| {
        let (from, to) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
        from.min(to)..from.max(to)
    };
    match mutation {
        Mutation::FlipBit(at, bit) => {
            let at = at.index(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        Mutation::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
        Mutation::Remove(from, to) => {
            bytes.drain(ordered(from, to));
        }
        Mutation::Splice(from, to, at) => {
            let piece = bytes[ordered(from, to)].to_vec();
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, piece);
        }
        Mutation::AddMember(at, member) => add_member(bytes, *at, member),
        Mutation::Replace(at, token) => {
            let at = at.index(bytes.len() + 1);
            let end = (at + 1).min(bytes.len());
            bytes.splice(at..end, token.bytes());
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_are_safe(bytes: Vec<u8>) {
        if let Some((version, bytes)) = checks::split(&bytes) {
            check(version, bytes);
        }
    }

    #[test]
    fn almost_json_is_safe(
        bytes in r#"([\[\]{}:,"\\un0123456789eE.+-]|true|null|content|type|signatures|\\u0000){0,60}"#,
        version in versions(),
    ) {
        check(version, bytes.as_bytes());
    }

    #[test]
    fn mutated_events_are_safe(
        version in versions(), which: Index, mutations in prop::collection::vec(mutations(), 1..4),
    ) {
        let events = real_events(version);
        let mut bytes = which.get(&events).json().to_vec();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        check(version, &bytes);
    }

    #[test]
    fn events_with_changed_fields_are_safe(
        version in versions(), which: Index, field: Index, value in json_values(),
    ) {
        let events = real_events(version);
        let mut event: Map<String, Json> = serde_json::from_slice(which.get(&events).json()).unwrap();
        let keys: Vec<_> = event.keys().cloned().collect();
        event.insert(field.get(&keys).clone(), value);
        check(version, &serde_json::to_vec(&event).unwrap());
    }
}

#[test]
fn real_events_are_safe() {
    for version in RoomVersion::ALL {
        for event in real_events(version) {
            assert!(event.has_valid_content_hash());
            check(version, event.json());
            check(version, event.redacted().json());
        }
    }
}

/// Each is as large as anything that is looked at, and takes no more than a few passes over the bytes: with work in
/// proportion to their square this test would not end.
#[test]
fn hostile_bytes_of_full_size() {
    const SIZE: usize = 4 * MAX_PDU_BYTES;
    let fill = |piece: &str| piece.repeat(SIZE / piece.len());
    let numbered = |count: usize, item: fn(usize) -> String| {
        (0..count).rev().map(item).collect::<Vec<_>>().join(",")
    };
    let unclosed = [
        "[",
        r#"{"a":"#,
        r#"[{"a":"#,
        "{",
        "\"",
        "\\\"",
        "1",
        "[1,",
        "\"\\u0000",
    ];
    let mut inputs: Vec<String> = unclosed.into_iter().map(fill).collect();
    inputs.extend([
        format!("[{}]", fill("[],").trim_end_matches(',')),
        format!("{{\"a\":\"{}\"}}", fill("\\u0000")),
        format!("{{\"{}\":1}}", fill("\\ud83d\\ude00")),
        format!("[0.{}]", "1".repeat(SIZE - 16)),
        format!("[1{}e-{}]", "0".repeat(SIZE / 2), SIZE / 2),
        format!("[1e{}]", "9".repeat(SIZE - 16)),
        format!(
            "{{{}}}",
            numbered(SIZE / 16, |number| format!("\"{number:06}\":1"))
        ),
        format!("{{{}}}", numbered(SIZE / 16, |_| r#""a":1"#.to_owned())),
        format!(
            "{}{}{}",
            r#"{"a":["#.repeat(60),
            numbered(SIZE / 16, |number| format!("{{\"k\":{number:01}}}")),
            "]}".repeat(60)
        ),
    ]);
    for input in &inputs {
        check(RoomVersion::V1, input.as_bytes());
        check(RoomVersion::V12, input.as_bytes());
    }
    let larger = fill("[") + &fill("]") + "[";
    let result = Pdu::parse(RoomVersion::V1, larger.as_bytes());
    assert_eq!(result.unwrap_err(), ParseError::TooLarge("event"));
}

/// However many signatures an event has, a server's are looked up once each, and only those of the servers that count.
#[test]
fn work_on_signatures_is_bounded() {
    let signatures = |count: usize| -> Json {
        let all = (0..count).map(|number| (format!("ed25519:{number:04}"), "A".repeat(86).into()));
        Json::Object(all.collect())
    };
    for version in RoomVersion::ALL {
        let event = build(version, "m.room.message", "{}");
        let mut json: Json = serde_json::from_slice(event.json()).unwrap();
        json["signatures"] = json!({"domain": signatures(200), "other": signatures(200)});
        let event = Pdu::parse(version, json.to_string().as_bytes()).unwrap();
        let mut lookups = std::cell::Cell::new(0);
        let result = sign::verify_event_signatures(&event, |server, _| {
            assert_eq!(server, "domain");
            lookups.set(lookups.get() + 1);
            None
        });
        assert_eq!(
            result.unwrap_err().problem,
            sign::SignatureProblem::UnknownKey
        );
        assert_eq!(*lookups.get_mut(), 200);

        // The first by a known key that doesn't hold is the last that is tried.
        let known = our_key();
        lookups.set(0);
        let result = sign::verify_event_signatures(&event, |_, _| {
            lookups.set(lookups.get() + 1);
            Some(&known)
        });
        assert_eq!(
            result.unwrap_err().problem,
            sign::SignatureProblem::Mismatch
        );
        assert_eq!(*lookups.get_mut(), 1);
    }
}
