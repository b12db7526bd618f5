//! Unread counts against an oracle, on random rooms: it keeps every event and evaluates all rules over all events since
//! the marks. <https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications>
//!
//! Half of the seeds never change a rule once there are events: there the oracle evaluates the rules as they are over the
//! events as they were. In the others it knows what changed rules do: what they said of an event by itself when it came
//! stays, and what they say of its shape is what they say now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use starling_db::Tx;
use starling_events::Pdu;
use starling_pushrules::{Budget, EventView, Room, Ruleset, Shape, Situation, Verdict};
use starling_runtime::Chance;
use starling_stateres::RoomPower;
use starling_store::events::Event;
use starling_store::relations::{THREAD, relation_of};
use starling_store::timeline::{Direction, Stretch, end_of};
use starling_store::{RoomNum, UserNum};
use starling_testkit::seeds;

use super::caller::{Caller, Server, on_servers, segment};

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// An event, and what became of it.
struct Entry {
    num: i64,
    pdu: Pdu,
    /// The root of its thread.
    thread: Option<String>,
    /// What rules said of it by themselves when it came, by user.
    fixed: BTreeMap<String, Verdict>,
    is_redacted: bool,
}

/// What the oracle knows of a room.
#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    /// The join of each member, and what they are called.
    joined: BTreeMap<String, (i64, Option<String>)>,
    /// Of each user, by kind and thread.
    receipts: BTreeMap<(String, String, String), i64>,
}

/// What a client of a user was told.
#[derive(Default)]
struct Client {
    since: Option<String>,
    counts: BTreeMap<String, Value>,
}

struct Oracle<'a> {
    server: &'a Server,
    chance: Chance,
    callers: Vec<Caller>,
    rooms: Vec<String>,
    models: BTreeMap<String, Model>,
    clients: BTreeMap<(usize, bool), Client>,
    ignored: BTreeMap<String, BTreeSet<String>>,
    changes_rules: bool,
    sent: usize,
}

impl Oracle<'_> {
    fn below(&self, most: usize) -> usize {
        let most = u64::try_from(most).unwrap();
        usize::try_from(self.chance.within(0..most)).unwrap()
    }

    fn one_of<'t, T>(&self, list: &'t [T]) -> &'t T {
        &list[self.below(list.len())]
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnMut(&mut Tx<'_>) -> Result<T, starling_db::Error> + Send + 'static,
    ) -> T {
        self.server.store().db().scan("oracle", read).await.unwrap()
    }

    async fn room_num(&self, room: &str) -> RoomNum {
        let id = ruma_common::RoomId::parse(room).unwrap();
        self.server.store().room_num(&id).await.unwrap().unwrap()
    }

    async fn rules(&self, who: &str) -> Arc<Ruleset> {
        let (store, who) = (
            self.server.store().clone(),
            ruma_common::OwnedUserId::try_from(who).unwrap(),
        );
        self.read(move |tx| {
            let user: UserNum = store.names().user(tx, &who)?.unwrap();
            store.push_rules(tx, user)
        })
        .await
    }

    async fn power(&self, room: RoomNum) -> Option<RoomPower> {
        let store = self.server.store().clone();
        self.read(move |tx| {
            let snapshot = store.room_read(tx, room)?.unwrap();
            store.room_power(tx, &snapshot)
        })
        .await
    }

    /// The room's whole timeline.
    async fn timeline(&self, room: RoomNum) -> Vec<Arc<Event>> {
        let store = self.server.store().clone();
        self.read(move |tx| {
            let stretch = Stretch {
                from: starling_store::timeline::START,
                to: end_of(1 << 50),
            };
            store.timeline_page(tx, room, stretch, Direction::Forwards, 100_000)
        })
        .await
    }

    /// Learns of what has happened in a room.
    async fn learn(&mut self, room: &str) {
        let num = self.room_num(room).await;
        let events = self.timeline(num).await;
        let power = self.power(num).await;
        let mut model = self.models.remove(room).unwrap_or_default();
        for entry in &mut model.entries {
            let now = events
                .iter()
                .find(|event| event.num.0 == entry.num)
                .unwrap();
            entry.is_redacted = now.redacted_by.is_some();
        }
        let known = model.entries.last().map_or(0, |entry| entry.num);
        for event in events.iter().filter(|event| event.num.0 > known) {
            model.take_membership(event);
            let thread = model.thread_of(&event.pdu);
            let mut entry = Entry {
                num: event.num.0,
                pdu: event.pdu.clone(),
                thread,
                fixed: BTreeMap::new(),
                is_redacted: event.redacted_by.is_some(),
            };
            for (user, (_, name)) in &model.joined {
                let rules = self.rules(user).await;
                let count = i64::try_from(model.joined.len()).unwrap();
                let (by_event, by_shape) = decide(
                    &rules,
                    &entry.pdu,
                    power.as_ref(),
                    (room, count),
                    (user, name.as_deref()),
                );
                if by_event.1 != by_shape.1 {
                    entry.fixed.insert(user.clone(), by_event.0);
                }
            }
            model.entries.push(entry);
        }
        self.models.insert(room.to_owned(), model);
    }

    /// What the user has not read of a room: in the main timeline and in threads.
    async fn expected(&self, room: &str, user: &str) -> (Counts, BTreeMap<String, Counts>) {
        let model = &self.models[room];
        let rules = self.rules(user).await;
        let power = self.power(self.room_num(room).await).await;
        let (join, name) = &model.joined[user];
        let count = i64::try_from(model.joined.len()).unwrap();
        let nobody = BTreeSet::new();
        let ignored = self.ignored.get(user).unwrap_or(&nobody);
        let (mut main, mut threads) = (Counts::default(), BTreeMap::<String, Counts>::new());
        for entry in &model.entries {
            let mark = model.mark(user, entry.thread.as_deref(), *join);
            let sender = entry.pdu.sender().as_str();
            if entry.num <= mark || sender == user || entry.is_redacted || ignored.contains(sender)
            {
                continue;
            }
            let (by_event, by_shape) = decide(
                &rules,
                &entry.pdu,
                power.as_ref(),
                (room, count),
                (user, name.as_deref()),
            );
            let verdict = if self.changes_rules {
                entry.fixed.get(user).copied().unwrap_or(by_shape.0)
            } else {
                by_event.0
            };
            let counts = match &entry.thread {
                None => &mut main,
                Some(thread) => threads.entry(thread.clone()).or_default(),
            };
            counts.0 += i64::from(verdict.highlight);
            counts.1 += i64::from(verdict.notify);
        }
        threads.retain(|_, counts| *counts != Counts::default());
        (main, threads)
    }
}

