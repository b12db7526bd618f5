//! `m.presence`: who of those that share a room with the reader is there.
//! <https://spec.matrix.org/v1.19/client-server-api/#mpresence>

use starling_bus::Presence;

use super::Scope;
use super::plan::Plan;
use crate::json::{self, Object};

/// The type of the event.
const KIND: &str = "m.presence";

/// What to tell: what has changed, and of a room that is told whole, who is there.
pub(crate) fn of_plan(scope: &Scope, plan: &Plan) -> Vec<Presence> {
    let filter = &scope.filter.presence;
    if !filter.allows_type(KIND) {
        return Vec::new();
    }
    // Without a moment all of the user's rooms are new.
    let new: Vec<i64> = match scope.moment.since {
        Some(_) => plan.whole_rooms().map(|room| room.0).collect(),
        None => Vec::new(),
    };
    let stretch = (scope.moment.since, scope.moment.upto);
    let mut changed = scope.bus.presence_changed(stretch, &scope.listener, &new);
    changed.retain(|presence| filter.allows_sender(&presence.user_id));
    changed
}

/// Appends `{"events":[…]}`.
pub(crate) fn write(out: &mut Vec<u8>, told: &[Presence], now_ms: i64) {
    out.extend_from_slice(b"{\"events\":");
    write_list(out, told, now_ms);
    out.push(b'}');
}

/// Appends `[…]`.
pub(crate) fn write_list(out: &mut Vec<u8>, told: &[Presence], now_ms: i64) {
    out.push(b'[');
    let start = out.len();
    for presence in told {
        json::separate(out, start);
        let mut event = Object::begin(out);
        event.key(out, "content");
        write_content(out, presence, now_ms);
        event.string(out, "sender", &presence.user_id);
        event.string(out, "type", KIND);
        out.push(b'}');
    }
    out.push(b']');
}

fn write_content(out: &mut Vec<u8>, presence: &Presence, now_ms: i64) {
    let mut content = Object::begin(out);
    if let Some(is_active) = presence.is_active() {
        content.key(out, "currently_active");
        out.extend_from_slice(if is_active { b"true" } else { b"false" });
    }
    if let Some(ago) = presence.active_ago(now_ms) {
        content.key(out, "last_active_ago");
        out.extend_from_slice(ago.to_string().as_bytes());
    }
    content.string(out, "presence", presence.state.as_str());
    if let Some(status) = &presence.status {
        content.string(out, "status_msg", status);
    }
    out.push(b'}');
}
