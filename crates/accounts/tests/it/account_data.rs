//! Account data, and what the store says has changed.

use starling_accounts::AccountDataError;
use starling_bus::Topic;
use starling_store::RoomNum;
use starling_store::account_data::{
    AccountData, GLOBAL, account_data_all, account_data_changed, account_data_of_rooms,
};

use crate::world::{World, on_each_engine};

const ROOM: RoomNum = RoomNum(7);

async fn changed(world: &World, user: i64, since: i64, upto: i64) -> Vec<(i64, String, String)> {
    let user = starling_store::UserNum(user);
    let changed = world.read(move |tx| account_data_changed(tx, user, since, upto));
    let told = |data: AccountData| (data.room.0, data.kind, data.content);
    changed.await.into_iter().map(told).collect()
}

fn told(room: i64, kind: &str, content: &str) -> (i64, String, String) {
    (room, kind.to_owned(), content.to_owned())
}

#[tokio::test]
async fn content_is_kept_as_written_for_the_account_and_for_each_room() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let (bob, _) = world.register("bob").await;
        let contents = [
            (None, "{\"a\" : 1.50, \"b\":\"\\u0000\"}"),
            (Some(ROOM), "{ \"\":{ }}"),
            (Some(RoomNum(8)), "{\"a\":1,\"a\":2}"),
        ];
        for (room, content) in contents {
            let set = world
                .accounts
                .set_account_data(alice.user, room, "t\0", content.to_owned());
            set.await.unwrap();
        }
        for (room, content) in contents {
            let found = world.accounts.account_data(alice.user, room, "t\0");
            assert_eq!(found.await.unwrap().as_deref(), Some(content));
            let other = world.accounts.account_data(bob.user, room, "t\0");
            assert_eq!(other.await.unwrap(), None);
        }
        let missing = world.accounts.account_data(alice.user, None, "other");
        assert_eq!(missing.await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn each_setting_is_one_change_at_its_position() {
    on_each_engine(|world| async move {
        let (alice, session) = world.register("alice").await;
        let (user, ear) = (alice.user.0, world.listen(&session));
        let set = async |room, kind: &str, content: &str| {
            let set = world
                .accounts
                .set_account_data(alice.user, room, kind, content.to_owned());
            set.await.unwrap();
            world.bus.head()
        };
        let start = world.bus.head();
        let first = set(None, "a", "{}").await;
        assert!(first > start);
        assert_eq!(ear.heard(), [Topic::User(user)]);
        let second = set(Some(ROOM), "a", "{\"n\":1}").await;
        let third = set(None, "b", "{}").await;
        let all = [
            told(0, "a", "{}"),
            told(7, "a", "{\"n\":1}"),
            told(0, "b", "{}"),
        ];
        assert_eq!(changed(&world, user, start, third).await, all);
        assert_eq!(changed(&world, user, first, second).await, all[1..2]);
        assert_eq!(changed(&world, user, third, third + 9).await, []);

        // The same content again is a change, and moves the row.
        let fourth = set(None, "a", "{}").await;
        assert_eq!(changed(&world, user, start, third).await, all[1..]);
        assert_eq!(changed(&world, user, third, fourth).await, all[..1]);

        let room =
            world.read(move |tx| account_data_of_rooms(tx, alice.user, &[ROOM], (0, fourth)));
        assert_eq!(room.await.len(), 1);
        let global =
            world.read(move |tx| account_data_of_rooms(tx, alice.user, &[GLOBAL], (third, third)));
        // What was deleted is left out, but for who knows it and was not told.
        assert_eq!(global.await, []);
        let global =
            world.read(move |tx| account_data_of_rooms(tx, alice.user, &[GLOBAL], (second, third)));
        assert_eq!(global.await.len(), 1);
        let all = world.read(move |tx| account_data_all(tx, alice.user, fourth));
        assert_eq!(all.await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_a_bounded_object_is_refused() {
    on_each_engine(|world| async move {
        let (alice, session) = world.register("alice").await;
        let ear = world.listen(&session);
        let set = async |kind: &str, content: &str| {
            let set = world
                .accounts
                .set_account_data(alice.user, None, kind, content.to_owned());
            set.await
        };
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
        for content in [
            "",
            "[]",
            "1",
            "null",
            "{",
            "{}{}",
            "{\"a\":\"\\ud800\"}",
            &deep,
        ] {
            let refused = set("t", content).await;
            assert!(
                matches!(refused, Err(AccountDataError::NotAnObject)),
                "{content:?}"
            );
        }
        let sized = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        set("t", &sized(65_536)).await.unwrap();
        let large = set("t", &sized(65_537)).await;
        assert!(matches!(large, Err(AccountDataError::TooLarge)));
        for kind in [String::new(), "t".repeat(256)] {
            let refused = set(&kind, "{}").await;
            assert!(matches!(refused, Err(AccountDataError::InvalidType)));
        }
        assert_eq!(ear.heard().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_the_server_manages_is_read_but_not_set() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        for kind in ["m.push_rules", "m.fully_read"] {
            for room in [None, Some(ROOM)] {
                let set = world
                    .accounts
                    .set_account_data(alice.user, room, kind, "{}".to_owned());
                assert!(matches!(set.await, Err(AccountDataError::ServerControlled)));
            }
        }
        let rules = world
            .accounts
            .account_data(alice.user, None, "m.push_rules");
        let expected = starling_pushrules::Ruleset::default().to_content("@alice:example.org");
        assert_eq!(rules.await.unwrap(), Some(expected));
        let of_room = world
            .accounts
            .account_data(alice.user, Some(ROOM), "m.push_rules");
        assert_eq!(of_room.await.unwrap(), None);
    })
    .await;
}
