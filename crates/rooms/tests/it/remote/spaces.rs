//! Spaces with rooms that this server is not in: others are asked.

use ruma_common::RoomId;
use serde_json::{Value, json};
use starling_rooms::{Actor, HierarchyQuery, Preset};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, World, on_each_engine};

use super::net::{Asked, Connected, refusal, server};

const PEER: &str = "peer.example";
const INNER: &str = "!inner:peer.example";
const TEA: &str = "!tea:peer.example";

/// What a server says of a room.
fn summary(room: &str, rule: &str, kind: Option<&str>) -> Value {
    let mut summary = json!({
        "room_id": room, "name": room, "join_rule": rule, "num_joined_members": 3,
        "world_readable": false, "guest_can_join": false,
    });
    if let Some(kind) = kind {
        summary["room_type"] = json!(kind);
    }
    summary
}

fn child(room: &str, via: &str) -> Value {
    json!({
        "type": "m.space.child", "state_key": room, "sender": "@owner:peer.example",
        "origin_server_ts": 1, "content": { "via": [via], "extra": 1.5e0 },
    })
}

/// A space of the peer, with an open room, a closed one and one that is not for users of this server.
fn inner_space(asked: &Asked) -> Option<(u16, Value)> {
    if !asked.uri.contains("/hierarchy/") {
        return None;
    }
    if !asked.uri.contains("/hierarchy/%21inner") {
        return Some(refusal(404, "M_NOT_FOUND"));
    }
    let mut room = summary(INNER, "public", Some("m.space"));
    let mut children: Vec<Value> = [TEA, "!closed:peer.example", "!hidden:peer.example"]
        .iter()
        .map(|room| child(room, PEER))
        .collect();
    for child in &mut children {
        child["content"] = json!({ "via": [PEER] });
    }
    room["children_state"] = json!(children);
    Some((
        200,
        json!({
            "room": room,
            "children": [summary(TEA, "public", None), summary("!closed:peer.example", "invite", None)],
            "inaccessible_children": ["!hidden:peer.example"],
        }),
    ))
}

async fn space_of(
    world: &World,
    alice: &Actor,
    children: &[(&str, &str)],
) -> ruma_common::OwnedRoomId {
    let mut space = World::plain(Preset::PublicChat);
    space
        .creation_content
        .insert("type".to_owned(), json!("m.space"));
    let space = world.rooms.create(alice, space).await.unwrap();
    for (child, via) in children {
        let content = json!({ "via": [via] });
        let set = world.set(alice, &space, ("m.space.child", child), &content);
        set.await.unwrap();
    }
    space
}

/// The rooms of the pages, one room on each.
async fn walk(world: &World, alice: &Actor, space: &RoomId) -> Vec<String> {
    let (mut rooms, mut from) = (Vec::new(), None);
    loop {
        let query = HierarchyQuery {
            limit: 1,
            max_depth: None,
            suggested_only: false,
            from,
        };
        let page = world.rooms.hierarchy(alice, space, query).await.unwrap();
        rooms.extend(
            page.rooms
                .iter()
                .map(|room| room.summary.room_id().to_string()),
        );
        from = page.next;
        if from.is_none() {
            return rooms;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_other_servers_are_in_a_space_as_far_as_these_tell_of_them() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let here = at.world.room(&alice).await;
        let children = [
            (INNER, PEER),
            ("!gone:nowhere.example", "nowhere.example"),
            (here.as_str(), "localhost"),
        ];
        let space = space_of(&at.world, &alice, &children).await;
        at.net.add(PEER, inner_space);
        let mut found = walk(&at.world, &alice, &space).await;
        assert_eq!(found.remove(0), space.as_str());
        found.sort();
        let mut wanted = vec![INNER.to_owned(), TEA.to_owned(), here.to_string()];
        wanted.sort();
        assert_eq!(found, wanted);
        // Each of the two was asked once, though the walk began anew with each page.
        let asked = at.net.paths();
        assert_eq!(asked.len(), 2, "{asked:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_ends_where_nobody_tells_of_the_last_pages_room_any_longer() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let gone = ("!gone:nowhere.example", "nowhere.example");
        let space = space_of(&at.world, &alice, &[(INNER, PEER), gone]).await;
        let page = |query| at.world.rooms.hierarchy(&alice, &space, query);
        let after = |from| HierarchyQuery {
            limit: 2,
            max_depth: None,
            suggested_only: false,
            from,
        };
        at.net.add(PEER, inner_space);
        let first = page(after(None)).await.unwrap();
        assert_eq!(first.rooms.len(), 2);
        let token = first.next.unwrap().to_string().replace("inner", "other");
        let next = page(after(Some(token.parse().unwrap()))).await.unwrap();
        assert_eq!((next.rooms.len(), next.next), (0, None));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_tells_of_another_room_is_not_believed() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let space = space_of(&at.world, &alice, &[(INNER, PEER)]).await;
        at.net.add(PEER, |_| {
            Some((200, json!({ "room": summary(TEA, "public", None) })))
        });
        assert_eq!(walk(&at.world, &alice, &space).await, [space.as_str()]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_come_in_learns_nothing_of_a_room_elsewhere() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let club = at.world.room(&alice).await;
        let bob = at.world.user("bob").await;
        let condition = club.clone();
        at.net.add(PEER, move |_| {
            let mut room = summary(INNER, "restricted", None);
            room["allowed_room_ids"] = json!([condition]);
            Some((200, json!({ "room": room })))
        });
        let room: &RoomId = INNER.try_into().unwrap();
        let via = [server(PEER)];
        let told = at.world.rooms.summary(Some(&alice), (room, &via)).await;
        assert_eq!(told.unwrap().unwrap().summary.room_id(), INNER);
        let told = at.world.rooms.summary(Some(&bob), (room, &via)).await;
        assert!(told.unwrap().is_none());
        // Nobody asks for somebody who isn't known.
        let asked = at.net.asked().len();
        let told = at.world.rooms.summary(None, (room, &via)).await;
        assert!(told.unwrap().is_none());
        assert_eq!(at.net.asked().len(), asked);
    })
    .await;
}
