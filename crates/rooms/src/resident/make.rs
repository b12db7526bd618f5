//! Templates for member events of other servers' users.

use ruma_common::{RoomId, ServerName, UserId};
use serde_json::{Map, Value};
use starling_events::{CanonicalObject, RoomVersion};
use starling_store::memberships::Membership;

use super::ResidentError;
use crate::membership::AUTHORISED_VIA;
use crate::pipeline::Draft;
use crate::remote::Handshake;
use crate::rooms::Rooms;

/// What this server's signature is not to be in.
const NOT_OF_TEMPLATES: [&str; 3] = ["event_id", "hashes", "signatures"];

/// A template of this server.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnTemplate {
    /// The room's version.
    pub version: RoomVersion,
    /// The event without hashes and signatures.
    pub event: Map<String, Value>,
}

impl Rooms {
    /// A template for a member event of another server's user, who may do what it does. `versions` are those of rooms that
    /// the server knows; they don't matter to who leaves.
    ///
    /// # Errors
    /// [`ResidentError`]
    pub async fn make_for(
        &self,
        origin: &ServerName,
        (handshake, room_id): (Handshake, &RoomId),
        user: &UserId,
        versions: &[String],
    ) -> Result<OwnTemplate, ResidentError> {
        if user.server_name() != origin {
            let why = "the user is of another server";
            return Err(ResidentError::Forbidden(why.to_owned()));
        }
        let room = self.resident(room_id).await?;
        let version = room.version;
        let is_known = versions.iter().any(|known| known == version.as_str());
        if handshake != Handshake::Leave && !is_known {
            return Err(ResidentError::IncompatibleVersion(version));
        }
        if handshake == Handshake::Knock && !version.rules().knocking {
            let why = "one cannot knock at rooms of this version";
            return Err(ResidentError::Forbidden(why.to_owned()));
        }
        let mut content = Map::new();
        let word = handshake.membership().as_str();
        content.insert("membership".to_owned(), word.into());
        if handshake.membership() == Membership::Join {
            let authoriser = self.authoriser_of_other(&room, user).await?;
            content
                .extend(authoriser.map(|user| (AUTHORISED_VIA.to_owned(), user.as_str().into())));
        }
        let content = CanonicalObject::from_serialize(&content);
        let content = content.map_err(|_| ResidentError::Invalid("the content"))?;
        let draft = Draft::state(user.to_owned(), "m.room.member", user.as_str(), content);
        let event = self.build_aside(&room, draft).await?;
        let event: Result<Map<String, Value>, _> = serde_json::from_slice(event.json());
        let mut event = event.map_err(|_| ResidentError::Invalid("the event"))?;
        event.retain(|name, _| !NOT_OF_TEMPLATES.contains(&name.as_str()));
        Ok(OwnTemplate { version, event })
    }
}
