//! Sessions: whose a token is, and that an ended one is nobody's.

use std::net::IpAddr;

use starling_accounts::{Authentication, NewDevice};
use starling_bus::Topic;
use starling_db::{Dialect, Tx};
use starling_store::SCHEMA;
use starling_store::devices::device_list;
use starling_testkit::TestDb;

use crate::world::{
    PASSWORD, START_MS, World, accounts_over, device, granted, is_valid, on_each_engine,
};

#[tokio::test]
async fn other_texts_are_nobodys_token() {
    on_each_engine(|world| async move {
        let (alice, session) = world.register("alice").await;
        assert_eq!(session.user, alice.user);
        let token = alice.login.unwrap().access_token;
        let token = token.as_str();
        let others = [
            String::new(),
            format!("{token}x"),
            token.to_uppercase(),
            format!("{token}\0"),
            "x".repeat(100_000),
        ];
        for other in &others {
            let found = world.accounts.authenticate(other).await.unwrap();
            assert!(granted(found).is_none(), "{other:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_looks_like_one_and_is_not_shown_in_logs() {
    on_each_engine(|world| async move {
        let (alice, session) = world.register("alice").await;
        let login = alice.login.unwrap();
        let token = login.access_token.as_str();
        assert!(token.starts_with("stl_") && token.len() == 47);
        let logged = format!("{login:?} {session:?}");
        assert!(logged.contains("alice") && !logged.contains(token));
    })
    .await;
}

#[tokio::test]
async fn logout_ends_one_session_and_deletes_its_device() {
    on_each_engine(|world| async move {
        let (alice, session) = world.register("alice").await;
        let login = alice.login.unwrap();
        let other = world.login("alice", PASSWORD).await.unwrap();
        let ear = world.listen(&session);
        world.accounts.logout(&session).await.unwrap();
        assert!(world.whose(&login).await.is_none());
        assert!(!world.is_valid(&session).await);
        assert_eq!(ear.heard(), [Topic::Device(session.device.0)]);
        let kept = world.session(&other).await;
        assert!(world.is_valid(&kept).await);
        let devices = world.read(move |tx| device_list(tx, alice.user)).await;
        let ids: Vec<_> = devices.iter().map(|device| device.device).collect();
        assert_eq!(ids, [kept.device]);
        // Once more is no error, and no change.
        let head = world.bus.head();
        world.accounts.logout(&session).await.unwrap();
        assert_eq!(world.bus.head(), head);
    })
    .await;
}

#[tokio::test]
async fn logout_all_ends_all_sessions_of_one_user() {
    on_each_engine(|world| async move {
        let (alice, first) = world.register("alice").await;
        let (bob, _) = world.register("bob").await;
        let second = world.login("alice", PASSWORD).await.unwrap();
        let second = world.session(&second).await;
        let ears = [world.listen(&first), world.listen(&second)];
        world.accounts.logout_all(alice.user).await.unwrap();
        for session in [&first, &second] {
            assert!(!world.is_valid(session).await);
        }
        assert!(world.whose(&bob.login.unwrap()).await.is_some());
        assert_eq!(ears[0].heard(), [Topic::Device(first.device.0)]);
        assert_eq!(ears[1].heard(), [Topic::Device(second.device.0)]);
        let left = world.read(move |tx| device_list(tx, alice.user)).await;
        assert_eq!(left, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_outlives_its_end_in_memory() {
    let db = TestDb::open(Dialect::Sqlite, &SCHEMA).await;
    let world = World::new(db).await;
    world.register("alice").await;
    for _ in 0..100 {
        let login = world
            .login_on("alice", PASSWORD, device("D"))
            .await
            .unwrap();
        let token = login.access_token.as_str().to_owned();
        let accounts = world.accounts.clone();
        let reading = tokio::spawn(async move {
            // Reads, and fills the memory, until the session has ended.
            while granted(accounts.authenticate(&token).await.unwrap()).is_some() {
                tokio::task::yield_now().await;
            }
        });
        let session = world.session(&login).await;
        world.accounts.logout(&session).await.unwrap();
        assert!(world.whose(&login).await.is_none());
        reading.await.unwrap();
        assert!(world.whose(&login).await.is_none());
    }
}

#[tokio::test]
async fn a_long_poll_outlives_the_renewal_of_its_token() {
    on_each_engine(|world| async move {
        world.register("alice").await;
        let device = NewDevice {
            refreshes: true,
            ..NewDevice::default()
        };
        let login = world.login_on("alice", PASSWORD, device).await.unwrap();
        let polling = world.session(&login).await;
        let token = login.refresh_token.unwrap();
        let renewed = world.accounts.refresh(token.as_str()).await.unwrap();
        let renewed = renewed.access_token;
        let now = world.accounts.authenticate(renewed.as_str()).await.unwrap();
        let now = granted(now).unwrap();
        let found = world.accounts.authenticate_again(&polling).await.unwrap();
        assert!(matches!(found, Authentication::Expired), "{found:?}");

        world.accounts.logout(&now).await.unwrap();
        let found = world.accounts.authenticate_again(&polling).await.unwrap();
        assert!(matches!(found, Authentication::Unknown), "{found:?}");
    })
    .await;
}

#[tokio::test]
async fn a_restart_ends_no_session() {
    on_each_engine(|mut world| async move {
        let (alice, _) = world.register("alice").await;
        world.db.reopen().await;
        let accounts = accounts_over(world.db.db(), &world.bus, START_MS, 8);
        let token = alice.login.unwrap().access_token;
        let session = accounts.authenticate(token.as_str()).await.unwrap();
        assert_eq!(granted(session).unwrap().user, alice.user);
    })
    .await;
}

#[tokio::test]
async fn a_session_ended_by_one_node_is_ended_for_all() {
    let db = TestDb::open(Dialect::Postgres, &SCHEMA).await;
    let world = World::new(db).await;
    let (alice, session) = world.register("alice").await;
    let token = alice.login.unwrap().access_token;
    let other_db = world.db.open_again(&SCHEMA).await.unwrap();
    let other = accounts_over(&other_db, &world.bus, START_MS, 8);
    let there = granted(other.authenticate(token.as_str()).await.unwrap()).unwrap();
    world.accounts.logout(&session).await.unwrap();
    let found = other.authenticate(token.as_str()).await.unwrap();
    assert!(granted(found).is_none());
    assert!(!is_valid(&other, &there).await);
    other_db.close().await;
}

#[tokio::test]
async fn where_a_device_was_last_seen_is_noted_now_and_then() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let token = alice.login.unwrap().access_token;
        let user = alice.user;
        let seen = async |now_ms: i64, address: &str| {
            let accounts = accounts_over(world.db.db(), &world.bus, now_ms, 8);
            let session = accounts.authenticate(token.as_str()).await.unwrap();
            let address: IpAddr = address.parse().unwrap();
            accounts.seen(&granted(session).unwrap(), Some(address));
            // The note, if one is made, is queued by now and written before this.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let write = starling_db::Write::new("test");
            let nothing = |_: &mut Tx<'_>| Ok::<_, starling_db::Error>(());
            world.db.db().write(write, nothing).await.unwrap();
            let devices = world.read(move |tx| device_list(tx, user)).await;
            let device = devices.into_iter().next().unwrap();
            // In minutes: the clock goes on while the test runs.
            let minutes = (device.last_seen_at.unwrap() - START_MS) / 60_000;
            (minutes, device.last_seen_ip.unwrap())
        };
        let at = |minutes: i64| START_MS + minutes * 60_000;
        let first = seen(at(0), "192.0.2.1").await;
        assert_eq!(first, (0, "192.0.2.1".to_owned()));
        assert_eq!(seen(at(2), "192.0.2.2").await, first);
        let later = (5, "2001:db8::1".to_owned());
        assert_eq!(seen(at(5), "2001:db8::1").await, later);
    })
    .await;
}
