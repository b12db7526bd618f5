//! Events of one room as answers: written from their kept bytes, for the one who asks.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-event-format>

use std::sync::Arc;

use starling_accounts::Session;
use starling_http::MatrixError;
use starling_store::bundles::BundledPage;
use starling_store::client_view::{Asker, ClientView};
use starling_store::events::Event;
use starling_store::history::Viewer;

use crate::State;

/// One event.
pub(super) async fn write_event(
    api: &State,
    session: &Session,
    event: Arc<Event>,
) -> Result<Vec<u8>, MatrixError> {
    let mut list = write_events(api, session, vec![event]).await?;
    // What stands between the brackets of a list of one.
    list.pop();
    list.drain(..1);
    Ok(list)
}

/// A JSON list of events, which are all of one room.
pub(super) async fn write_events(
    api: &State,
    session: &Session,
    events: Vec<Arc<Event>>,
) -> Result<Vec<u8>, MatrixError> {
    let Some(room) = events.first().map(|event| event.room) else {
        return Ok(b"[]".to_vec());
    };
    let store = api.store.clone();
    let asker = Asker {
        user: session.user,
        device: session.device,
        now_ms: api.clock.now_ms(),
    };
    let write = move |tx: &mut starling_db::Tx<'_>| {
        let viewer = Viewer::load(tx, &store, asker.user, room)?;
        let mut view = ClientView::load(&store, tx, asker, &events)?;
        // State has no aggregations, and other events come here one by one.
        if events.iter().any(|event| event.key.is_none())
            && let Some(snapshot) = store.room_read(tx, room)?
            && snapshot.has_aggregations
        {
            let page = BundledPage {
                viewer: &viewer,
                events: &events,
            };
            view.bundle(&store, tx, &[page], i64::MAX)?;
        }
        let mut out = vec![b'['];
        for (index, event) in events.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            view.write(&mut out, event, &viewer, true);
        }
        out.push(b']');
        Ok::<_, starling_db::Error>(out)
    };
    let written = api.store.db().scan("client_events", write).await;
    written.map_err(MatrixError::internal)
}
