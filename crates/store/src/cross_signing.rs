//! Users' cross-signing keys, and signatures of keys. <https://spec.matrix.org/v1.19/client-server-api/#cross-signing>

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::OwnedUserId;
use starling_db::{Error, Positions, Tx, Value};

use crate::accounts::read_user_id;
use crate::numbers::UserNum;

starling_db::statements! {
    /// The cross-signing keys of some users.
    CROSS_SIGNING_KEYS = "SELECT keys.user_num, keys.usage, keys.json FROM {ints ?1} AS wanted
        CROSS JOIN cross_signing_keys AS keys WHERE keys.user_num = wanted.value";
    /// Another cross-signing key.
    CROSS_SIGNING_KEY_SET = "INSERT INTO cross_signing_keys (user_num, usage, json) VALUES (?1, ?2, ?3)
        ON CONFLICT (user_num, usage) DO UPDATE SET json = excluded.json";
    /// The end of a cross-signing key.
    CROSS_SIGNING_KEY_DELETE = "DELETE FROM cross_signing_keys WHERE user_num = ?1 AND usage = ?2";
    /// The end of a user's cross-signing keys.
    CROSS_SIGNING_KEYS_DELETE = "DELETE FROM cross_signing_keys WHERE user_num = ?1";
    /// The end of all signatures of a user's keys.
    SIGNATURES_DELETE_OF_USER = "DELETE FROM key_signatures WHERE user_num = ?1";
    /// The signatures of the keys of some users that the users made themselves.
    OWN_SIGNATURES = "SELECT made.user_num, made.key_id, users.user_id, made.signing_key, made.signature
        FROM {ints ?1} AS wanted CROSS JOIN key_signatures AS made CROSS JOIN users
        WHERE made.user_num = wanted.value AND made.signer_num = wanted.value AND users.user_num = made.signer_num";
    /// Those that one other user made.
    SIGNATURES_BY = "SELECT made.user_num, made.key_id, users.user_id, made.signing_key, made.signature
        FROM {ints ?1} AS wanted CROSS JOIN key_signatures AS made CROSS JOIN users
        WHERE made.user_num = wanted.value AND made.signer_num = ?2 AND users.user_num = made.signer_num";
    /// A signature.
    SIGNATURE_SET = "INSERT INTO key_signatures (user_num, key_id, signer_num, signing_key, signature)
        VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (user_num, signer_num, key_id, signing_key) DO UPDATE SET signature = excluded.signature";
    /// The end of the signatures of some of a user's keys, and of those that were made by them on other keys of the user.
    SIGNATURES_DELETE = "DELETE FROM key_signatures WHERE user_num = ?1
        AND (key_id IN {blobs ?2} OR (signer_num = ?1 AND signing_key IN {blobs ?3}))";
    /// That a user has signed another's key.
    SIGNATURE_CHANGE_SET = "INSERT INTO signature_changes (position, signer_num, user_num) VALUES (?1, ?2, ?3)
        ON CONFLICT (signer_num, user_num) DO UPDATE SET position = excluded.position";
}

/// What a cross-signing key is for. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyUsage {
    /// It signs the others.
    Master = 1,
    /// It signs the user's devices.
    SelfSigning = 2,
    /// It signs other users' master keys.
    UserSigning = 3,
}

impl KeyUsage {
    /// The word in a key.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::SelfSigning => "self_signing",
            Self::UserSigning => "user_signing",
        }
    }

    fn code(self) -> i64 {
        self as i64
    }

    fn from_code(code: i64) -> Result<Self, Error> {
        match code {
            1 => Ok(Self::Master),
            2 => Ok(Self::SelfSigning),
            3 => Ok(Self::UserSigning),
            _ => Err(Error::Damaged(format!("no key is used for {code}"))),
        }
    }
}

/// A signature of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySignature {
    /// Whose key is signed.
    pub user: UserNum,
    /// Which: a device by its id, or a master key by its public part.
    pub key_id: String,
    /// Who signed it.
    pub signer: OwnedUserId,
    /// With which key, with its algorithm.
    pub signing_key: String,
    /// The signature.
    pub signature: String,
}

/// The cross-signing keys of `users`, JSON objects by user and usage.
///
/// # Errors
/// When the database cannot be read.
pub fn cross_signing_keys(
    tx: &mut Tx<'_>,
    users: &[UserNum],
) -> Result<BTreeMap<(UserNum, KeyUsage), String>, Error> {
    if users.is_empty() {
        return Ok(BTreeMap::new());
    }
    let users: Vec<i64> = users.iter().map(|user| user.0).collect();
    let keys = tx.query_all(&CROSS_SIGNING_KEYS, &[Value::Ints(&users)], |row| {
        let usage = KeyUsage::from_code(row.int(1)?)?;
        Ok(((UserNum(row.int(0)?), usage), row.utf8(2)?.to_owned()))
    })?;
    Ok(keys.into_iter().collect())
}