/// Highlights and notifications.
#[derive(Clone, Copy, Default, PartialEq)]
struct Counts(i64, i64);

/// The verdict, and the rule that decides.
type Decision = (Verdict, Option<String>);

/// What rules say of an event, and what they say of its shape.
fn decide(
    rules: &Ruleset,
    pdu: &Pdu,
    power: Option<&RoomPower>,
    (room_id, member_count): (&str, i64),
    (user_id, display_name): (&str, Option<&str>),
) -> (Decision, Decision) {
    let may_notify = |key: &str| {
        power.is_some_and(|power| power.user_level(pdu.sender()) >= power.notification_level(key))
    };
    let (view, room) = (
        EventView::new(pdu),
        Room {
            room_id,
            member_count,
        },
    );
    let situation = Situation {
        event: &view,
        room,
        user_id,
        display_name,
        may_notify: &may_notify,
        budget: &Budget::default(),
    };
    let shape = Shape::of(&view, || may_notify("room"));
    let decision = |rule: Option<&starling_pushrules::Rule>| {
        let verdict = rule
            .map(starling_pushrules::Rule::verdict)
            .unwrap_or_default();
        (verdict, rule.map(|rule| rule.id().to_owned()))
    };
    (
        decision(rules.evaluate(&situation)),
        decision(rules.decides(shape, room, user_id)),
    )
}

impl Model {
    fn take_membership(&mut self, event: &Event) {
        if event.pdu.kind() != "m.room.member" {
            return;
        }
        let user = event.pdu.state_key().unwrap().to_owned();
        let content: Value = serde_json::from_slice(event.pdu.content()).unwrap();
        let name = content["displayname"].as_str().map(str::to_owned);
        if content["membership"] == "join" {
            let member = self.joined.entry(user).or_insert((event.num.0, None));
            member.1 = name;
        } else {
            self.joined.remove(&user);
        }
    }

    fn thread_of(&self, pdu: &Pdu) -> Option<String> {
        let relation = relation_of(pdu)?;
        let target = self
            .entries
            .iter()
            .find(|entry| entry.pdu.event_id() == relation.target)?;
        if &*relation.rel_type == THREAD {
            return Some(relation.target.to_string());
        }
        target.thread.clone()
    }

