//! Signing JSON and events, and checking signatures. <https://spec.matrix.org/v1.19/appendices/#signing-json>,
//! <https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events>

use ruma_common::{OwnedServerName, ServerName};
use thiserror::Error;

use crate::{
    canonical_json::CanonicalObject,
    format::{MAX_PDU_BYTES, ParseError},
    id::{event_id_domain, parse_server_name, parse_user_id},
    json_string,
    keys::{ALGORITHM, KeyValidity, ServerKey, SigningKey, VerifyingKey, is_key_version},
    object::{self, Object},
    pdu::Pdu,
    redact,
    room_version::EventIdForm,
    unpadded_base64,
    value::Value,
};

/// How many keys of one server [`required_keys`] names. An event that is signed with more than one is rare.
pub const MAX_REQUIRED_KEYS: usize = 16;

/// What a signature of JSON doesn't cover.
const NOT_SIGNED: &[&str] = &["signatures", "unsigned"];

/// Why a signature doesn't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// The object has no signature of that name with that key.
    #[error("there is no such signature")]
    Missing,
    /// The signature is not 64 bytes in base64.
    #[error("the signature is not 64 bytes in base64")]
    Malformed,
    /// The signature is not one of this object by this key.
    #[error("the signature doesn't match")]
    Mismatch,
}

/// Why an event doesn't pass the check of its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{server}: {problem}")]
pub struct SignatureError {
    /// The server that must have signed the event.
    pub server: OwnedServerName,
    /// What is wrong with its signatures.
    pub problem: SignatureProblem,
}

/// What is wrong with the signatures that a server must have made. Of several problems with signatures that are skipped
/// the last in this order is told: what fetching keys might mend comes after what it can't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum SignatureProblem {
    /// The event has no signature of the server, or none by an algorithm that we know.
    #[error("no signature")]
    Missing,
    /// The server had stopped using the key when it made the event.
    #[error("signed only with an expired key")]
    Expired,
    /// What we know of the key may be out of date: its validity ended before the event. Fetching it again may help.
    #[error("signed only with a key whose validity has ended")]
    Outdated,
    /// Signed only with keys that we don't know. Fetching them may help.
    #[error("no signature by a known key")]
    UnknownKey,
    /// A signature by a known key is not 64 bytes in base64.
    #[error("a signature is not 64 bytes in base64")]
    Malformed,
    /// A signature by a known key is not one of this event.
    #[error("a signature doesn't match")]
    Mismatch,
}

/// A signature in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who signed: for servers, the server name.
    pub entity: String,
    /// The signing key identifier, for example `ed25519:1`.
    pub key_id: String,
    /// The signature in unpadded base64, unchecked.
    pub signature: String,
}

/// Adds a signature to the object. Others stay, and `unsigned` is not covered.
pub fn sign_json(object: &mut CanonicalObject, entity: &str, key: &SigningKey) {
    let signature = key.sign(&Object::new(object.as_bytes()).without(NOT_SIGNED));
    let signatures = with_signature(
        object.value().get("signatures"),
        entity,
        key.key_id(),
        &signature,
    );
    object.set("signatures", &signatures);
}

/// The value of `signatures` with one more in it.
pub(crate) fn with_signature(
    signatures: Option<Value<'_>>,
    entity: &str,
    key_id: &str,
    signature: &str,
) -> Vec<u8> {
    let signatures = signatures.filter(|value| value.is_object());
    let of_entity = signatures
        .and_then(|all| all.get(entity))
        .filter(|value| value.is_object());
    let mut literal = Vec::with_capacity(signature.len() + 2);
    json_string::write(&mut literal, signature);
    let of_entity = object::with_member(of_entity.map_or(b"{}", Value::as_bytes), key_id, &literal);
    object::with_member(
        signatures.map_or(b"{}", Value::as_bytes),
        entity,
        &of_entity,
    )
}

/// Checks the signature that `entity` made on the canonical object with the key of that id.
pub fn verify_json(
    object: &[u8],
    entity: &str,
    key_id: &str,
    key: &VerifyingKey,
) -> Result<(), VerifyError> {
    let signature = find(Value::new(object), entity, key_id)?;
    verify_bytes(&Object::new(object).without(NOT_SIGNED), &signature, key)
}

fn find(object: Value<'_>, entity: &str, key_id: &str) -> Result<[u8; 64], VerifyError> {
    let signature = object
        .get("signatures")
        .and_then(|all| all.get(entity))
        .and_then(|own| own.get(key_id));
    decode(signature.ok_or(VerifyError::Missing)?)
}

