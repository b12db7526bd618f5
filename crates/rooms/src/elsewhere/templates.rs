//! Asking several servers for the template of a member event.

use std::time::Duration;

use ruma_common::{OwnedRoomId, OwnedServerName, OwnedUserId};
use tokio::task::JoinSet;

use super::template::Wish;
use crate::remote::{Handshake, Remote, RemoteError, Template};

/// So long only one server is asked before another one is too: some are down, and take long to show it.
const HEAD_START: Duration = Duration::from_secs(3);

/// What a server answers.
type Answered = (OwnedServerName, Result<Template, RemoteError>);

/// Templates of one server after the other. Asking for one changes nothing there, so several are asked at the same time where
/// one is slow.
pub(super) struct Templates<'a> {
    remote: &'a Remote,
    asked_for: (Handshake, OwnedRoomId, OwnedUserId),
    ahead: std::vec::IntoIter<OwnedServerName>,
    /// Each goes on while what one of them led to is tried.
    asked: JoinSet<Answered>,
}

impl<'a> Templates<'a> {
    /// The servers are asked in this order, but for those that failed lately, which come last.
    pub(super) fn begin(
        remote: &'a Remote,
        mut servers: Vec<OwnedServerName>,
        wish: &Wish<'_>,
    ) -> Self {
        servers.sort_by_key(|server| remote.is_failing(server));
        Self {
            remote,
            asked_for: (
                wish.handshake,
                wish.room_id.to_owned(),
                wish.user.to_owned(),
            ),
            ahead: servers.into_iter(),
            asked: JoinSet::new(),
        }
    }

    /// The next answer; `None` when all servers have been asked. Who wants another one had no use for those before: one more
    /// server is asked at once.
    pub(super) async fn next(&mut self) -> Option<Answered> {
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
