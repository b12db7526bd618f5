//! Events as bytes: parsing, hashing, signing, verifying, canonical JSON, with ours and with ruma's.
//!
//! Ours keeps an event as bytes, ruma's as a tree (`CanonicalJsonObject`). Each begins and ends with bytes wherever the
//! operation does on a server.

use std::{collections::BTreeMap, hint::black_box};

use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, OwnedUserId, ServerName,
    room_version_rules::RoomVersionRules, serde::Base64,
};
use ruma_signatures::{
    Ed25519KeyPair, PublicKeyMap, Verified, content_hash, hash_and_sign_event, reference_hash,
    verify_event,
};
use serde::Serialize;
use serde_json::{Value as Json, json};
use starling_events::{
    CanonicalObject, EventBuilder, Pdu, RoomVersion, SigningKey,
    build::EventReference,
    canonical_json::canonicalize,
    keys::{KeyValidity, ServerKey},
    room_version::JsonForm,
    sign, unpadded_base64,
};

use crate::{
    Disagreement,
    state_resolution::history,
    timing::{Repeat, Timing, measure},
};

const VERSION: RoomVersion = RoomVersion::V11;
const RULES: RoomVersionRules = RoomVersionRules::V11;
const SERVER: &str = "server1.example.org";
const SEED: [u8; 32] = [7; 32];
/// How many events one repetition goes through.
const BATCH: usize = 200;

/// What an operation took, for a batch.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// The operation.
    pub operation: &'static str,
    /// What it was done with.
    pub on: &'static str,
    /// How often it was done in the time.
    pub times: usize,
    /// How many bytes that were.
    pub bytes: usize,
    /// Ours.
    pub ours: Timing,
    /// ruma's.
    pub other: Timing,
}

/// The keys of both, from the same seed.
struct Keys {
    ours: SigningKey,
    published: ServerKey,
    other: Ed25519KeyPair,
    other_public: PublicKeyMap,
}

impl Keys {
    fn new() -> Self {
        let ours = SigningKey::generate(SEED, "1").expect("a version of one digit");
        let verifying = ours.verifying_key();
        // PKCS #8 around the seed.
        let mut document =
            b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
        document.extend(SEED);
        let public = Base64::parse(verifying.to_base64()).expect("base64");
        let by_key = BTreeMap::from([(ours.key_id().to_owned(), public)]);
        Self {
            other: Ed25519KeyPair::from_der(&document, "1".to_owned()).expect("a key"),
            other_public: BTreeMap::from([(SERVER.to_owned(), by_key)]),
            published: ServerKey {
                key: verifying,
                validity: KeyValidity::Until(i64::MAX),
            },
            ours,
        }
    }
}

/// Events of one kind, at each stage of their way.
struct Batch {
    name: &'static str,
    builders: Vec<EventBuilder>,
    trees: Vec<CanonicalJsonObject>,
    events: Vec<Pdu>,
    bytes: usize,
}

impl Batch {
    fn new(name: &'static str, keys: &Keys, builders: Vec<EventBuilder>) -> Self {
        let build = |builder: &EventBuilder| {
            let built = builder.clone().build(VERSION, server(), &keys.ours);
            built.expect("an event of ours")
        };
        let events: Vec<Pdu> = builders.iter().map(build).collect();
        Self {
            name,
            trees: events.iter().map(unsigned_tree).collect(),
            bytes: events.iter().map(|event| event.json().len()).sum(),
            builders,
            events,
        }
    }

    /// Does both on each event, and compares what comes out.
    fn compare<I, A, B>(
        &self,
        repeat: Repeat,
        operation: &'static str,
        inputs: impl Fn() -> Vec<I>,
        ours: impl Fn(I, &Pdu) -> A,
        others: (impl Fn() -> Vec<B>, impl Fn(B, &Pdu) -> A),
    ) -> Result<Measured, Disagreement>
    where
        A: PartialEq,
    {
        let (other_inputs, other) = others;
        let (ours, our_results) = measure(repeat, inputs, |inputs| {
            let pairs = inputs.into_iter().zip(&self.events);
            pairs
                .map(|(input, event)| ours(input, event))
                .collect::<Vec<_>>()
        });
        let (other, other_results) = measure(repeat, other_inputs, |inputs| {
            let pairs = inputs.into_iter().zip(&self.events);
            pairs
                .map(|(input, event)| other(input, event))
                .collect::<Vec<_>>()
        });
        if our_results != other_results || our_results.len() != self.events.len() {
            return Err(Disagreement {
                what: operation.to_owned(),
                difference: format!("other results for a {}", self.name),
            });
        }
        Ok(Measured {
            operation,
            on: self.name,
            times: self.events.len(),
            bytes: self.bytes,
            ours,
            other,
        })
    }

