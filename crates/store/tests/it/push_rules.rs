//! What changed push rules say of events that are appended at the same time, and what evaluating them may take.

use std::sync::Arc;

use ruma_common::UserId;
use serde_json::{Value, json};
use starling_db::{Positions, Tx, Write};
use starling_pushrules::{Kind, Place, RuleBody, Ruleset};
use starling_store::append::{AppendError, NewEvent};
use starling_store::{RoomNum, SCHEMA, Store, UserNum};
use starling_testkit::{TestDb, on_each_engine};

use crate::timeline::{new_event, pdu, room_with_backfill};

starling_db::statements! {
    EXCEPTIONS = "SELECT user_num FROM unread_exceptions ORDER BY event_num, user_num";
}

const ROOM: RoomNum = RoomNum(1);

fn event(kind: &str, state_key: Option<&str>, content: &Value) -> NewEvent {
    let sender = state_key.unwrap_or("@alice:localhost");
    new_event(sender, kind, state_key, content)
}

fn message(body: &str) -> NewEvent {
    event("m.room.message", None, &json!({ "body": body }))
}

/// Changes rules, then appends an event, in one transaction.
async fn change_and_append(store: &Store, rules: Vec<(UserNum, String, Ruleset)>, new: NewEvent) {
    let before = store.room(ROOM).await.unwrap().unwrap();
    let writing = store.clone();
    let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
        for (user, user_id, ruleset) in &rules {
            let position = positions.give()?;
            writing.push_rules_set(tx, (*user, user_id), ruleset, position)?;
        }
        let server = "localhost".try_into().unwrap();
        writing.append(tx, positions, &before, &new, server)?;
        Ok::<_, AppendError>(())
    };
    let write = Write::new("append").locking([ROOM.0]);
    let db = store.db();
    db.write_placed(write, |_| Ok(()), place).await.unwrap();
}

async fn join(store: &Store, user_id: &str) -> UserNum {
    let member = json!({ "membership": "join" });
    let member = event("m.room.member", Some(user_id), &member);
    change_and_append(store, Vec::new(), member).await;
    let (names, user_id) = (store.names().clone(), user_id.to_owned());
    let number = move |tx: &mut Tx<'_>| {
        names.user_intern(tx, <&UserId>::try_from(user_id.as_str()).unwrap())
    };
    store.db().write(Write::new("user"), number).await.unwrap()
}

fn rules(kind: Kind, conditions: &Value, pattern: Option<&str>) -> Ruleset {
    let mut rules = Ruleset::default();
    let body = RuleBody {
        actions: vec![json!("notify"), json!({ "set_tweak": "highlight" })],
        conditions: conditions.as_array().cloned().unwrap_or_default(),
        pattern: pattern.map(str::to_owned),
    };
    rules.put(kind, "mine", body, &Place::default()).unwrap();
    rules
}

/// The rules of who wants to be told of a word.
fn word(pattern: &str) -> Ruleset {
    rules(Kind::Content, &Value::Null, Some(pattern))
}

/// For whom events were exceptions, in the order of the events.
async fn exceptions(store: &Store) -> Vec<UserNum> {
    let read = |tx: &mut Tx<'_>| tx.query_all(&EXCEPTIONS, &[], |row| Ok(UserNum(row.int(0)?)));
    store.db().read("exceptions", read).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_the_same_commit_meets_the_new_rules() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let bob = join(&store, "@bob:localhost").await;
        let reader = store.clone();
        let read = move |tx: &mut Tx<'_>| reader.push_rules(tx, bob);
        let at_hand = store.db().read("rules", read).await.unwrap();
        assert!(!at_hand.is_changed());
        let set = |ruleset| vec![(bob, "@bob:localhost".to_owned(), ruleset)];
        change_and_append(&store, set(word("cake")), message("a cake")).await;
        assert_eq!(exceptions(&store).await, [bob]);
        change_and_append(&store, Vec::new(), message("cake again")).await;
        assert_eq!(exceptions(&store).await, [bob, bob]);
        change_and_append(&store, set(word("pie")), message("no cake")).await;
        change_and_append(&store, Vec::new(), message("a pie")).await;
        assert_eq!(exceptions(&store).await, [bob, bob, bob]);
        change_and_append(&store, set(Ruleset::default()), message("no pie")).await;
        assert_eq!(exceptions(&store).await, [bob, bob, bob]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_take_too_long_are_nobody_elses_loss() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let mallory = join(&store, "@mallory:localhost").await;
        let bob = join(&store, "@bob:localhost").await;
        let looks_for = |pattern: &str| {
            let body = json!({ "kind": "event_match", "key": "content.body", "pattern": pattern });
            rules(Kind::Override, &json!([body]), None)
        };
        let slow = format!("*{}b", "a".repeat(1_000));
        let changed = vec![
            (mallory, "@mallory:localhost".to_owned(), looks_for(&slow)),
            (bob, "@bob:localhost".to_owned(), looks_for("cake")),
        ];
        let edit = json!({ "rel_type": "m.replace", "event_id": pdu(10).event_id() });
        let body = format!("{} cake", "a".repeat(50_000));
        let edit = json!({ "body": body, "m.relates_to": edit });
        change_and_append(&store, changed, event("m.room.message", None, &edit)).await;
        // What her rules say of it nobody knows: for her it is an edit like others.
        assert_eq!(exceptions(&store).await, [bob]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_mentioned_is_told_however_many_look_for_something() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        // The room's events have positions of their own.
        let pass = |_: &mut Tx<'_>, positions: &mut Positions, ()| {
            (0..40).try_for_each(|_| positions.give().map(drop))
        };
        let write = Write::new("positions");
        let passed = store.db().write_placed(write, |_| Ok(()), pass).await;
        passed.unwrap();
        // Each rule reads the event again.
        let mut many = Ruleset::default();
        for number in 0..150 {
            let is_one = json!({ "kind": "event_property_is", "key": "content.x", "value": 1 });
            let body = RuleBody {
                conditions: vec![is_one],
                ..RuleBody::default()
            };
            let id = number.to_string();
            many.put(Kind::Override, &id, body, &Place::default())
                .unwrap();
        }
        let mut changed = Vec::new();
        for number in 0..3 {
            let user_id = format!("@user{number}:localhost");
            changed.push((join(&store, &user_id).await, user_id, many.clone()));
        }
        let bob = join(&store, "@bob:localhost").await;
        changed.push((bob, "@bob:localhost".to_owned(), many));
        let mentions = json!({ "user_ids": ["@bob:localhost"] });
        let content = json!({ "body": "a".repeat(60_000), "m.mentions": mentions });
        let message = event("m.room.message", None, &content);
        change_and_append(&store, changed, message).await;
        assert_eq!(exceptions(&store).await, [bob]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_room_looks_for_takes_its_part_of_the_memory() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let bob = join(&store, "@bob:localhost").await;
        assert!(store.rooms().get(ROOM).is_some());
        let mut many = Ruleset::default();
        for number in 0..1_000 {
            let body = RuleBody {
                pattern: Some(format!("{number}{}", "x".repeat(100))),
                ..RuleBody::default()
            };
            let id = number.to_string();
            many.put(Kind::Content, &id, body, &Place::default())
                .unwrap();
        }
        let changed = vec![(bob, "@bob:localhost".to_owned(), many)];
        change_and_append(&store, changed, message("x")).await;
        assert!(store.rooms().get(ROOM).is_none(), "there is no room for it");
        let room: Arc<_> = store.room(ROOM).await.unwrap().unwrap();
        assert_eq!(room.append_count, 2);
    })
    .await;
}
