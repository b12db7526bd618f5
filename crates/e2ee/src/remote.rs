//! Asking other servers for their users' keys.
//! <https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption>
//!
//! Each server is asked for what it alone knows, many at once, and believed of its own users only. Of those whose devices are
//! followed (`tracked.rs`) it needn't be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use ruma_common::{OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use starling_db::{Error, Tx};
use starling_events::CanonicalObject;
use starling_outbound::{FederationClient, RemoteError, Request};
use starling_store::UserNum;
use starling_store::cross_signing::signatures_seen;

use crate::device_keys::Asker;
use crate::{ClaimedKeys, KeyClaim, KeyQuery, Keys, QueriedKeys};

/// So many servers are asked at once.
const AT_ONCE: usize = 100;

/// So many servers are asked at the asking of one request.
const MOST_SERVERS: usize = 1_000;

/// So much longer than the patience with each all of them are waited for: who has had the whole time and doesn't answer is
/// known to be down then.
const GRACE: Duration = Duration::from_millis(500);

/// How much of an answer is taken.
pub(crate) const ANSWER_BYTES: usize = 8 << 20;

/// How long other servers are waited for where the client doesn't say, and at most.
pub const USUAL_PATIENCE: Duration = Duration::from_secs(10);
/// See [`USUAL_PATIENCE`].
pub const LONGEST_PATIENCE: Duration = Duration::from_mins(1);

/// Servers that were not asked in the end, or have not answered, each with why.
pub type Failures = BTreeMap<OwnedServerName, String>;

/// What is asked of each server, by its users.
pub(crate) type ByServer<T> = BTreeMap<OwnedServerName, BTreeMap<OwnedUserId, T>>;

#[derive(Deserialize)]
pub(crate) struct QueryAnswer {
    #[serde(default, rename = "device_keys")]
    devices: BTreeMap<String, BTreeMap<String, Value>>,
    #[serde(default, rename = "master_keys")]
    masters: BTreeMap<String, Value>,
    #[serde(default, rename = "self_signing_keys")]
    self_signing: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct ClaimAnswer {
    #[serde(default)]
    one_time_keys: BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>>,
}

impl Keys {
    /// The keys of users, wherever they are from, and the servers that didn't say theirs.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn query(
        &self,
        asker: UserNum,
        query: KeyQuery,
        patience: Duration,
    ) -> Result<(QueriedKeys, Failures), Error> {
        let (local, remote) = self.split(query);
        let remote_users: Vec<OwnedUserId> =
            remote.values().flat_map(BTreeMap::keys).cloned().collect();
        let (local, remote) = tokio::join!(
            self.query_local(Asker::User(asker), local),
            self.query_remote(remote, patience)
        );
        let (mut queried, (others, failures)) = (local?, remote?);
        queried.extend(others);
        self.add_own_signatures(asker, remote_users, &mut queried)
            .await?;
        Ok((queried, failures))
    }

    /// Gives out keys of devices of users, wherever they are from (see [`Keys::claim_local`]), and tells the servers that gave
    /// none.
    ///
    /// # Errors
    /// As [`Keys::claim_local`].
    pub async fn claim(
        &self,
        claim: KeyClaim,
        patience: Duration,
    ) -> Result<(ClaimedKeys, Failures), Error> {
        let (local, remote) = self.split(claim);
        let (local, (answers, mut failures)) = tokio::join!(
            self.claim_local(&local),
            self.ask_each(remote, patience, |client, server, wanted| async move {
                let answer = ask(
                    client.as_ref(),
                    &server,
                    ("claim", "one_time_keys"),
                    &wanted,
                    patience,
                )
                .await;
                (server, wanted, answer)
            })
        );
        let mut claimed = local?;
        for (server, wanted, answer) in answers {
            match answer {
                Ok(answer) => add_claimed(&mut claimed, &wanted, answer),
                Err(error) => drop(failures.insert(server, error)),
            }
        }
        Ok((claimed, failures))
    }

