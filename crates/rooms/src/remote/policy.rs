//! What a policy server says of an event.
//! <https://spec.matrix.org/v1.19/server-server-api/#post_matrixpolicyv1sign>

use std::collections::BTreeMap;
use std::time::Duration;

use ruma_common::ServerName;
use starling_events::Pdu;
use starling_outbound::{RemoteError, Request};

use super::Remote;

/// How long the policy server may take. Synapse gives it as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of an answer is taken.
const ANSWER_BYTES: usize = 64 << 10;

impl Remote {
    /// The signature that a policy server gives to an event with the key of this id, in base64; `None` when it answers with
    /// others.
    ///
    /// # Errors
    /// [`RemoteError`], with the server's words if it refuses.
    pub(crate) async fn policy_signature(
        &self,
        (server, key_id): (&ServerName, &str),
        event: &Pdu,
    ) -> Result<Option<String>, RemoteError> {
        let uri = "/_matrix/policy/v1/sign".to_owned();
        let request = Request::post(uri, event.json().to_vec())
            .patience(PATIENCE)
            .answer_bytes(ANSWER_BYTES);
        let signed: BTreeMap<String, BTreeMap<String, String>> = self.ask(server, request).await?;
        let own = signed.get(server.as_str());
        Ok(own.and_then(|own| own.get(key_id)).cloned())
    }
}
