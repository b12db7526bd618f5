//! Login by password.

use starling_accounts::{DeviceError, LoginError, NewDevice};
use starling_bus::Topic;
use starling_store::accounts::{AccountInsert, AccountKind, account_insert, password_read};
use starling_store::devices::{device_list, revocation_list};

use crate::world::{PASSWORD, START_MS, World, accounts_over, device, on_each_engine};

async fn is_refused(world: &World, user: &str, password: &str) -> bool {
    matches!(world.login(user, password).await, Err(LoginError::Refused))
}

#[tokio::test]
async fn a_user_is_named_by_localpart_or_whole_id_in_any_case() {
    on_each_engine(|world| async move {
        world.register("alice").await;
        let names = ["alice", "Alice", "@alice:example.org", "@ALICE:example.org"];
        for name in names {
            let login = world.login(name, PASSWORD).await.unwrap();
            assert_eq!(login.user_id, "@alice:example.org");
            let session = world.session(&login).await;
            assert_eq!(session.user_id, login.user_id);
            assert_eq!(*session.device_id, *login.device_id);
            assert!(!session.is_guest && !session.is_admin);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_login_cannot_be_told() {
    on_each_engine(|world| async move {
        world.register("alice").await;
        let (gone, _) = world.register("gone").await;
        assert!(world.accounts.deactivate(gone.user, false).await.unwrap());
        let mut without = crate::world::account("without");
        without.password = None;
        world.try_register(without).await.unwrap();
        let long = "x".repeat(600);
        let logins = [
            ("alice", "wrong"),
            ("alice", ""),
            ("alice", &long),
            ("nobody", PASSWORD),
            ("gone", PASSWORD),
            ("without", ""),
            ("", PASSWORD),
            ("@alice:elsewhere.org", PASSWORD),
            ("@alice", PASSWORD),
            ("alice:example.org", PASSWORD),
            ("ali\0ce", PASSWORD),
            ("@ali\0ce:example.org", PASSWORD),
            (&long, PASSWORD),
        ];
        for (user, password) in logins {
            assert!(is_refused(&world, user, password).await, "{user:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_old_account_with_upper_case_letters_comes_first_under_its_own_spelling() {
    on_each_engine(|world| async move {
        world.register("alice").await;
        let user_id = ruma_common::user_id!("@Alice:example.org").to_owned();
        let (names, id) = (world.store.names().clone(), user_id.clone());
        let alice = world.accounts.find("alice").await.unwrap().unwrap();
        let hash = world.read(move |tx| password_read(tx, alice.user)).await;
        let write = starling_db::Write::new("test");
        let insert = move |tx: &mut starling_db::Tx<'_>| {
            let account = AccountInsert {
                user: names.user_intern(tx, &id)?,
                kind: AccountKind::User,
                is_admin: false,
                password_hash: hash.as_deref(),
                created_at: 0,
            };
            account_insert(tx, &account)
        };
        let is_new: Result<bool, starling_db::Error> = world.store.db().write(write, insert).await;
        assert!(is_new.unwrap());
        for (name, expected) in [
            ("Alice", "@Alice:example.org"),
            ("@Alice:example.org", "@Alice:example.org"),
            ("alice", "@alice:example.org"),
            ("ALICE", "@alice:example.org"),
        ] {
            let login = world.login(name, PASSWORD).await.unwrap();
            assert_eq!(login.user_id, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_known_device_keeps_its_name_and_gets_another_token() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let named = |name: &str| NewDevice {
            id: Some("PHONE".to_owned()),
            display_name: Some(name.to_owned()),
            refreshes: false,
        };
        let first = world.login_on("alice", PASSWORD, named("My phone"));
        let first = first.await.unwrap();
        let session = world.session(&first).await;
        let ear = world.listen(&session);
        let head = world.bus.head();

        let second = world.login_on("alice", PASSWORD, named("Other"));
        let second = second.await.unwrap();
        assert_eq!(world.whose(&first).await.map(drop), None);
        assert!(!world.is_valid(&session).await);
        let again = world.session(&second).await;
        assert_eq!(again.device, session.device);
        assert_eq!(ear.heard(), [Topic::Device(session.device.0)]);

        let devices = world.read(move |tx| device_list(tx, alice.user)).await;
        let phone: Vec<_> = devices.iter().filter(|d| d.device_id == "PHONE").collect();
        assert_eq!(phone.len(), 1);
        assert_eq!(phone[0].display_name.as_deref(), Some("My phone"));
        let upto = world.bus.head();
        let ended = world.read(move |tx| revocation_list(tx, head, upto, 10));
        let ended = ended.await;
        assert_eq!(ended.len(), 1);
        assert_eq!((ended[0].position, ended[0].device), (upto, session.device));
        assert_eq!(ended[0].user, alice.user);
    })
    .await;
}

#[tokio::test]
async fn a_device_id_belongs_to_one_user() {
    on_each_engine(|world| async move {
        world.register("alice").await;
        world.register("bob").await;
        let hers = world
            .login_on("alice", PASSWORD, device("D"))
            .await
            .unwrap();
        let his = world.login_on("bob", PASSWORD, device("D")).await.unwrap();
        let (hers, his) = (world.session(&hers).await, world.session(&his).await);
        assert_ne!(hers.device, his.device);
    })
    .await;
}

#[tokio::test]
async fn device_ids_are_made_and_bounded() {
    on_each_engine(|world| async move {
        world.register("alice").await;
        let made = world.login_on("alice", PASSWORD, device("")).await.unwrap();
        assert_eq!(made.device_id.len(), 10);
        // Text that a client chose may hold anything.
        let odd = world.login_on("alice", PASSWORD, device("a\0ü")).await;
        assert_eq!(&*world.session(&odd.unwrap()).await.device_id, "a\0ü");
        let long = device(&"x".repeat(256));
        let long = world.login_on("alice", PASSWORD, long).await;
        assert!(matches!(
            long,
            Err(LoginError::Device(DeviceError::IdTooLong))
        ));
        let named = NewDevice {
            id: None,
            display_name: Some("x".repeat(513)),
            refreshes: false,
        };
        let named = world.login_on("alice", PASSWORD, named).await;
        assert!(matches!(
            named,
            Err(LoginError::Device(DeviceError::NameTooLong))
        ));
    })
    .await;
}

#[tokio::test]
async fn a_login_hashes_again_when_the_cost_has_changed() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let hash = async || {
            let read = move |tx: &mut starling_db::Tx<'_>| password_read(tx, alice.user);
            world.read(read).await.unwrap()
        };
        let before = hash().await;
        assert!(before.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        world.login("alice", PASSWORD).await.unwrap();
        assert_eq!(hash().await, before);

        let dearer = accounts_over(world.db.db(), &world.bus, START_MS, 16);
        let login = || starling_accounts::PasswordLogin {
            user: "alice".to_owned(),
            password: PASSWORD.to_owned(),
            device: NewDevice::default(),
        };
        dearer.login_password(login()).await.unwrap();
        assert!(hash().await.starts_with("$argon2id$v=19$m=16,t=1,p=1$"));
        dearer.login_password(login()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_password_is_confirmed_within_a_session() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let matches = async |password: &str| {
            let matches = world
                .accounts
                .password_matches(alice.user, password.to_owned());
            matches.await.unwrap()
        };
        assert!(matches(PASSWORD).await);
        assert!(!matches("wrong").await);
        assert!(!matches(&PASSWORD.repeat(100)).await);
        world.accounts.deactivate(alice.user, false).await.unwrap();
        assert!(!matches(PASSWORD).await);
    })
    .await;
}
