//! The whole benchmark: scenario after scenario, round after round, server after server.

use tokio::time::sleep;

use super::Error;
use super::growth;
use super::meter::{Round, as_number};
use super::plan::{Family, Plan};
use super::report::{Report, Row};
use super::send::{self, Amount};
use super::site::Site;
use super::syncs::{self, Readers};
use super::{accounts, fan_out};

/// A run on all servers.
#[derive(Debug)]
pub struct Run {
    /// How much.
    pub plan: Plan,
    /// What; all when it is empty.
    pub only: Vec<Family>,
    /// Part of every name that is made, so that a server can be measured again.
    pub name: String,
    /// The servers.
    pub sites: Vec<Site>,
    /// What was measured so far.
    pub report: Report,
    /// Is told what happens.
    pub progress: fn(&str),
}

impl Run {
    /// Measures everything.
    ///
    /// # Errors
    /// When a server refuses something.
    pub async fn all(&mut self) -> Result<(), Error> {
        sleep(self.plan.settle).await;
        self.memory("memory at start, MB");
        if self.wants(Family::Accounts) {
            self.accounts().await?;
        }
        if self.wants(Family::Send) || self.wants(Family::Growth) {
            self.prepare().await?;
        }
        if self.wants(Family::Send) {
            for &senders in self.plan.senders {
                for is_one_room in [true, false] {
                    self.send(senders, is_one_room).await?;
                }
            }
        }
        if self.wants(Family::Growth) {
            self.growth().await?;
        }
        if self.wants(Family::FanOut) {
            for &clients in self.plan.clients {
                self.fan_out(clients).await?;
            }
        }
        if self.wants(Family::Sync) {
            self.syncs().await?;
        }
        sleep(self.plan.settle).await;
        self.memory("memory after all that, MB");
        if self.wants(Family::Idle) {
            self.idle().await?;
        }
        Ok(())
    }

    fn wants(&self, family: Family) -> bool {
        self.only.is_empty() || self.only.contains(&family)
    }

    fn memory(&mut self, what: &str) {
        for site in &self.sites {
            let memory = site.target.memory().map(|bytes| as_number(bytes) / 1e6);
            self.report.figure(what, &site.target.name, memory, "");
        }
    }

    async fn accounts(&mut self) -> Result<(), Error> {
        let mut registered = vec![Vec::new(); self.sites.len()];
        let mut logged_in = vec![Vec::new(); self.sites.len()];
        for round in 0..self.plan.rounds {
            (self.progress)(&format!("accounts, round {round}"));
            let results = registered.iter_mut().zip(&mut logged_in);
            for (site, (registered, logged_in)) in self.sites.iter_mut().zip(results) {
                let run = format!("{}.{round}", self.name);
                let time = self.plan.accounts;
                registered.push(accounts::register(&site.target, &run, time).await?);
                site.want_users(&self.name, 2, self.plan.patience).await?;
                logged_in.push(accounts::log_in(&site.target, &site.users, time).await?);
            }
        }
        let notes = vec![String::new(); self.sites.len()];
        self.add("register, 2 at once", registered, &notes);
        self.add("log in, 2 at once", logged_in, &notes);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), Error> {
        let most = self.plan.senders.iter().copied().max().unwrap_or(0);
        for site in &mut self.sites {
            (self.progress)(&format!("{}: users and rooms", site.target.name));
            site.want_users(&self.name, most, self.plan.patience)
                .await?;
            site.want_rooms(self.plan.rooms, self.plan.senders).await?;
        }
        Ok(())
    }

    async fn send(&mut self, senders: usize, is_one_room: bool) -> Result<(), Error> {
        let rooms = if is_one_room { 1 } else { self.plan.rooms };
        let scenario = format!("send, {senders} senders, rooms: {rooms}");
        let mut all = vec![Vec::new(); self.sites.len()];
        let notes: Vec<String> = self
            .sites
            .iter()
            .map(|site| fewer(site.users.len(), senders, "senders"))
            .collect();
        for round in 0..self.plan.rounds {
            (self.progress)(&format!("{scenario}, round {round}"));
            for (site, rounds) in self.sites.iter_mut().zip(&mut all) {
                let mut taken = site.take_senders(senders, is_one_room);
                let mut measured = Round::default();
                // The first is a warm-up.
                for (part, time) in [("w", self.plan.send / 8), ("m", self.plan.send)] {
                    let run = format!("{}.{senders}.{rooms}.{round}{part}", self.name);
                    let amount = Amount {
                        messages: u64::MAX,
                        time,
                    };
                    (measured, taken) = send::round(&site.target, &run, taken, amount).await?;
                }
                site.return_senders(taken);
                rounds.push(measured);
            }
        }
        self.add(&scenario, all, &notes);
        Ok(())
    }

