//! A room that grows: what a message costs at its beginning and after many, and what an event takes on the disk.

use std::time::Duration;

use tokio::time::Instant;

use super::Error;
use super::meter::{Round, as_number};
use super::plan::Plan;
use super::send::{self, Amount, Sender};
use super::site::Site;

/// How many send at once.
pub const SENDERS: usize = 10;
/// How many messages there are before the first are measured.
pub const FIRST: u64 = 1000;

/// What a growing room showed.
#[derive(Debug, Clone)]
pub struct Growth {
    /// Messages after the first thousand.
    pub early: Round,
    /// Messages when the room was full, if it was filled.
    pub late: Option<Round>,
    /// How many messages it holds in the end.
    pub events: u64,
    /// Bytes on the disk for each of them, where they are known.
    pub bytes_per_event: Option<f64>,
    /// How long its last events are as JSON, as servers exchange them, in bytes, where that is known.
    pub json_bytes: Option<f64>,
}

/// Fills a new room.
///
/// # Errors
/// When the server refuses a message.
pub async fn measure(site: &mut Site, run: &str, plan: &Plan) -> Result<Growth, Error> {
    // The write-ahead log is part of the files, and a server that ends puts it away.
    site.restart().await?;
    let before = disk_of(site).await?;
    let until = Instant::now() + plan.patience;
    let mut senders = site.take_senders(SENDERS, true);
    let room = match senders.first_mut() {
        Some(sender) => sender.user.create_room().await?,
        None => String::new(),
    };
    for (index, sender) in senders.iter_mut().enumerate() {
        if index > 0 {
            sender.user.join(&room).await?;
        }
        sender.rooms = [room.clone()].into();
    }
    let mut growing = Growing {
        site,
        run,
        until,
        senders,
        events: 0,
    };
    growing.send(FIRST).await?;
    let early = growing.send(plan.window).await?;
    growing
        .send(plan.events.saturating_sub(growing.events))
        .await?;
    let late = if growing.events >= plan.events {
        Some(growing.send(plan.window).await?)
    } else {
        None
    };
    let (events, senders) = (growing.events, growing.senders);
    site.return_senders(senders);
    site.restart().await?;
    let after = disk_of(site).await?;
    let json_bytes = match &site.server {
        Some(server) => server.json_bytes().await?,
        None => None,
    };
    let bytes = after
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before));
    Ok(Growth {
        early,
        late,
        events,
        bytes_per_event: bytes.map(|bytes| as_number(bytes) / as_number(events.max(1))),
        json_bytes,
    })
}

struct Growing<'a> {
    site: &'a Site,
    run: &'a str,
    until: Instant,
    senders: Vec<Sender>,
    events: u64,
}

impl Growing<'_> {
    async fn send(&mut self, messages: u64) -> Result<Round, Error> {
        let amount = Amount {
            messages,
            time: self.until.saturating_duration_since(Instant::now()),
        };
        let run = format!("{}.grow{}", self.run, self.events);
        let senders = std::mem::take(&mut self.senders);
        let (round, senders) = send::round(&self.site.target, &run, senders, amount).await?;
        self.senders = senders;
        self.events += round.operations;
        Ok(round)
    }
}

async fn disk_of(site: &Site) -> Result<Option<u64>, Error> {
    // What was written last may be in the system's memory, but it counts in a file's length.
    tokio::time::sleep(Duration::from_millis(500)).await;
    match &site.server {
        Some(server) => server.disk_bytes().await.map(Some),
        None => Ok(None),
    }
}
