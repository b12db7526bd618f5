//! Listing accounts, setting passwords, deactivation.

use starling_accounts::{KeepSession, LoginError, PasswordError, SetPasswordError};
use starling_bus::Topic;
use starling_db::{Dialect, Tx, Write};
use starling_store::cross_signing::{KeyUsage, cross_signing_key_set, cross_signing_keys};
use starling_store::devices::device_list;
use starling_store::key_backup::{backup_current, backup_insert};
use starling_store::{SCHEMA, UserNum};
use starling_testkit::TestDb;

use crate::world::{PASSWORD, START_MS, World, account, accounts_over, on_each_engine};

#[tokio::test]
async fn accounts_are_listed_in_pages() {
    on_each_engine(|world| async move {
        let mut admin = account("admin");
        admin.is_admin = true;
        world.try_register(admin).await.unwrap();
        let (gone, _) = world.register("gone").await;
        world.register("alice").await;
        world.accounts.deactivate(gone.user, false).await.unwrap();
        let first = world.accounts.list(UserNum(0), 2).await.unwrap();
        let rest = world.accounts.list(first[1].user, 2).await.unwrap();
        let all: Vec<_> = first
            .iter()
            .chain(&rest)
            .map(|account| {
                let name = account.user_id.localpart().to_owned();
                (name, account.is_admin, account.deactivated_at.is_some())
            })
            .collect();
        let expected = [
            ("admin".to_owned(), true, false),
            ("gone".to_owned(), false, true),
            ("alice".to_owned(), false, false),
        ];
        assert_eq!(all, expected);
        assert!(first[0].created_at >= START_MS);
    })
    .await;
}