    fn nothing(&self) -> Vec<()> {
        self.events.iter().map(|_| ()).collect()
    }

    /// From bytes to an event whose content hash is checked and whose id is known.
    fn parse(&self, repeat: Repeat) -> Result<Measured, Disagreement> {
        let ours = |(), event: &Pdu| {
            let event = Pdu::parse(VERSION, event.json()).expect("an event");
            (event.has_valid_content_hash(), event.event_id().to_string())
        };
        let other = |(), event: &Pdu| {
            let tree = tree(event.json());
            (has_content_hash(&tree), event_id(&tree))
        };
        let operation = "parse, check the content hash, compute the id";
        self.compare(
            repeat,
            operation,
            || self.nothing(),
            ours,
            (|| self.nothing(), other),
        )
    }

    /// From fields to the bytes of a hashed and signed event, and its id.
    fn build(&self, repeat: Repeat, keys: &Keys) -> Result<Measured, Disagreement> {
        let ours = |builder: EventBuilder, _: &Pdu| {
            let event = builder
                .build(VERSION, server(), &keys.ours)
                .expect("an event");
            (event.json().to_vec(), event.event_id().to_string())
        };
        let other = |mut tree: CanonicalJsonObject, _: &Pdu| {
            hash_and_sign_event(SERVER, &keys.other, &mut tree, &RULES.redaction)
                .expect("an event");
            let id = event_id(&tree);
            (serde_json::to_vec(&tree).expect("a tree"), id)
        };
        self.compare(
            repeat,
            "build: hash, sign, compute the id",
            || self.builders.clone(),
            ours,
            (|| self.trees.clone(), other),
        )
    }

    /// The signature of a parsed event, and its content hash: ruma's checks both in one.
    fn verify(&self, repeat: Repeat, keys: &Keys) -> Result<Measured, Disagreement> {
        let signed: Vec<_> = self.events.iter().map(|event| tree(event.json())).collect();
        let ours = |(), event: &Pdu| is_verified(event, keys);
        let other = |tree: &CanonicalJsonObject, _: &Pdu| is_verified_tree(tree, keys);
        self.compare(
            repeat,
            "verify one signature and the content hash",
            || self.nothing(),
            ours,
            (|| signed.iter().collect(), other),
        )
    }

    /// All that is done with an event from another server before authorization.
    fn receive(&self, repeat: Repeat, keys: &Keys) -> Result<Measured, Disagreement> {
        let ours = |(), event: &Pdu| {
            let event = Pdu::parse(VERSION, event.json()).expect("an event");
            (is_verified(&event, keys), event.event_id().to_string())
        };
        let other = |(), event: &Pdu| {
            let tree = tree(event.json());
            (is_verified_tree(&tree, keys), event_id(&tree))
        };
        let operation = "receive: all of parsing and verifying";
        self.compare(
            repeat,
            operation,
            || self.nothing(),
            ours,
            (|| self.nothing(), other),
        )
    }
}

/// Measures all operations.
pub fn measure_all(repeat: Repeat) -> Result<Vec<Measured>, Disagreement> {
    let keys = Keys::new();
    let batches = [
        Batch::new("message", &keys, (0..BATCH).map(message).collect()),
        Batch::new("member event", &keys, (0..BATCH).map(member).collect()),
    ];
    let mut all = Vec::new();
    for batch in &batches {
        all.push(batch.parse(repeat)?);
        all.push(batch.build(repeat, &keys)?);
        all.push(batch.verify(repeat, &keys)?);
        all.push(batch.receive(repeat, &keys)?);
    }
    let message = batches.first().and_then(|batch| batch.events.first());
    let message: Json = serde_json::from_slice(message.expect("a batch").json()).expect("JSON");
    let levels = history::power_levels(VERSION, history::POWER_USERS, &[]);
    all.push(canonical_json(repeat, "message", &message)?);
    all.push(canonical_json(repeat, "200 users' power levels", &levels)?);
    Ok(all)
}

