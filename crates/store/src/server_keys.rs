//! The keys of other servers. <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>

use std::collections::{BTreeSet, HashMap};

use ruma_common::{OwnedServerName, ServerName};
use starling_db::{Error, Tx, Value};
use starling_events::server_keys::KeyDocument;
use starling_events::{KeyValidity, ServerKey, VerifyingKey};

starling_db::statements! {
    /// A key as it was published last. A key that is old stays so, since when it was first said to be.
    SERVER_KEY_SET = "INSERT INTO server_keys
            (server_name, key_id, public_key, until_ms, is_old, fetched_ms, document)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (server_name, key_id) DO UPDATE SET until_ms = excluded.until_ms, is_old = excluded.is_old,
            fetched_ms = excluded.fetched_ms, document = excluded.document
        WHERE server_keys.public_key = excluded.public_key AND server_keys.fetched_ms <= excluded.fetched_ms";
    /// Keys of servers.
    SERVER_KEYS = "SELECT server_name, key_id, public_key, until_ms, is_old, fetched_ms FROM server_keys
        WHERE server_name IN {texts ?1}";
    /// The documents that some keys were published in last: of these servers, those of which ?2 has name and id with a space
    /// between.
    SERVER_KEY_DOCUMENTS = "SELECT document FROM server_keys
        WHERE server_name IN {texts ?1} AND server_name || ' ' || key_id IN {texts ?2}
        ORDER BY server_name, key_id";
}

/// A key as it is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The key, and for which events it counts.
    pub key: ServerKey,
    /// When it was fetched last, in milliseconds since 1970.
    pub fetched_ms: i64,
}

/// Keeps the keys of a document that was fetched at `now_ms`. A key that goes by the id of another is not taken: what was
/// signed with the first one would no longer verify.
///
/// # Errors
/// When the database fails.
pub fn server_keys_keep(tx: &mut Tx<'_>, document: &KeyDocument, now_ms: i64) -> Result<(), Error> {
    for (key_id, ServerKey { key, validity }) in &document.keys {
        let (until_ms, is_old) = match validity {
            KeyValidity::Until(until_ms) => (*until_ms, false),
            KeyValidity::ExpiredAt(expired_ms) => (*expired_ms, true),
        };
        let params = [
            document.server.as_str().into(),
            key_id.as_str().into(),
            Value::Bytes(key.as_bytes()),
            until_ms.into(),
            is_old.into(),
            now_ms.into(),
            Value::Bytes(&document.json),
        ];
        tx.execute(&SERVER_KEY_SET, &params)?;
    }
    Ok(())
}

/// What is known of the keys of these servers, by their ids.
///
/// # Errors
/// When the database cannot be read.
pub fn server_keys(
    tx: &mut Tx<'_>,
    servers: &[&ServerName],
) -> Result<HashMap<OwnedServerName, HashMap<String, KnownKey>>, Error> {
    let names: Vec<&str> = servers.iter().map(|server| server.as_str()).collect();
    let mut known: HashMap<OwnedServerName, HashMap<String, KnownKey>> = HashMap::new();
    tx.query(&SERVER_KEYS, &[Value::Texts(&names)], &mut |row| {
        let damaged = |what: &str| Error::Damaged(format!("a key of a server: {what}"));
        let server = OwnedServerName::try_from(row.text(0)?).map_err(|_| damaged("its server"))?;
        let key = VerifyingKey::from_bytes(row.bytes(2)?).map_err(|_| damaged("no key"))?;
        let key = ServerKey {
            key,
            validity: validity(row.int(3)?, row.truth(4)?),
        };
        let fetched_ms = row.int(5)?;
        let keys = known.entry(server).or_default();
        keys.insert(row.text(1)?.to_owned(), KnownKey { key, fetched_ms });
        Ok(())
    })?;
    Ok(known)
}

/// The documents in canonical form that these keys were published in last, each once.
///
/// # Errors
/// When the database cannot be read.
pub fn server_key_documents(
    tx: &mut Tx<'_>,
    keys: &[(OwnedServerName, String)],
) -> Result<Vec<Box<[u8]>>, Error> {
    let servers: BTreeSet<&str> = keys.iter().map(|(server, _)| server.as_str()).collect();
    let servers: Vec<&str> = servers.into_iter().collect();
    let named: Vec<String> = keys
        .iter()
        .map(|(server, key_id)| format!("{server} {key_id}"))
        .collect();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let params = [Value::Texts(&servers), Value::Texts(&named)];
    let mut documents: Vec<Box<[u8]>> = Vec::new();
    tx.query(&SERVER_KEY_DOCUMENTS, &params, &mut |row| {
        let document = row.bytes(0)?;
        if !documents.iter().any(|known| **known == *document) {
            documents.push(document.into());
        }
        Ok(())
    })?;
    Ok(documents)
}

fn validity(until_ms: i64, is_old: bool) -> KeyValidity {
    if is_old {
        KeyValidity::ExpiredAt(until_ms)
    } else {
        KeyValidity::Until(until_ms)
    }
}
