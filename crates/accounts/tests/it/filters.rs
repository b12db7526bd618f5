//! Filters.

use std::collections::HashSet;

use starling_accounts::{Accounts, FilterError};
use starling_db::Dialect;
use starling_store::SCHEMA;
use starling_store::filters::filter_store;
use starling_testkit::TestDb;

use crate::world::{START_MS, World, accounts_over, on_each_engine};

#[tokio::test]
async fn a_definition_is_stored_once_for_each_user() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let (bob, _) = world.register("bob").await;
        let store = async |user, definition: &str| {
            let stored = world.accounts.store_filter(user, definition.to_owned());
            stored.await.unwrap()
        };
        let room = "{\"room\": {\"timeline\": {\"limit\": 1}}}";
        assert_eq!(store(alice.user, "{}").await, 1);
        assert_eq!(store(alice.user, room).await, 2);
        assert_eq!(store(alice.user, "{}").await, 1);
        assert_eq!(store(bob.user, room).await, 1);
        for (user, number, expected) in [
            (alice.user, 1, Some("{}")),
            (alice.user, 2, Some(room)),
            (alice.user, 3, None),
            (alice.user, 0, None),
            (bob.user, 1, Some(room)),
            (bob.user, 2, None),
        ] {
            let found = world.accounts.filter(user, number).await.unwrap();
            assert_eq!(found.as_deref(), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn filters_stored_at_once_get_numbers_of_their_own() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let storing: Vec<_> = (0..10)
            .map(|limit| {
                let (accounts, user) = (world.accounts.clone(), alice.user);
                let definition = format!("{{\"limit\":{limit}}}");
                tokio::spawn(async move { accounts.store_filter(user, definition).await.unwrap() })
            })
            .collect();
        let mut numbers = Vec::new();
        for stored in storing {
            numbers.push(stored.await.unwrap());
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=10).collect::<Vec<i64>>());
    })
    .await;
}

#[tokio::test]
async fn two_nodes_do_not_give_out_the_same_number() {
    let world = World::new(TestDb::open(Dialect::Postgres, &SCHEMA).await).await;
    let (alice, _) = world.register("alice").await;
    let other_db = world.db.open_again(&SCHEMA).await.unwrap();
    let other = accounts_over(&other_db, &world.bus, START_MS, 8);
    let mut numbers = HashSet::new();
    for limit in 0..50 {
        let store = |accounts: &Accounts, node: &str| {
            let definition = format!("{{\"{node}\":{limit}}}");
            let (accounts, user) = (accounts.clone(), alice.user);
            async move { accounts.store_filter(user, definition).await.unwrap() }
        };
        let (here, there) = tokio::join!(store(&world.accounts, "here"), store(&other, "there"));
        numbers.extend([here, there]);
    }
    assert_eq!(numbers, (1..=100).collect());
    other_db.close().await;
}

#[tokio::test]
async fn filters_are_bounded_in_kind_size_and_number() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        for definition in ["[]", "x", "{"] {
            let refused = world
                .accounts
                .store_filter(alice.user, definition.to_owned());
            assert!(matches!(refused.await, Err(FilterError::NotAnObject)));
        }
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(65_536));
        let refused = world.accounts.store_filter(alice.user, large).await;
        assert!(matches!(refused, Err(FilterError::TooLarge)));
        let user = alice.user;
        let most_two = async |hash: u8| {
            let store =
                move |tx: &mut starling_db::Tx<'_>| filter_store(tx, user, &[hash; 32], "{}", 2);
            let write = starling_db::Write::new("test");
            world.store.db().write(write, store).await.unwrap()
        };
        assert_eq!(most_two(1).await, Some(1));
        assert_eq!(most_two(2).await, Some(2));
        assert_eq!(most_two(3).await, None);
        assert_eq!(most_two(1).await, Some(1));
    })
    .await;
}
