//! Checking events that came from other servers.

use serde_json::json;
use serde_json::value::RawValue;
use starling_events::RoomVersion;
use starling_rooms::Refused;
use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT, raw, value};
use super::net::Connected;

/// The name of a text message, and its content.
const TEXT: (&str, Option<&str>) = ("m.room.message", None);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_refused_for_form_room_and_signature_and_each_by_itself() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let Connected { net, remote, .. } = Connected::start(&db).await;
        net.add(RESIDENT, |_| None);
        for version in RoomVersion::ALL {
            let graph = Graph::new(version);
            let good = value(&graph.make(OWNER, TEXT, &json!({ "body": "hello" })));
            let mut unsigned = good.clone();
            unsigned["signatures"] = json!({});
            let mut forged = good.clone();
            // Covered by the signature in every version.
            forged["origin_server_ts"] = json!(1);
            let mut formless = good.clone();
            formless.as_object_mut().unwrap().remove("prev_events");
            let of_stranger = value(&graph.make("@eve:nowhere.example", TEXT, &json!({})));
            let mut other = graph.clone();
            // Of newer rooms the id is a hash.
            let hash = format!("!{}", "A".repeat(43));
            let id = if version < RoomVersion::V12 {
                "!other:resident.example"
            } else {
                &hash
            };
            other.room_id = id.try_into().unwrap();
            let elsewhere = value(&other.make(OWNER, TEXT, &json!({})));
            let events = [
                &good,
                &unsigned,
                &forged,
                &formless,
                &of_stranger,
                &elsewhere,
                &good,
            ];
            let raw: Vec<Box<RawValue>> = events.into_iter().map(raw).collect();
            let checked = remote.check(version, &graph.room_id, raw).await.unwrap();
            let as_it_should = match &checked[..] {
                [
                    Ok(first),
                    unsigned,
                    forged,
                    formless,
                    stranger,
                    other,
                    Ok(last),
                ] => {
                    value(first) == good
                        && value(last) == good
                        && matches!(unsigned, Err(Refused::Signature(_)))
                        && matches!(forged, Err(Refused::Signature(_)))
                        && matches!(formless, Err(Refused::NoEvent(_)))
                        && matches!(stranger, Err(Refused::Signature(_)))
                        && matches!(other, Err(Refused::OtherRoom(_)))
                }
                _ => false,
            };
            assert!(as_it_should, "version {version}: {checked:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_with_another_content_than_its_hash_says_is_used_redacted() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let Connected { net, remote, .. } = Connected::start(&db).await;
        net.add(RESIDENT, |_| None);
        for version in RoomVersion::ALL {
            let graph = Graph::new(version);
            let event = graph.make(OWNER, TEXT, &json!({ "body": "hello" }));
            let mut changed = value(&event);
            changed["content"]["body"] = json!("goodbye");
            let checked = remote.check(version, &graph.room_id, vec![raw(&changed)]);
            let checked = checked.await.unwrap().pop().unwrap().unwrap();
            assert_eq!(checked.content(), b"{}", "version {version}");
            assert_eq!(checked.event_id(), event.event_id(), "version {version}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_events_are_checked_in_their_order() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let Connected { net, remote, .. } = Connected::start(&db).await;
        net.add(RESIDENT, |_| None);
        let graph = Graph::new(RoomVersion::V10);
        let event = |number: usize| {
            let body = json!({ "body": number.to_string() });
            let mut event = value(&graph.make(OWNER, TEXT, &body));
            if number.is_multiple_of(7) {
                event["depth"] = json!(0);
            }
            event
        };
        let events: Vec<_> = (0..400).map(event).collect();
        let raw = events.iter().map(raw).collect();
        let checked = remote
            .check(graph.version, &graph.room_id, raw)
            .await
            .unwrap();
        assert_eq!(checked.len(), events.len());
        for (number, (checked, event)) in checked.iter().zip(&events).enumerate() {
            match checked {
                Ok(checked) => assert_eq!(&value(checked), event, "{number}"),
                Err(refused) => {
                    assert!(
                        matches!(refused, Refused::Signature(_)),
                        "{number}: {refused}"
                    );
                }
            }
            assert_eq!(checked.is_err(), number.is_multiple_of(7), "{number}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_counts_only_while_it_is_valid_from_version_5_on() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let Connected { net, remote, .. } = Connected::start(&db).await;
        net.add(RESIDENT, |_| None);
        // Before the time of the events.
        net.publish(RESIDENT, 1_500_000_000_000);
        for version in RoomVersion::ALL {
            let graph = Graph::new(version);
            let event = value(&graph.make(OWNER, TEXT, &json!({})));
            let checked = remote.check(version, &graph.room_id, vec![raw(&event)]);
            let checked = checked.await.unwrap().pop().unwrap();
            let counts = version < RoomVersion::V5;
            assert_eq!(checked.is_ok(), counts, "version {version}: {checked:?}");
        }
    })
    .await;
}
