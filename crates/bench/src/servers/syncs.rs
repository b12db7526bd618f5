//! What a client is told after a time away: a first sync, one with nothing new, and one after many events.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Error;
use super::meter::{Meter, Round};
use super::plan::Plan;
use super::target::Target;
use super::user::User;

/// How many send at once where events are missed.
const SENDERS: usize = 10;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// Everything, by a reader of so many rooms.
    First(usize),
    /// What is new, where nothing is, by a reader of so many rooms.
    Nothing(usize),
    /// What is new after the missed events.
    Missed,
}

/// Users who are in many rooms, on one server.
#[derive(Debug)]
pub struct Readers {
    /// The server.
    pub target: Target,
    /// Each with the number of its rooms and a token from after the last join. Only those whose rooms were made in time.
    ready: Vec<(usize, String, String)>,
    /// Who missed events, and the token from before them.
    behind: Option<(String, String)>,
}

impl Readers {
    /// What is measured of them, each with its name.
    #[must_use]
    pub fn scenarios(plan: &Plan) -> Vec<(String, Synced)> {
        let rooms = plan.synced_rooms.iter().copied();
        let first = rooms
            .clone()
            .map(|count| (format!("first sync, {count} rooms"), Synced::First(count)));
        let nothing = rooms.map(|count| {
            (
                format!("sync with nothing new, {count} rooms"),
                Synced::Nothing(count),
            )
        });
        let missed = format!("sync after {} events in {} rooms", plan.missed, SENDERS);
        first
            .chain(nothing)
            .chain([(missed, Synced::Missed)])
            .collect()
    }

    /// Makes rooms, and a reader for each number of them: the same rooms for all.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn make(target: &Target, run: &str, plan: &Plan) -> Result<Self, Error> {
        let mut made = Self {
            target: target.clone(),
            ready: Vec::new(),
            behind: None,
        };
        let mut creator = User::register(target, &format!("{run}.creator")).await?;
        let mut rooms: Vec<String> = Vec::new();
        let until = Instant::now() + plan.sync_patience;
        for &count in plan.synced_rooms {
            let name = format!("{run}.reader{count}");
            let mut reader = User::register(target, &name).await?;
            for number in 0..count {
                if Instant::now() > until {
                    return Ok(made);
                }
                if number == rooms.len() {
                    rooms.push(creator.create_room().await?);
                }
                if let Some(room) = rooms.get(number) {
                    reader.join(room).await?;
                }
            }
            let since = reader.sync(None, 0).await?.next_batch;
            made.ready.push((count, name, since));
            if made.behind.is_none() && count >= SENDERS {
                made.miss(run, &rooms, plan).await?;
            }
        }
        Ok(made)
    }

    /// Has the reader of fewest rooms miss events, if they can be sent in time.
    async fn miss(&mut self, run: &str, rooms: &[String], plan: &Plan) -> Result<(), Error> {
        let until = Instant::now() + plan.sync_patience;
        let mut sending = JoinSet::new();
        let share = plan.missed / SENDERS as u64;
        for (sender, room) in rooms.iter().take(SENDERS).enumerate() {
            let name = format!("{run}.sender{sender}");
            let mut user = User::register(&self.target, &name).await?;
            user.join(room).await?;
            let room = room.clone();
            sending.spawn(async move {
                for number in 0..share {
                    if Instant::now() > until {
                        return Ok(false);
                    }
                    let text = format!("{name}.{number}");
                    user.send(&room, &text, &text).await?;
                }
                Ok::<bool, Error>(true)
            });
        }
        let mut all = true;
        while let Some(ended) = sending.join_next().await {
            all &= ended??;
        }
        if let Some((_, name, since)) = self.ready.first().filter(|_| all) {
            self.behind = Some((name.clone(), since.clone()));
        }
        Ok(())
    }

    /// One round of `count` syncs, one after the other, each by a session of its own, so that no answer can be one that
    /// the server has kept. Nothing where its set-up took too long.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn round(&self, what: Synced, count: usize) -> Result<Option<Round>, Error> {
        let of = |rooms: usize| self.ready.iter().find(|(count, ..)| *count == rooms);
        let (name, since) = match what {
            Synced::First(rooms) => match of(rooms) {
                Some((_, name, _)) => (name.clone(), None),
                None => return Ok(None),
            },
            Synced::Nothing(rooms) => match of(rooms) {
                Some((_, name, _)) => {
                    let mut reader = User::log_in(&self.target, name).await?;
                    (name.clone(), Some(reader.sync(None, 0).await?.next_batch))
                }
                None => return Ok(None),
            },
            Synced::Missed => match &self.behind {
                Some((name, since)) => (name.clone(), Some(since.clone())),
                None => return Ok(None),
            },
        };
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            sessions.push(User::log_in(&self.target, &name).await?);
        }
        let meter = Meter::start(&self.target);
        let mut latencies: Vec<Duration> = Vec::with_capacity(count);
        for session in &mut sessions {
            let begun = Instant::now();
            session.sync(since.as_deref(), 0).await?;
            latencies.push(begun.elapsed());
        }
        let done = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
        Ok(Some(meter.stop(done, latencies)))
    }
}
