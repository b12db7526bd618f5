//! Rooms keep order under load: many send at once, and everybody is told the same, once and in the same order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use starling_runtime::Cpu;
use starling_store::SCHEMA;
use starling_testkit::{TestServer, on_each_engine};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::caller::{Caller, Server, event_ids, on_servers, segment};

const SENDERS: usize = 100;
/// When a test that waits for something that never comes gives up.
const PATIENCE: Duration = Duration::from_mins(2);
/// The last event of each room.
const END: &str = "org.example.end";

/// A user with two devices.
struct Sender {
    devices: [Caller; 2],
}

/// A device that follows its rooms.
struct Follower {
    caller: Caller,
    /// In a query.
    filter: String,
    since: String,
    /// What it was told of each room since it began, in that order.
    told: BTreeMap<String, Vec<String>>,
    /// Rooms whose last event it was told.
    ended: BTreeSet<String>,
    /// How often a timeline was cut short.
    gaps: usize,
}

impl Follower {
    /// Follows from now on, with timelines of at most this length.
    async fn begin(caller: &Caller, timeline_limit: usize) -> Self {
        let filter = json!({ "room": {
            "timeline": { "limit": timeline_limit },
            "state": { "types": [] },
            "ephemeral": { "types": [] },
        } });
        let filter = segment(&filter.to_string());
        let answer = caller.get(&format!("sync?filter={filter}")).await.ok();
        Self {
            caller: caller.clone(),
            filter,
            since: answer["next_batch"].as_str().unwrap().to_owned(),
            told: BTreeMap::new(),
            ended: BTreeSet::new(),
            gaps: 0,
        }
    }

    /// Syncs until this many rooms have ended.
    async fn follow(mut self, rooms: usize) -> Self {
        while self.ended.len() < rooms {
            let Self { filter, since, .. } = &self;
            let path = format!("sync?filter={filter}&since={since}&timeout=300000");
            let answer = self.caller.get(&path).await.ok();
            for (room, told) in answer["rooms"]["join"].as_object().into_iter().flatten() {
                self.note(room, &told["timeline"]).await;
            }
            self.since = answer["next_batch"].as_str().unwrap().to_owned();
        }
        self
    }

    async fn note(&mut self, room: &str, timeline: &Value) {
        let mut missed = Vec::new();
        if timeline["limited"] == true {
            self.gaps += 1;
            let query = format!("dir=b&limit=100&to={}", self.since);
            let from = timeline["prev_batch"].as_str();
            missed = self.caller.page_all(room, &query, from).await;
            missed.reverse();
        }
        let events = timeline["events"].as_array().unwrap();
        let told = self.told.entry(room.to_owned()).or_default();
        told.extend(missed);
        told.extend(event_ids(&timeline["events"]));
        if events.iter().any(|event| event["type"] == END) {
            self.ended.insert(room.to_owned());
        }
    }
}

/// The users, made at once.
async fn senders(server: &Server) -> Vec<Sender> {
    let making = (0..SENDERS).map(async |number| {
        let name = format!("user{number}");
        let first = server.user(&name).await;
        let devices = [first, server.device(&name).await];
        Sender { devices }
    });
    futures_util::future::join_all(making).await
}

/// Sends this many events into each of the rooms, from both devices in turn, each after the one before it is
/// acknowledged. Returns room and id of each.
async fn send_all(devices: [Caller; 2], rooms: Vec<String>, each: usize) -> Vec<(String, String)> {
    let mut sent = Vec::new();
    for number in 0..each {
        let device = &devices[number % 2];
        for room in &rooms {
            let content = json!({ "msgtype": "m.text", "body": number.to_string() });
            let txn_id = number.to_string();
            let answer = device.send(room, "m.room.message", &txn_id, &content).await;
            sent.push((room.clone(), answer.event_id()));
        }
    }
    sent
}

/// Where the events of a room stand in its order, from 0.
type Order = BTreeMap<String, usize>;

/// The order of a room's events since `first_count` events, as its history has it.
async fn history(caller: &Caller, room: &str, first_count: usize) -> (Vec<String>, Order) {
    let all = caller.page_all(room, "dir=f&limit=100", None).await;
    let told = all[first_count..].to_vec();
    let order: Order = told.iter().cloned().zip(0..).collect();
    assert_eq!(order.len(), told.len(), "history tells an event twice");
    (told, order)
}