/// From JSON in some other form to canonical JSON.
fn canonical_json(
    repeat: Repeat,
    on: &'static str,
    value: &Json,
) -> Result<Measured, Disagreement> {
    let operation = "canonical JSON of pretty-printed";
    let pretty = serde_json::to_vec_pretty(value).expect("JSON");
    let ours = || canonicalize(JsonForm::Strict, black_box(&pretty)).expect("JSON");
    let other = || {
        let value: CanonicalJsonValue = serde_json::from_slice(black_box(&pretty)).expect("JSON");
        serde_json::to_vec(&value).expect("a tree")
    };
    if ours() != other() {
        return Err(Disagreement {
            what: operation.to_owned(),
            difference: on.to_owned(),
        });
    }
    let many = |work: &dyn Fn() -> Vec<u8>| {
        let (timing, ()) = measure(
            repeat,
            || (),
            |()| {
                for _ in 0..BATCH {
                    black_box(work());
                }
            },
        );
        timing
    };
    Ok(Measured {
        operation,
        on,
        times: BATCH,
        bytes: BATCH * pretty.len(),
        ours: many(&ours),
        other: many(&other),
    })
}

fn is_verified(event: &Pdu, keys: &Keys) -> bool {
    let key =
        |_: &ServerName, key_id: &str| (key_id == keys.ours.key_id()).then_some(&keys.published);
    sign::verify_event_signatures(event, key).is_ok() && event.has_valid_content_hash()
}

fn is_verified_tree(tree: &CanonicalJsonObject, keys: &Keys) -> bool {
    matches!(
        verify_event(&keys.other_public, tree, &RULES),
        Ok(Verified::All)
    )
}

fn tree(json: &[u8]) -> CanonicalJsonObject {
    serde_json::from_slice(json).expect("an event")
}

fn unsigned_tree(event: &Pdu) -> CanonicalJsonObject {
    let mut tree = tree(event.json());
    tree.remove("hashes");
    tree.remove("signatures");
    tree
}

fn has_content_hash(tree: &CanonicalJsonObject) -> bool {
    let stated = tree
        .get("hashes")
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|hashes| hashes.get("sha256"))
        .and_then(CanonicalJsonValue::as_str);
    let computed = content_hash(tree).expect("an event");
    stated == Some(computed.encode().as_str())
}

fn event_id(tree: &CanonicalJsonObject) -> String {
    format!("${}", reference_hash(tree, &RULES).expect("an event"))
}

fn server() -> &'static ServerName {
    SERVER.try_into().expect("a server name")
}

/// A reference to some event.
fn some_event(number: usize) -> EventReference {
    let bytes = [u8::try_from(number % 251).unwrap_or_default(); 32];
    let id = format!("${}", unpadded_base64::encode_url_safe(&bytes));
    EventReference {
        event_id: id.try_into().expect("an event id"),
        hash: None,
    }
}

fn builder(number: usize, kind: &str, content: &Json) -> EventBuilder {
    let sender: OwnedUserId = format!("@user{number}:{SERVER}").try_into().expect("an id");
    let room: OwnedRoomId = "!AbCdEfGhIjKlMnOpQr:example.org".try_into().expect("an id");
    EventBuilder {
        room_id: Some(room),
        state_key: (kind == "m.room.member").then(|| sender.to_string()),
        sender,
        kind: kind.to_owned(),
        content: CanonicalObject::from_serialize(content).expect("content of ours"),
        redacts: None,
        origin_server_ts: 1_700_000_000_000,
        depth: 12_345,
        prev_events: vec![some_event(number)],
        auth_events: (1..4).map(|other| some_event(number + other)).collect(),
    }
}

/// About 800 bytes in all.
fn message(number: usize) -> EventBuilder {
    let content = json!({
        "body": format!("Message {number}: \"half past nine\" – or later? See you there."),
        "format": "org.matrix.custom.html",
        "formatted_body": format!("Message {number}: <em>half past nine</em> – or later? See you there."),
        "msgtype": "m.text",
    });
    builder(number, "m.room.message", &content)
}

fn member(number: usize) -> EventBuilder {
    let content = history::member("join", number, number as u64);
    builder(number, "m.room.member", &content)
}
