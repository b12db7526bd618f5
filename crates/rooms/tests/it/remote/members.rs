//! Finding the members of a room that has many of them when this server comes in.

use serde_json::json;
use starling_db::Tx;
use starling_events::RoomVersion;
use starling_store::SCHEMA;
use starling_store::jobs::{Job, Progress, Task, jobs_due};
use starling_store::member_words::{MemberWord, member_words_from};
use starling_testkit::{TestDb, on_each_engine};

use super::graph::Graph;
use super::missing::joined_to;
use super::net::Connected;

/// More than are followed in the transaction of the join, and than are one piece of the job.
const MEMBERS: usize = 130;

/// How many words there are that members are found by who are called so.
async fn words(at: &Connected, beginning: &'static str) -> usize {
    let first = MemberWord::first(beginning);
    let read = move |tx: &mut Tx<'_>| member_words_from(tx, &first, beginning, 1_000);
    at.world.store.db().read("test", read).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_has_the_members_of_a_joined_room_found() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        at.net.add("far.example", |_| None);
        let mut graph = Graph::new(RoomVersion::V12);
        for number in 0..MEMBERS {
            let user = format!("@far{number}:far.example");
            let said = json!({ "membership": "join", "displayname": format!("Farah {number}") });
            graph.add(&user, ("m.room.member", Some(&user)), &said);
        }
        let (_, graph) = joined_to(&at, graph).await;
        assert_eq!(words(&at, "far").await, 0);
        let room = at.world.store.room_num(&graph.room_id).await.unwrap();
        let read = |tx: &mut Tx<'_>| jobs_due(tx, i64::MAX, 10);
        let noted: Vec<Job> = db.db().read("test", read).await.unwrap();
        let [job] = noted.as_slice() else {
            panic!("{noted:?}")
        };
        let mut job = *job;
        assert_eq!(job.task, Task::MemberWords(room.unwrap()));
        let mut pieces = 1;
        while let Progress::At(progress) = at.world.rooms.work(&job).await.unwrap() {
            job.progress = progress;
            pieces += 1;
        }
        assert_eq!(pieces, 2);
        // By their ids, and by their names.
        assert_eq!(
            (words(&at, "far").await, words(&at, "farah").await),
            (2 * MEMBERS, MEMBERS)
        );
        assert_eq!(words(&at, "owner").await, 1);
        assert_eq!(
            words(&at, "alice").await,
            0,
            "who is of this server is found otherwise"
        );
    })
    .await;
}
