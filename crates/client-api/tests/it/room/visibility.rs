//! Who sees what of a room, on every endpoint that reads one: the rules of the text, applied to each event of a story, and
//! the same asked of the server. <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use starling_testkit::TestServer;

use super::caller::{Answer, Caller, Server, on_servers_with, segment};

const SETTINGS: [&str; 4] = ["world_readable", "shared", "invited", "joined"];

/// What happens in a room, one after the other.
#[derive(Clone, Copy)]
enum Step {
    /// Something is said, and the topic changed to the same.
    Say(&'static str),
    /// The room's history visibility becomes another.
    Visibility(&'static str),
    /// Somebody comes in.
    Join(&'static str),
    /// Somebody goes.
    Leave(&'static str),
    /// Alice invites, kicks or bans somebody.
    Act(&'static str, &'static str),
}
use Step::{Act, Join, Leave, Say, Visibility};

/// Of each role of interest somebody, named after it.
const ROLES: [&str; 9] = [
    "joined",
    "invited",
    "invited_then_joined",
    "left",
    "kicked",
    "banned",
    "came_back",
    "never",
    "guest",
];

const STORY: [Step; 19] = [
    Say("start"),
    Join("joined"),
    Join("left"),
    Join("kicked"),
    Join("banned"),
    Join("came_back"),
    Say("early"),
    Act("invite", "invited"),
    Act("invite", "invited_then_joined"),
    Say("between"),
    Join("invited_then_joined"),
    Say("together"),
    Leave("left"),
    Leave("came_back"),
    Act("kick", "kicked"),
    Act("ban", "banned"),
    Say("apart"),
    Join("came_back"),
    Say("late"),
];

/// The story, with the visibility changing between whatever else happens.
fn changing(settings: [&'static str; 4]) -> Vec<Step> {
    let mut story = Vec::new();
    for (number, step) in STORY.into_iter().enumerate() {
        story.push(step);
        if number % 3 == 1 {
            story.push(Visibility(settings[(number / 3) % 4]));
            story.push(Say(["v0", "v1", "v2", "v3", "v4", "v5", "v6"][number / 3]));
        }
    }
    story
}

/// Something that was said.
struct Said {
    text: &'static str,
    event_id: String,
    ts: i64,
    visibility: &'static str,
    /// Who was what when it was said.
    memberships: BTreeMap<&'static str, &'static str>,
    /// A sync token from just afterwards.
    token: String,
}

struct World {
    room: String,
    people: BTreeMap<&'static str, Caller>,
    said: Vec<Said>,
    /// Who is what at the end.
    memberships: BTreeMap<&'static str, &'static str>,
    visibility: &'static str,
}

impl World {
    async fn play(server: &Server, visibility: &'static str, story: &[Step]) -> Self {
        let alice = server.user("alice").await;
        let mut people = BTreeMap::new();
        for role in ROLES {
            let somebody = if role == "guest" {
                server.guest().await
            } else {
                server.user(role).await
            };
            people.insert(role, somebody);
        }
        let initial = json!([{
            "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": visibility },
        }]);
        let room = alice
            .create(json!({ "preset": "public_chat", "initial_state": initial }))
            .await;
        let mut world = Self {
            room,
            people,
            said: Vec::new(),
            memberships: BTreeMap::new(),
            visibility,
        };
        for step in story {
            world.step(&alice, *step).await;
        }
        world
    }

    async fn step(&mut self, alice: &Caller, step: Step) {
        let set = async |kind: &str, content: Value| {
            let path = format!("rooms/{}/state/{kind}", segment(&self.room));
            alice.put(&path, &content).await.event_id()
        };
        match step {
            Say(text) => {
                set("m.room.topic", json!({ "topic": text })).await;
                let content = json!({ "msgtype": "m.text", "body": text });
                let event_id = alice
                    .send(&self.room, "m.room.message", text, &content)
                    .await
                    .event_id();
                let path = format!("rooms/{}/event/{}", segment(&self.room), segment(&event_id));
                let ts = alice.get(&path).await.ok()["origin_server_ts"]
                    .as_i64()
                    .unwrap();
                let token = alice.get("sync").await.ok()["next_batch"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                let (visibility, memberships) = (self.visibility, self.memberships.clone());
                self.said.push(Said {
                    text,
                    event_id,
                    ts,
                    visibility,
                    memberships,
                    token,
                });
            }
            Visibility(visibility) => {
                set(
                    "m.room.history_visibility",
                    json!({ "history_visibility": visibility }),
                )
                .await;
                self.visibility = visibility;
            }
            Join(who) => {
                self.people[who].join(&self.room).await.ok();
                self.memberships.insert(who, "join");
            }
            Leave(who) => {
                self.people[who].leave(&self.room).await.ok();
                self.memberships.insert(who, "leave");
            }
            Act(action, who) => {
                alice.act(&self.room, action, &self.people[who]).await.ok();
                let membership =
                    BTreeMap::from([("invite", "invite"), ("kick", "leave"), ("ban", "ban")])
                        [action];
                self.memberships.insert(who, membership);
            }
        }
    }

    /// The five rules of the text.
    fn may_see(&self, who: &str, number: usize) -> bool {
        let said = &self.said[number];
        let membership = said.memberships.get(who).copied();
        let joined_later = self.said[number..]
            .iter()
            .any(|later| later.memberships.get(who) == Some(&"join"));
        said.visibility == "world_readable"
            || membership == Some("join")
            || (said.visibility == "shared" && joined_later)
            || (said.visibility == "invited" && membership == Some("invite"))
    }

    fn seen(&self, who: &str) -> BTreeSet<&'static str> {
        let numbers = (0..self.said.len()).filter(|number| self.may_see(who, *number));
        numbers.map(|number| self.said[number].text).collect()
    }

    fn ever_joined(&self, who: &str) -> bool {
        self.said
            .iter()
            .any(|said| said.memberships.get(who) == Some(&"join"))
    }

    /// Whether the room can be read at all by them, and if so up to which of what was said; `None`: up to now.
    fn reads_up_to(&self, who: &str) -> Result<Option<usize>, ()> {
        if self.memberships.get(who) == Some(&"join") || self.visibility == "world_readable" {
            Ok(None)
        } else if self.ever_joined(who) {
            let last = self
                .said
                .iter()
                .rposition(|said| said.memberships.get(who) == Some(&"join"));
            Ok(last)
        } else {
            Err(())
        }
    }

    async fn get(&self, who: &str, path: &str) -> Answer {
        self.people[who]
            .get(&format!("rooms/{}/{path}", segment(&self.room)))
            .await
    }

    async fn get_v1(&self, who: &str, path: &str) -> Answer {
        let path = format!("/_matrix/client/v1/rooms/{}/{path}", segment(&self.room));
        self.people[who].send_raw("GET", &path, b"").await
    }

    async fn check(&self) {
        for who in ROLES {
            self.check_events(who).await;
            self.check_history(who).await;
            self.check_state(who).await;
            self.check_members_at(who).await;
            self.check_times(who).await;
            self.check_sync(who).await;
        }
    }

    /// The endpoints of single events.
    async fn check_events(&self, who: &str) {
        for (number, said) in self.said.iter().enumerate() {
            let case = format!("{who} {} {}", said.text, said.visibility);
            let sees = self.may_see(who, number);
            let id = segment(&said.event_id);
            let event = self.get(who, &format!("event/{id}")).await;
            let context = self.get(who, &format!("context/{id}?limit=100")).await;
            let relations = self.get_v1(who, &format!("relations/{id}")).await;
            if who == "guest" {
                relations.fails_for(&case, 403, "M_GUEST_ACCESS_FORBIDDEN");
            } else if sees {
                relations.ok_for(&case);
            } else {
                relations.fails_for(&case, 404, "M_NOT_FOUND");
            }
            if !sees {
                event.fails_for(&case, 404, "M_NOT_FOUND");
                context.fails_for(&case, 404, "M_NOT_FOUND");
                continue;
            }
            assert_eq!(event.ok_for(&case)["content"]["body"], said.text);
            let context = context.ok_for(&case);
            let mut told = texts(&context["events_before"]);
            told.extend(texts(&context["events_after"]));
            told.insert(said.text.to_owned());
            assert_eq!(told, owned(self.seen(who)), "context {case}");
            // The state there may show no topic of a later time than any event that they see.
            let topic = context["state"]
                .as_array()
                .unwrap()
                .iter()
                .find(|event| event["type"] == "m.room.topic");
            let topic = topic.unwrap()["content"]["topic"]
                .as_str()
                .unwrap()
                .to_owned();
            let last = self
                .said
                .iter()
                .rposition(|said| self.seen(who).contains(said.text))
                .unwrap();
            let topic = self
                .said
                .iter()
                .position(|said| said.text == topic)
                .unwrap();
            assert!(topic <= last + 1, "{case}: {topic} {last}");
        }
    }

    async fn check_history(&self, who: &str) {
        for dir in ["b", "f"] {
            let page = self
                .get(who, &format!("messages?dir={dir}&limit=100"))
                .await;
            let Ok(upto) = self.reads_up_to(who) else {
                page.fails_for(who, 403, "M_FORBIDDEN");
                continue;
            };
            let page = page.ok_for(who);
            assert!(page.get("end").is_none(), "{page}");
            // Pages of a room that was left end there.
            let seen = self.seen_before(who, upto.map_or(self.said.len(), |last| last + 1));
            assert_eq!(texts(&page["chunk"]), owned(seen), "messages {who}");
        }
    }

    fn seen_before(&self, who: &str, end: usize) -> BTreeSet<&'static str> {
        let mut seen = self.seen(who);
        for said in &self.said[end..] {
            seen.remove(said.text);
        }
        seen
    }

    async fn check_state(&self, who: &str) {
        let reads = self.reads_up_to(who);
        let paths = ["state", "state/m.room.topic", "members", "joined_members"];
        for path in paths {
            let answer = self.get(who, path).await;
            if path == "joined_members" && self.memberships.get(who) != Some(&"join") {
                let errcode = if who == "guest" {
                    "M_GUEST_ACCESS_FORBIDDEN"
                } else {
                    "M_FORBIDDEN"
                };
                answer.fails_for(who, 403, errcode);
                continue;
            }
            let Ok(upto) = reads else {
                answer.fails_for(&format!("{who} {path}"), 403, "M_FORBIDDEN");
                continue;
            };
            let last = &self.said[upto.unwrap_or(self.said.len() - 1)];
            let answer = answer.ok_for(who);
            match path {
                "state" => {
                    let topic = answer
                        .as_array()
                        .unwrap()
                        .iter()
                        .find(|event| event["type"] == "m.room.topic");
                    assert_eq!(topic.unwrap()["content"]["topic"], last.text, "{who}");
                }
                "state/m.room.topic" => assert_eq!(answer["topic"], last.text, "{who}"),
                "members" if upto.is_none() => {
                    assert_eq!(self.memberships_of(&answer), self.memberships, "{who}");
                }
                _ => {}
            }
        }
    }

    /// The memberships of the roles that a list of member events shows.
    fn memberships_of(&self, answer: &Value) -> BTreeMap<&'static str, &'static str> {
        let of = |event: &Value| {
            let who = self
                .people
                .iter()
                .find(|(_, caller)| event["state_key"] == *caller.user_id)?
                .0;
            let names = ["join", "invite", "leave", "ban"];
            let membership = names
                .into_iter()
                .find(|name| event["content"]["membership"] == *name);
            Some((*who, membership.unwrap()))
        };
        answer["chunk"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(of)
            .collect()
    }

    async fn check_members_at(&self, who: &str) {
        for (number, said) in self.said.iter().enumerate() {
            let case = format!("{who} at {} {}", said.text, said.visibility);
            let answer = self.get(who, &format!("members?at={}", said.token)).await;
            match self.reads_up_to(who) {
                // Later than they may see: as of when they left.
                Ok(Some(last)) if number > last => drop(answer.ok_for(&case)),
                Ok(_) if self.may_see(who, number) => {
                    let members = self.memberships_of(&answer.ok_for(&case));
                    assert_eq!(members, said.memberships, "{case}");
                }
                _ => answer.fails_for(&case, 403, "M_FORBIDDEN"),
            }
        }
    }

    async fn check_times(&self, who: &str) {
        for said in &self.said {
            for dir in ["f", "b"] {
                let case = format!("{who} {} {dir}", said.text);
                let found = self
                    .get_v1(who, &format!("timestamp_to_event?ts={}&dir={dir}", said.ts))
                    .await;
                if who == "guest" {
                    found.fails_for(&case, 403, "M_GUEST_ACCESS_FORBIDDEN");
                } else if self.reads_up_to(who).is_err() {
                    found.fails_for(&case, 403, "M_FORBIDDEN");
                } else if found.status == 404 {
                    assert!(!self.seen(who).contains(said.text), "{case}");
                } else {
                    let found = found.ok_for(&case);
                    let id = found["event_id"].as_str().unwrap();
                    self.get(who, &format!("event/{}", segment(id)))
                        .await
                        .ok_for(&case);
                    let ts = found["origin_server_ts"].as_i64().unwrap();
                    assert!(
                        if dir == "f" {
                            ts >= said.ts
                        } else {
                            ts <= said.ts
                        },
                        "{case}"
                    );
                }
            }
        }
    }

    async fn check_sync(&self, who: &str) {
        let filter = segment(r#"{"room":{"include_leave":true,"timeline":{"limit":100}}}"#);
        let answer = self.people[who]
            .get(&format!("sync?filter={filter}"))
            .await
            .ok();
        let rooms = &answer["rooms"];
        let section = match self.memberships.get(who) {
            Some(&"join") => "join",
            Some(&"invite") => "invite",
            Some(_) => "leave",
            None => {
                assert!(!rooms.to_string().contains(&self.room), "{who}");
                return;
            }
        };
        let told = &rooms[section][&self.room];
        assert!(told.is_object(), "{who} {rooms}");
        let mut seen = self.seen(who);
        if section == "leave" {
            // A room that was left ends there, also where anybody may read on.
            let last = self
                .said
                .iter()
                .rposition(|said| said.memberships.get(who) == Some(&"join"));
            seen = self.seen_before(who, last.unwrap() + 1);
        }
        if section != "invite" {
            assert_eq!(
                texts(&told["timeline"]["events"]),
                owned(seen),
                "sync {who}"
            );
        }
    }
}

/// What the messages of a list say.
fn texts(events: &Value) -> BTreeSet<String> {
    let messages = events
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] == "m.room.message");
    messages
        .map(|event| event["content"]["body"].as_str().unwrap().to_owned())
        .collect()
}

fn owned(texts: BTreeSet<&'static str>) -> BTreeSet<String> {
    texts.into_iter().map(str::to_owned).collect()
}

async fn with_each(stories: impl IntoIterator<Item = (&'static str, Vec<Step>)> + Clone) {
    let mut config = TestServer::config();
    config.registration.guests = true;
    for (visibility, story) in stories {
        on_servers_with(config.clone(), async |server| {
            World::play(&server, visibility, &story).await.check().await;
        })
        .await;
    }
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state`, `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}`,
/// `GET /_matrix/client/v3/rooms/{roomId}/members`, `GET /_matrix/client/v3/rooms/{roomId}/joined_members`,
/// `GET /_matrix/client/v3/rooms/{roomId}/messages`, `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`,
/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`, `GET /_matrix/client/v3/sync`,
/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`,
/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
#[tokio::test]
async fn each_setting_lets_everybody_see_what_the_rules_say() {
    with_each(SETTINGS.map(|setting| (setting, STORY.to_vec()))).await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state`, `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}`,
/// `GET /_matrix/client/v3/rooms/{roomId}/members`, `GET /_matrix/client/v3/rooms/{roomId}/joined_members`,
/// `GET /_matrix/client/v3/rooms/{roomId}/messages`, `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`,
/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`, `GET /_matrix/client/v3/sync`,
/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`,
/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
#[tokio::test]
async fn what_counts_is_the_setting_at_each_event() {
    let [world, shared, invited, joined] = SETTINGS;
    let orders = [
        [joined, world, invited, shared],
        [shared, invited, joined, world],
        [world, joined, shared, invited],
    ];
    with_each(orders.map(|order| (order[3], changing(order)))).await;
}
