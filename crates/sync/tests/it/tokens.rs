//! Which texts are taken as tokens, and what comes of those of another time.

use starling_store::SCHEMA;
use starling_store::timeline::Direction;
use starling_store::tokens::Token;
use starling_sync::{Error, SyncRequest};
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{Server, page, request, room, timeline};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_is_no_token_is_refused() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let alice = server.reader("alice").await;
        for text in [
            "",
            "nonsense",
            "s1_2_3",
            "s1_999999999999999999999999",
            "{}",
        ] {
            let asked = SyncRequest {
                since: Some(text.to_owned()),
                ..SyncRequest::default()
            };
            assert!(
                matches!(
                    server.sync.sync(&alice, &asked).await,
                    Err(Error::NotAToken(_))
                ),
                "{text:?}"
            );
            let mut asked = page(&room_id, Direction::Backwards);
            asked.from = Some(text.to_owned());
            assert!(
                matches!(
                    server.messages("alice", asked).await,
                    Err(Error::NotAToken(_))
                ),
                "{text:?}"
            );
            let mut asked = page(&room_id, Direction::Backwards);
            asked.to = Some(text.to_owned());
            assert!(
                matches!(
                    server.messages("alice", asked).await,
                    Err(Error::NotAToken(_))
                ),
                "{text:?}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_time_leads_to_an_initial_sync() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let (head, epoch) = (server.world.bus.head(), server.world.store.epoch());
        let ahead = Token::Sync {
            epoch,
            position: head + 1,
        };
        let elsewhere = Token::Sync {
            epoch: epoch + 1,
            position: head,
        };
        for token in [ahead, elsewhere] {
            let token = token.to_string();
            let answer = server.sync("alice", Some(&token)).await;
            let told = timeline(room(&answer, "join", &room_id));
            assert_eq!(told.first().map(String::as_str), Some("create"), "{token}");
            // Where there is no such way out, it is refused.
            let mut asked = page(&room_id, Direction::Backwards);
            asked.from = Some(token.clone());
            assert!(
                matches!(
                    server.messages("alice", asked).await,
                    Err(Error::NotAToken(_))
                ),
                "{token}"
            );
        }
        let known = Token::Sync {
            epoch,
            position: head,
        }
        .to_string();
        assert!(room(&server.sync("alice", Some(&known)).await, "join", &room_id).is_null());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_both_kinds_are_taken_everywhere_also_after_a_restart() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let since = server.token("alice").await;
        for text in ["one", "two", "three"] {
            server.say("alice", &room_id, text).await;
        }
        let answer = server
            .sync_with(
                "alice",
                &request(&since, r#"{"room":{"timeline":{"limit":1}}}"#),
            )
            .await;
        let before_three = room(&answer, "join", &room_id)["timeline"]["prev_batch"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_ne!(
            before_three.chars().next(),
            since.chars().next(),
            "one of each kind"
        );
        drop(server);
        db.reopen().await;
        let server = Server::start(&db).await;
        let synced = |answer: &serde_json::Value| timeline(room(answer, "join", &room_id));
        assert_eq!(
            synced(&server.sync("alice", Some(&since)).await),
            ["one", "two", "three"]
        );
        assert_eq!(
            synced(&server.sync("alice", Some(&before_three)).await),
            ["three"]
        );
        for (from, expected) in [
            (&since, vec!["one", "two", "three"]),
            (&before_three, vec!["three"]),
        ] {
            let mut asked = page(&room_id, Direction::Forwards);
            asked.from = Some(from.clone());
            let answer = server.messages("alice", asked).await.unwrap();
            assert_eq!(crate::server::names(&answer["chunk"]), expected);
            assert_eq!(answer["start"].as_str(), Some(from.as_str()));
        }
    })
    .await;
}
