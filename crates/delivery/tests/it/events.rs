//! Events: to whom, in which order, and what of them after a failure, a restart, or a long time.

use starling_rooms::{Actor, MembershipAction};
use starling_store::SCHEMA;
use starling_store::destinations::{FEW_MISSED, destinations};
use starling_store::{DeviceNum, UserNum};
use starling_testkit::{TestDb, on_each_engine};

use crate::support::{Manner, Setting, seconds, server};

const ONE: &str = "one.example";
const TWO: &str = "two.example";

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("text {number}")).collect()
}

#[tokio::test]
async fn events_go_to_every_server_in_the_room_in_order_and_at_most_50_at_once() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.say("before").await;
        setting.join_remote("@a:one.example").await;
        setting.join_remote("@b:one.example").await;
        setting.join_remote("@c:two.example").await;
        for text in numbered(0..60) {
            setting.say(&text).await;
        }
        let running = setting.start();
        let mut of_one = Vec::new();
        for _ in 0..4 {
            let received = setting.next().await;
            if received.server == ONE {
                of_one.push(received);
            }
        }
        let [first, second] = &of_one[..] else {
            panic!("two transactions: {of_one:?}");
        };
        assert_eq!(first.texts(), numbered(0..50));
        assert_eq!(second.texts(), numbered(50..60));
        assert!(first.uri.starts_with("/_matrix/federation/v1/send/"));
        assert_ne!(first.uri, second.uri);
        assert_eq!(first.body["origin"], "localhost");
        assert!(first.body["origin_server_ts"].is_i64());
        assert!(first.body["pdus"][0]["unsigned"].is_null());
        let canonical = starling_events::canonical_json::canonicalize_request(&first.bytes);
        assert_eq!(canonical.unwrap(), first.bytes);
        // From now on, at once.
        let said = setting.say("now").await;
        let [one, two] = setting.next_of().await;
        assert_eq!(
            (one.texts(), two.texts()),
            (vec!["now".to_owned()], vec!["now".to_owned()])
        );
        assert_eq!((&*one.server, &*two.server), (ONE, TWO));
        // A room of this server alone costs no request.
        let own = setting.world.room(&setting.alice).await;
        setting
            .world
            .say(&setting.alice, &own, "to myself")
            .await
            .unwrap();
        running.stop().await;
        assert!(setting.has_no_more(), "after {said}");
    })
    .await;
}

#[tokio::test]
async fn what_got_no_answer_is_sent_again_as_it_was_once_and_then_anew() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        setting.net.set(ONE, Manner::Down);
        let running = setting.start();
        setting.say("first").await;
        let first = setting.next().await;
        setting.say("second").await;
        seconds(2).await;
        let again = setting.next().await;
        assert_eq!((&again.uri, &again.bytes), (&first.uri, &first.bytes));
        seconds(4).await;
        let anew = setting.next().await;
        assert_eq!(anew.texts(), ["first", "second"]);
        assert_ne!(anew.uri, first.uri);
        setting.net.set(ONE, Manner::Takes);
        seconds(8).await;
        assert_eq!(setting.next().await.texts(), ["first", "second"]);
        setting.say("third").await;
        assert_eq!(setting.next().await.texts(), ["third"]);
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_refuses_a_transaction_is_asked_later() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        setting.net.set(ONE, Manner::Refuses);
        let running = setting.start();
        setting.say("first").await;
        let first = setting.next().await;
        setting.net.set(ONE, Manner::Takes);
        seconds(3).await;
        let again = setting.next().await;
        assert_eq!(first.bytes, again.bytes);
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

#[tokio::test]
async fn a_slow_server_delays_no_other_and_one_that_speaks_gets_its_turn_at_once() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        for user in ["@a:one.example", "@c:two.example", "@d:three.example"] {
            setting.join_remote(user).await;
        }
        setting.net.set(ONE, Manner::Hangs);
        setting.net.set("three.example", Manner::Down);
        let running = setting.start();
        setting.say("first").await;
        let [one, three, two] = setting.next_of().await;
        assert_eq!(
            [&*one.server, &*three.server, &*two.server],
            [ONE, "three.example", TWO]
        );
        setting.say("second").await;
        let second = setting.next().await;
        assert_eq!(
            (&*second.server, second.texts()),
            (TWO, vec!["second".to_owned()])
        );
        setting.net.set("three.example", Manner::Takes);
        setting.client.health().is_up(&server("three.example"));
        assert_eq!(setting.next().await.bytes, three.bytes);
        assert_eq!(setting.next().await.texts(), ["second"]);
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

