//! What local events may relate to: <https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>

use std::sync::Arc;

use starling_db::{Error, Tx};
use starling_events::Value;
use starling_store::events::Event;
use starling_store::memberships::Membership;
use starling_store::relations::{ANNOTATION, Relation, THREAD, relation_in, relation_of};
use starling_store::{RoomNum, Store};

use crate::error::SendError;
use crate::pipeline::Draft;
use crate::rooms::Rooms;

/// So many of a user's annotations of one event are compared with a new one.
const MOST_COMPARED: i64 = 200;

impl Rooms {
    /// The event of the same room that a draft relates to, if it relates to one that is here.
    ///
    /// A relation that breaks other rules is sent all the same, and nobody heeds it.
    ///
    /// # Errors
    /// [`SendError::NestedThread`] and [`SendError::DuplicateAnnotation`] for what must not be sent.
    pub(crate) async fn relates_to(
        &self,
        room: RoomNum,
        draft: &Draft,
    ) -> Result<Option<Arc<Event>>, SendError> {
        // Nearly all drafts relate to nothing.
        if draft.content.value().get("m.relates_to").is_none() {
            return Ok(None);
        }
        // Who is not in the room doesn't learn what events it has; the pipeline refuses what they send.
        if self.current_membership(room, &draft.sender).await? != Some(Membership::Join) {
            return Ok(None);
        }
        let (store, draft) = (self.store().clone(), draft.clone());
        let read = move |tx: &mut Tx<'_>| related(&store, tx, room, &draft);
        self.store().db().read("relates_to", read).await
    }
}

fn related(
    store: &Store,
    tx: &mut Tx<'_>,
    room: RoomNum,
    draft: &Draft,
) -> Result<Option<Arc<Event>>, SendError> {
    let Some(snapshot) = store.room_read(tx, room)? else {
        return Ok(None);
    };
    let Some(relation) = relation_in(snapshot.version, draft.content.value()) else {
        return Ok(None);
    };
    let target = store.event_by_id(tx, &relation.target)?;
    let target = target.filter(|target| target.room == room);
    match &*relation.rel_type {
        THREAD
            if target
                .as_ref()
                .is_some_and(|target| relation_of(&target.pdu).is_some()) =>
        {
            Err(SendError::NestedThread)
        }
        ANNOTATION if is_annotated(store, tx, (room, &relation), draft)? => {
            Err(SendError::DuplicateAnnotation)
        }
        _ => Ok(target),
    }
}

/// Whether the sender has annotated the event so before.
/// <https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations>
fn is_annotated(
    store: &Store,
    tx: &mut Tx<'_>,
    (room, relation): (RoomNum, &Relation),
    draft: &Draft,
) -> Result<bool, Error> {
    let kind = store.names().kind(tx, &draft.kind)?;
    let sender = store.names().user(tx, &draft.sender)?;
    let Some((kind, sender)) = kind.zip(sender) else {
        return Ok(false);
    };
    let before = store.relations_by_user(tx, (room, relation), (sender, kind), MOST_COMPARED)?;
    let key = annotation_key(draft.content.value());
    Ok(before
        .iter()
        .any(|event| annotation_key(Value::new(event.pdu.content())) == key))
}

fn annotation_key(content: Value<'_>) -> Option<&[u8]> {
    let key = content.get("m.relates_to")?.get("key")?;
    Some(key.as_bytes())
}