fn decode(signature: Value<'_>) -> Result<[u8; 64], VerifyError> {
    let bytes = signature
        .as_str()
        // Other homeservers take both alphabets, and events are to be the same everywhere.
        .and_then(|text| unpadded_base64::decode_either(&text));
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(VerifyError::Malformed)
}

fn verify_bytes(bytes: &[u8], signature: &[u8; 64], key: &VerifyingKey) -> Result<(), VerifyError> {
    if key.verifies(bytes, signature) {
        Ok(())
    } else {
        Err(VerifyError::Mismatch)
    }
}

/// The signatures of a canonical object, with whatever algorithm. What isn't in the form of one is left out.
pub fn signatures(object: &[u8]) -> impl Iterator<Item = Signature> {
    let entities = Value::new(object)
        .get("signatures")
        .into_iter()
        .flat_map(Value::members);
    entities.flat_map(|entity| {
        let name = entity.key().unwrap_or_default();
        entity.value.members().filter_map(move |member| {
            Some(Signature {
                entity: name.clone().into_owned(),
                key_id: member.key()?.into_owned(),
                signature: member.value.as_str()?.into_owned(),
            })
        })
    })
}

/// The servers that must have signed the event:
///
/// - its sender's, unless it is an invitation by way of a third party, which another server may send. It must be one still
///   in the form in which it goes on: an event whose content hash is wrong is used as a redaction leaves it, and most
///   versions' redactions would make it an ordinary invitation, which nobody had signed;
/// - in room versions where an event states its id, that of the id's domain, if it isn't the sender's;
/// - in room versions with restricted joins, that of the user who authorises the join. The authorization rules look for
///   this signature whatever the membership, and leave it to this check whether it holds.
#[must_use]
pub fn required_servers(event: &Pdu) -> Vec<OwnedServerName> {
    let rules = event.version().rules();
    let sender = event.sender().server_name();
    let mut servers = Vec::with_capacity(2);
    let stays_third_party_invite =
        || event.has_valid_content_hash() || is_third_party_invite(&event.redacted());
    if !(is_third_party_invite(event) && stays_third_party_invite()) {
        servers.push(sender.to_owned());
    }
    if rules.event_id == EventIdForm::Stated
        && let Some(domain) = event_id_domain(event.event_id())
        && let Ok(domain) = parse_server_name(domain)
        && domain != sender
    {
        servers.push(domain);
    }
    if rules.restricted
        && let Some(authoriser) = authorising_server(event)
        && !servers.contains(&authoriser)
    {
        servers.push(authoriser);
    }
    servers
}

fn is_third_party_invite(event: &Pdu) -> bool {
    let content = Value::new(event.content());
    event.kind() == "m.room.member"
        && content.get("membership").and_then(Value::as_str).as_deref() == Some("invite")
        && content
            .get("third_party_invite")
            .is_some_and(Value::is_object)
}

/// The server of the user who authorises a restricted join. Of a malformed user id there is none: the authorization
/// rules reject the event.
fn authorising_server(event: &Pdu) -> Option<OwnedServerName> {
    if event.kind() != "m.room.member" {
        return None;
    }
    let user = Value::new(event.content()).get("join_authorised_via_users_server")?;
    let user = parse_user_id(&user.as_str()?).ok()?;
    Some(user.server_name().to_owned())
}

/// The keys to know before [`verify_event_signatures`]: each server that must have signed the event, with the ids of
/// the keys that it signed with, [`MAX_REQUIRED_KEYS`] at most. No ids means that the check will fail.
#[must_use]
pub fn required_keys(event: &Pdu) -> Vec<(OwnedServerName, Vec<String>)> {
    let servers = required_servers(event).into_iter();
    servers
        .map(|server| {
            let key_ids = server_signatures(event, &server).map(|(key_id, _)| key_id);
            let key_ids = key_ids.take(MAX_REQUIRED_KEYS).collect();
            (server, key_ids)
        })
        .collect()
}

/// Checks that every server of [`required_servers`] has signed the event. `keys` looks up what is known of a server's
/// key by its id.
///
/// All signatures by known keys must hold, and of each server there must be one; others are skipped: those by unknown
/// keys (as a policy server's is, which isn't published), by unknown algorithms, and by keys that had expired when the
/// event was made. Each known key is tried once at most. The signatures cover only what a redaction keeps:
/// [`Pdu::has_valid_content_hash`] covers the rest.
pub fn verify_event_signatures<'k>(
    event: &Pdu,
    keys: impl Fn(&ServerName, &str) -> Option<&'k ServerKey>,
) -> Result<(), SignatureError> {
    let required = required_servers(event);
    if required.is_empty() {
        return Ok(());
    }
    let signed = redact::signed_bytes(event.version(), event.json());
    for server in required {
        let result =
            verify_server_signatures(event, &signed, &server, |key_id| keys(&server, key_id));
        result.map_err(|problem| SignatureError { server, problem })?;
    }
    Ok(())
}