    /// What is of this server's users, and what of others, by their servers.
    fn split<T>(
        &self,
        wanted: BTreeMap<OwnedUserId, T>,
    ) -> (BTreeMap<OwnedUserId, T>, ByServer<T>) {
        let own = &self.parts().server_name;
        let (mut local, mut remote) = (BTreeMap::new(), BTreeMap::new());
        for (user, of_user) in wanted {
            if user.server_name() == own {
                local.insert(user, of_user);
            } else {
                let of_server: &mut BTreeMap<_, _> =
                    remote.entry(user.server_name().to_owned()).or_default();
                of_server.insert(user, of_user);
            }
        }
        (local, remote)
    }

    /// Asks each server for its part, many at once, for as long as there is patience; and tells which have not answered then.
    pub(crate) async fn ask_each<T, A, F>(
        &self,
        remote: ByServer<T>,
        patience: Duration,
        ask: impl Fn(Option<FederationClient>, OwnedServerName, BTreeMap<OwnedUserId, T>) -> F,
    ) -> (Vec<A>, Failures)
    where
        F: Future<Output = A>,
    {
        let client = &self.parts().remote;
        let asked = remote.into_iter().map(|(server, wanted)| {
            let answer = ask(client.clone(), server.clone(), wanted);
            (server, answer)
        });
        answers(asked, patience.min(LONGEST_PATIENCE) + GRACE).await
    }

    /// Adds the signatures that the asker has made on keys of users of other servers.
    async fn add_own_signatures(
        &self,
        asker: UserNum,
        users: Vec<OwnedUserId>,
        queried: &mut QueriedKeys,
    ) -> Result<(), Error> {
        if users.is_empty() {
            return Ok(());
        }
        let names = self.store().names().clone();
        let read = move |tx: &mut Tx<'_>| {
            let numbers = names.users(tx, users.iter().map(|user| &**user))?;
            let all: Vec<UserNum> = numbers.values().copied().collect();
            let by_number: BTreeMap<UserNum, OwnedUserId> = numbers
                .into_iter()
                .map(|(user, number)| (number, user.to_owned()))
                .collect();
            Ok((signatures_seen(tx, &all, Some(asker))?, by_number))
        };
        let (signatures, by_number) = self.store().db().read("keys_signed", read).await?;
        for signature in signatures {
            if let Some(user) = by_number.get(&signature.user) {
                queried.add_signature(user, &signature);
            }
        }
        Ok(())
    }
}

/// What is answered until the deadline, in no order, and which servers have not answered then.
async fn answers<F: Future>(
    asked: impl Iterator<Item = (OwnedServerName, F)>,
    deadline: Duration,
) -> (Vec<F::Output>, Failures) {
    let why = || "the server has not answered in time".to_owned();
    let asked: Vec<(OwnedServerName, F)> = asked.collect();
    let servers = asked.iter().map(|(server, _)| server.clone());
    let mut failures: Failures = servers.map(|server| (server, why())).collect();
    let asked = asked.into_iter().take(MOST_SERVERS);
    let asked = asked.map(|(server, answer)| async move { (server, answer.await) });
    let answered = stream::iter(asked).buffer_unordered(AT_ONCE);
    let answered = answered.take_until(tokio::time::sleep(deadline));
    let mut answered = pin!(answered);
    let mut answers = Vec::new();
    while let Some((server, answer)) = answered.next().await {
        failures.remove(&server);
        answers.push(answer);
    }
    (answers, failures)
}

/// Asks one server for keys.
pub(crate) async fn ask<T: Serialize, A: serde::de::DeserializeOwned>(
    client: Option<&FederationClient>,
    server: &OwnedServerName,
    (endpoint, field): (&str, &str),
    wanted: &T,
    patience: Duration,
) -> Result<A, String> {
    let Some(client) = client else {
        return Err("this server talks to no other".to_owned());
    };
    let body = CanonicalObject::from_serialize(&json!({ field: wanted }));
    let body = body.map_err(|error| error.to_string())?;
    let uri = format!("/_matrix/federation/v1/user/keys/{endpoint}");
    let request = Request::post(uri, body.as_bytes().to_vec())
        // That a client has less patience says nothing of the server.
        .patience(patience.clamp(USUAL_PATIENCE, LONGEST_PATIENCE))
        // What is sent without these keys can't be read there.
        .eager()
        .answer_bytes(ANSWER_BYTES);
    let answer = client.ask(server, request).await;
    answer.map_err(|error| words(&error))
}

