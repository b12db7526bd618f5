//! Which servers are in which rooms, and what goes to them.

use std::collections::BTreeMap;

use ruma_common::{OwnedServerName, ServerName};
use serde_json::json;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::append::{AppendError, NewEvent};
use starling_store::destinations::{
    Destinations, FEW_MISSED, KEPT_POSITIONS, Missed, destinations, destinations_set, missed_after,
};
use starling_store::outgoing::{OutgoingPage, outgoing_after, outgoing_receipts, receipts_missed};
use starling_store::receipts::{ReceiptKey, ReceiptKind, ReceiptThread, Sent};
use starling_store::room_servers::{server_is_in_room, servers_in_room};
use starling_store::tokens::Place;
use starling_store::{RoomNum, SCHEMA, Store};
use starling_testkit::{TestDb, on_each_engine};

use crate::timeline::{new_event, new_event_at, new_room};

const ROOM: RoomNum = RoomNum(1);
const ALICE: &str = "@alice:localhost";

fn one() -> OwnedServerName {
    "one.example".try_into().unwrap()
}

fn two() -> OwnedServerName {
    "two.example".try_into().unwrap()
}

/// Appends an event; where it stands.
pub(crate) async fn append(store: &Store, new: NewEvent) -> i64 {
    let before = store.room(ROOM).await.unwrap().unwrap();
    let writing = store.clone();
    let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
        let server = "localhost".try_into().unwrap();
        let appended = writing.append(tx, positions, &before, &new, server)?;
        Ok::<_, AppendError>(appended.event.num.0)
    };
    let write = Write::new("append").locking([ROOM.0]);
    let db = store.db();
    db.write_placed(write, |_| Ok(()), place).await.unwrap()
}

/// A member changes; by themselves, or by Alice.
pub(crate) async fn member(store: &Store, user: &str, membership: &str) -> i64 {
    let sender = if membership == "join" { user } else { ALICE };
    let content = json!({ "membership": membership });
    // No two events are the same.
    let (now, _) = store.db().head().await.unwrap();
    let new = new_event_at(now, sender, "m.room.member", Some(user), &content);
    append(store, new).await
}

/// Alice says something.
async fn say(store: &Store, number: i64) -> i64 {
    append(
        store,
        new_event_at(
            number,
            ALICE,
            "m.room.message",
            None,
            &json!({ "n": number }),
        ),
    )
    .await
}

async fn read<T: Send + 'static>(
    store: &Store,
    read: impl FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
) -> T {
    store.db().read("test", read).await.unwrap()
}

async fn servers(store: &Store) -> Vec<String> {
    let servers = read(store, |tx| servers_in_room(tx, ROOM)).await;
    servers
        .into_iter()
        .map(|server| server.to_string())
        .collect()
}

async fn page(store: &Store, after: i64) -> OutgoingPage {
    read(store, move |tx| outgoing_after(tx, after, 100)).await
}

async fn missed(store: &Store, server: OwnedServerName, after: i64) -> Missed {
    read(store, move |tx| missed_after(tx, &server, after, 50)).await
}

fn to(
    events: &[(OwnedServerName, &[i64])],
) -> BTreeMap<OwnedServerName, std::collections::BTreeSet<i64>> {
    let events = events.iter();
    events
        .map(|(server, positions)| (server.clone(), positions.iter().copied().collect()))
        .collect()
}

#[tokio::test]
async fn a_server_is_in_a_room_as_long_as_one_of_its_users_is() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = new_room(&db).await;
        member(&store, ALICE, "join").await;
        assert!(!store.room(ROOM).await.unwrap().unwrap().is_shared);
        member(&store, "@a:one.example", "join").await;
        member(&store, "@b:one.example", "join").await;
        member(&store, "@c:two.example", "join").await;
        // Who only changes their name joins no second time.
        let named = json!({ "membership": "join", "displayname": "B" });
        let user = "@b:one.example";
        append(&store, new_event(user, "m.room.member", Some(user), &named)).await;
        // Who is invited or banned wasn't in the room.
        member(&store, "@d:three.example", "invite").await;
        member(&store, "@e:three.example", "ban").await;
        assert!(store.room(ROOM).await.unwrap().unwrap().is_shared);
        assert_eq!(servers(&store).await, ["one.example", "two.example"]);
        member(&store, "@a:one.example", "leave").await;
        assert_eq!(servers(&store).await, ["one.example", "two.example"]);
        member(&store, "@b:one.example", "ban").await;
        assert_eq!(servers(&store).await, ["two.example"]);
        let is_in =
            |server: OwnedServerName| read(&store, move |tx| server_is_in_room(tx, ROOM, &server));
        assert!(!is_in(one()).await && is_in(two()).await);
        member(&store, "@a:one.example", "join").await;
        assert_eq!(servers(&store).await, ["one.example", "two.example"]);
        // It is known again after a restart.
        let again = Store::new(store.db().clone(), 1, store.cache_sizes());
        assert!(again.room(ROOM).await.unwrap().unwrap().is_shared);
    })
    .await;
}

