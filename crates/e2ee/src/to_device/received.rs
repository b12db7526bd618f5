//! Messages that other servers send on: <https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging>

use ruma_common::{OwnedUserId, ServerName};
use serde_json::Value;
use starling_db::Error;

use super::addressed::{MAX_MESSAGE_BYTES, Messages};
use super::{Known, PIECE, Sending, ToDevice};

/// The longest id of a message, and the longest type, in bytes.
const MAX_NAME_BYTES: usize = 255;

impl ToDevice {
    /// Takes the content of an `m.direct_to_device` of `origin`: each message once, however often it comes. What is not sent by a
    /// user of that server, is for nobody here or makes no sense, is passed over.
    ///
    /// # Errors
    /// When the database fails: `origin` has to send it again.
    pub async fn receive(&self, origin: &ServerName, content: &Value) -> Result<(), Error> {
        let Some((sending, message_id)) = read(origin, content) else {
            tracing::debug!(%origin, "a message to devices makes no sense");
            return Ok(());
        };
        let Some(mut messages) = Messages::of_edu(content) else {
            tracing::info!(%origin, message_id, "a message to no devices, or too many, is dropped");
            return Ok(());
        };
        messages.retain(|message| {
            let is_here = message.user.server_name() == self.parts.server_name;
            let bytes = message.content.len();
            let is_small = bytes <= MAX_MESSAGE_BYTES;
            if is_here && !is_small {
                tracing::info!(%origin, message_id, bytes, "a message to a device is dropped");
            }
            is_here && is_small
        });
        for (number, addressed) in (0..).zip(messages.pieces(PIECE)) {
            let known = Known::Message(origin.to_owned(), message_id.clone(), number);
            self.write(self.piece(known, &sending, addressed)).await?;
        }
        Ok(())
    }
}

/// Who sends, and the id of the message.
fn read(origin: &ServerName, content: &Value) -> Option<(Sending, String)> {
    let text = |name: &str| {
        let text = content.get(name)?.as_str()?;
        (text.len() <= MAX_NAME_BYTES).then_some(text)
    };
    let sender = OwnedUserId::try_from(text("sender")?).ok()?;
    let sending = Sending {
        sender,
        kind: text("type")?.to_owned(),
    };
    let message_id = text("message_id")?.to_owned();
    (sending.sender.server_name() == origin).then_some((sending, message_id))
}
