//! Trying one server after another: each is asked for the template of a member event, and what comes of a template is tried before
//! the next one is.

use std::time::Duration;

use ruma_common::{OwnedRoomId, OwnedServerName, OwnedUserId};
use starling_runtime::Clock;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::template::Wish;
use crate::error::SendError;
use crate::remote::{Handshake, Remote, RemoteError, Template};
use crate::rooms::Rooms;

/// After this no further server is tried: a client waits for it.
const PATIENCE: Duration = Duration::from_secs(90);

/// So long only one server is asked before another one is too: some are down, and take long to show it.
const HEAD_START: Duration = Duration::from_secs(3);

/// What a server answers.
type Answered = (OwnedServerName, Result<Template, RemoteError>);

/// The servers that are tried, and what came of those that were. Asking for a template changes nothing there, so several are asked
/// at the same time where one is slow.
pub(super) struct Attempts<'a> {
    remote: &'a Remote,
    asked_for: (Handshake, OwnedRoomId, OwnedUserId),
    ahead: std::vec::IntoIter<OwnedServerName>,
    /// Each goes on while what one of them led to is tried.
    asked: JoinSet<Answered>,
    clock: Clock,
    begun: Instant,
    told: Option<SendError>,
}

impl Rooms {
    /// Tries these servers in their order, but for those that failed lately, which come last.
    pub(super) fn attempts<'a>(
        &self,
        remote: &'a Remote,
        mut servers: Vec<OwnedServerName>,
        wish: &Wish<'_>,
    ) -> Attempts<'a> {
        servers.sort_by_key(|server| remote.is_failing(server));
        let (clock, asked_for) = (
            self.parts.clock.clone(),
            (
                wish.handshake,
                wish.room_id.to_owned(),
                wish.user.to_owned(),
            ),
        );
        Attempts {
            remote,
            asked_for,
            ahead: servers.into_iter(),
            asked: JoinSet::new(),
            begun: clock.monotonic(),
            clock,
            told: None,
        }
    }
}

impl Attempts<'_> {
    /// The next template; `None` when no further server is to be tried. Who wants another one had no use for those before: one
    /// more server is asked at once.
    ///
    /// # Errors
    /// What a server said, when it makes no sense to try another.
    pub(super) async fn next(&mut self) -> Result<Option<(OwnedServerName, Template)>, SendError> {
        while self.clock.monotonic() - self.begun <= PATIENCE {
            match self.answer().await {
                Some((server, Ok(template))) => return Ok(Some((server, template))),
                Some((_, Err(error))) => self.failed(error.into())?,
                None => break,
            }
        }
        Ok(None)
    }

    /// One was tried in vain.
    ///
    /// # Errors
    /// `error`, when it makes no sense to try another.
    pub(super) fn failed(&mut self, error: SendError) -> Result<(), SendError> {
        let goes_on = match &error {
            // Nobody's refusal keeps an invite here.
            _ if self.asked_for.0 == Handshake::Leave => true,
            SendError::Remote(error) => !error.is_final(),
            // Also one that the server may have made up.
            SendError::IncompatibleVersion(_) => true,
            _ => false,
        };
        if !goes_on {
            return Err(error);
        }
        tracing::debug!(%error, "a server was tried in vain");
        let is_better = match &self.told {
            None => true,
            Some(told) => says_why(&error) && !says_why(told),
        };
        if is_better {
            self.told = Some(error);
        }
        Ok(())
    }

    /// What to tell, after all were tried.
    pub(super) fn told(self) -> SendError {
        self.told.unwrap_or(SendError::UnknownRoom)
    }

    async fn answer(&mut self) -> Option<Answered> {
        self.ask_one();
        loop {
            let has_others = !self.ahead.as_slice().is_empty();
            tokio::select! {
                biased;
                answered = self.asked.join_next() => match answered {
                    Some(Ok(answered)) => return Some(answered),
                    // It panicked: the next one is asked.
                    Some(Err(_)) => self.ask_one(),
                    None => return None,
                },
                () = tokio::time::sleep(HEAD_START), if has_others => self.ask_one(),
            }
        }
    }

    fn ask_one(&mut self) {
        let Some(server) = self.ahead.next() else {
            return;
        };
        let (remote, asked_for) = (self.remote.clone(), self.asked_for.clone());
        self.asked.spawn(async move {
            let (handshake, room_id, user) = asked_for;
            let template = remote.make(handshake, &server, (&room_id, &user)).await;
            (server, template)
        });
    }
}

/// Whether the error says why the user can't come in, rather than that a server couldn't be asked.
fn says_why(error: &SendError) -> bool {
    matches!(
        error,
        SendError::IncompatibleVersion(_) | SendError::Remote(RemoteError::Refused { .. })
    )
}
