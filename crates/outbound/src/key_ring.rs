//! The keys of other servers: from memory, the database, the servers themselves, and those who vouch for others (notaries).
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use quick_cache::sync::Cache;
use ruma_common::{OwnedServerName, ServerName};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use starling_db::{Error, Tx, Write};
use starling_events::server_keys::{KeyDocument, MAX_KEY_DOCUMENT_BYTES};
use starling_events::sign::verify_json;
use starling_events::{CanonicalObject, KeyValidity, ServerKey};
use starling_runtime::Clock;
use starling_store::Store;
use starling_store::server_keys::{KnownKey, server_keys, server_keys_keep};

use crate::{FederationClient, RemoteError, Request};

/// So many servers' keys are kept in memory.
const SERVERS: usize = 1 << 13;
/// So many servers are asked at once.
const AT_ONCE: usize = 16;
/// How long a server may take to say what its keys are.
const PATIENCE: Duration = Duration::from_secs(10);
/// A notary is asked for so many servers' keys in one request.
const ASKED_OF_NOTARY: usize = 100;
/// How much of a notary's answer is taken.
const NOTARY_BYTES: usize = ASKED_OF_NOTARY * MAX_KEY_DOCUMENT_BYTES / 4;
/// How long, in milliseconds, nobody is asked again for keys of a server: whoever makes up key ids must not make us ask the
/// world for each.
const PAUSE_MS: i64 = 60_000;

/// A key that something was signed with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantedKey {
    /// The server.
    pub server: OwnedServerName,
    /// The key's id.
    pub key_id: String,
    /// The time, in milliseconds since 1970, that its validity must cover; `None` where that doesn't matter.
    pub at_ms: Option<i64>,
}

/// Keys that are known.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    servers: HashMap<OwnedServerName, ServerKeys>,
}

type ServerKeys = Arc<HashMap<String, KnownKey>>;

/// Finds keys.
#[derive(Debug, Clone)]
pub struct KeyRing {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    store: Store,
    client: FederationClient,
    clock: Clock,
    notaries: Vec<OwnedServerName>,
    known: Cache<OwnedServerName, ServerKeys>,
    /// When somebody was asked last for keys of a server.
    asked: Cache<OwnedServerName, i64>,
}

#[derive(Deserialize)]
struct NotaryAnswer<'a> {
    #[serde(borrow)]
    server_keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct DocumentName {
    server_name: OwnedServerName,
}

impl Keys {
    /// A key of a server.
    #[must_use]
    pub fn get(&self, server: &ServerName, key_id: &str) -> Option<&ServerKey> {
        Some(&self.servers.get(server)?.get(key_id)?.key)
    }

    fn have(&self, wanted: &WantedKey) -> bool {
        let known = self.get(&wanted.server, &wanted.key_id);
        known.is_some_and(|known| match (known.validity, wanted.at_ms) {
            (KeyValidity::Until(_), Some(at_ms)) => known.validity.covers(at_ms),
            // What is old gets no younger.
            _ => true,
        })
    }
}

impl KeyRing {
    /// Keys are kept in `store`, and asked for by `client`; of the notaries, those who come first are asked first.
    #[must_use]
    pub fn new(
        store: Store,
        client: FederationClient,
        clock: Clock,
        notaries: Vec<OwnedServerName>,
    ) -> Self {
        let parts = Arc::new(Parts {
            store,
            client,
            clock,
            notaries,
            known: Cache::new(SERVERS),
            asked: Cache::new(SERVERS),
        });
        Self { parts }
    }