/// Why a server doesn't tell keys, for clients.
pub(crate) fn words(error: &RemoteError) -> String {
    tracing::debug!(%error, "another server doesn't tell keys");
    match error {
        RemoteError::BackedOff { .. } => "the server was not reachable lately".to_owned(),
        RemoteError::Unreachable { .. } => "the server is not reachable".to_owned(),
        RemoteError::Refused {
            status, errcode, ..
        } => format!("{status} {errcode}"),
        RemoteError::Malformed { .. } => "the answer can't be read".to_owned(),
    }
}

impl QueriedKeys {
    /// Adds what a server says of those of its users who were asked for.
    pub(crate) fn add_remote(&mut self, wanted: &KeyQuery, answer: QueryAnswer) {
        let QueryAnswer {
            mut devices,
            mut masters,
            mut self_signing,
        } = answer;
        for (user, ids) in wanted {
            let of_user = devices.remove(user.as_str()).unwrap_or_default();
            let of_user = of_user.into_iter().filter(|(id, keys)| {
                let is_wanted = ids.is_empty() || ids.contains(id);
                is_wanted && is_of(keys, user) && text(keys, "device_id") == Some(id.as_str())
            });
            self.device_keys.insert(user.clone(), of_user.collect());
            let of = |keys: &mut BTreeMap<String, Value>| {
                keys.remove(user.as_str()).filter(|key| is_of(key, user))
            };
            if let Some(key) = of(&mut masters) {
                self.master_keys.insert(user.clone(), key);
            }
            if let Some(key) = of(&mut self_signing) {
                self.self_signing_keys.insert(user.clone(), key);
            }
        }
    }
}

pub(crate) fn is_of(key: &Value, user: &OwnedUserId) -> bool {
    text(key, "user_id") == Some(user.as_str())
}

pub(crate) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

fn add_claimed(claimed: &mut ClaimedKeys, wanted: &KeyClaim, answer: ClaimAnswer) {
    let mut given = answer.one_time_keys;
    for (user, devices) in wanted {
        let Some(mut of_user) = given.remove(user.as_str()) else {
            continue;
        };
        for (device_id, algorithm) in devices {
            let keys = of_user.remove(device_id).unwrap_or_default();
            let keys = keys.into_iter().filter(|(name, _)| {
                let named = name.split_once(':').map(|(of, _)| of);
                named == Some(algorithm.as_str())
            });
            let keys: BTreeMap<String, Value> = keys.take(1).collect();
            if !keys.is_empty() {
                let of_user = claimed.entry(user.clone()).or_default();
                of_user.insert(device_id.clone(), keys);
            }
        }
    }
}

/// All users of a query.
pub(crate) fn whole(users: impl IntoIterator<Item = OwnedUserId>) -> KeyQuery {
    users
        .into_iter()
        .map(|user| (user, BTreeSet::new()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn servers_that_hang_are_waited_for_together() {
        let servers = 0..MOST_SERVERS + 50;
        let asked = servers.map(|number| {
            let server: OwnedServerName = format!("s{number:04}.example").try_into().unwrap();
            let answer = async move {
                // More than are asked at once.
                if number < AT_ONCE * 2 {
                    tokio::time::sleep(Duration::from_secs(4)).await;
                }
                number
            };
            (server, answer)
        });
        let (mut answered, failures) = answers(asked, Duration::from_secs(5)).await;
        // The first of them have answered, and the next ones were still asked.
        answered.sort_unstable();
        assert_eq!(answered, (0..AT_ONCE).collect::<Vec<usize>>());
        assert_eq!(failures.len(), MOST_SERVERS + 50 - AT_ONCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_holds_up_no_other() {
        let asked = (0..MOST_SERVERS + 50).map(|number| {
            let server: OwnedServerName = format!("s{number:04}.example").try_into().unwrap();
            let answer = async move {
                if number == 0 {
                    tokio::time::sleep(Duration::from_mins(1)).await;
                }
            };
            (server, answer)
        });
        let (answered, failures) = answers(asked, Duration::from_secs(5)).await;
        assert_eq!(answered.len(), MOST_SERVERS - 1);
        assert_eq!(failures.len(), 51);
    }
}
