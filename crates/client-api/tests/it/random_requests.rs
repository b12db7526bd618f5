//! Random requests to every route never make the server fail: no 5xx, and each refusal says why.

mod grammar;

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};
use starling_runtime::Chance;
use starling_testkit::{TestServer, seeds};

use self::grammar::{Grammar, Known};
use crate::caller::{Caller, Server, is_for_people, on_servers_with, segment};

/// Requests of one seed.
const REQUESTS: usize = 1000;
/// After so many requests there is a new room: in the old one there may be nobody left.
const REQUESTS_PER_ROOM: usize = 50;
/// A page for browsers, which is no JSON.
const PAGE: &str = "/fallback/web";

/// Who calls.
const CALLERS: [&str; 10] = [
    "alice", "alice", "alice", "alice", "bob", "bob", "guest", "admin", "carol", "nobody",
];

/// One request.
struct Request {
    /// Method and path as the route is declared.
    route: String,
    who: &'static str,
    method: Method,
    path: String,
    body: Vec<u8>,
}

/// One seed's users and room.
struct World<'a> {
    server: &'a Server,
    seed: u64,
    callers: BTreeMap<&'static str, Caller>,
    /// How many callers there were: each has a name of its own.
    made: usize,
    grammar: Grammar,
}

impl<'a> World<'a> {
    async fn new(server: &'a Server, seed: u64) -> Self {
        let mut world = Self {
            server,
            seed,
            callers: BTreeMap::new(),
            made: 0,
            grammar: Grammar::new(Chance::seeded(seed)),
        };
        for who in BTreeSet::from(CALLERS) {
            world.replace(who).await;
        }
        world
    }

    /// A new caller, in the place of one who logged out, was locked or is gone.
    async fn replace(&mut self, who: &'static str) {
        self.made += 1;
        let name = format!("{who}.{}.{}", self.seed, self.made);
        let caller = match who {
            "nobody" => self.server.anonymous(),
            "guest" => self.server.guest().await,
            "admin" => self.server.admin(&name).await,
            _ => self.server.user(&name).await,
        };
        self.callers.insert(who, caller);
    }

    /// A new room, and what there is in it to be named.
    async fn settle(&mut self) {
        for who in ["alice", "bob", "guest", "admin", "carol"] {
            if self.callers[who].get("sync").await.status != 200 {
                self.replace(who).await;
            }
        }
        let (alice, bob) = (&self.callers["alice"], &self.callers["bob"]);
        self.made += 1;
        let alias = format!("room.{}.{}", self.seed, self.made);
        let wanted = json!({
            "preset": "public_chat",
            "room_alias_name": alias,
            "initial_state": [{ "type": "m.room.guest_access", "content": { "guest_access": "can_join" } }],
        });
        let room = alice.create(wanted).await;
        bob.join(&room).await.ok();
        let hello = json!({ "msgtype": "m.text", "body": "hello" });
        let event = alice.send(&room, "m.room.message", "first", &hello).await;
        let device = alice.get("devices").await.ok()["devices"][0]["device_id"].clone();
        let filters = format!("user/{}/filter", segment(&alice.user_id));
        let filter = alice.post(&filters, &json!({})).await.ok();
        let filter_id = filter["filter_id"].clone();
        let since = alice.get("sync").await.ok()["next_batch"].clone();
        let text = |value: Value| value.as_str().unwrap().to_owned();
        self.grammar.known = Known {
            event: event.event_id(),
            alias: format!("#{alias}:localhost"),
            alice: alice.user_id.clone(),
            bob: bob.user_id.clone(),
            carol: self.callers["carol"].user_id.clone(),
            device: text(device),
            filter_id: text(filter_id),
            since: text(since),
            room,
        };
    }

    fn request(&mut self, route: &(Method, String)) -> Request {
        let (declared, path) = route;
        let grammar = &mut self.grammar;
        let who = *grammar.one_of(&CALLERS);
        let method = match grammar.below(40) {
            0 => grammar.one_of(&[
                Method::GET,
                Method::PUT,
                Method::POST,
                Method::DELETE,
                Method::PATCH,
            ]),
            _ => declared,
        };
        Request {
            route: format!("{declared} {path}"),
            who,
            method: method.clone(),
            path: grammar.path(path),
            body: if *method == Method::GET {
                Vec::new()
            } else {
                grammar.body(path)
            },
        }
    }

    /// Makes one request. Returns its status.
    async fn call(&mut self, request: &Request) -> u16 {
        let Request {
            who,
            method,
            path,
            body,
            ..
        } = request;
        let (status, answer) = self.callers[who].any(method, path, body).await;
        if let Some(problem) = problem(path, status, &answer) {
            panic!(
                "seed {}: {who} {method} {path} with {}: {problem}: {status} {}",
                self.seed,
                String::from_utf8_lossy(body),
                String::from_utf8_lossy(&answer),
            );
        }
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let is_gone = ["M_UNKNOWN_TOKEN", "M_USER_LOCKED"]
            .map(Value::from)
            .contains(&answer["errcode"]);
        if is_gone && *who != "nobody" {
            self.replace(who).await;
        }
        status
    }
}

/// What is wrong with an answer.
fn problem(path: &str, status: u16, answer: &[u8]) -> Option<&'static str> {
    if status >= 500 {
        return Some("the server failed");
    }
    if status < 400 {
        return None;
    }
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        let is_page = path.contains(PAGE) && answer.starts_with(b"<!DOCTYPE html>");
        return (!is_page).then_some("the refusal is no JSON");
    };
    let says_why =
        answer["errcode"].is_string() && answer["error"].as_str().is_some_and(is_for_people);
    // Interactive authentication asks for more, and that is no error.
    let asks = status == 401 && answer["flows"].is_array() && answer["session"].is_string();
    (!says_why && !asks).then_some("the refusal has no errcode, or says nothing to people")
}

#[tokio::test]
async fn random_requests_never_make_the_server_fail() {
    let routes = starling_client_api::routes().merge(starling_client_api::federation_routes());
    let table = routes
        .table()
        .map(|route| (route.method.clone(), route.path.clone()));
    let table: Vec<(Method, String)> = table.collect();
    let mut config = TestServer::config();
    config.registration.guests = true;
    on_servers_with(config, async |server| {
        let (mut statuses, mut done) = (BTreeMap::<u16, usize>::new(), BTreeSet::new());
        for seed in seeds(10) {
            let mut world = World::new(&server, seed).await;
            for number in 0..REQUESTS {
                if number % REQUESTS_PER_ROOM == 0 {
                    world.settle().await;
                }
                let route = world.grammar.one_of(&table).clone();
                let request = world.request(&route);
                let status = world.call(&request).await;
                *statuses.entry(status).or_default() += 1;
                if status == 200 {
                    done.insert(request.route);
                }
            }
        }
        // They are not all refused at the door.
        let all: usize = statuses.values().sum();
        assert!(statuses[&200] * 5 > all, "{statuses:?}");
        assert!(done.len() * 2 > table.len(), "{done:?}");
    })
    .await;
}