    fn mark(&self, user: &str, thread: Option<&str>, join: i64) -> i64 {
        let own = self.entries.iter().filter(|entry| {
            entry.pdu.sender() == user
                && entry.thread.as_deref() == thread
                && entry.pdu.kind() != "m.room.member"
        });
        let receipts = self.receipts.iter().filter(|((of, _, on), _)| {
            of == user && (on.is_empty() || on == thread.unwrap_or("main"))
        });
        let receipts = receipts.map(|(_, place)| *place);
        own.map(|entry| entry.num)
            .chain(receipts)
            .max()
            .unwrap_or(0)
            .max(join)
    }
}

/// What happens.
impl Oracle<'_> {
    async fn step(&mut self) {
        let room = self.one_of(&self.rooms).clone();
        let who = self.below(self.callers.len());
        match self.below(20) {
            0..=9 => self.send(&room, who).await,
            10..=12 => self.receipt(&room, who).await,
            13 => self.redact(&room).await,
            14 => {
                let caller = self.callers[who].clone();
                if who > 0 && self.models[&room].joined.contains_key(&caller.user_id) {
                    caller.leave(&room).await.ok();
                } else {
                    caller.join(&room).await.ok();
                }
            }
            15 => self.rename(&room, who).await,
            16 | 17 if self.changes_rules => self.change_rules(who).await,
            18 if self.changes_rules => self.ignore(who).await,
            _ => self.send(&room, 0).await,
        }
        self.learn(&room).await;
    }

    async fn send(&mut self, room: &str, who: usize) {
        self.sent += 1;
        let caller = self.callers[who].clone();
        let entries = &self.models[room].entries;
        let target = || self.one_of(entries).pdu.event_id().to_string();
        let body = *self.one_of(&["hello", "cake for all", "Bobby", "a cakewalk", "tea"]);
        let mut content = json!({ "msgtype": "m.text", "body": body });
        let mut kind = "m.room.message";
        match self.below(12) {
            0 => content["msgtype"] = json!("m.notice"),
            1 => content["m.mentions"] = json!({ "room": true }),
            2 | 3 => {
                let named: Vec<String> = (0..2)
                    .map(|_| format!("@{}:localhost", self.one_of(&NAMES)))
                    .collect();
                content["m.mentions"] = json!({ "user_ids": named });
            }
            4 => {
                kind = "m.reaction";
                content = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": target(), "key": "x" } });
            }
            5 => content["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": target() }),
            6 => kind = *self.one_of(&["m.call.invite", "m.poll.start", "org.example"]),
            7 => kind = "m.room.encrypted",
            _ => {}
        }
        if kind == "m.room.message" && self.below(3) == 0 && content.get("m.relates_to").is_none() {
            // Not from the newest: threads grow.
            let early = entries.len().min(12);
            let first = entries[self.below(early)].pdu.event_id();
            content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": first });
        }
        // A client that isn't in the room is told so; what may not be a thread is refused.
        caller
            .send(room, kind, &format!("t{}", self.sent), &content)
            .await;
    }

    async fn receipt(&mut self, room: &str, who: usize) {
        let caller = self.callers[who].clone();
        let model = &self.models[room];
        let latest = model.entries.len().saturating_sub(12);
        let entry = &model.entries[latest + self.below(model.entries.len() - latest)];
        let (event, place) = (entry.pdu.event_id().to_string(), entry.num);
        let kind = *self.one_of(&["m.read", "m.read.private"]);
        let thread = match self.below(3) {
            0 => String::new(),
            1 => "main".to_owned(),
            _ => entry.thread.clone().unwrap_or_else(|| "main".to_owned()),
        };
        let body = if thread.is_empty() {
            json!({})
        } else {
            json!({ "thread_id": thread })
        };
        let path = format!("rooms/{}/receipt/{kind}/{}", segment(room), segment(&event));
        if caller.post(&path, &body).await.status == 200 {
            let key = (caller.user_id.clone(), kind.to_owned(), thread);
            let receipts = &mut self.models.get_mut(room).unwrap().receipts;
            let known = receipts.entry(key).or_default();
            *known = place.max(*known);
        }
    }

    async fn redact(&mut self, room: &str) {
        self.sent += 1;
        let event = self.one_of(&self.models[room].entries);
        if event.pdu.state_key().is_some() {
            return;
        }
        let path = format!(
            "rooms/{}/redact/{}/r{}",
            segment(room),
            segment(event.pdu.event_id().as_str()),
            self.sent
        );
        self.callers[0].put(&path, &json!({})).await;
    }

    async fn rename(&mut self, room: &str, who: usize) {
        // Who looks for names looks for them as they were when an event came.
        let name = if self.changes_rules {
            *self.one_of(&["Bobby", "tea", "💥", "x"])
        } else {
            "Bobby"
        };
        let caller = &self.callers[who];
        let path = format!(
            "rooms/{}/state/m.room.member/{}",
            segment(room),
            segment(&caller.user_id)
        );
        caller
            .put(&path, &json!({ "membership": "join", "displayname": name }))
            .await;
    }

    async fn change_rules(&mut self, who: usize) {
        let room = segment(self.one_of::<String>(&self.rooms));
        let actions = self
            .one_of(&[
                json!([]),
                json!(["notify"]),
                json!(["notify", { "set_tweak": "highlight" }]),
            ])
            .clone();
        let conditions = self
            .one_of(&[
                json!([{ "kind": "event_match", "key": "room_id", "pattern": self.rooms[0] }]),
                json!([{ "kind": "event_match", "key": "content.body", "pattern": "cak*" }]),
                json!([{ "kind": "event_match", "key": "type", "pattern": "m.room.message" }]),
                json!([{ "kind": "contains_display_name" }]),
                json!([{ "kind": "room_member_count", "is": ">2" }]),
                json!([]),
            ])
            .clone();
        let caller = &self.callers[who];
        let path = |path: &str| format!("pushrules/global/{path}");
        match self.below(8) {
            0 => {
                caller
                    .put(
                        &path(&format!("room/{room}")),
                        &json!({ "actions": actions }),
                    )
                    .await
            }
            1 => caller.delete(&path(&format!("room/{room}"))).await,
            2 => {
                let word = *self.one_of(&["cake", "tea", "bobby"]);
                let body = json!({ "actions": actions, "pattern": word });
                caller.put(&path(&format!("content/{word}")), &body).await
            }
            3 => {
                caller
                    .put(
                        &path("sender/@alice:localhost"),
                        &json!({ "actions": actions }),
                    )
                    .await
            }
            4 | 5 => {
                let kind = *self.one_of(&["override", "underride"]);
                let body = json!({ "actions": actions, "conditions": conditions });
                caller.put(&path(&format!("{kind}/mine")), &body).await
            }
            6 => {
                caller
                    .delete(&path(self.one_of::<&str>(&[
                        "override/mine",
                        "underride/mine",
                        "sender/@alice:localhost",
                    ])))
                    .await
            }
            _ => {
                let rule = *self.one_of(&[
                    "override/.m.rule.suppress_edits",
                    "underride/.m.rule.message",
                    "override/.m.rule.is_user_mention",
                    "override/.m.rule.reaction",
                    "override/.m.rule.member_event",
                    "underride/.m.rule.room_one_to_one",
                ]);
                let enabled = json!({ "enabled": self.below(2) == 0 });
                caller
                    .put(&path(&format!("{rule}/enabled")), &enabled)
                    .await
            }
        };
    }

    async fn ignore(&mut self, who: usize) {
        let caller = &self.callers[who];
        let others: Vec<&Caller> = self
            .callers
            .iter()
            .filter(|other| other.user_id != caller.user_id)
            .collect();
        let some = others[..self.below(2)]
            .iter()
            .map(|other| other.user_id.clone());
        let ignored: BTreeSet<String> = some.collect();
        let list: BTreeMap<&String, Value> = ignored.iter().map(|user| (user, json!({}))).collect();
        let path = format!(
            "user/{}/account_data/m.ignored_user_list",
            segment(&caller.user_id)
        );
        caller
            .put(&path, &json!({ "ignored_users": list }))
            .await
            .ok();
        self.ignored.insert(caller.user_id.clone(), ignored);
    }

    /// Every client syncs, from where it was or anew, and knows what the oracle knows.
    async fn check(&mut self, seed: u64, anew: bool) {
        for who in 0..self.callers.len() {
            for apart in [true, false] {
                let caller = self.callers[who].clone();
                let mut client = self
                    .clients
                    .remove(&(who, apart))
                    .filter(|_| !anew)
                    .unwrap_or_default();
                client.sync(&caller, apart).await;
                for room in &self.rooms {
                    if !self.models[room].joined.contains_key(&caller.user_id) {
                        client.counts.remove(room);
                        continue;
                    }
                    let (main, threads) = self.expected(room, &caller.user_id).await;
                    let expected = shown(main, &threads, apart);
                    let known = client.counts.get(room).cloned().unwrap_or_default();
                    assert_eq!(
                        known, expected,
                        "seed {seed}: {} in {room} (apart: {apart}, anew: {anew})",
                        caller.user_id
                    );
                }
                self.clients.insert((who, apart), client);
            }
        }
    }
}

