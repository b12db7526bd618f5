//! One `/sync` of a member of many rooms, one of which has a new message.
//!
//! The same message is asked for again and again, from the same token: so that to send it isn't counted with it.

use serde_json::json;

use super::client::{Client, Server, parsed, text};

/// Of which the reader is a member.
const ROOMS: usize = 20;
/// Syncs before the first that counts.
const WARM_UP: u64 = 20;

pub(super) async fn run(count: u64) {
    let server = Server::start().await;
    let reader = server.client("reader").await;
    let writer = server.client("writer").await;
    let mut rooms = Vec::with_capacity(ROOMS);
    for _ in 0..ROOMS {
        let room = writer.create_room().await;
        reader.join(&room).await;
        rooms.push(room);
    }
    // As clients do: members are told of only where they have said something.
    let filter = json!({ "room": { "state": { "lazy_load_members": true } } });
    let path = format!("/_matrix/client/v3/user/{}/filter", reader.user_id);
    let filter = text(&reader.post(&path, &filter).await, "filter_id");
    let path = format!("/_matrix/client/v3/sync?filter={filter}&timeout=30000");
    let all = parsed(&reader.get(&path).await);
    let path = format!("{path}&since={}", text(&all, "next_batch"));
    if let Some(room) = rooms.first() {
        writer.say(room, 0).await;
        check(&reader, &path, room).await;
    }
    for _ in 0..WARM_UP + count {
        reader.get(&path).await;
    }
}

/// Checks that the answer is the message and no more.
async fn check(reader: &Client<'_>, path: &str, room: &str) {
    let answer = parsed(&reader.get(path).await);
    let joined = answer
        .pointer("/rooms/join")
        .and_then(|join| join.as_object());
    let joined = joined.expect("a room has something new");
    assert_eq!(joined.len(), 1, "{answer}");
    let events = joined
        .get(room)
        .and_then(|room| room.pointer("/timeline/events"));
    let events = events.and_then(|events| events.as_array());
    assert_eq!(events.map(Vec::len), Some(1), "{answer}");
}
