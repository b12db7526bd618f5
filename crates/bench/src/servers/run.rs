//! The whole benchmark: scenario after scenario, round after round, server after server.

mod elsewhere;
mod encryption;

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::time::sleep;

use super::Error;
use super::growth::{self, Growth};
use super::meter::{Round, as_number};
use super::plan::{Family, Plan};
use super::report::Report;
use super::send::{self, Amount};
use super::site::Site;
use super::syncs::{self, Readers};
use super::{accounts, fan_out};
use crate::resident::Resident;

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
    /// The server whose rooms are joined, and how others are reached in its name; without it that isn't measured.
    pub resident: Option<(Arc<Resident>, Arc<ClientConfig>)>,
    /// What was measured so far.
    pub report: Report,
    /// Is told what happens.
    pub progress: fn(&str),
}

impl Run {
    /// Measures everything. A server that fails is left out from then on, and the report says why.
    pub async fn all(&mut self) {
        sleep(self.plan.settle).await;
        self.memory("memory at start, MB");
        if self.wants(Family::Accounts) {
            self.accounts().await;
        }
        if self.wants(Family::Send) || self.wants(Family::Growth) {
            self.prepare().await;
        }
        if self.wants(Family::Send) {
            for &senders in self.plan.senders {
                for is_one_room in [true, false] {
                    self.send(senders, is_one_room).await;
                }
            }
        }
        if self.wants(Family::Growth) {
            self.growth().await;
        }
        if self.wants(Family::FanOut) {
            for &clients in self.plan.clients {
                self.fan_out(clients).await;
            }
        }
        if self.wants(Family::Sync) {
            self.syncs().await;
        }
        sleep(self.plan.settle).await;
        self.memory("memory after all that, MB");
        if self.wants(Family::Claims) || self.wants(Family::ToDevice) {
            self.encryption().await;
        }
        if self.wants(Family::Idle) {
            self.idle().await;
        }
        if self.wants(Family::Join) || self.wants(Family::Inbound) {
            self.elsewhere().await;
        }
    }

    fn wants(&self, family: Family) -> bool {
        self.only.is_empty() || self.only.contains(&family)
    }

    /// Does something with each server that has not failed, in turn. Where that fails there is nothing, and the server has
    /// failed.
    async fn each<T>(
        &mut self,
        mut work: impl AsyncFnMut(&mut Site) -> Result<T, Error>,
    ) -> Vec<Option<T>> {
        let mut done = Vec::with_capacity(self.sites.len());
        for site in &mut self.sites {
            if site.failure.is_some() {
                done.push(None);
                continue;
            }
            let result = work(site).await;
            if let Err(error) = &result {
                site.fail(error);
                (self.progress)(&format!("{} failed: {error}", site.target.name));
            }
            done.push(result.ok());
        }
        done
    }

    /// Measures each server in each round. The answer is in the order of the servers.
    async fn rounds<T>(
        &mut self,
        scenario: &str,
        mut measure: impl AsyncFnMut(&mut Site, usize) -> Result<T, Error>,
    ) -> Vec<Vec<T>> {
        let mut all: Vec<Vec<T>> = self.sites.iter().map(|_| Vec::new()).collect();
        for round in 0..self.plan.rounds {
            (self.progress)(&format!("{scenario}, round {round}"));
            let measured = self.each(async |site| measure(site, round).await).await;
            for (rounds, measured) in all.iter_mut().zip(measured) {
                rounds.extend(measured);
            }
        }
        all
    }

    fn memory(&mut self, what: &str) {
        for site in self.sites.iter().filter(|site| site.failure.is_none()) {
            let memory = site.target.memory().map(|bytes| as_number(bytes) / 1e6);
            self.report.figure(what, &site.target.name, memory, "");
        }
    }

