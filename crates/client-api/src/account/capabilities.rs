//! `GET /capabilities`: <https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation>

use axum::extract;
use serde_json::{Map, Value, json};
use starling_accounts::Session;
use starling_events::RoomVersion;
use starling_http::{Auth, Authenticated, Json, Routes};

use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get("/_matrix/client/v3/capabilities", Auth::User, capabilities)
}

async fn capabilities(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Json<Value> {
    let stable = |version: RoomVersion| (version.as_str().to_owned(), Value::from("stable"));
    let available: Map<String, Value> = RoomVersion::ALL.map(stable).into_iter().collect();
    let mut capabilities = json!({
        "m.change_password": { "enabled": true },
        "m.room_versions": { "default": state.rooms.default_version().as_str(), "available": available },
        "m.set_displayname": { "enabled": true },
        "m.set_avatar_url": { "enabled": true },
        "m.3pid_changes": { "enabled": false },
        "m.forget_forced_upon_leave": { "enabled": state.config.rooms.forget_on_leave },
        "m.get_login_token": { "enabled": true },
        "m.profile_fields": { "enabled": true },
    });
    if let (Some(object), true) = (capabilities.as_object_mut(), session.is_admin) {
        let moderation = json!({ "suspend": true, "lock": true });
        object.insert("m.account_moderation".to_owned(), moderation);
    }
    Json(json!({ "capabilities": capabilities }))
}