fn shown(main: Counts, threads: &BTreeMap<String, Counts>, apart: bool) -> Value {
    let pair = |counts: Counts| json!([counts.0, counts.1]);
    if apart {
        let threads: BTreeMap<&String, Value> = threads
            .iter()
            .map(|(root, counts)| (root, pair(*counts)))
            .collect();
        return json!([pair(main), threads]);
    }
    let all = threads
        .values()
        .fold(main, |all, one| Counts(all.0 + one.0, all.1 + one.1));
    json!([pair(all), {}])
}

impl Client {
    async fn sync(&mut self, caller: &Caller, apart: bool) {
        let filter =
            json!({ "room": { "timeline": { "limit": 1, "unread_thread_notifications": apart } } });
        let filter = segment(&filter.to_string());
        let since = self
            .since
            .as_ref()
            .map_or_else(String::new, |since| format!("&since={since}"));
        let answer = caller
            .get(&format!("sync?filter={filter}{since}"))
            .await
            .ok();
        self.since = answer["next_batch"].as_str().map(str::to_owned);
        let pair =
            |counts: &Value| json!([counts["highlight_count"], counts["notification_count"]]);
        for (room, told) in answer["rooms"]["join"].as_object().unwrap() {
            let threads = told["unread_thread_notifications"]
                .as_object()
                .into_iter()
                .flatten();
            let threads: BTreeMap<&String, Value> =
                threads.map(|(root, counts)| (root, pair(counts))).collect();
            let counts = json!([pair(&told["unread_notifications"]), threads]);
            self.counts.insert(room.clone(), counts);
        }
    }
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn everybody_is_told_what_an_oracle_counts() {
    on_servers(async |server| {
        for seed in seeds(2) {
            run(&server, seed).await;
        }
    })
    .await;
}

async fn run(server: &Server, seed: u64) {
    // Users of one seed are strangers to those of another.
    let mut callers = Vec::new();
    for name in NAMES {
        callers.push(if seed == 0 {
            server.user(name).await
        } else {
            server.device(name).await
        });
    }
    let mut rooms = Vec::new();
    for _ in 0..2 {
        rooms.push(callers[0].create(json!({ "preset": "public_chat" })).await);
    }
    let mut oracle = Oracle {
        server,
        chance: Chance::seeded(seed),
        callers,
        rooms,
        models: BTreeMap::new(),
        clients: BTreeMap::new(),
        ignored: BTreeMap::new(),
        changes_rules: seed % 2 == 1,
        sent: 0,
    };
    for who in 0..NAMES.len() {
        oracle.forget_rules(who).await;
    }
    for room in oracle.rooms.clone() {
        for caller in &oracle.callers[1..3] {
            caller.join(&room).await.ok();
        }
        oracle.learn(&room).await;
    }
    for step in 0..60 {
        oracle.step().await;
        if step % 6 == 5 {
            oracle.check(seed, false).await;
        }
    }
    oracle.check(seed, true).await;
}

impl Oracle<'_> {
    /// Ends what an earlier seed left, and gives Bob something to look for.
    async fn forget_rules(&mut self, who: usize) {
        let caller = self.callers[who].clone();
        let rules = self.rules(&caller.user_id).await;
        for kind in starling_pushrules::Kind::ALL {
            for rule in rules.of_kind(kind) {
                let path = format!("pushrules/global/{}/{}", kind.as_str(), segment(rule.id()));
                if rule.id().starts_with('.') {
                    let enabled = json!({ "enabled": rule.id() != ".m.rule.master" });
                    caller.put(&format!("{path}/enabled"), &enabled).await.ok();
                } else {
                    caller.delete(&path).await.ok();
                }
            }
        }
        let path = format!(
            "user/{}/account_data/m.ignored_user_list",
            segment(&caller.user_id)
        );
        caller
            .put(&path, &json!({ "ignored_users": {} }))
            .await
            .ok();
        if who == 1 {
            let body =
                json!({ "pattern": "cake", "actions": ["notify", { "set_tweak": "highlight" }] });
            caller
                .put("pushrules/global/content/cake", &body)
                .await
                .ok();
            caller
                .put(
                    "pushrules/global/sender/@carol:localhost",
                    &json!({ "actions": [] }),
                )
                .await
                .ok();
        }
    }
}
