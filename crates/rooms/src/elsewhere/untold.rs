//! Telling the server that invited a user, and was down then, that they have declined.

use ruma_common::{OwnedServerName, ServerName};
use serde_json::{Map, Value};
use starling_db::{Error, Tx};
use starling_events::Pdu;
use starling_store::jobs::{Job, Progress};
use starling_store::memberships::membership_read;
use starling_store::{EventNum, UserNum};

use super::template::Wish;
use crate::departures::NO_DEVICE;
use crate::error::SendError;
use crate::remote::Handshake;
use crate::rooms::{Actor, Rooms};

/// The shortest and the longest pause between two tries, in milliseconds; in between, as long as it was tried before.
const FIRST_PAUSE_MS: i64 = 60_000;
const LONGEST_PAUSE_MS: i64 = 3_600_000;

/// After so many milliseconds (a week) it is given up: some 170 tries.
const GIVEN_UP_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// A leave that only this server knows.
struct Untold {
    user: UserNum,
    leave: Pdu,
    /// The server of who invited the user, or of the user who knocked.
    inviter: Option<OwnedServerName>,
}

impl Rooms {
    /// Tells a server of a leave that only this one knows, unless it can't be reached now or the user is something else in the
    /// room meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn tell_leave(&self, job: &Job, leave: EventNum) -> Result<Progress, Error> {
        let Some(untold) = self.untold(leave).await? else {
            return Ok(Progress::Done);
        };
        let (room, user) = (untold.leave.room_id(), untold.leave.sender());
        let told = match self.server_to_tell(&untold).await? {
            Some(server) => self.tell(&server, &untold.leave, leave).await,
            None => return Ok(Progress::Done),
        };
        let error = match told {
            Ok(()) => return Ok(Progress::Done),
            Err(SendError::Db(error)) => return Err(error),
            Err(error) => error,
        };
        let now_ms = self.parts.clock.now_ms();
        let tried_for = now_ms.saturating_sub(job.noted_at);
        // It knows of no invite: it took the leave and its answer was lost, or the invite was taken back.
        let is_refused = matches!(&error, SendError::Remote(error) if error.is_final());
        if is_refused || tried_for >= GIVEN_UP_MS {
            tracing::info!(%room, %user, %error, "that a user has declined an invite is told to nobody");
            return Ok(Progress::Done);
        }
        let pause_ms = tried_for.clamp(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
        Ok(Progress::PutOff(now_ms + pause_ms))
    }

    /// The leave, if it is still what the user is in the room, which this server is not in.
    async fn untold(&self, leave: EventNum) -> Result<Option<Untold>, Error> {
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            let Some(event) = store.event_read(tx, leave)? else {
                return Ok(None);
            };
            let Some(user) = store.names().user(tx, event.pdu.sender())? else {
                return Ok(None);
            };
            let row = membership_read(tx, user, event.room)?;
            if row.is_none_or(|row| row.event != leave) {
                return Ok(None);
            }
            let ended = match event.pdu.prev_events().first() {
                Some(ended) => store.event_by_id(tx, ended)?,
                None => None,
            };
            Ok(Some(Untold {
                user,
                leave: event.pdu.clone(),
                inviter: ended.map(|ended| ended.pdu.sender().server_name().to_owned()),
            }))
        };
        self.store().db().read("untold_leave", read).await
    }

    /// Who invited the user; whoever may know of their knock.
    async fn server_to_tell(&self, untold: &Untold) -> Result<Option<OwnedServerName>, Error> {
        let room_id = untold.leave.room_id();
        let Some(elsewhere) = self.elsewhere(room_id).await? else {
            return Ok(None);
        };
        let actor = Actor {
            user: untold.user,
            user_id: untold.leave.sender().to_owned(),
            device: NO_DEVICE,
            is_guest: false,
        };
        let via: Vec<OwnedServerName> = untold.inviter.iter().cloned().collect();
        let servers = self.servers_of(&actor, (room_id, &elsewhere), &via).await?;
        Ok(servers.into_iter().next())
    }

    async fn tell(&self, server: &ServerName, leave: &Pdu, num: EventNum) -> Result<(), SendError> {
        let content: Map<String, Value> =
            serde_json::from_slice(leave.content()).unwrap_or_default();
        let wish = Wish {
            handshake: Handshake::Leave,
            room_id: leave.room_id(),
            user: leave.sender(),
            content,
        };
        let remote = self.asking()?;
        // No other job is to wait until it has shown once more that it is down.
        if let Some(error) = remote.left_alone(server) {
            return Err(error.into());
        }
        let asked = (wish.room_id, wish.user);
        let template = remote.make(wish.handshake, server, asked).await?;
        // The user may have been invited anew meanwhile.
        if self.untold(num).await.map_err(SendError::Db)?.is_none() {
            return Ok(());
        }
        let through = (server, &template);
        self.leave_through(remote, through, &wish).await.map(drop)
    }
}