    async fn accounts(&mut self) {
        let (name, plan) = (self.name.clone(), self.plan);
        let all = self.rounds("accounts", async |site, round| {
            let run = format!("{name}.{round}");
            let registered = accounts::register(&site.target, &run, plan.accounts).await?;
            site.want_users(&name, 2, plan.patience).await?;
            let logged_in = accounts::log_in(&site.target, &site.users, plan.accounts);
            Ok((registered, logged_in.await?))
        });
        let rounds = all
            .await
            .into_iter()
            .map(|rounds| rounds.into_iter().unzip());
        let (registered, logged_in): (Vec<Vec<Round>>, Vec<Vec<Round>>) = rounds.unzip();
        self.add("register, 2 at once", registered, |_| String::new());
        self.add("log in, 2 at once", logged_in, |_| String::new());
    }

    async fn prepare(&mut self) {
        let (name, plan, progress) = (self.name.clone(), self.plan, self.progress);
        let most = plan.senders.iter().copied().max().unwrap_or(0);
        self.each(async |site| {
            progress(&format!("{}: users and rooms", site.target.name));
            site.want_users(&name, most, plan.patience).await?;
            site.want_rooms(plan.rooms, plan.senders).await
        })
        .await;
    }

    async fn send(&mut self, senders: usize, is_one_room: bool) {
        let (name, plan) = (self.name.clone(), self.plan);
        let rooms = if is_one_room { 1 } else { plan.rooms };
        let scenario = format!("send, {senders} senders, rooms: {rooms}");
        let all = self.rounds(&scenario, async |site, round| {
            let mut taken = site.take_senders(senders, is_one_room);
            let mut measured = Round::default();
            // The first is a warm-up.
            for (part, time) in [("w", plan.send / 8), ("m", plan.send)] {
                let run = format!("{name}.{senders}.{rooms}.{round}{part}");
                let amount = Amount {
                    messages: u64::MAX,
                    time,
                };
                (measured, taken) = send::round(&site.target, &run, taken, amount).await?;
            }
            site.return_senders(taken);
            Ok(measured)
        });
        let all = all.await;
        self.add(&scenario, all, |site| {
            fewer(site.users.len(), senders, "senders")
        });
    }

    async fn growth(&mut self) {
        let (name, plan, progress) = (self.name.clone(), self.plan, self.progress);
        let all = self.each(async |site| {
            let server = &site.target.name;
            progress(&format!("{server}: a room of {} events", plan.events));
            growth::measure(site, &name, &plan).await
        });
        let all = all.await;
        for (site, growth) in self.sites.iter().zip(all) {
            add_growth(&mut self.report, site, growth.as_ref(), &plan);
        }
    }

    async fn fan_out(&mut self, clients: usize) {
        let (name, plan, progress) = (self.name.clone(), self.plan, self.progress);
        let scenario = format!("fan-out, 1 sender to {clients} clients");
        self.each(async |site| {
            progress(&format!("{}: {clients} listeners", site.target.name));
            let patience = plan.listener_patience;
            site.want_listeners(&name, clients, patience).await
        })
        .await;
        sleep(plan.settle).await;
        let all = self.rounds(&scenario, async |site, round| {
            let listeners = std::mem::take(&mut site.listeners);
            let room = site.listened.clone().unwrap_or_default();
            let Some(sender) = site.users.first_mut() else {
                return Ok(None);
            };
            let run = format!("{name}.f{clients}.{round}");
            let sender = (sender, room.as_str());
            let told = fan_out::round(&site.target, &run, sender, listeners, plan.fan_out);
            let (measured, listeners) = told.await?;
            site.listeners = listeners;
            Ok(Some(measured))
        });
        let all = all.await;
        self.add(&scenario, known(all), |site| {
            fewer(site.listeners.len(), clients, "clients")
        });
    }

    async fn syncs(&mut self) {
        let (name, plan, progress) = (format!("{}.s", self.name), self.plan, self.progress);
        self.each(async |site| {
            // It knows no state, and no past.
            if !site.is_floor() {
                progress(&format!("{}: rooms to sync", site.target.name));
                site.readers = Some(Readers::make(&site.target, &name, &plan).await?);
            }
            Ok(())
        })
        .await;
        sleep(plan.settle).await;
        for (scenario, asked) in syncs::scenarios(&plan) {
            let all = self.rounds(&scenario, async |site, _| match &mut site.readers {
                Some(readers) => readers.round(asked, plan.sync).await,
                None => Ok(None),
            });
            let all = known(all.await);
            for (site, rounds) in self.sites.iter().zip(all) {
                let patience = plan.sync_patience.as_secs();
                let note = if rounds.is_empty() {
                    format!("its set-up takes more than {patience} s")
                } else {
                    String::new()
                };
                if !site.is_floor() {
                    self.report.row(&scenario, site, rounds, note);
                }
            }
        }
    }