#[tokio::test]
async fn when_it_has_stopped_nothing_is_under_way() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        setting.net.set(ONE, Manner::Hangs);
        let (sender, net) = (setting.sender(), setting.net.clone());
        setting.say("hello").await;
        let when_it_hangs = async {
            setting.next().await;
            assert_eq!(net.hanging(), 1);
        };
        sender.run(when_it_hangs).await;
        assert_eq!(net.hanging(), 0);
    })
    .await;
}

#[tokio::test]
async fn the_event_that_removes_a_servers_last_member_is_sent_to_it_and_none_after() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        setting.join_remote("@c:two.example").await;
        let running = setting.start();
        let leaving = Actor {
            user: UserNum(0),
            user_id: "@a:one.example".try_into().unwrap(),
            device: DeviceNum(0),
            is_guest: false,
        };
        let (alice, room) = (&setting.alice, &setting.room);
        let kicked = setting
            .world
            .act(alice, room, MembershipAction::Kick, &leaving);
        kicked.await.unwrap();
        let [one, two] = setting.next_of().await;
        assert_eq!((&*one.server, &*two.server), (ONE, TWO));
        assert_eq!(one.body["pdus"][0]["content"]["membership"], "leave");
        assert_eq!(one.body["pdus"], two.body["pdus"]);
        setting.say("without them").await;
        assert_eq!(setting.next().await.server, TWO);
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_by_a_restart_or_a_crash() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote("@a:one.example").await;
        setting.join_remote("@c:two.example").await;
        let running = setting.start();
        setting.net.set(ONE, Manner::Down);
        setting.say("first").await;
        setting.next_of::<2>().await;
        while setting.client.health().retry_at(&server(ONE)).is_none() {
            tokio::task::yield_now().await;
        }
        running.stop().await;
        let stored = db.db().read("stored", destinations).await.unwrap();
        assert_eq!(stored.behind.len(), 1, "of those that lag behind");
        setting.say("second").await;
        setting.net.set(ONE, Manner::Takes);
        setting.client.health().is_up(&server(ONE));
        let running = setting.start();
        let [one, two] = setting.next_of().await;
        assert_eq!(one.texts(), ["first", "second"]);
        assert_eq!(two.texts(), ["second"]);
        running.stop().await;
        let stored = db.db().read("stored", destinations).await.unwrap();
        assert!(stored.behind.is_empty(), "none lags behind: {stored:?}");
        // Nothing was stored of what it did after this.
        let running = setting.start();
        setting.net.set(TWO, Manner::Hangs);
        setting.say("third").await;
        setting.next_of::<2>().await;
        running.crash().await;
        setting.say("fourth").await;
        setting.net.set(TWO, Manner::Takes);
        let running = setting.start();
        let [one, two] = setting.next_of().await;
        assert_eq!((one.texts(), two.texts()), {
            let both = vec!["third".to_owned(), "fourth".to_owned()];
            (both.clone(), both)
        });
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

#[tokio::test]
async fn after_a_long_outage_a_server_gets_the_newest_event_of_each_room() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        let other = setting.world.room(&setting.alice).await;
        setting.join_remote("@a:one.example").await;
        setting.world.join_remote(&other, "@a:one.example").await;
        let said = setting.world.say(&setting.alice, &other, "elsewhere").await;
        said.unwrap();
        for number in 0..=u32::try_from(FEW_MISSED).unwrap() {
            setting.say(&format!("text {number}")).await;
        }
        setting.net.set(ONE, Manner::Down);
        let running = setting.start();
        // What it would have got first isn't kept for long.
        setting.next().await;
        seconds(2).await;
        setting.next().await;
        setting.net.set(ONE, Manner::Takes);
        seconds(4).await;
        let newest = setting.next().await;
        assert_eq!(newest.texts(), ["elsewhere", &format!("text {FEW_MISSED}")]);
        setting.say("now").await;
        assert_eq!(setting.next().await.texts(), ["now"]);
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}