/// Gives `user` another key (a JSON object), or none.
///
/// # Errors
/// When the database fails.
pub fn cross_signing_key_set(
    tx: &mut Tx<'_>,
    user: UserNum,
    usage: KeyUsage,
    json: Option<&[u8]>,
) -> Result<(), Error> {
    let (user, usage) = (user.into(), usage.code().into());
    match json {
        Some(json) => tx.execute_one(&CROSS_SIGNING_KEY_SET, &[user, usage, json.into()]),
        None => tx
            .execute(&CROSS_SIGNING_KEY_DELETE, &[user, usage])
            .map(drop),
    }
}

/// Takes all cross-signing keys from `user`, and the signatures of their keys. False when there is no such key.
///
/// # Errors
/// When the database fails.
pub fn cross_signing_delete_of_user(tx: &mut Tx<'_>, user: UserNum) -> Result<bool, Error> {
    tx.execute(&SIGNATURES_DELETE_OF_USER, &[user.into()])?;
    Ok(tx.execute(&CROSS_SIGNING_KEYS_DELETE, &[user.into()])? > 0)
}

/// The signatures of the keys of `users` that `viewer` may see (`None`: another server): those that the users made
/// themselves, and those that `viewer` made.
///
/// # Errors
/// When the database cannot be read.
pub fn signatures_seen(
    tx: &mut Tx<'_>,
    users: &[UserNum],
    viewer: Option<UserNum>,
) -> Result<Vec<KeySignature>, Error> {
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    let numbers = Value::Ints(&numbers);
    let mut seen = tx.query_all(&OWN_SIGNATURES, &[numbers], read_signature)?;
    if let Some(viewer) = viewer {
        let made = tx.query_all(&SIGNATURES_BY, &[numbers, viewer.into()], read_signature)?;
        // The viewer's own are there already.
        seen.extend(made.into_iter().filter(|it| it.user != viewer));
    }
    Ok(seen)
}

fn read_signature(row: &dyn starling_db::Row) -> Result<KeySignature, Error> {
    Ok(KeySignature {
        user: UserNum(row.int(0)?),
        key_id: row.utf8(1)?.to_owned(),
        signer: read_user_id(row, 2)?,
        signing_key: row.utf8(3)?.to_owned(),
        signature: row.text(4)?.to_owned(),
    })
}

/// Stores a signature of `signature.signer`, whose number is `signer`.
///
/// # Errors
/// When the database fails.
pub fn signature_set(
    tx: &mut Tx<'_>,
    signer: UserNum,
    signature: &KeySignature,
) -> Result<(), Error> {
    let params = [
        signature.user.into(),
        signature.key_id.as_bytes().into(),
        signer.into(),
        signature.signing_key.as_bytes().into(),
        signature.signature.as_str().into(),
    ];
    tx.execute_one(&SIGNATURE_SET, &params)
}

/// Forgets the signatures of keys of `user` that are gone (devices by their ids, cross-signing keys by their public parts),
/// and those that were made with them on other keys of the user.
///
/// # Errors
/// When the database fails.
pub fn signatures_delete<'a>(
    tx: &mut Tx<'_>,
    user: UserNum,
    keys: impl IntoIterator<Item = &'a str>,
) -> Result<(), Error> {
    let keys: Vec<&str> = keys.into_iter().collect();
    if keys.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = keys.iter().map(|key| format!("ed25519:{key}")).collect();
    let named: Vec<&[u8]> = named.iter().map(String::as_bytes).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
    let params = [user.into(), Value::Blobs(&keys), Value::Blobs(&named)];
    tx.execute(&SIGNATURES_DELETE, &params).map(drop)
}

/// Notes that `signer` sees other signatures of the keys of `users` than before. The answer is the last position.
///
/// # Errors
/// When the database fails.
pub fn signatures_change(
    tx: &mut Tx<'_>,
    positions: &mut Positions,
    signer: UserNum,
    users: &BTreeSet<UserNum>,
) -> Result<i64, Error> {
    for user in users {
        let params = [positions.give()?.into(), signer.into(), (*user).into()];
        tx.execute_one(&SIGNATURE_CHANGE_SET, &params)?;
    }
    Ok(positions.last())
}