fn verify_server_signatures<'k>(
    event: &Pdu,
    signed: &[u8],
    server: &ServerName,
    keys: impl Fn(&str) -> Option<&'k ServerKey>,
) -> Result<(), SignatureProblem> {
    let mut verified = false;
    let mut skipped = SignatureProblem::Missing;
    for (key_id, signature) in server_signatures(event, server) {
        let Some(known) = keys(&key_id) else {
            skipped = skipped.max(SignatureProblem::UnknownKey);
            continue;
        };
        if let Some(problem) = validity_problem(event, known.validity) {
            skipped = skipped.max(problem);
            continue;
        }
        let signature = decode(signature).map_err(|_| SignatureProblem::Malformed)?;
        verify_bytes(signed, &signature, &known.key).map_err(|_| SignatureProblem::Mismatch)?;
        verified = true;
    }
    if verified { Ok(()) } else { Err(skipped) }
}

/// Room version 5 is the first "enforcing signing key validity periods for events"; of `valid_until_ts` it is said that
/// it "MUST be ignored in room versions 1, 2, 3, and 4". Other homeservers accept old keys there as well, and to drop
/// what they keep would split old rooms. <https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period>
fn validity_problem(event: &Pdu, validity: KeyValidity) -> Option<SignatureProblem> {
    if !event.version().rules().key_validity || validity.covers(event.origin_server_ts()) {
        return None;
    }
    Some(match validity {
        KeyValidity::Until(_) => SignatureProblem::Outdated,
        KeyValidity::ExpiredAt(_) => SignatureProblem::Expired,
    })
}

/// A server's signatures on the event by the algorithm that we know: key ids and signatures, unchecked. A key id that
/// is none by its grammar is left out, as no key can have it.
fn server_signatures<'a>(
    event: &'a Pdu,
    server: &ServerName,
) -> impl Iterator<Item = (String, Value<'a>)> {
    let signatures = event.value().get("signatures");
    let of_server = signatures.and_then(|all| all.get(server.as_str()));
    let members = of_server.into_iter().flat_map(Value::members);
    members.filter_map(|member| {
        let key_id = member.key()?.into_owned();
        is_key_id(&key_id).then_some((key_id, member.value))
    })
}

fn is_key_id(key_id: &str) -> bool {
    key_id
        .split_once(':')
        .is_some_and(|(algorithm, version)| algorithm == ALGORITHM && is_key_version(version))
}

/// The event with our signature added to it: that of a server which takes part in an event of another, as in invitations
/// and restricted joins. Its id stays the same. [`ParseError::TooLarge`] if there is no room for the signature.
pub fn sign_event(event: &Pdu, server: &ServerName, key: &SigningKey) -> Result<Pdu, ParseError> {
    let signature = key.sign(&redact::signed_bytes(event.version(), event.json()));
    add_signature(event, server, (key.key_id(), &signature))
}

/// Checks the signature that a server made on an event with this key, which need not be one that it publishes.
///
/// # Errors
/// [`VerifyError`]
pub fn verify_event_by(
    event: &Pdu,
    server: &ServerName,
    (key_id, key): (&str, &VerifyingKey),
) -> Result<(), VerifyError> {
    let signature = find(event.value(), server.as_str(), key_id)?;
    verify_bytes(
        &redact::signed_bytes(event.version(), event.json()),
        &signature,
        key,
    )
}

/// The event with a signature of another server (its key's id, and the signature in base64, unchecked) added to it.
///
/// # Errors
/// [`ParseError::TooLarge`] if there is no room for the signature.
pub fn add_signature(
    event: &Pdu,
    server: &ServerName,
    (key_id, signature): (&str, &str),
) -> Result<Pdu, ParseError> {
    let signatures = with_signature(
        event.value().get("signatures"),
        server.as_str(),
        key_id,
        signature,
    );
    let json = object::with_member(event.json(), "signatures", &signatures);
    if json.len() > MAX_PDU_BYTES {
        return Err(ParseError::TooLarge("event"));
    }
    Pdu::from_stored(event.version(), event.event_id().to_owned(), json.into())
}
