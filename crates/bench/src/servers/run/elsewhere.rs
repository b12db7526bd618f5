//! What is measured with rooms of another server: joining them, and their messages.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::time::sleep;

use super::Run;
use crate::resident::Resident;
use crate::resident::room::Room;
use crate::servers::inbound::{self, Received, Source};
use crate::servers::joins::{self, Joined};
use crate::servers::meter::as_number;
use crate::servers::plan::Family;
use crate::servers::report::median;
use crate::servers::user::User;

/// The room that guests join first has so many members.
const FIRST_MEMBERS: usize = 50;

impl Run {
    /// Measures it, where there is another server.
    pub(super) async fn elsewhere(&mut self) {
        let Some((resident, tls)) = self.resident.clone() else {
            return;
        };
        self.guests(&resident).await;
        if self.wants(Family::Join) {
            for &members in self.plan.joined_members {
                self.join(&resident, members).await;
            }
        }
        if self.wants(Family::Inbound) {
            self.inbound(resident, tls).await;
        }
    }

    /// Makes users who will join rooms, on servers that were just started. Each joins one at once: what has to be looked up
    /// of the other server is known then.
    async fn guests(&mut self, resident: &Resident) {
        let (name, progress) = (format!("{}.guest", self.name), self.progress);
        let room = resident.add_room(&format!("first{}", self.name), FIRST_MEMBERS);
        self.each(async |site| {
            if site.target.federation.is_some() {
                progress(&format!("{}: a guest", site.target.name));
                site.restart().await?;
                let mut guest = User::register(&site.target, &name).await?;
                joins::join(&site.target, &mut guest, (resident, &room)).await?;
                site.guest = Some(guest);
            }
            Ok(())
        })
        .await;
    }

    async fn join(&mut self, resident: &Resident, members: usize) {
        let scenario = format!("join, {members} members");
        (self.progress)(&format!("{scenario}: the rooms"));
        let room = |round| format!("join{members}x{round}{}", self.name);
        let rooms: Vec<Arc<Room>> = (0..self.plan.rounds)
            .map(|round| resident.add_room(&room(round), members))
            .collect();
        let all = self.rounds(&scenario, async |site, round| {
            match (&mut site.guest, rooms.get(round)) {
                (Some(guest), Some(room)) => {
                    let joined = joins::join(&site.target, guest, (resident, room));
                    joined.await.map(Some)
                }
                _ => Ok(None),
            }
        });
        for (index, rounds) in all.await.into_iter().enumerate() {
            let Some(site) = self.sites.get(index).filter(|site| site.has_federation()) else {
                continue;
            };
            let all: Vec<Joined> = rounds.into_iter().flatten().collect();
            let rounds = all.iter().map(|joined| joined.round.clone()).collect();
            let note = "an operation is one member";
            self.report.row(&scenario, site, rounds, note.to_owned());
            let name = &site.target.name;
            let cpu = median(all.iter().filter_map(|joined| joined.cpu_seconds));
            let what = format!("{scenario}: CPU until quiet, s");
            self.report.figure(&what, name, cpu, "");
            let memory = all.iter().filter_map(|joined| joined.memory).max();
            let memory = memory.map(|bytes| as_number(bytes) / 1e6);
            let what = format!("{scenario}: most memory, MB");
            self.report.figure(&what, name, memory, "");
        }
    }

    async fn inbound(&mut self, resident: Arc<Resident>, tls: Arc<ClientConfig>) {
        let (name, plan, progress) = (self.name.clone(), self.plan, self.progress);
        let most = plan.inbound_rooms.iter().copied().max().unwrap_or(0);
        let rooms: Vec<Arc<Room>> = (0..most)
            .map(|room| resident.add_room(&format!("inbound{room}x{name}"), plan.inbound_members))
            .collect();
        self.each(async |site| {
            progress(&format!(
                "{}: {most} rooms of another server",
                site.target.name
            ));
            if let Some(guest) = &mut site.guest {
                for room in &rooms {
                    guest
                        .join_via(room.id.as_str(), resident.name().as_str())
                        .await?;
                }
            }
            Ok(())
        })
        .await;
        sleep(plan.settle).await;
        for &count in plan.inbound_rooms {
            let source = Source {
                resident: resident.clone(),
                rooms: rooms.iter().take(count).cloned().collect(),
                tls: tls.clone(),
                events: plan.inbound_events,
            };
            let scenario = format!("inbound, {} events, rooms: {count}", plan.inbound_events);
            let all = self.rounds(&scenario, async |site, round| match &mut site.guest {
                Some(guest) => {
                    let run = format!("{name}.{count}.{round}");
                    inbound::round(&site.target, &run, guest, &source).await
                }
                None => Ok(None),
            });
            let all = all.await;
            self.add_inbound(&scenario, all);
        }
    }

    fn add_inbound(&mut self, scenario: &str, all: Vec<Vec<Option<Received>>>) {
        for (site, rounds) in self.sites.iter().zip(all) {
            if !site.has_federation() {
                continue;
            }
            let all: Vec<Received> = rounds.into_iter().flatten().collect();
            let refused: u64 = all.iter().map(|received| received.refused).sum();
            let note = match refused {
                0 => String::new(),
                _ => format!("{refused} events were not taken at once"),
            };
            let rounds = all.into_iter().map(|received| received.round).collect();
            self.report.row(scenario, site, rounds, note);
        }
    }
}
