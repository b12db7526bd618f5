//! Declining invites to rooms of other servers.

use serde_json::{Value, json};
use starling_db::Tx;
use starling_events::{Pdu, RoomVersion};
use starling_rooms::{Actor, MembershipAction, ReceivedInvite};
use starling_store::SCHEMA;
use starling_store::jobs::{Job, Progress, Task, jobs_due};
use starling_testkit::{TestDb, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT, raw, value};
use super::net::{Asked, Connected, refusal, server};

const USER: &str = "@alice:localhost";

/// The owner of a room of the resident server invites Alice.
async fn invited(at: &Connected, graph: &mut Graph) -> Pdu {
    let said = json!({ "membership": "invite" });
    let invite = graph.add(OWNER, ("m.room.member", Some(USER)), &said);
    let sent = ReceivedInvite {
        version: graph.version.as_str().to_owned(),
        event: raw(&value(&invite)),
        state: graph
            .events
            .iter()
            .map(|event| raw(&value(event)))
            .collect(),
    };
    let place = (&*graph.room_id, invite.event_id());
    let (rooms, origin) = (&at.world.rooms, server(RESIDENT));
    let received = rooms.receive_invite(&origin, place, sent);
    received.await.unwrap();
    invite
}

async fn decline(at: &Connected, alice: &Actor, graph: &Graph) {
    let (leave, why) = (MembershipAction::Leave, Some("no".to_owned()));
    let rooms = &at.world.rooms;
    let left = rooms.change_membership(alice, &graph.room_id, leave, &alice.user_id, why);
    left.await.unwrap();
}

/// The resident server, when it is up: it gives templates, and takes leaves.
fn takes(graph: &Graph) -> impl Fn(&Asked) -> Option<(u16, Value)> + use<> {
    let template = graph.template(USER, &json!({ "membership": "leave" }));
    move |asked| match asked.uri.split('/').nth(4)? {
        "make_leave" => Some((200, template.clone())),
        "send_leave" => Some((200, json!({}))),
        _ => None,
    }
}

/// The one job that there is, at most.
async fn noted(at: &Connected) -> Option<Job> {
    let read = |tx: &mut Tx<'_>| jobs_due(tx, i64::MAX, 2);
    let jobs = at.world.store.db().read("test", read).await.unwrap();
    assert!(jobs.len() < 2, "{jobs:?}");
    jobs.into_iter().next()
}

async fn work(at: &Connected, job: &Job) -> Progress {
    at.world.rooms.work(job).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_is_declined_at_the_inviters_server_by_a_signed_leave() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let mut graph = Graph::new(RoomVersion::V10);
        at.net.add(RESIDENT, |_| None);
        let invite = invited(&at, &mut graph).await;
        let template = graph.template(USER, &json!({ "membership": "leave" }));
        // An older server, with the first version of one of the two.
        at.net.add(RESIDENT, move |asked| {
            let answer: Value = match asked.uri.split('/').collect::<Vec<_>>()[3..5] {
                ["v1", "make_leave"] => template.clone(),
                ["v1", "send_leave"] => json!([200, {}]),
                _ => return None,
            };
            Some((200, answer))
        });
        decline(&at, &alice, &graph).await;
        let paths = ["make_leave", "send_leave", "send_leave"];
        assert_eq!(at.net.asked().len(), paths.len());
        let sent = at.net.asked().pop().unwrap().body;
        let sent = Pdu::parse(RoomVersion::V10, &serde_json::to_vec(&sent).unwrap()).unwrap();
        let said: Value = serde_json::from_slice(sent.content()).unwrap();
        assert_eq!(said, json!({ "membership": "leave", "reason": "no" }));
        assert_eq!(sent.prev_events(), [invite.event_id()]);
        assert_eq!(noted(&at).await, None, "nobody is to be told later");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_could_not_be_asked_is_told_later_who_has_declined() {
    for version in [RoomVersion::V12, RoomVersion::V1] {
        on_each_engine(&SCHEMA, async |db: TestDb| {
            let at = Connected::start(&db).await;
            let alice = at.world.user("alice").await;
            let mut graph = Graph::new(version);
            at.net.add(RESIDENT, |_| Some(refusal(404, "M_NOT_FOUND")));
            let invite = invited(&at, &mut graph).await;
            decline(&at, &alice, &graph).await;
            let job = noted(&at).await.unwrap();
            assert!(matches!(job.task, Task::UntoldLeave(_)), "{job:?}");
            let Progress::PutOff(next) = work(&at, &job).await else {
                panic!("it is tried again");
            };
            assert!(next >= job.noted_at + 60_000 && next < job.noted_at + 120_000);
            let week = 7 * 24 * 60 * 60 * 1000;
            let old = Job {
                noted_at: job.noted_at - week,
                ..job
            };
            assert_eq!(work(&at, &old).await, Progress::Done, "not for ever");
            at.net.add(RESIDENT, takes(&graph));
            assert_eq!(work(&at, &job).await, Progress::Done);
            let sent = at.net.asked().pop().unwrap();
            assert!(sent.uri.contains("/send_leave/"), "{}", sent.uri);
            let sent = Pdu::parse(version, &serde_json::to_vec(&sent.body).unwrap()).unwrap();
            let said: Value = serde_json::from_slice(sent.content()).unwrap();
            assert_eq!(said, json!({ "membership": "leave", "reason": "no" }));
            assert_eq!(sent.prev_events(), [invite.event_id()]);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_of_an_invite_that_was_declined_before_another() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let mut graph = Graph::new(RoomVersion::V11);
        at.net.add(RESIDENT, |_| Some(refusal(502, "M_UNKNOWN")));
        invited(&at, &mut graph).await;
        decline(&at, &alice, &graph).await;
        let job = noted(&at).await.unwrap();
        // A server that is down is left alone.
        let asked = at.net.asked().len();
        assert!(matches!(work(&at, &job).await, Progress::PutOff(_)));
        invited(&at, &mut graph).await;
        assert_eq!(work(&at, &job).await, Progress::Done);
        assert_eq!(at.net.asked().len(), asked);
    })
    .await;
}