    async fn growth(&mut self) -> Result<(), Error> {
        let full = self.plan.events;
        for site in &mut self.sites {
            (self.progress)(&format!("{}: a room of {full} events", site.target.name));
            let growth = growth::measure(site, &self.name, &self.plan).await?;
            let name = site.target.name.clone();
            let note = if growth.late.is_some() {
                String::new()
            } else {
                format!(
                    "came to {} events in {} s",
                    growth.events,
                    self.plan.patience.as_secs()
                )
            };
            let windows = [
                ("1000".to_owned(), Some(growth.early)),
                (full.to_string(), growth.late),
            ];
            for (events, round) in windows {
                self.report.rows.push(Row {
                    scenario: format!("send, {} senders, after {events} events", growth::SENDERS),
                    server: name.clone(),
                    rounds: round
                        .into_iter()
                        .filter(|round| round.operations > 0)
                        .collect(),
                    note: note.clone(),
                });
            }
            let disk = growth.bytes_per_event;
            self.report
                .figure("disk, bytes per event", &name, disk, &note);
            let json = growth.json_bytes;
            self.report
                .figure("JSON of an event, bytes", &name, json, "");
            let by_byte = disk.zip(json).map(|(disk, json)| disk / json);
            self.report
                .figure("disk, bytes per byte of JSON", &name, by_byte, &note);
        }
        Ok(())
    }

    async fn fan_out(&mut self, clients: usize) -> Result<(), Error> {
        let scenario = format!("fan-out, 1 sender to {clients} clients");
        let mut notes = Vec::with_capacity(self.sites.len());
        for site in &mut self.sites {
            (self.progress)(&format!("{}: {clients} listeners", site.target.name));
            site.want_listeners(&self.name, clients, self.plan.listener_patience)
                .await?;
            notes.push(fewer(site.listeners.len(), clients, "clients"));
        }
        sleep(self.plan.settle).await;
        let mut all = vec![Vec::new(); self.sites.len()];
        for round in 0..self.plan.rounds {
            (self.progress)(&format!("{scenario}, round {round}"));
            for (site, rounds) in self.sites.iter_mut().zip(&mut all) {
                let listeners = std::mem::take(&mut site.listeners);
                let room = site.listened.clone().unwrap_or_default();
                let Some(sender) = site.users.first_mut() else {
                    continue;
                };
                let run = format!("{}.f{clients}.{round}", self.name);
                let time = self.plan.fan_out;
                let (measured, listeners) =
                    fan_out::round(&site.target, &run, (sender, &room), listeners, time).await?;
                site.listeners = listeners;
                rounds.push(measured);
            }
        }
        self.add(&scenario, all, &notes);
        Ok(())
    }

    async fn syncs(&mut self) -> Result<(), Error> {
        let name = format!("{}.s", self.name);
        let mut all = Vec::new();
        for site in self.sites.iter().filter(|site| !site.is_floor()) {
            (self.progress)(&format!("{}: rooms to sync", site.target.name));
            all.push(Readers::make(&site.target, &name, &self.plan).await?);
        }
        sleep(self.plan.settle).await;
        for (scenario, asked) in syncs::scenarios(&self.plan) {
            let mut measured = vec![Vec::new(); all.len()];
            for round in 0..self.plan.rounds {
                (self.progress)(&format!("{scenario}, round {round}"));
                for (readers, rounds) in all.iter_mut().zip(&mut measured) {
                    rounds.extend(readers.round(asked, self.plan.sync).await?);
                }
            }
            for (readers, rounds) in all.iter().zip(measured) {
                let patience = self.plan.sync_patience.as_secs();
                let late = format!("its set-up takes more than {patience} s");
                self.report.rows.push(Row {
                    scenario: scenario.clone(),
                    server: readers.target.name.clone(),
                    note: if rounds.is_empty() {
                        late
                    } else {
                        String::new()
                    },
                    rounds,
                });
            }
        }
        Ok(())
    }

    async fn idle(&mut self) -> Result<(), Error> {
        let clients = self.plan.idle_clients;
        for site in &mut self.sites {
            (self.progress)(&format!("{}: {clients} idle clients", site.target.name));
            site.want_listeners(&self.name, clients, self.plan.listener_patience)
                .await?;
            // So that what was done before doesn't count, and least of all for who did more of it.
            site.restart().await?;
            let listeners = std::mem::take(&mut site.listeners);
            let note = fewer(listeners.len(), clients, "clients");
            let room = site.listened.clone().unwrap_or_default();
            let Some(sender) = site.users.first_mut() else {
                continue;
            };
            let run = format!("{}.idle", self.name);
            let (idle, listeners) =
                fan_out::idle(&site.target, &run, (sender, &room), listeners, &self.plan).await?;
            site.listeners = listeners;
            let name = &site.target.name;
            let what = format!("{clients} idle clients: CPU, ms per second");
            self.report
                .figure(&what, name, idle.cpu_ms_per_second, &note);
            let what = format!("{clients} idle clients: memory, MB");
            let memory = idle.memory.map(|bytes| as_number(bytes) / 1e6);
            self.report.figure(&what, name, memory, &note);
        }
        Ok(())
    }

    fn add(&mut self, scenario: &str, all: Vec<Vec<Round>>, notes: &[String]) {
        for ((site, rounds), note) in self.sites.iter().zip(all).zip(notes) {
            self.report.rows.push(Row {
                scenario: scenario.to_owned(),
                server: site.target.name.clone(),
                rounds,
                note: note.clone(),
            });
        }
    }
}

/// What to note where a server came to fewer than were wanted.
fn fewer(made: usize, wanted: usize, of_what: &str) -> String {
    if made < wanted {
        format!("{made} {of_what} only: more take too long to make")
    } else {
        String::new()
    }
}