    /// What can be known of these keys: those that aren't at hand, or are no longer believed, are asked for. Which of them
    /// nobody gives are not in the answer, or are as they were known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keys(&self, wanted: &[WantedKey]) -> Result<Keys, Error> {
        let mut keys = self.at_hand(wanted).await?;
        let missing = self.missing(&keys, wanted);
        if missing.is_empty() {
            return Ok(keys);
        }
        let servers: BTreeSet<&OwnedServerName> = missing.iter().map(|key| &key.server).collect();
        let now_ms = self.parts.clock.now_ms();
        for server in &servers {
            self.parts.asked.insert((*server).clone(), now_ms);
        }
        let fetch = |server: &OwnedServerName| {
            let (ring, server) = (self.clone(), server.clone());
            async move { ring.fetch(&server).await }
        };
        let fetched: Vec<Option<KeyDocument>> = stream::iter(servers)
            .map(fetch)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        self.keep(fetched.into_iter().flatten().collect(), &mut keys)
            .await?;
        for notary in &self.parts.notaries {
            let missing: Vec<WantedKey> = missing
                .iter()
                .filter(|key| !keys.have(key))
                .cloned()
                .collect();
            if missing.is_empty() {
                break;
            }
            let vouched = self.ask_notary(notary, &missing).await;
            let vouched = vouched.unwrap_or_else(|error| {
                tracing::debug!(%notary, %error, "no keys from a notary");
                Vec::new()
            });
            self.keep(vouched, &mut keys).await?;
        }
        Ok(keys)
    }

    /// A server's keys as it says itself, if it does.
    pub async fn fetch(&self, server: &ServerName) -> Option<KeyDocument> {
        let request = Request::get("/_matrix/key/v2/server")
            .patience(PATIENCE)
            .answer_bytes(MAX_KEY_DOCUMENT_BYTES);
        let body = self.parts.client.request_unsigned(server, request).await;
        let document = body.map_err(|error| error.to_string()).and_then(|body| {
            KeyDocument::parse(server, &body, self.parts.clock.now_ms())
                .map_err(|error| error.to_string())
        });
        document
            .inspect_err(|error| tracing::debug!(%server, error, "no keys from a server"))
            .ok()
    }

    /// What is in memory or in the database, and our own key.
    async fn at_hand(&self, wanted: &[WantedKey]) -> Result<Keys, Error> {
        let mut keys = Keys::default();
        let mut unread = BTreeSet::new();
        for WantedKey { server, .. } in wanted {
            if let Some(known) = self.parts.known.get(server) {
                keys.servers.insert(server.clone(), known);
            } else {
                unread.insert(server.clone());
            }
        }
        let identity = self.parts.client.identity();
        if unread.remove(&identity.server_name) {
            let key = ServerKey {
                key: identity.signing_key.verifying_key(),
                validity: KeyValidity::Until(i64::MAX),
            };
            let own = KnownKey {
                key,
                fetched_ms: self.parts.clock.now_ms(),
            };
            let own = HashMap::from([(identity.signing_key.key_id().to_owned(), own)]);
            keys.servers
                .insert(identity.server_name.clone(), Arc::new(own));
        }
        if unread.is_empty() {
            return Ok(keys);
        }
        let read = move |tx: &mut Tx<'_>| {
            let servers: Vec<&ServerName> = unread.iter().map(|server| &**server).collect();
            server_keys(tx, &servers)
        };
        for (server, read) in self.parts.store.db().read("server_keys", read).await? {
            let read = Arc::new(read);
            self.parts.known.insert(server.clone(), Arc::clone(&read));
            keys.servers.insert(server, read);
        }
        Ok(keys)
    }

    /// Which keys somebody should be asked for.
    fn missing(&self, keys: &Keys, wanted: &[WantedKey]) -> Vec<WantedKey> {
        let now_ms = self.parts.clock.now_ms();
        let own = &self.parts.client.identity().server_name;
        let was_asked = |server: &OwnedServerName| {
            let asked = self.parts.asked.get(server);
            asked.is_some_and(|asked| now_ms - asked < PAUSE_MS)
        };
        let missing = wanted
            .iter()
            .filter(|key| key.server != *own && !keys.have(key) && !was_asked(&key.server));
        missing.cloned().collect()
    }

    /// Keeps what was published, in the database and in memory, and adds it to `keys`.
    async fn keep(&self, documents: Vec<KeyDocument>, keys: &mut Keys) -> Result<(), Error> {
        if documents.is_empty() {
            return Ok(());
        }
        let servers: Vec<OwnedServerName> = documents
            .iter()
            .map(|document| document.server.clone())
            .collect();
        let now_ms = self.parts.clock.now_ms();
        let write = move |tx: &mut Tx<'_>| {
            for document in &documents {
                server_keys_keep(tx, document, now_ms)?;
            }
            // As they are now: a key that was kept before stays where it was.
            let servers: Vec<&ServerName> = servers.iter().map(|server| &**server).collect();
            server_keys(tx, &servers)
        };
        let kept = self
            .parts
            .store
            .db()
            .write(Write::new("server_keys"), write)
            .await?;
        for (server, kept) in kept {
            let kept = Arc::new(kept);
            self.parts.known.insert(server.clone(), Arc::clone(&kept));
            keys.servers.insert(server, kept);
        }
        Ok(())
    }

    /// The documents that a notary has of the servers whose keys are missing. Each must be signed by the notary, and by the
    /// server itself.
    async fn ask_notary(
        &self,
        notary: &ServerName,
        missing: &[WantedKey],
    ) -> Result<Vec<KeyDocument>, RemoteError> {
        let Some(own) = self.fetch(notary).await else {
            return Ok(Vec::new());
        };
        let mut documents = Vec::new();
        for missing in missing.chunks(ASKED_OF_NOTARY) {
            let mut asked: BTreeMap<&ServerName, BTreeMap<&str, serde_json::Value>> =
                BTreeMap::new();
            for key in missing {
                let criteria = match key.at_ms {
                    Some(at_ms) => json!({"minimum_valid_until_ts": at_ms}),
                    None => json!({}),
                };
                asked
                    .entry(&key.server)
                    .or_default()
                    .insert(&key.key_id, criteria);
            }
            let body = CanonicalObject::from_serialize(&json!({"server_keys": asked}));
            let Ok(body) = body else { continue };
            let request = Request::post("/_matrix/key/v2/query", body.as_bytes().to_vec())
                .patience(PATIENCE)
                .answer_bytes(NOTARY_BYTES);
            let answer = self.parts.client.request_unsigned(notary, request).await?;
            let answer: NotaryAnswer<'_> =
                serde_json::from_slice(&answer).map_err(|error| RemoteError::Malformed {
                    server: notary.to_owned(),
                    problem: error.to_string(),
                })?;
            let asked: BTreeSet<&ServerName> = asked.into_keys().collect();
            let believed = answer
                .server_keys
                .into_iter()
                .filter_map(|document| self.vouched(&own, document, &asked));
            documents.extend(believed);
        }
        Ok(documents)
    }

    /// The document, if it is of a server that was asked for and the notary has signed it too.
    fn vouched(
        &self,
        notary: &KeyDocument,
        document: &RawValue,
        asked: &BTreeSet<&ServerName>,
    ) -> Option<KeyDocument> {
        let json = document.get().as_bytes();
        let name: DocumentName = serde_json::from_slice(json).ok()?;
        if !asked.contains(&*name.server_name) {
            return None;
        }
        let document =
            KeyDocument::parse(&name.server_name, json, self.parts.clock.now_ms()).ok()?;
        let signed = notary.keys.iter().any(|(key_id, known)| {
            verify_json(&document.json, notary.server.as_str(), key_id, &known.key).is_ok()
        });
        signed.then_some(document)
    }
}
