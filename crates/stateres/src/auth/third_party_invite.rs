//! Rule 5.4.1: an invitation by way of a third party, whose key has signed the invited user's id.
//! <https://spec.matrix.org/v1.19/server-server-api/#verifying-the-invite>

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
    if is_signed(signed, made) {
        Ok(())
    } else {
        Err(AuthError::ThirdPartyInviteSignature)
    }
}

fn is_signed(signed: Value<'_>, made: &Pdu) -> bool {
    let signatures: Vec<Signature> = signatures(signed.as_bytes())
        .filter(is_ed25519)
        .take(MAX_TRIES)
        .collect();
    let pairs = public_keys(made).flat_map(|key| {
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

/// The keys of an `m.room.third_party_invite`. What isn't a key is left out.
fn public_keys(made: &Pdu) -> impl Iterator<Item = VerifyingKey> {
    let content = Value::new(made.content());
    let listed = content
        .get("public_keys")
        .into_iter()
        .flat_map(Value::elements);
    let keys = content
        .get("public_key")
        .into_iter()
        .chain(listed.filter_map(|entry| entry.get("public_key")));
    keys.filter_map(|key| VerifyingKey::from_bytes(&decode_either(&key.as_str()?)?).ok())
}