#[tokio::test]
async fn events_of_local_users_go_to_the_servers_that_are_in_the_room_before_them() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = new_room(&db).await;
        member(&store, ALICE, "join").await;
        say(&store, 1).await;
        assert_eq!(
            page(&store, 0).await,
            OutgoingPage::default(),
            "a room of this server alone"
        );
        member(&store, "@a:one.example", "join").await;
        let first = say(&store, 2).await;
        member(&store, "@c:two.example", "join").await;
        let second = say(&store, 3).await;
        // What users of other servers say, their servers send.
        append(
            &store,
            new_event("@a:one.example", "m.room.message", None, &json!({})),
        )
        .await;
        let kick = member(&store, "@a:one.example", "leave").await;
        let third = say(&store, 4).await;
        let all = page(&store, 0).await;
        let expected = to(&[
            (one(), &[first, second, kick]),
            (two(), &[second, kick, third]),
        ]);
        assert_eq!(all.events, expected);
        assert_eq!((all.upto, all.has_more), (third, false));
        assert_eq!(page(&store, kick).await.events, to(&[(two(), &[third])]));
        assert_eq!(page(&store, third).await.upto, third);
        let next = read(&store, move |tx| outgoing_after(tx, first, 2)).await;
        assert_eq!((next.upto, next.has_more), (kick, true));
        assert_eq!(
            missed(&store, one(), 0).await,
            Missed {
                positions: vec![first, second, kick],
                is_all: true
            }
        );
        assert_eq!(missed(&store, one(), second).await.positions, [kick]);
        assert!(missed(&store, one(), kick).await.positions.is_empty());
    })
    .await;
}

#[tokio::test]
async fn who_is_no_longer_invited_is_told_and_what_came_from_a_server_does_not_go_back() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = new_room(&db).await;
        member(&store, ALICE, "join").await;
        member(&store, "@a:one.example", "invite").await;
        let withdrawn = member(&store, "@a:one.example", "leave").await;
        assert_eq!(page(&store, 0).await.events, to(&[(one(), &[withdrawn])]));
        assert_eq!(missed(&store, one(), 0).await.positions, [withdrawn]);
        // Another time: it wasn't invited.
        member(&store, "@a:one.example", "ban").await;
        assert_eq!(
            page(&store, withdrawn).await,
            OutgoingPage {
                upto: withdrawn,
                ..OutgoingPage::default()
            }
        );

        member(&store, "@c:two.example", "join").await;
        member(&store, "@d:one.example", "join").await;
        let joined = member(&store, "@e:one.example", "join").await;
        let sending = store.clone();
        let send = move |tx: &mut Tx<'_>| sending.send_to_room(tx, (ROOM, joined), Some(&one()));
        store.db().write(Write::new("send"), send).await.unwrap();
        assert_eq!(
            page(&store, withdrawn).await.events,
            to(&[(two(), &[joined])])
        );
        assert!(missed(&store, one(), withdrawn).await.positions.is_empty());

        // Once the server has it, nothing is kept.
        let has_got = |behind: &[(OwnedServerName, i64)]| {
            let behind = behind.iter().cloned().collect();
            let changed = Destinations {
                upto: joined,
                behind,
            };
            let set = move |tx: &mut Tx<'_>| destinations_set(tx, &changed, &[]);
            store.db().write(Write::new("destinations"), set)
        };
        has_got(&[(one(), withdrawn - 1)]).await.unwrap();
        assert_eq!(missed(&store, one(), 0).await.positions, [withdrawn]);
        has_got(&[(one(), withdrawn)]).await.unwrap();
        assert!(missed(&store, one(), 0).await.positions.is_empty());
        let stored = read(&store, destinations).await;
        assert_eq!(
            (stored.upto, stored.behind),
            (joined, [(one(), withdrawn)].into())
        );
        let now = Destinations {
            upto: joined + 1,
            ..Destinations::default()
        };
        let set = move |tx: &mut Tx<'_>| destinations_set(tx, &now, &[one()]);
        store
            .db()
            .write(Write::new("destinations"), set)
            .await
            .unwrap();
        let stored = read(&store, destinations).await;
        assert_eq!((stored.upto, stored.behind), (joined + 1, BTreeMap::new()));
        assert_eq!(
            page(&store, 0).await,
            OutgoingPage::default(),
            "every server has all"
        );
    })
    .await;
}

