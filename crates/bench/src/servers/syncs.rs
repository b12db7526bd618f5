//! What a client is told after a time away: a first sync, one with nothing new, and one after many events.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Error;
use super::meter::{Meter, Round};
use super::plan::Plan;
use super::target::Target;
use super::user::User;

/// How many send at once where events are missed, each to a room of its own.
const SENDERS: usize = 10;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Everything, by a reader of so many rooms.
    First(usize),
    /// What is new, where nothing is, by a reader of so many rooms.
    Nothing(usize),
    /// What is new after the missed events.
    Missed,
}

/// A user who is in a number of rooms.
#[derive(Debug)]
struct Reader {
    user: User,
    rooms: usize,
    /// A token from after the last join.
    since: String,
}

/// Users who are in many rooms, on one server.
#[derive(Debug)]
pub struct Readers {
    /// The server.
    pub target: Target,
    /// Those whose rooms could be made in time.
    ready: Vec<Reader>,
    /// Whether the missed events could be sent in time.
    missed: bool,
    /// Makes each filter another one.
    next_filter: u64,
}

/// What is measured, each with its name.
#[must_use]
pub fn scenarios(plan: &Plan) -> Vec<(String, Asked)> {
    let rooms = plan.synced_rooms.iter().copied();
    let first = rooms
        .clone()
        .map(|count| (format!("first sync, {count} rooms"), Asked::First(count)));
    let nothing = rooms.map(|count| {
        let name = format!("sync with nothing new, {count} rooms");
        (name, Asked::Nothing(count))
    });
    let missed = format!("sync after {} events in {SENDERS} rooms", plan.missed);
    first
        .chain(nothing)
        .chain([(missed, Asked::Missed)])
        .collect()
}

impl Readers {
    /// Makes rooms, and a reader for each number of them: the same rooms for all. Then one of the readers misses events.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn make(target: &Target, run: &str, plan: &Plan) -> Result<Self, Error> {
        let mut made = Self {
            target: target.clone(),
            ready: Vec::new(),
            missed: false,
            next_filter: 1,
        };
        let mut rooms: Vec<String> = Vec::new();
        made.read(run, &mut rooms, plan).await?;
        made.miss(run, &rooms, plan).await?;
        Ok(made)
    }

    async fn read(&mut self, run: &str, rooms: &mut Vec<String>, plan: &Plan) -> Result<(), Error> {
        let until = Instant::now() + plan.sync_patience;
        let mut creator = User::register(&self.target, &format!("{run}.creator")).await?;
        for &count in plan.synced_rooms {
            let name = format!("{run}.reader{count}");
            let mut user = User::register(&self.target, &name).await?;
            for number in 0..count {
                if Instant::now() > until {
                    return Ok(());
                }
                if number == rooms.len() {
                    rooms.push(creator.create_room().await?);
                }
                if let Some(room) = rooms.get(number) {
                    user.join(room).await?;
                }
            }
            let since = user.sync(None, 0).await?.next_batch;
            self.ready.push(Reader {
                user,
                rooms: count,
                since,
            });
        }
        Ok(())
    }

    /// Has all readers miss events.
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
        self.missed = true;
        while let Some(ended) = sending.join_next().await {
            self.missed &= ended??;
        }
        Ok(())
    }

    /// One round of syncs, one after the other, for `time` and at least one. Each has a filter of its own that means the
    /// same, so that no answer is one that the server has kept. Nothing where the set-up took too long.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn round(&mut self, asked: Asked, time: Duration) -> Result<Option<Round>, Error> {
        let missed = self.missed;
        let reader = self.ready.iter_mut().find(|reader| match asked {
            Asked::First(rooms) | Asked::Nothing(rooms) => reader.rooms == rooms,
            Asked::Missed => missed && reader.rooms >= SENDERS,
        });
        let Some(Reader { user, since, .. }) = reader else {
            return Ok(None);
        };
        let since = match asked {
            Asked::First(_) => None,
            Asked::Missed => Some(since.clone()),
            Asked::Nothing(_) => Some(user.sync(None, 0).await?.next_batch),
        };
        let meter = Meter::start(&self.target);
        let until = Instant::now() + time;
        let mut latencies: Vec<Duration> = Vec::new();
        while latencies.is_empty() || Instant::now() < until {
            let begun = Instant::now();
            let synced = user.sync_filtered(since.as_deref(), 0, self.next_filter);
            latencies.push(synced.await?.at - begun);
            self.next_filter += 1;
        }
        let done = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
        Ok(Some(meter.stop(done, latencies)))
    }
}
