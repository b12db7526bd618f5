//! Endpoints of rooms: creating, joining, sending, reading, and being told what happens.

mod aliases;
mod client_events;
mod context;
mod create;
mod directory;
mod error;
mod event;
mod hierarchy;
mod initial_sync;
mod join;
mod joined_rooms;
mod knock;
mod members;
mod membership;
mod messages;
mod mutual_rooms;
mod notifications;
mod path;
mod receipts;
mod redact;
mod relations;
mod reports;
mod send;
mod state;
mod summary;
mod sync;
mod third_party;
mod threads;
mod timestamp;
mod typing;
mod upgrade;

use starling_accounts::Session;
use starling_http::{MatrixError, Routes};
use starling_rooms::Actor;
use starling_store::tokens::Token;
use starling_sync::Reader;

use crate::State;

pub(crate) use error::content as content_refusal;
pub(crate) use error::sync as sync_error;

/// The largest body of an event, in bytes: an event has at most 64 KiB, and JSON may write each as six.
const EVENT_BODY_BYTES: usize = 400_000;

/// Their routes.
pub(crate) fn routes() -> Routes<State> {
    create::routes()
        .merge(upgrade::routes())
        .merge(aliases::routes())
        .merge(directory::routes())
        .merge(summary::routes())
        .merge(hierarchy::routes())
        .merge(mutual_rooms::routes())
        .merge(reports::routes())
        .merge(join::routes())
        .merge(knock::routes())
        .merge(membership::routes())
        .merge(joined_rooms::routes())
        .merge(members::routes())
        .merge(send::routes())
        .merge(redact::routes())
        .merge(state::routes())
        .merge(event::routes())
        .merge(messages::routes())
        .merge(notifications::routes())
        .merge(receipts::routes())
        .merge(context::routes())
        .merge(relations::routes())
        .merge(threads::routes())
        .merge(timestamp::routes())
        .merge(typing::routes())
        .merge(sync::routes())
        .merge(initial_sync::routes())
}

/// Who acts in rooms with this session.
fn actor(session: &Session) -> Actor {
    Actor {
        user: session.user,
        user_id: session.user_id.clone(),
        device: session.device,
        is_guest: session.is_guest,
    }
}

/// Who is told with this session.
pub(crate) fn reader(session: &Session) -> Reader {
    Reader {
        user: session.user,
        user_id: session.user_id.clone(),
        device: session.device,
    }
}

/// The token that a parameter of this name must be.
fn token(name: &str, text: &str) -> Result<Token, MatrixError> {
    Token::parse(text).map_err(|error| MatrixError::invalid_param(format!("`{name}` is {error}")))
}