    async fn idle(&mut self) {
        let (name, plan, progress) = (self.name.clone(), self.plan, self.progress);
        let clients = plan.idle_clients;
        let all = self.each(async |site| {
            progress(&format!("{}: {clients} idle clients", site.target.name));
            let patience = plan.listener_patience;
            site.want_listeners(&name, clients, patience).await?;
            // So that what was done before doesn't count, and least of all for who did more of it.
            site.restart().await?;
            let listeners = std::mem::take(&mut site.listeners);
            let room = site.listened.clone().unwrap_or_default();
            let Some(sender) = site.users.first_mut() else {
                return Ok(None);
            };
            let (run, sender) = (format!("{name}.idle"), (sender, room.as_str()));
            let idle = fan_out::idle(&site.target, &run, sender, listeners, &plan);
            let (idle, listeners) = idle.await?;
            site.listeners = listeners;
            Ok(Some(idle))
        });
        let all = all.await;
        for (site, idle) in self.sites.iter().zip(all) {
            let (Some(idle), name) = (idle.flatten(), &site.target.name) else {
                continue;
            };
            let note = fewer(site.listeners.len(), clients, "clients");
            let what = format!("{clients} idle clients: CPU, ms per second");
            let cpu = idle.cpu_ms_per_second;
            self.report.figure(&what, name, cpu, &note);
            let what = format!("{clients} idle clients: memory, MB");
            let memory = idle.memory.map(|bytes| as_number(bytes) / 1e6);
            self.report.figure(&what, name, memory, &note);
        }
    }

    fn add(&mut self, scenario: &str, all: Vec<Vec<Round>>, note: impl Fn(&Site) -> String) {
        for (site, rounds) in self.sites.iter().zip(all) {
            self.report.row(scenario, site, rounds, note(site));
        }
    }
}

/// What is known of each server.
fn known(all: Vec<Vec<Option<Round>>>) -> Vec<Vec<Round>> {
    let known = |rounds: Vec<Option<Round>>| rounds.into_iter().flatten().collect();
    all.into_iter().map(known).collect()
}

fn add_growth(report: &mut Report, site: &Site, growth: Option<&Growth>, plan: &Plan) {
    let is_full = growth.is_some_and(|growth| growth.late.is_some());
    let note = match growth {
        Some(growth) if !is_full => format!(
            "came to {} events in {} s",
            growth.events,
            plan.patience.as_secs()
        ),
        _ => String::new(),
    };
    let (early, late) = match growth {
        Some(growth) => (Some(growth.early.clone()), growth.late.clone()),
        None => (None, None),
    };
    for (events, round) in [(growth::FIRST, early), (plan.events, late)] {
        let scenario = format!("send, {} senders, after {events} events", growth::SENDERS);
        let rounds = round.into_iter().filter(|round| round.operations > 0);
        report.row(&scenario, site, rounds.collect(), note.clone());
    }
    let name = &site.target.name;
    let disk = growth.and_then(|growth| growth.bytes_per_event);
    let json = growth.and_then(|growth| growth.json_bytes);
    report.figure("disk, bytes per event", name, disk, &note);
    report.figure("JSON of an event, bytes", name, json, "");
    let by_byte = disk.zip(json).map(|(disk, json)| disk / json);
    report.figure("disk, bytes per byte of JSON", name, by_byte, &note);
}

/// What to note where a server came to fewer than were wanted.
fn fewer(made: usize, wanted: usize, of_what: &str) -> String {
    if made < wanted {
        format!("{made} {of_what} only: more take too long to make")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::fewer;

    #[test]
    fn who_came_to_fewer_is_noted() {
        assert_eq!(fewer(10, 10, "senders"), "");
        assert_eq!(
            fewer(9, 10, "senders"),
            "9 senders only: more take too long to make"
        );
    }
}