/// Lets everybody send into their rooms while all devices follow, and compares what they were told. `members[n]` are the
/// numbers of the rooms that user `n` is in. Returns how many timelines were cut short.
async fn check(senders: &[Sender], rooms: &[String], members: &[Vec<usize>], each: usize) -> usize {
    let mut first_counts = Vec::new();
    let in_room = |room| (0..senders.len()).filter(move |&user| members[user].contains(&room));
    let any_in = |room| &senders[in_room(room).next().unwrap()].devices[0];
    for (number, room) in rooms.iter().enumerate() {
        let before = any_in(number).page_all(room, "dir=f&limit=100", None).await;
        first_counts.push(before.len());
    }
    let mut following = JoinSet::new();
    let mut late = None;
    for (sender, rooms) in senders.iter().zip(members) {
        // One device of each user takes long timelines, the other short ones.
        for (device, limit) in sender.devices.iter().zip([100, 3]) {
            let follower = Follower::begin(device, limit).await;
            if late.is_none() && limit == 3 {
                late = Some((follower, rooms.len()));
            } else {
                following.spawn(timeout(PATIENCE, follower.follow(rooms.len())));
            }
        }
    }
    let mut sending = JoinSet::new();
    for (sender, numbers) in senders.iter().zip(members) {
        let rooms = numbers.iter().map(|&room| rooms[room].clone()).collect();
        sending.spawn(send_all(sender.devices.clone(), rooms, each));
    }
    let sent = sending.join_all().await;
    for (number, room) in rooms.iter().enumerate() {
        let last = any_in(number).send(room, END, "end", &json!({})).await;
        last.ok();
    }
    let mut followers: Vec<Follower> = Vec::new();
    while let Some(followed) = following.join_next().await {
        followers.push(followed.unwrap().expect("a device was not told the end"));
    }
    // It slept all the while.
    let (late, in_rooms) = late.unwrap();
    followers.push(late.follow(in_rooms).await);

    let mut orders = BTreeMap::new();
    for (number, room) in rooms.iter().enumerate() {
        let (told, order) = history(any_in(number), room, first_counts[number]).await;
        let acknowledged = sent.iter().flatten().filter(|(into, _)| into == room);
        let acknowledged: BTreeSet<&String> = acknowledged.map(|(_, event)| event).collect();
        assert_eq!(acknowledged.len(), in_room(number).count() * each);
        assert_eq!(acknowledged.len() + 1, told.len(), "and the end");
        assert!(acknowledged.iter().all(|event| order.contains_key(*event)));
        orders.insert(room, (told, order));
    }
    for sent in &sent {
        let mut last: BTreeMap<&String, usize> = BTreeMap::new();
        for (room, event) in sent {
            let place = orders[room].1[event];
            let before = last.insert(room, place);
            assert!(
                before.is_none_or(|before| before < place),
                "{event} is early"
            );
        }
    }
    for follower in &followers {
        for (room, told) in &follower.told {
            assert_eq!(*told, orders[room].0, "{}", follower.caller.user_id);
        }
    }
    followers.iter().map(|follower| follower.gaps).sum()
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`, `GET /_matrix/client/v3/sync`,
/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_senders_in_one_room_keep_its_order() {
    on_servers(async |server| {
        let senders = senders(&server).await;
        let room = senders[0].devices[0]
            .create(json!({ "preset": "public_chat" }))
            .await;
        for sender in &senders[1..] {
            sender.devices[0].join(&room).await.ok();
        }
        let members = vec![vec![0]; SENDERS];
        let gaps = check(&senders, &[room], &members, 4).await;
        assert!(gaps > 0, "no timeline was cut short");
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`, `GET /_matrix/client/v3/sync`,
/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_senders_in_a_hundred_rooms_keep_their_order() {
    on_servers(async |server| {
        let senders = senders(&server).await;
        let device = |number: usize| &senders[number % SENDERS].devices[0];
        let making = (0..SENDERS).map(async |number| {
            let room = device(number)
                .create(json!({ "preset": "public_chat" }))
                .await;
            for next in 1..3 {
                device(number + next).join(&room).await.ok();
            }
            room
        });
        let rooms = futures_util::future::join_all(making).await;
        // Everybody's own room, and those of the two users before.
        let members = (0..SENDERS).map(|number| {
            let before = |by| (number + SENDERS - by) % SENDERS;
            vec![number, before(1), before(2)]
        });
        let members: Vec<Vec<usize>> = members.collect();
        let gaps = check(&senders, &rooms, &members, 2).await;
        assert!(gaps > 0, "no timeline was cut short");
    })
    .await;
}

/// Passwords that are hashed at once, and that wait for it, in the following test.
const AT_ONCE: usize = 2;
const WAITING: usize = 40;

/// `POST /_matrix/client/v3/login`, `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`,
/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_flood_of_logins_does_not_hold_up_messages() {
    on_each_engine(&SCHEMA, async |db| {
        let cpu = Cpu::threads(AT_ONCE, WAITING);
        let server = Server::new(TestServer::start_hashing(&db, cpu.clone()).await);
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&room).await.ok();
        let mut follower = Follower::begin(&bob, 10).await;
        // What hashes is as slow as can be: until it is let go.
        let (busy, let_go) = occupy(&cpu).await;
        let mut logins = JoinSet::new();
        for _ in 0..AT_ONCE + WAITING + 20 {
            let server = server.clone();
            logins.spawn(async move { server.login("alice").await });
        }
        // Whom there is no place for is told to come again.
        for _ in 0..AT_ONCE + 20 {
            let refused = timeout(PATIENCE, logins.join_next()).await.unwrap();
            refused.unwrap().unwrap().fails(429, "M_LIMIT_EXCEEDED");
        }
        for number in 0..10 {
            let content = json!({ "msgtype": "m.text", "body": "hello" });
            alice
                .send(&room, "m.room.message", &number.to_string(), &content)
                .await
                .ok();
        }
        alice.send(&room, END, "end", &json!({})).await.ok();
        follower = follower.follow(1).await;
        assert_eq!(follower.told[&room].len(), 11);
        assert!(logins.try_join_next().is_none(), "a login was not held up");
        assert_eq!(logins.len(), WAITING);
        for go in let_go {
            go.send(()).unwrap();
        }
        for answer in logins.join_all().await {
            answer.ok();
        }
        busy.join_all().await;
    })
    .await;
}

/// Takes all threads of `cpu`, until each is let go.
async fn occupy(cpu: &Cpu) -> (JoinSet<()>, Vec<mpsc::Sender<()>>) {
    let mut busy = JoinSet::new();
    let mut let_go = Vec::new();
    for _ in 0..AT_ONCE {
        let (go, gone) = mpsc::channel();
        let (begun, has_begun) = oneshot::channel();
        let cpu = cpu.clone();
        busy.spawn(async move {
            let work = move || {
                begun.send(()).unwrap();
                gone.recv().unwrap();
            };
            cpu.run(work).await.unwrap();
        });
        has_begun.await.unwrap();
        let_go.push(go);
    }
    (busy, let_go)
}
