//! Writing events into an answer, in the format and with the fields that the filter asks for.

use std::sync::Arc;

use starling_store::client_view::ClientView;
use starling_store::events::Event;
use starling_store::history::Viewer;

use crate::filter::{EventFields, EventFormat};
use crate::json;

/// How events are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format<'a> {
    pub(crate) shape: EventFormat,
    pub(crate) fields: Option<&'a EventFields>,
    pub(crate) room_id: bool,
}

/// Appends `[…]`, events of which `view` knows.
pub(crate) fn events(
    out: &mut Vec<u8>,
    view: &ClientView,
    format: &Format<'_>,
    viewer: &Viewer,
    page: &[Arc<Event>],
) {
    out.push(b'[');
    let start = out.len();
    let mut whole = Vec::new();
    for event in page {
        json::separate(out, start);
        let Some(fields) = format.fields else {
            one(out, view, format, viewer, event);
            continue;
        };
        whole.clear();
        one(&mut whole, view, format, viewer, event);
        fields.select(out, &whole);
    }
    out.push(b']');
}

fn one(out: &mut Vec<u8>, view: &ClientView, format: &Format<'_>, viewer: &Viewer, event: &Event) {
    match format.shape {
        EventFormat::Client => view.write(out, event, viewer, format.room_id),
        EventFormat::Federation => view.write_federation(out, event, viewer),
    }
}
