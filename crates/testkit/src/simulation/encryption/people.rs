//! What users do on their devices, by chance.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use starling_runtime::{Chance, Clock};
use tokio::task::JoinHandle;

use super::device::{Device, Stop};
use super::ledger::{Ledger, Move, server_of};
use crate::simulation::client::segment;
use crate::simulation::host::{Host, chance_of};

/// The versions of rooms.
const VERSIONS: [&str; 3] = ["10", "11", "12"];

/// There are so many rooms at most, and so many devices of a user.
const MOST_ROOMS: usize = 4;
const MOST_DEVICES: usize = 3;

/// A room, as users have heard of it.
#[derive(Debug, Clone)]
pub(super) struct KnownRoom {
    pub(super) id: String,
    creator: String,
}

/// All users, what they share, and their devices.
pub(super) struct People {
    pub(super) seed: u64,
    pub(super) hosts: Vec<Arc<Host>>,
    pub(super) clock: Clock,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Each with the number of the host.
    pub(super) users: Vec<(String, usize)>,
    pub(super) rooms: Mutex<Vec<KnownRoom>>,
    pub(super) devices: Mutex<Vec<Arc<Device>>>,
    pub(super) tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Users who are coming somewhere, or going: they do one thing at a time.
    moving: Mutex<BTreeSet<String>>,
}

