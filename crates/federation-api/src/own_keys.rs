//! The document in which this server publishes its keys, signed anew in time.
//! <https://spec.matrix.org/v1.19/server-server-api/#publishing-keys>

use bytes::Bytes;
use parking_lot::Mutex;
use starling_events::JsonError;
use starling_events::server_keys::own_key_document;

use crate::State;

/// How long a new document holds, in milliseconds: a day.
const LIFETIME_MS: i64 = 24 * 60 * 60 * 1000;

/// How long a document holds that is given out, at least, in milliseconds: whoever gets it needn't soon ask again.
const LEAST_MS: i64 = LIFETIME_MS / 2;

/// The document, once somebody has asked for it.
#[derive(Debug, Default)]
pub(crate) struct OwnKeys {
    made: Mutex<Option<Made>>,
}

#[derive(Debug, Clone)]
struct Made {
    valid_until_ms: i64,
    json: Bytes,
}

impl OwnKeys {
    /// The document as it is given out now.
    pub(crate) fn document(&self, api: &State) -> Result<Bytes, JsonError> {
        let now_ms = api.clock.now_ms();
        let mut made = self.made.lock();
        if let Some(made) = &*made
            && made.valid_until_ms - now_ms >= LEAST_MS
        {
            return Ok(made.json.clone());
        }
        let valid_until_ms = now_ms + LIFETIME_MS;
        let identity = api.client.identity();
        let (server, key) = (&identity.server_name, &identity.signing_key);
        let document = own_key_document(server, key, &api.old_keys, valid_until_ms)?;
        let json = Bytes::copy_from_slice(document.as_bytes());
        *made = Some(Made {
            valid_until_ms,
            json: json.clone(),
        });
        Ok(json)
    }
}