#[tokio::test]
async fn an_account_is_found_by_name() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        for name in ["alice", "ALICE", "@alice:example.org"] {
            let found = world.accounts.find(name).await.unwrap().unwrap();
            assert_eq!(found.user, alice.user);
        }
        for name in ["bob", "", "@alice:elsewhere.org"] {
            assert_eq!(world.accounts.find(name).await.unwrap(), None);
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_password_replaces_the_old_and_ends_the_sessions_that_are_not_kept() {
    on_each_engine(|world| async move {
        let (alice, first) = world.register("alice").await;
        let second = world.login("alice", PASSWORD).await.unwrap();
        let second = world.session(&second).await;
        let set = async |password: &str, keep| {
            let set = world
                .accounts
                .set_password(alice.user, password.to_owned(), keep);
            set.await.unwrap()
        };
        let valid = async || {
            let first = world.is_valid(&first).await;
            (first, world.is_valid(&second).await)
        };
        assert!(set("second", KeepSession::All(first.device)).await);
        assert_eq!(valid().await, (true, true));
        let old = world.login("alice", PASSWORD).await;
        assert!(matches!(old, Err(LoginError::Refused)));
        let third = world.login("alice", "second").await.unwrap();

        let ear = world.listen(&first);
        assert!(set("third", KeepSession::Only(second.device)).await);
        assert_eq!(valid().await, (false, true));
        assert!(world.whose(&third).await.is_none());
        assert_eq!(ear.heard(), [Topic::Device(first.device.0)]);

        assert!(set("fourth", KeepSession::None).await);
        assert_eq!(valid().await, (false, false));
        world.login("alice", "fourth").await.unwrap();

        // Requests that were let in before their session ended change nothing.
        for late in [
            KeepSession::All(first.device),
            KeepSession::Only(second.device),
        ] {
            assert!(!set("fifth", late).await);
        }
        let late = world.login("alice", "fifth").await;
        assert!(matches!(late, Err(LoginError::Refused)));
    })
    .await;
}

#[tokio::test]
async fn a_login_with_the_old_password_does_not_outlive_its_change() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let mut old = PASSWORD.to_owned();
        for round in 0..20 {
            let new = format!("password {round}");
            let set = world
                .accounts
                .set_password(alice.user, new.clone(), KeepSession::None);
            let (login, set) = tokio::join!(world.login("alice", &old), set);
            assert!(set.unwrap());
            match login {
                Ok(login) => assert!(world.whose(&login).await.is_none()),
                Err(error) => assert!(matches!(error, LoginError::Refused)),
            }
            old = new;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_one_at_another_node() {
    let world = World::new(TestDb::open(Dialect::Postgres, &SCHEMA).await).await;
    let (alice, _) = world.register("alice").await;
    let other_db = world.db.open_again(&SCHEMA).await.unwrap();
    let other = accounts_over(&other_db, &world.bus, START_MS, 8);
    let mut old = PASSWORD.to_owned();
    for round in 0..60 {
        let new = format!("password {round}");
        let set = other.set_password(alice.user, new.clone(), KeepSession::None);
        let (login, set) = tokio::join!(world.login("alice", &old), set);
        assert!(set.unwrap());
        match login {
            Ok(login) => assert!(world.whose(&login).await.is_none()),
            Err(error) => assert!(matches!(error, LoginError::Refused)),
        }
        old = new;
    }
    other_db.close().await;
}

#[tokio::test]
async fn a_password_that_is_not_allowed_changes_nothing() {
    on_each_engine(|world| async move {
        let (alice, session) = world.register("alice").await;
        for (password, expected) in [
            (String::new(), PasswordError::Empty),
            ("x".repeat(513), PasswordError::TooLong),
        ] {
            let set = world
                .accounts
                .set_password(alice.user, password, KeepSession::None);
            match set.await {
                Err(SetPasswordError::Password(error)) => assert_eq!(error, expected),
                other => panic!("{other:?}"),
            }
        }
        assert!(world.is_valid(&session).await);
        world.login("alice", PASSWORD).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn deactivation_takes_keys_and_their_backups() {
    on_each_engine(|world| async move {
        let (alice, session) = world.register("alice").await;
        let (user, store) = (alice.user, world.store.clone());
        let write = move |tx: &mut Tx<'_>| {
            backup_insert(tx, user, ("m.test", "{}"), 100)?;
            cross_signing_key_set(tx, user, KeyUsage::Master, Some(b"{}"))
        };
        store.db().write(Write::new("test"), write).await.unwrap();
        let ear = world.listen(&session);
        assert!(world.accounts.deactivate(user, false).await.unwrap());
        let heard = ear.heard();
        assert!(heard.contains(&Topic::User(user.0)), "{heard:?}");
        assert_eq!(world.read(move |tx| backup_current(tx, user)).await, None);
        let keys = world.read(move |tx| cross_signing_keys(tx, &[user])).await;
        assert!(keys.is_empty());
    })
    .await;
}

#[tokio::test]
async fn deactivation_ends_all_at_once() {
    on_each_engine(|world| async move {
        let (alice, session) = world.register("alice").await;
        let other = world.login("alice", PASSWORD).await.unwrap();
        let ear = world.listen(&session);
        assert!(world.accounts.deactivate(alice.user, false).await.unwrap());
        assert!(!world.is_valid(&session).await);
        assert!(world.whose(&other).await.is_none());
        assert_eq!(ear.heard(), [Topic::Device(session.device.0)]);
        let devices = world.read(move |tx| device_list(tx, alice.user)).await;
        assert_eq!(devices, []);
        let found = world.accounts.find("alice").await.unwrap().unwrap();
        assert!(found.deactivated_at >= Some(START_MS));
        // There is nothing left to do, and nothing brings the account back.
        assert!(!world.accounts.deactivate(alice.user, false).await.unwrap());
        let set = world
            .accounts
            .set_password(alice.user, "new".to_owned(), KeepSession::None);
        assert!(!set.await.unwrap());
        let login = world.login("alice", "new").await;
        assert!(matches!(login, Err(LoginError::Refused)));
        let nobody = world.accounts.deactivate(UserNum(12_345), false).await;
        assert!(!nobody.unwrap());
    })
    .await;
}