#[tokio::test]
async fn of_much_that_was_missed_the_newest_event_of_each_room_is_sent() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = new_room(&db).await;
        member(&store, ALICE, "join").await;
        member(&store, "@a:one.example", "join").await;
        let few = 60;
        let mut said = Vec::new();
        for number in 0..few {
            said.push(say(&store, number).await);
        }
        let first = missed(&store, one(), 0).await;
        assert_eq!(
            first,
            Missed {
                positions: said[..50].to_vec(),
                is_all: false
            }
        );
        let rest = missed(&store, one(), said[49]).await;
        assert_eq!(
            rest,
            Missed {
                positions: said[50..].to_vec(),
                is_all: true
            }
        );
        // As if much more had been said.
        let sending = store.clone();
        let last = said[said.len() - 1];
        let more = i64::try_from(FEW_MISSED).unwrap() + 1 - few;
        let insert = move |tx: &mut Tx<'_>| {
            (1..=more).try_for_each(|n| sending.send_to_room(tx, (ROOM, last + n), None))
        };
        store.db().write(Write::new("send"), insert).await.unwrap();
        let newest = Missed {
            positions: vec![last + more],
            is_all: true,
        };
        assert_eq!(missed(&store, one(), 0).await, newest);
        let all_but_one = missed(&store, one(), said[0]).await;
        assert_eq!(all_but_one.positions[0], said[1], "one fewer is few");
        // A withdrawn invite goes to the room and to the server.
        let (sending, newest) = (store.clone(), last + more);
        let twice = move |tx: &mut Tx<'_>| {
            sending.send_to_server(tx, &one(), newest)?;
            sending.send_to_server(tx, &one(), newest + 1)
        };
        store.db().write(Write::new("send"), twice).await.unwrap();
        let next = read(&store, |tx| missed_after(tx, &one(), 0, 1)).await;
        let expected = Missed {
            positions: vec![newest],
            is_all: false,
        };
        assert_eq!(next, expected, "another one follows");
    })
    .await;
}

#[tokio::test]
async fn public_receipts_go_out_where_other_servers_are() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = new_room(&db).await;
        store.outgoing().open();
        member(&store, ALICE, "join").await;
        let said = say(&store, 1).await;
        let names = store.names().clone();
        let find = move |tx: &mut Tx<'_>| names.user(tx, ALICE.try_into().unwrap());
        let alice = read(&store, find).await.unwrap();
        let mark = async |kind: ReceiptKind, thread: ReceiptThread| {
            let key = ReceiptKey { kind, thread };
            let sent = Sent {
                user: alice,
                room: ROOM,
                at_ms: 1_000,
            };
            let event = ruma_common::owned_event_id!("$read");
            let place = Place {
                major: said,
                minor: 0,
            };
            let writing = store.clone();
            let advance = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
                writing.receipt_advance(tx, positions, sent, &key, (&event, place))
            };
            let write = Write::new("receipt");
            let written = store.db().write_placed(write, |_| Ok(()), advance).await;
            written.unwrap().unwrap()
        };
        mark(ReceiptKind::Read, ReceiptThread::Unthreaded).await;
        assert!(
            store.outgoing().take_receipts().is_empty(),
            "a room of this server alone"
        );
        member(&store, "@a:one.example", "join").await;
        let position = mark(ReceiptKind::Read, ReceiptThread::Main).await;
        mark(ReceiptKind::Private, ReceiptThread::Main).await;
        assert_eq!(store.outgoing().take_receipts(), [(ROOM, position)].into());
        let found = read(&store, move |tx| outgoing_receipts(tx, &[ROOM], position)).await;
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].position, found[0].receipt.user_id.as_str()),
            (position, ALICE)
        );
        let missed = async |server: &str, since_ms: i64| {
            let server = <&ServerName>::try_from(server).unwrap().to_owned();
            let find = move |tx: &mut Tx<'_>| receipts_missed(tx, &server, (0, since_ms), 10);
            read(&store, find).await.len()
        };
        assert_eq!(missed("one.example", 0).await, 2);
        assert_eq!(missed("one.example", 1_000).await, 0, "they are too old");
        assert_eq!(missed("two.example", 0).await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_lies_very_far_back_is_kept_for_nobody() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = new_room(&db).await;
        member(&store, "@a:one.example", "join").await;
        let (sending, far) = (store.clone(), KEPT_POSITIONS + 1_000);
        let write = move |tx: &mut Tx<'_>| {
            sending.send_to_room(tx, (ROOM, 900), None)?;
            sending.send_to_room(tx, (ROOM, 1_100), None)?;
            let progress = Destinations {
                upto: far,
                behind: BTreeMap::from([(one(), 50)]),
            };
            destinations_set(tx, &progress, &[])
        };
        store.db().write(Write::new("send"), write).await.unwrap();
        let all = read(&store, destinations).await;
        assert_eq!(all.behind, BTreeMap::from([(one(), 1_000)]));
        assert_eq!(missed(&store, one(), 0).await.positions, [1_100]);
    })
    .await;
}
