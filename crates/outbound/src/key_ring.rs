//! The keys of other servers: from memory, the database, the servers themselves, and those who vouch for others (notaries).
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared, WeakShared};
use futures_util::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use ruma_common::{OwnedServerName, ServerName};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use starling_db::{Error, Tx, Write};
use starling_events::server_keys::{KeyDocument, MAX_KEY_DOCUMENT_BYTES, OldKey};
use starling_events::sign::verify_json;
use starling_events::{CanonicalObject, KeyValidity, ServerKey, VerifyingKey};
use starling_runtime::Clock;
use starling_store::Store;
use starling_store::server_keys::{KnownKey, server_key_documents, server_keys, server_keys_keep};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{FederationClient, RemoteError, Request};

/// So many servers' keys are kept in memory.
const SERVERS: usize = 1 << 13;
/// So many servers are asked at once.
const AT_ONCE: usize = 16;
/// So many requests for keys are under way at once, whatever they are needed for: first those for what was signed once, then
/// those for servers that are asking something.
const UNDER_WAY: usize = 64;
/// How long a server may take to say what its keys are.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request for keys waits for its turn.
const TURN: Duration = Duration::from_secs(25);
/// A notary is asked for so many servers' keys in one request.
const ASKED_OF_NOTARY: usize = 100;
/// How much of a notary's answer is taken.
const NOTARY_BYTES: usize = ASKED_OF_NOTARY * MAX_KEY_DOCUMENT_BYTES / 4;

/// When a server is asked for its keys.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// How long, in milliseconds, nobody is asked again for keys of a server: whoever makes up key ids must not make us ask
    /// the world for each.
    pause_ms: i64,
    /// Whether it is asked although it was down lately, and before those who aren't waiting for an answer.
    is_eager: bool,
}

/// For what was signed once, perhaps by a server that is no more.
const PATIENT: Manner = Manner {
    pause_ms: 60_000,
    is_eager: false,
};
/// For a server that seems to be asking something right now.
const EAGER: Manner = Manner {
    pause_ms: 5_000,
    is_eager: true,
};

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
    /// The keys that this server no longer signs with.
    own_old: Arc<[OldKey]>,
}

struct Parts {
    store: Store,
    client: FederationClient,
    clock: Clock,
    notaries: Vec<OwnedServerName>,
    known: Cache<OwnedServerName, ServerKeys>,
    /// When somebody was asked last for keys of a server.
    asked: Cache<OwnedServerName, i64>,
    /// The servers that are being asked, eagerly or not: who wants their keys too waits for the same answer.
    asking: Mutex<HashMap<Asked, WeakShared<Answering>>>,
    gates: Gates,
}

/// Who may ask now. Who sends events signed by made-up servers must not keep requests of others from being answered.
struct Gates {
    patient: Semaphore,
    eager: Semaphore,
}

/// A server, and whether it is asked eagerly.
type Asked = (OwnedServerName, bool);

