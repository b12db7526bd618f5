//! `starling room …`: what an administrator does with rooms.

use ruma_common::RoomId;
use starling_db::{Tx, Write};
use starling_store::purge::PurgeAnswer;

use crate::cli::print;
use crate::configuration::Configuration;
use crate::control::{Answer, Request};
use crate::failure::Failure;
use crate::user::{Users, database};
use crate::way::Way;

/// `starling room purge`.
pub(crate) fn purge(
    configuration: &Configuration,
    room_id: String,
    force: bool,
) -> Result<(), Failure> {
    let way = Way::find(configuration)?;
    let answer = way.ask(Request::PurgeRoom { room_id, force })?;
    let when = match way {
        Way::Socket(_) => "is being deleted",
        Way::Database(_) => "will be deleted once the server runs",
    };
    way.close();
    match answer {
        Answer::Room { room_id, before } => {
            let before = before.map_or_else(String::new, |before| format!("; {before}"));
            print(format!("{room_id} {when}{before}"))
        }
        _ => Err(Failure::new("the server gave no answer that fits")),
    }
}

/// Notes that a room is to be purged; the server's runner of jobs does it.
pub(crate) async fn note_purge(
    users: &Users,
    room_id: String,
    force: bool,
) -> Result<Answer, Failure> {
    let parsed = RoomId::parse(&room_id)
        .map_err(|error| Failure::of(format!("{room_id} is no room id"), &error))?;
    let (store, now_ms) = (users.store.clone(), users.clock.now_ms());
    let note = move |tx: &mut Tx<'_>| store.purge_note(tx, &parsed, force, now_ms);
    let noted = users.store.db().write(Write::new("purge_note"), note).await;
    match noted.map_err(|error| database(&error))? {
        PurgeAnswer::Leaving(count) => Ok(Answer::Room {
            room_id,
            before: Some(format!("{count} users of this server leave it first")),
        }),
        PurgeAnswer::Sending => Ok(Answer::Room {
            room_id,
            before: Some(
                "other servers are sent its last events first, for ten minutes at most".to_owned(),
            ),
        }),
        PurgeAnswer::Deleting => Ok(Answer::Room {
            room_id,
            before: None,
        }),
        PurgeAnswer::Unknown => Err(Failure::new(format!("there is no room {room_id}"))),
        PurgeAnswer::Joined(count) => Err(Failure::new(format!(
            "{count} users of this server are in {room_id}; with --force, they leave it first"
        ))),
    }
}
