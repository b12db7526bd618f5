//! Policy servers: a room may name a server that is asked before an event is sent, and whose signature says that it has no
//! objection. <https://spec.matrix.org/v1.19/server-server-api/#policy-servers>
//!
//! Events of this server are signed before they are part of the room (`pipeline/guarded.rs`); events of others that come
//! without a signature are shown to the policy server, and soft-failed if it doesn't sign them.

use std::sync::Arc;

use quick_cache::sync::Cache;
use ruma_common::OwnedServerName;
use starling_db::{Error, Tx};
use starling_events::sign::{add_signature, verify_event_by};
use starling_events::{Pdu, Value, VerifyingKey};
use starling_store::names::EMPTY_KEY;
use starling_store::rooms::RoomSnapshot;
use starling_store::{EventNum, RoomNum, SnapshotNum};

use crate::error::SendError;
use crate::rooms::Rooms;

/// The id of the key, whatever key it is.
const KEY_ID: &str = "ed25519:policy_server";

/// The type of the event that names a policy server.
const POLICY: &str = "m.room.policy";

/// Of so many rooms is kept whether they name a policy server.
const KEPT: usize = 10_000;

/// What a room says of its policy server, kept as of the room's state.
#[derive(Debug)]
pub(crate) struct Policies {
    kept: Cache<RoomNum, (Option<SnapshotNum>, Option<EventNum>)>,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            kept: Cache::new(KEPT),
        }
    }
}

/// The policy server of a room.
#[derive(Debug, Clone)]
pub(crate) struct PolicyServer {
    name: OwnedServerName,
    /// `None` where the room gives something else: then nothing is ever rightly signed.
    key: Option<VerifyingKey>,
}

impl PolicyServer {
    /// What the event says; `None` where that names no policy server.
    fn parse(content: &[u8]) -> Option<Self> {
        let content = Value::new(content);
        let name = content.get("via")?.as_str()?;
        let key = content.get("public_keys")?.get("ed25519")?.as_str()?;
        Some(Self {
            name: OwnedServerName::try_from(&*name).ok()?,
            key: VerifyingKey::from_base64(&key).ok(),
        })
    }

    fn has_signed(&self, pdu: &Pdu) -> bool {
        let key = self.key.as_ref();
        key.is_some_and(|key| verify_event_by(pdu, &self.name, (KEY_ID, key)).is_ok())
    }
}

/// Whether an event sets the policy server: nobody is asked for these.
pub(crate) fn sets_policy(kind: &str, state_key: Option<&str>) -> bool {
    kind == POLICY && state_key == Some("")
}

impl Rooms {
    /// The policy server of a room, if it has one other than this server, which is none, and that is in the room.
    pub(crate) async fn policy_server(
        &self,
        snapshot: &Arc<RoomSnapshot>,
    ) -> Result<Option<PolicyServer>, Error> {
        let state = snapshot.stored.map(|stored| stored.snapshot);
        let kept = self.policies.kept.get(&snapshot.room);
        let kept = kept.filter(|(as_of, _)| *as_of == state);
        if let Some((_, None)) = kept {
            return Ok(None);
        }
        let (store, servers) = (self.store().clone(), Arc::clone(&self.servers));
        let room = Arc::clone(snapshot);
        let read = move |tx: &mut Tx<'_>| {
            let kind = store.names().kind(tx, POLICY)?;
            let event = kind.and_then(|kind| room.state_event(kind, EMPTY_KEY));
            let Some(number) = event else {
                return Ok((None, None));
            };
            let event = store.event_read(tx, number)?;
            let policy = event.and_then(|event| PolicyServer::parse(event.pdu.content()));
            let servers = servers.of(&store, tx, &room)?;
            let policy = policy.filter(|policy| servers.has_joined(&policy.name));
            Ok::<_, Error>((Some(number), policy))
        };
        let (number, policy) = self.store().db().read("policy_server", read).await?;
        self.policies.kept.insert(snapshot.room, (state, number));
        Ok(policy.filter(|policy| policy.name != self.server_name()))
    }

    /// An event of this server, or of a user whom it lets in or out, with the signature of the room's policy server, if the
    /// room has one.
    ///
    /// # Errors
    /// [`SendError::Remote`] when the policy server refuses or can't be asked, [`SendError::Forbidden`] when its signature
    /// doesn't hold.
    pub(crate) async fn signed_by_policy_server(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        pdu: Pdu,
    ) -> Result<Pdu, SendError> {
        let Some(policy) = self.missing_signer(snapshot, &pdu).await? else {
            return Ok(pdu);
        };
        let remote = self.asking()?;
        let signature = remote
            .policy_signature((&policy.name, KEY_ID), &pdu)
            .await?;
        let refused = || {
            SendError::Forbidden(format!(
                "the policy server {} has not signed the event",
                policy.name
            ))
        };
        let signature = signature.ok_or_else(refused)?;
        let signed = add_signature(&pdu, &policy.name, (KEY_ID, &signature));
        let signed = signed.map_err(|_| SendError::TooLarge("the event with its signatures"))?;
        policy
            .has_signed(&signed)
            .then_some(signed)
            .ok_or_else(refused)
    }

    /// The room's policy server, if it has one that must sign the event and hasn't.
    pub(crate) async fn missing_signer(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        pdu: &Pdu,
    ) -> Result<Option<PolicyServer>, Error> {
        if sets_policy(pdu.kind(), pdu.state_key()) {
            return Ok(None);
        }
        let policy = self.policy_server(snapshot).await?;
        Ok(policy.filter(|policy| !policy.has_signed(pdu)))
    }

    /// Whether the room's policy server, if there is one, has signed an event of another server, or does so now.
    pub(crate) async fn is_recommended(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        pdu: &Pdu,
    ) -> Result<bool, Error> {
        let Some(policy) = self.missing_signer(snapshot, pdu).await? else {
            return Ok(true);
        };
        let Some(remote) = self.other_servers() else {
            return Ok(false);
        };
        let signature = match remote.policy_signature((&policy.name, KEY_ID), pdu).await {
            Ok(signature) => signature,
            Err(error) => {
                tracing::info!(event = %pdu.event_id(), %error, "a policy server doesn't sign an event");
                return Ok(false);
            }
        };
        let signed = signature
            .and_then(|signature| add_signature(pdu, &policy.name, (KEY_ID, &signature)).ok());
        Ok(signed.is_some_and(|signed| policy.has_signed(&signed)))
    }
}

#[cfg(test)]
mod tests {
    use super::PolicyServer;

    #[test]
    fn a_policy_server_has_a_name_and_a_key() {
        let named = |content: &str| {
            PolicyServer::parse(content.as_bytes()).map(|policy| policy.key.is_some())
        };
        let key = "A".repeat(43);
        let whole = format!(r#"{{"public_keys":{{"ed25519":"{key}"}},"via":"policy.example"}}"#);
        assert!(named(&whole).is_some());
        let broken = r#"{"public_keys":{"ed25519":"?"},"via":"policy.example"}"#;
        assert_eq!(named(broken), Some(false));
        for none in [
            "{}",
            r#"{"via":"policy.example"}"#,
            r#"{"public_keys":{},"via":"policy.example"}"#,
            r#"{"public_keys":{"ed25519":1},"via":"policy.example"}"#,
            r#"{"public_keys":{"ed25519":"x"}}"#,
            r#"{"public_keys":{"ed25519":"x"},"via":"no name"}"#,
        ] {
            assert_eq!(named(none), None, "{none}");
        }
    }
}