/// Whether the server's turn to be asked came.
type Answering = BoxFuture<'static, bool>;

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

    /// All keys of a server that are known, in no order.
    pub fn of(&self, server: &ServerName) -> impl Iterator<Item = (&str, &KnownKey)> {
        let keys = self.servers.get(server).into_iter();
        keys.flat_map(|keys| keys.iter().map(|(key_id, known)| (key_id.as_str(), known)))
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
            asking: Mutex::default(),
            gates: Gates {
                patient: Semaphore::new(UNDER_WAY),
                eager: Semaphore::new(UNDER_WAY),
            },
        });
        Self {
            parts,
            own_old: Arc::default(),
        }
    }

    /// Knows also that this server had these keys before its present one.
    #[must_use]
    pub fn with_old_keys(self, old: Vec<OldKey>) -> Self {
        Self {
            own_old: old.into(),
            ..self
        }
    }

    /// What can be known of these keys: those that aren't at hand, or are no longer believed, are asked for. Which of them
    /// nobody gives are not in the answer, or are as they were known.
    ///
    /// # Errors
    /// When the database fails; [`Error::Unavailable`] when too many are being asked to ask for one that is missing.
    pub async fn keys(&self, wanted: &[WantedKey]) -> Result<Keys, Error> {
        self.find(wanted, PATIENT).await
    }

    /// The key of this id that a server signs with now; `None` when nobody gives one. For what the server seems to have sent
    /// just now: it is asked also if it was down a moment ago.
    ///
    /// # Errors
    /// As [`KeyRing::keys`].
    pub async fn current(
        &self,
        server: &ServerName,
        key_id: &str,
    ) -> Result<Option<VerifyingKey>, Error> {
        let now_ms = self.parts.clock.now_ms();
        let wanted = WantedKey {
            server: server.to_owned(),
            key_id: key_id.to_owned(),
            at_ms: Some(now_ms),
        };
        let keys = self.find(std::slice::from_ref(&wanted), EAGER).await?;
        let known = keys.get(server, key_id);
        let is_in_use = |known: &&ServerKey| {
            matches!(known.validity, KeyValidity::Until(_)) && known.validity.covers(now_ms)
        };
        Ok(known.filter(is_in_use).map(|known| known.key.clone()))
    }

    /// What is known of the keys of these servers, and of our own: nobody is asked.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn known(&self, servers: &[OwnedServerName]) -> Result<Keys, Error> {
        self.at_hand(servers.iter()).await
    }

    /// Asks these servers for their keys, those that were asked lately excepted, and keeps what they say.
    pub async fn refresh(&self, servers: &BTreeSet<OwnedServerName>) {
        let own = &self.parts.client.identity().server_name;
        let due = servers
            .iter()
            .filter(|server| *server != own && self.may_ask(server, PATIENT));
        self.ask(due.collect(), PATIENT).await;
    }

    /// The documents in canonical form in which these keys of other servers were published last.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn documents(
        &self,
        keys: Vec<(OwnedServerName, String)>,
    ) -> Result<Vec<Box<[u8]>>, Error> {
        let read = move |tx: &mut Tx<'_>| server_key_documents(tx, &keys);
        self.parts
            .store
            .db()
            .scan("server_key_documents", read)
            .await
    }

    async fn find(&self, wanted: &[WantedKey], manner: Manner) -> Result<Keys, Error> {
        let servers = || wanted.iter().map(|key| &key.server);
        let mut keys = self.at_hand(servers()).await?;
        let missing = self.missing(&keys, wanted, manner);
        if missing.is_empty() {
            return Ok(keys);
        }
        let asked = missing.iter().map(|key| &key.server).collect();
        let was_their_turn = self.ask(asked, manner).await;
        keys = self.at_hand(servers()).await?;
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
            self.keep(vouched).await?;
            keys = self.at_hand(servers()).await?;
        }
        if !was_their_turn && missing.iter().any(|key| !keys.have(key)) {
            // Not as if there were no such keys: what is signed with them would be lost.
            let problem = "too many servers are being asked for their keys";
            return Err(Error::Unavailable(problem.to_owned()));
        }
        Ok(keys)
    }

    /// Asks these servers, and keeps what they say. Whether the turn of each came.
    async fn ask(&self, servers: BTreeSet<&OwnedServerName>, manner: Manner) -> bool {
        let answers: Vec<Shared<Answering>> = servers
            .into_iter()
            .map(|server| self.asking(server, manner))
            .collect();
        let answers = stream::iter(answers).buffer_unordered(AT_ONCE);
        answers
            .fold(true, |all, came| std::future::ready(all && came))
            .await
    }

    /// The end of asking a server: it is asked once for all who wait, and what it says is kept then.
    fn asking(&self, server: &OwnedServerName, manner: Manner) -> Shared<Answering> {
        let mut asking = self.parts.asking.lock();
        let under_way = |is_eager| {
            let waiting = asking.get(&(server.clone(), is_eager));
            waiting.and_then(WeakShared::upgrade)
        };
        // Who is eager doesn't wait for one whose turn hasn't come.
        let patient = under_way(false).filter(|_| !manner.is_eager || !self.is_due(server, manner));
        if let Some(answer) = under_way(true).or(patient) {
            return answer;
        }
        let (ring, asked) = (self.clone(), server.clone());
        let answer = async move {
            let Some(_may_ask) = ring.pass(manner).await else {
                return false;
            };
            let document = ring.fetch(&asked, manner).await;
            if let Err(error) = ring.keep(document.into_iter().collect()).await {
                tracing::warn!(server = %asked, %error, "a server's keys could not be kept");
            }
            true
        };
        let answer = answer.boxed().shared();
        asking.retain(|_, waiting| waiting.upgrade().is_some());
        if let Some(waiting) = answer.downgrade() {
            asking.insert((server.clone(), manner.is_eager), waiting);
        }
        answer
    }

    /// Whether a server may be asked: it wasn't lately, or it is being asked.
    fn may_ask(&self, server: &OwnedServerName, manner: Manner) -> bool {
        let under_way = |is_eager| {
            let asking = self.parts.asking.lock();
            let waiting = asking.get(&(server.clone(), is_eager));
            waiting.and_then(WeakShared::upgrade).is_some()
        };
        self.is_due(server, manner) || under_way(true) || under_way(false)
    }

    /// Whether a server wasn't asked lately.
    fn is_due(&self, server: &OwnedServerName, manner: Manner) -> bool {
        let now_ms = self.parts.clock.now_ms();
        let asked = self.parts.asked.get(server);
        asked.is_none_or(|asked| now_ms - asked >= manner.pause_ms)
    }

    /// A server's keys as it says itself, if it does, at its turn.
    async fn fetch(&self, server: &ServerName, manner: Manner) -> Option<KeyDocument> {
        let client = &self.parts.client;
        let request = Request::get("/_matrix/key/v2/server")
            .patience(PATIENCE)
            .answer_bytes(MAX_KEY_DOCUMENT_BYTES);
        let now_ms = self.parts.clock.now_ms();
        self.parts.asked.insert(server.to_owned(), now_ms);
        let body = if manner.is_eager {
            client.try_unsigned(server, request).await
        } else {
            client.request_unsigned(server, request).await
        };
        let document = body.map_err(|error| error.to_string()).and_then(|body| {
            KeyDocument::parse(server, &body, self.parts.clock.now_ms())
                .map_err(|error| error.to_string())
        });
        let result = if document.is_ok() {
            "answered"
        } else {
            "failed"
        };
        metrics::counter!("starling_federation_key_requests_total", "result" => result)
            .increment(1);
        document
            .inspect_err(|error| tracing::debug!(%server, error, "no keys from a server"))
            .ok()
    }

    /// Waits until a request may be sent; `None` if that takes too long.
    async fn pass(&self, manner: Manner) -> Option<SemaphorePermit<'_>> {
        let gates = &self.parts.gates;
        let gate = if manner.is_eager {
            &gates.eager
        } else {
            &gates.patient
        };
        tokio::time::timeout(TURN, gate.acquire()).await.ok()?.ok()
    }

    /// What is in memory or in the database, and our own key.
    async fn at_hand(
        &self,
        servers: impl Iterator<Item = &OwnedServerName>,
    ) -> Result<Keys, Error> {
        let mut keys = Keys::default();
        let mut unread = BTreeSet::new();
        for server in servers {
            if let Some(known) = self.parts.known.get(server) {
                keys.servers.insert(server.clone(), known);
            } else {
                unread.insert(server.clone());
            }
        }
        let own = &self.parts.client.identity().server_name;
        if unread.remove(own) {
            keys.servers.insert(own.clone(), Arc::new(self.own()));
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

    /// The keys of this server, by their ids.
    fn own(&self) -> HashMap<String, KnownKey> {
        let key = &self.parts.client.identity().signing_key;
        let current = ServerKey {
            key: key.verifying_key(),
            validity: KeyValidity::Until(i64::MAX),
        };
        let old = self.own_old.iter().map(|old| {
            let known = ServerKey {
                key: old.key.clone(),
                validity: KeyValidity::ExpiredAt(old.expired_ts),
            };
            (old.key_id.clone(), known)
        });
        let now_ms = self.parts.clock.now_ms();
        let keys = old.chain([(key.key_id().to_owned(), current)]);
        let known = |(key_id, key)| {
            let known = KnownKey {
                key,
                fetched_ms: now_ms,
            };
            (key_id, known)
        };
        keys.map(known).collect()
    }

    /// Which keys somebody should be asked for.
    fn missing(&self, keys: &Keys, wanted: &[WantedKey], manner: Manner) -> Vec<WantedKey> {
        let own = &self.parts.client.identity().server_name;
        let missing = wanted.iter().filter(|key| {
            key.server != *own && !keys.have(key) && self.may_ask(&key.server, manner)
        });
        missing.cloned().collect()
    }

    /// Keeps what was published, in the database and in memory.
    async fn keep(&self, documents: Vec<KeyDocument>) -> Result<(), Error> {
        if documents.is_empty() {
            return Ok(());
        }
        let now_ms = self.parts.clock.now_ms();
        let write = move |tx: &mut Tx<'_>| {
            for document in &documents {
                server_keys_keep(tx, document, now_ms)?;
            }
            // As they are now: a key that was kept before stays where it was.
            let servers: Vec<&ServerName> =
                documents.iter().map(|document| &*document.server).collect();
            server_keys(tx, &servers)
        };
        let write = self
            .parts
            .store
            .db()
            .write(Write::new("server_keys"), write);
        for (server, kept) in write.await? {
            self.parts.known.insert(server, Arc::new(kept));
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
        let own = match self.pass(PATIENT).await {
            Some(_may_ask) => self.fetch(notary, PATIENT).await,
            None => None,
        };
        let Some(own) = own else {
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
            let Some(_may_ask) = self.pass(PATIENT).await else {
                break;
            };
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

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("client", &self.client)
            .field("notaries", &self.notaries)
            .finish_non_exhaustive()
    }
}
