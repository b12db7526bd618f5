//! Rule 5.4.1: an invitation by way of a third party, whose key has signed the invited user's id.
//! <https://spec.matrix.org/v1.19/server-server-api/#verifying-the-invite>

use std::iter;

use ruma_common::UserId;
use starling_events::{
    Pdu, Value, VerifyingKey,
    keys::ALGORITHM,
    sign::{Signature, signatures, verify_json},
    unpadded_base64::decode_either,
};

use super::{AuthError, AuthState, Room};

/// How many pairs of a key and a signature are tried. An identity server gives two keys and signs once; events full of
/// keys and signatures could keep a processor busy for seconds.
const MAX_TRIES: usize = 256;

pub(super) fn check<S: AuthState>(
    room: &Room<'_, S>,
    target: &UserId,
    invite: Value<'_>,
) -> Result<(), AuthError> {
    // 5.4.1.2
    let signed = invite
        .get("signed")
        .ok_or(AuthError::ThirdPartyInviteUnsigned)?;
    // 5.4.1.3
    let text = |key| {
        signed
            .get(key)
            .and_then(Value::as_str)
            .ok_or(AuthError::ThirdPartyInviteUnsigned)
    };
    let (mxid, token) = (text("mxid")?, text("token")?);
    // 5.4.1.4
    if mxid != target.as_str() {
        return Err(AuthError::ThirdPartyInviteOfOther);
    }
    // 5.4.1.5
    let made = room
        .state
        .get("m.room.third_party_invite", &token)
        .ok_or(AuthError::NoThirdPartyInvite)?;
    // 5.4.1.6
    if made.sender() != room.event.sender() {
        return Err(AuthError::ThirdPartyInviteSender);
    }
    // 5.4.1.7
    if is_signed(signed, made, |_| true) {
        Ok(())
    } else {
        Err(AuthError::ThirdPartyInviteSignature)
    }
}

/// Whether a key of `made`, an `m.room.third_party_invite`, has signed `signed`. Only keys count whose
/// `key_validity_url` (`None`: they are valid for ever) `counts` accepts.
pub fn is_signed(
    signed: Value<'_>,
    made: &Pdu,
    counts: impl Fn(Option<Value<'_>>) -> bool,
) -> bool {
    let signatures: Vec<Signature> = signatures(signed.as_bytes())
        .filter(is_ed25519)
        .take(MAX_TRIES)
        .collect();
    let pairs = public_keys(made, counts).flat_map(|key| {
        signatures
            .iter()
            .map(move |signature| (key.clone(), signature))
    });
    pairs.take(MAX_TRIES).any(|(key, signature)| {
        verify_json(
            signed.as_bytes(),
            &signature.entity,
            &signature.key_id,
            &key,
        )
        .is_ok()
    })
}

fn is_ed25519(signature: &Signature) -> bool {
    signature
        .key_id
        .split_once(':')
        .is_some_and(|(algorithm, _)| algorithm == ALGORITHM)
}

/// The keys of an `m.room.third_party_invite` that count. What isn't a key is left out.
fn public_keys(
    made: &Pdu,
    counts: impl Fn(Option<Value<'_>>) -> bool,
) -> impl Iterator<Item = VerifyingKey> {
    let content = Value::new(made.content());
    let listed = content
        .get("public_keys")
        .into_iter()
        .flat_map(Value::elements);
    // The content itself names a key and its URL as an entry of the list does.
    let entries = iter::once(content).chain(listed);
    let keys = entries.filter(move |entry| counts(entry.get("key_validity_url")));
    keys.filter_map(|entry| {
        let key = entry.get("public_key")?.as_str()?;
        VerifyingKey::from_bytes(&decode_either(&key)?).ok()
    })
}
