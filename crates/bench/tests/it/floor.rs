//! The floor does what it is said to do: its events are right and on the disk, and syncs get them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::VerifyingKey;
use ruma_common::{
    CanonicalJsonObject, room_version_rules::RoomVersionRules, serde::Base64 as RumaBase64,
};
use ruma_signatures::{PublicKeyMap, Verified, reference_hash, verify_event};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value as Json, json};
use starling_bench::floor::{DATABASE, FloorError, KEY_ID, SERVER_NAME, Server};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A floor that runs.
pub(crate) struct Running {
    data: TempDir,
    pub(crate) address: SocketAddr,
    key: VerifyingKey,
    end: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), FloorError>>,
}

impl Running {
    pub(crate) async fn start() -> Self {
        let data = TempDir::new().unwrap();
        let any_port = "127.0.0.1:0".parse().unwrap();
        let server = Server::open(data.path(), any_port).await.unwrap();
        let (end, ended) = oneshot::channel();
        Self {
            data,
            address: server.address(),
            key: server.verifying_key(),
            end,
            serving: tokio::spawn(server.serve(async {
                ended.await.ok();
            })),
        }
    }

    /// A client that has logged in.
    async fn user(&self, name: &str) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let mut client = Client {
            stream: BufReader::new(stream),
            token: String::new(),
        };
        let (status, session) = client
            .request("POST", "v3/register", &json!({"username": name}))
            .await;
        assert_eq!(status, 200);
        assert_eq!(session["user_id"], format!("@{name}:{SERVER_NAME}"));
        client.token = session["access_token"].as_str().unwrap().to_owned();
        client
    }

    /// Ends it; gives the events in its database, in their order: event id, room and JSON.
    pub(crate) async fn stop(self) -> Vec<(String, String, CanonicalJsonObject)> {
        self.end.send(()).unwrap();
        self.serving.await.unwrap().unwrap();
        let path = self.data.path().join(DATABASE);
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut rows = database
            .prepare("SELECT event_id, room_id, json FROM events ORDER BY position")
            .unwrap();
        let rows = rows.query_map((), |row| {
            let json: Vec<u8> = row.get(2)?;
            Ok((
                row.get(0)?,
                row.get(1)?,
                serde_json::from_slice(&json).unwrap(),
            ))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }
}

/// A connection that is kept for all requests of a user.
struct Client {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Client {
    async fn request(&mut self, method: &str, path: &str, body: &Json) -> (u16, Json) {
        self.ask(method, path, body).await;
        self.answer().await
    }

    async fn ask(&mut self, method: &str, path: &str, body: &Json) {
        let body = body.to_string();
        let token = match self.token.as_str() {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let length = body.len();
        let request = format!(
            "{method} /_matrix/client/{path} HTTP/1.1\r\nHost: localhost\r\n{token}Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    async fn answer(&mut self) -> (u16, Json) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).await.unwrap(), 0, "{head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        self.stream.read_exact(&mut body).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&mut self, path: &str) -> Json {
        let (status, answer) = self.request("GET", path, &json!({})).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn create_room(&mut self) -> String {
        let (status, room) = self.request("POST", "v3/createRoom", &json!({})).await;
        assert_eq!(status, 200);
        room["room_id"].as_str().unwrap().to_owned()
    }

    /// Where the next sync starts.
    async fn position(&mut self) -> String {
        let answer = self.get("v3/sync").await;
        answer["next_batch"].as_str().unwrap().to_owned()
    }

    async fn send(&mut self, room: &str, text: &str) -> String {
        let path = format!("v3/rooms/{room}/send/m.room.message/{text}");
        let content = json!({"msgtype": "m.text", "body": text});
        let (status, sent) = self.request("PUT", &path, &content).await;
        assert_eq!(status, 200, "{sent}");
        sent["event_id"].as_str().unwrap().to_owned()
    }
}

/// The event ids of a room in a sync's answer.
fn timeline(sync: &Json, room: &str) -> Vec<String> {
    let events = sync["rooms"]["join"][room]["timeline"]["events"].as_array();
    let id = |event: &Json| event["event_id"].as_str().unwrap().to_owned();
    events.into_iter().flatten().map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_written_and_delivered() {
    let floor = Running::start().await;
    let (mut alice, mut bob, mut carol) = tokio::join!(
        floor.user("alice"),
        floor.user("bob"),
        floor.user("carol \"c\"")
    );
    let room = alice.create_room().await;
    let encoded = room.replace('!', "%21").replace(':', "%3A");
    for (client, path) in [
        (&mut bob, format!("v3/join/{encoded}")),
        (&mut carol, format!("v3/rooms/{encoded}/join")),
    ] {
        let (status, joined) = client.request("POST", &path, &json!({})).await;
        assert_eq!((status, &joined["room_id"]), (200, &json!(room)));
    }
    let mut since = carol.position().await;
    // It waits before anything is sent.
    let first = format!("v3/sync?timeout=600000&since={since}");
    carol.ask("GET", &first, &json!({})).await;
    let mut second = floor.user("alice").await;
    let (one, two, three) = tokio::join!(
        alice.send(&room, "one"),
        bob.send(&room, "two"),
        second.send(&room, "three"),
    );
    let sent = BTreeSet::from([one, two, three]);
    assert_eq!(sent.len(), 3);

    let (_, mut sync) = carol.answer().await;
    let mut received = timeline(&sync, &room);
    assert!(!received.is_empty(), "{sync}");
    while received.len() < 3 {
        sync["next_batch"].as_str().unwrap().clone_into(&mut since);
        sync = carol
            .get(&format!("v3/sync?since={since}&timeout=600000"))
            .await;
        received.extend(timeline(&sync, &room));
    }
    assert_eq!(received.iter().cloned().collect::<BTreeSet<_>>(), sent);

    let key = floor.key;
    let rows = floor.stop().await;
    let written: Vec<String> = rows.iter().map(|(event_id, ..)| event_id.clone()).collect();
    assert_eq!(written, received);
    check_events(&rows, &room, key);
}

/// Whether another implementation finds the hashes and signatures right, and each event comes after the one before.
fn check_events(rows: &[(String, String, CanonicalJsonObject)], room: &str, key: VerifyingKey) {
    let rules = RoomVersionRules::V11;
    let public = RumaBase64::parse(STANDARD_NO_PAD.encode(key.as_bytes())).unwrap();
    let by_key = BTreeMap::from([(KEY_ID.to_owned(), public)]);
    let keys = PublicKeyMap::from([(SERVER_NAME.to_owned(), by_key)]);
    for (event_id, room_id, event) in rows {
        assert_eq!(room_id, room);
        assert_eq!(
            *event_id,
            format!("${}", reference_hash(event, &rules).unwrap())
        );
        let verified = verify_event(&keys, event, &rules).unwrap();
        assert!(matches!(verified, Verified::All), "{verified:?}");
    }
    for (before, after) in rows.iter().zip(rows.iter().skip(1)) {
        let json = serde_json::to_value(&after.2).unwrap();
        assert_eq!(json["prev_events"], json!([before.0]));
    }
}

#[tokio::test]
async fn a_sync_gets_each_event_of_its_rooms_once() {
    let floor = Running::start().await;
    let mut alice = floor.user("alice").await;
    let mut bob = floor.user("bob").await;
    let (one, two) = (alice.create_room().await, alice.create_room().await);
    let elsewhere = bob.create_room().await;
    let since = alice.position().await;
    let in_one = [
        alice.send(&one, "a").await,
        alice.send(&one, "b").await,
        alice.send(&one, "c").await,
    ];
    bob.send(&elsewhere, "d").await;
    let in_two = alice.send(&two, "e").await;
    let mut others = floor.user("alice").await;

    // An answered message may reach syncs a moment later: `since` goes on until the last is there.
    let mut seen = Vec::new();
    let mut next = since.clone();
    while seen.len() < 4 {
        let sync = alice
            .get(&format!("v3/sync?since={next}&timeout=600000"))
            .await;
        seen.extend(timeline(&sync, &one));
        seen.extend(timeline(&sync, &two));
        assert_eq!(timeline(&sync, &elsewhere), Vec::<String>::new());
        sync["next_batch"].as_str().unwrap().clone_into(&mut next);
    }
    seen.sort();
    let mut sent = [in_one.as_slice(), &[in_two]].concat();
    sent.sort();
    assert_eq!(seen, sent);

    let all = others.get(&format!("v3/sync?since={since}")).await;
    assert_eq!(timeline(&all, &one), in_one);
    assert_eq!(all["rooms"]["join"][&one]["timeline"]["limited"], false);
    let nothing = others.get(&format!("v3/sync?since={next}")).await;
    assert_eq!(nothing, json!({"next_batch": next}));
    floor.stop().await;
}

#[tokio::test]
async fn an_old_sync_gets_the_last_events() {
    let floor = Running::start().await;
    let mut alice = floor.user("alice").await;
    let room = alice.create_room().await;
    let since = alice.position().await;
    let mut sent = Vec::new();
    for number in 0..103 {
        sent.push(alice.send(&room, &number.to_string()).await);
    }
    let last = sent.last().unwrap();
    let mut sync = alice.get(&format!("v3/sync?since={since}")).await;
    while timeline(&sync, &room).last() != Some(last) {
        let at = sync["next_batch"].as_str().unwrap().to_owned();
        alice
            .get(&format!("v3/sync?since={at}&timeout=600000"))
            .await;
        sync = alice.get(&format!("v3/sync?since={since}")).await;
    }
    assert_eq!(timeline(&sync, &room), sent[3..]);
    let timeline = &sync["rooms"]["join"][&room]["timeline"];
    assert_eq!(timeline["limited"], true);
    assert_eq!(timeline["prev_batch"], "3");
    floor.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let floor = Running::start().await;
    let mut alice = floor.user("alice").await;
    let room = alice.create_room().await;
    let mut users = [alice, floor.user("bob").await];
    let [alice, bob] = [0, 1];
    let send = format!("v3/rooms/{room}/send/m.room.message/1");
    for (client, method, path, body, expected) in [
        (bob, "PUT", &*send, json!({}), (403, "M_FORBIDDEN")),
        (alice, "PUT", &*send, json!([]), (400, "M_NOT_JSON")),
        (
            alice,
            "PUT",
            &*send,
            json!({"a": "a".repeat(70_000)}),
            (413, "M_TOO_LARGE"),
        ),
    ] {
        let (status, answer) = users[client].request(method, path, &body).await;
        assert_eq!((status, answer["errcode"].as_str().unwrap()), expected);
    }
    floor.stop().await;
}