impl People {
    pub(super) fn new(
        seed: u64,
        hosts: Vec<Arc<Host>>,
        clock: Clock,
        users: Vec<(String, usize)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            seed,
            hosts,
            clock,
            ledger: Arc::default(),
            users,
            rooms: Mutex::default(),
            devices: Mutex::default(),
            tasks: Mutex::default(),
            moving: Mutex::default(),
        })
    }

    /// Devices that nobody has begun to end.
    pub(super) fn living(&self) -> Vec<Arc<Device>> {
        let (devices, ledger) = (self.devices.lock(), self.ledger.lock());
        let lives = |device: &&Arc<Device>| {
            let life = ledger.devices.get(&device.name);
            life.is_some_and(|life| life.ends_ms.is_none())
        };
        devices.iter().filter(lives).cloned().collect()
    }

    /// A new device of a user, who logs in, or is registered by it.
    pub(super) async fn add_device(
        &self,
        user: &str,
        host: usize,
        is_new_user: bool,
    ) -> Result<Option<Arc<Device>>, Stop> {
        let Some(on) = self.hosts.get(host) else {
            return Ok(None);
        };
        let name = user.trim_start_matches('@');
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        let (path, body) = if is_new_user {
            let auth = json!({ "type": "m.login.dummy" });
            (
                "register",
                json!({ "username": name, "password": name, "auth": auth }),
            )
        } else {
            let identifier = json!({ "type": "m.id.user", "user": name });
            let body =
                json!({ "type": "m.login.password", "identifier": identifier, "password": name });
            ("login", body)
        };
        let path = format!("/_matrix/client/v3/{path}");
        let answer = on.ask((Method::POST, &path), None, Some(body)).await;
        let (status, login) = answer.map_err(|_| Stop::Broken)?;
        if status != StatusCode::OK {
            self.ledger
                .lock()
                .fail(format!("{user} can't log in: {status} {login}"));
            return Ok(None);
        }
        let number = u64::try_from(self.devices.lock().len()).unwrap_or(u64::MAX);
        let chance = chance_of(self.seed, 2_000, number);
        let means = (chance, self.clock.clone());
        let device = Arc::new(Device::new((on, host), &login, means, &self.ledger));
        self.devices.lock().push(Arc::clone(&device));
        Ok(Some(device))
    }

    /// A device does as many things, one after the other, in a task of its own.
    pub(super) fn let_live(self: &Arc<Self>, device: Arc<Device>, actions: u64) {
        let people = Arc::clone(self);
        let task = tokio::spawn(async move { people.live(&device, actions).await });
        self.tasks.lock().push(task);
    }

    async fn live(self: Arc<Self>, device: &Arc<Device>, actions: u64) {
        let chance = &device.chance;
        for _ in 0..actions {
            let pause_ms = match chance.within(0..20) {
                // Offline for long: what comes meanwhile waits.
                0 => chance.within(20_000..90_000),
                _ => chance.within(100..3_000),
            };
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            while !device.host.is_up() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            // Some are killed in the middle of it.
            let most_ms = match chance.within(0..10) {
                0 => chance.within(1..400),
                _ => u64::MAX >> 20,
            };
            let turn = self.turn(device);
            match tokio::time::timeout(Duration::from_millis(most_ms), turn).await {
                Ok(Err(Stop::Ended)) => return,
                Ok(_) => {}
                Err(_) => self.ledger.lock().counts.kills += 1,
            }
        }
    }

    async fn turn(self: &Arc<Self>, device: &Arc<Device>) -> Result<(), Stop> {
        let patience_ms = device.chance.within(0..4) * 1_500;
        device.sync(patience_ms).await?;
        device.tend().await?;
        self.act(device).await
    }

    async fn act(self: &Arc<Self>, device: &Arc<Device>) -> Result<(), Stop> {
        let rooms = device.encrypted_rooms();
        let chance = &device.chance;
        match chance.within(0..100) {
            0..=54 => match one_of(chance, &rooms) {
                Some(room_id) => device.say(room_id, false).await,
                None => self.come(device).await,
            },
            55..=69 => self.come(device).await,
            70..=75 => self.go(device).await,
            76..=80 => self.invite(device).await,
            81..=84 => self.create_room(device).await,
            85..=88 => self.encrypt_room(device).await,
            89..=93 => self.log_in(device).await,
            94..=96 => self.end_other_device(device).await,
            97 => self.log_out(device).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn create_room(&self, device: &Device) -> Result<(), Stop> {
        if self.rooms.lock().len() >= MOST_ROOMS {
            return Ok(());
        }
        let chance = &device.chance;
        let mut state = Vec::new();
        if chance.within(0..3) > 0 {
            state.push(json!({ "type": "m.room.encryption", "state_key": "", "content": encryption(chance) }));
        }
        if chance.within(0..3) == 0 {
            let content = json!({ "history_visibility": "joined" });
            state.push(
                json!({ "type": "m.room.history_visibility", "state_key": "", "content": content }),
            );
        }
        let wanted = json!({
            "preset": one_of(chance, &["public_chat", "public_chat", "private_chat"]),
            "room_version": one_of(chance, &VERSIONS),
            "initial_state": state,
        });
        let begun_ms = self.clock.now_ms();
        let answer = device
            .call((Method::POST, "createRoom"), Some(wanted))
            .await?;
        let id = answer.as_ref().and_then(|it| it.get("room_id")?.as_str());
        if let Some(id) = id {
            let creator = device.user().to_owned();
            self.note_move((id, &creator), (true, begun_ms), true);
            let id = id.to_owned();
            self.rooms.lock().push(KnownRoom { id, creator });
        }
        Ok(())
    }

    /// The creator of a room switches encryption on, or has keys replaced after another number of messages.
    async fn encrypt_room(&self, device: &Device) -> Result<(), Stop> {
        let rooms = self.rooms.lock().clone();
        let own = rooms.iter().filter(|room| room.creator == device.user());
        let own: Vec<&KnownRoom> = own.collect();
        let Some(room) = one_of(&device.chance, &own) else {
            return Ok(());
        };
        let path = format!("rooms/{}/state/m.room.encryption/", segment(&room.id));
        let content = encryption(&device.chance);
        device.call((Method::PUT, &path), Some(content)).await?;
        Ok(())
    }

    /// Joins a room that this user isn't in, as far as the device knows.
    async fn come(&self, device: &Device) -> Result<(), Stop> {
        let rooms = self.rooms.lock().clone();
        let other = rooms
            .iter()
            .filter(|room| !device.joined_in(&room.id).contains(device.user()));
        let other: Vec<&KnownRoom> = other.collect();
        match one_of(&device.chance, &other) {
            Some(room) => self.join(device, room).await,
            None => Ok(()),
        }
    }

    pub(super) async fn join(&self, device: &Device, room: &KnownRoom) -> Result<(), Stop> {
        let server = one_of(&device.chance, &self.users).map(|(user, _)| server_of(user));
        let creators = server_of(&room.creator);
        let via = server.unwrap_or(creators);
        let path = format!("join/{}?via={creators}&via={via}", segment(&room.id));
        self.change_membership(device, (&room.id, &path), true)
            .await
    }

    async fn go(&self, device: &Device) -> Result<(), Stop> {
        match one_of(&device.chance, &device.encrypted_rooms()) {
            Some(room_id) => {
                let path = format!("rooms/{}/leave", segment(room_id));
                self.change_membership(device, (room_id, &path), false)
                    .await
            }
            None => Ok(()),
        }
    }

    async fn change_membership(
        &self,
        device: &Device,
        (room_id, path): (&str, &str),
        is_join: bool,
    ) -> Result<(), Stop> {
        let user = device.user();
        if !self.moving.lock().insert(user.to_owned()) {
            return Ok(());
        }
        // Also when the client is killed meanwhile.
        let _moving = Moving(self, user);
        let begun_ms = self.clock.now_ms();
        let number = self.note_move((room_id, user), (is_join, begun_ms), false);
        let asked = device.ask((Method::POST, path), Some(json!({}))).await;
        let (status, _) = asked?;
        let is_done = status == StatusCode::OK;
        let mut ledger = self.ledger.lock();
        ledger.counts.refused += u64::from(!is_done);
        let place = (room_id.to_owned(), user.to_owned());
        let moves = ledger.moves.entry(place).or_default();
        // Where a server gave no answer, it may have let the user in: that shows later, or never.
        if status.is_client_error() {
            moves.remove(number);
        } else if let Some(noted) = moves.get_mut(number).filter(|_| is_done) {
            noted.done_ms = Some(self.clock.now_ms());
        }
        Ok(())
    }

    fn note_move(
        &self,
        (room_id, user): (&str, &str),
        (is_join, begun_ms): (bool, i64),
        is_done: bool,
    ) -> usize {
        let place = (room_id.to_owned(), user.to_owned());
        let mut ledger = self.ledger.lock();
        let moves = ledger.moves.entry(place).or_default();
        moves.push(Move {
            is_join,
            begun_ms,
            done_ms: is_done.then(|| self.clock.now_ms()),
        });
        moves.len() - 1
    }

    async fn invite(&self, device: &Device) -> Result<(), Stop> {
        let rooms = device.encrypted_rooms();
        let Some(room_id) = one_of(&device.chance, &rooms) else {
            return Ok(());
        };
        let joined = device.joined_in(room_id);
        let others = self.users.iter().filter(|(user, _)| !joined.contains(user));
        let others: Vec<&String> = others.map(|(user, _)| user).collect();
        if let Some(user) = one_of(&device.chance, &others) {
            let path = format!("rooms/{}/invite", segment(room_id));
            let body = json!({ "user_id": user });
            device.call((Method::POST, &path), Some(body)).await?;
        }
        Ok(())
    }

    async fn log_in(self: &Arc<Self>, device: &Device) -> Result<(), Stop> {
        let user = device.user();
        let own = self.living();
        let own = own.iter().filter(|it| it.user() == user).count();
        if own >= MOST_DEVICES {
            return Ok(());
        }
        if let Some(new) = self.add_device(user, device.host_number, false).await? {
            self.let_live(new, device.chance.within(2..8));
        }
        Ok(())
    }

    /// Logs out another device of this user.
    async fn end_other_device(&self, device: &Device) -> Result<(), Stop> {
        let living = self.living();
        let other = living
            .iter()
            .filter(|it| it.user() == device.user() && it.name != device.name);
        let other: Vec<&Arc<Device>> = other.collect();
        let Some(other) = one_of(&device.chance, &other) else {
            return Ok(());
        };
        let path = (Method::POST, "delete_devices");
        let mut body = json!({ "devices": [other.name.1] });
        let (_, asked) = device.ask(path.clone(), Some(body.clone())).await?;
        let name = device.user().trim_start_matches('@');
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        if let Some(body) = body.as_object_mut() {
            let identifier = json!({ "type": "m.id.user", "user": name });
            let auth = json!({
                "type": "m.login.password", "identifier": identifier, "password": name,
                "session": asked.get("session"),
            });
            body.insert("auth".to_owned(), auth);
        }
        self.ends(other);
        if device.call(path, Some(body)).await?.is_some() {
            self.ended(other);
        }
        Ok(())
    }

    async fn log_out(&self, device: &Device) -> Result<(), Stop> {
        let living = self.living();
        if living
            .iter()
            .filter(|it| it.user() == device.user())
            .count()
            < 2
        {
            return Ok(());
        }
        self.ends(device);
        if device.call((Method::POST, "logout"), None).await?.is_some() {
            self.ended(device);
            return Err(Stop::Ended);
        }
        Ok(())
    }

    fn ends(&self, device: &Device) {
        let now_ms = self.clock.now_ms();
        if let Some(life) = self.ledger.lock().devices.get_mut(&device.name) {
            life.ends_ms.get_or_insert(now_ms);
        }
    }

    fn ended(&self, device: &Device) {
        let now_ms = self.clock.now_ms();
        if let Some(life) = self.ledger.lock().devices.get_mut(&device.name) {
            life.ended_ms.get_or_insert(now_ms);
        }
    }
}

/// A user who is coming somewhere or going, until this is dropped.
struct Moving<'a>(&'a People, &'a str);

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.0.moving.lock().remove(self.1);
    }
}

pub(super) fn one_of<'a, T>(chance: &Chance, all: &'a [T]) -> Option<&'a T> {
    let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
    let number = chance.within(0..count);
    all.get(usize::try_from(number).unwrap_or(usize::MAX))
}

/// Keys are replaced often.
fn encryption(chance: &Chance) -> Value {
    json!({ "algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": chance.within(3..12) })
}
