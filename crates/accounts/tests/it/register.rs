//! Registration: names, passwords, the first session, and that nobody gets another's name.

use starling_accounts::{
    AccountKind, DeviceError, NewDevice, PasswordError, RegisterError, Registered,
};

use crate::world::{PASSWORD, World, account, device, on_each_engine};

async fn name_of(world: &World, localpart: &str) -> Result<String, &'static str> {
    match world.try_register(account(localpart)).await {
        Ok(Registered { user_id, .. }) => Ok(user_id.to_string()),
        Err(RegisterError::InvalidName) => Err("invalid"),
        Err(RegisterError::NameInUse) => Err("in use"),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn names_follow_the_grammar_of_user_ids() {
    on_each_engine(|world| async move {
        let good = ["a", "0", "_", "a.b_c=d-e/f+g", "irc-"];
        for localpart in good {
            let expected = format!("@{localpart}:example.org");
            world.accounts.check_available(localpart).await.unwrap();
            assert_eq!(name_of(&world, localpart).await, Ok(expected));
        }
        let upper = name_of(&world, "CAPITALS").await;
        assert_eq!(upper.as_deref(), Ok("@capitals:example.org"));
        for localpart in [
            "",
            "a b",
            "a:b",
            "@a",
            "@a:example.org",
            "ä",
            "a!",
            "a\"",
            "a\\",
            "a\0",
            "a\n",
            "a#",
            "a*",
            "İ",
        ] {
            assert_eq!(
                name_of(&world, localpart).await,
                Err("invalid"),
                "{localpart:?}"
            );
            let available = world.accounts.check_available(localpart).await;
            assert!(matches!(available, Err(RegisterError::InvalidName)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_whole_user_id_has_at_most_255_bytes() {
    on_each_engine(|world| async move {
        let longest = 255 - "@:example.org".len();
        let name = name_of(&world, &"a".repeat(longest)).await.unwrap();
        assert_eq!(name.len(), 255);
        let longer = name_of(&world, &"a".repeat(longest + 1)).await;
        assert_eq!(longer, Err("invalid"));
    })
    .await;
}

#[tokio::test]
async fn a_name_is_given_once_for_ever() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        for localpart in ["alice", "ALICE"] {
            assert_eq!(name_of(&world, localpart).await, Err("in use"));
            let available = world.accounts.check_available(localpart).await;
            assert!(matches!(available, Err(RegisterError::NameInUse)));
        }
        world.accounts.deactivate(alice.user, false).await.unwrap();
        assert_eq!(name_of(&world, "alice").await, Err("in use"));
        // Nothing of the failed attempts counts.
        assert!(world.login("alice", PASSWORD).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn of_many_at_once_one_gets_the_name() {
    on_each_engine(|world| async move {
        let attempts: Vec<_> = (0..8)
            .map(|_| {
                let accounts = world.accounts.clone();
                tokio::spawn(async move { accounts.register(account("alice")).await })
            })
            .collect();
        let mut made = Vec::new();
        for attempt in attempts {
            match attempt.await.unwrap() {
                Ok(registered) => made.push(registered),
                Err(error) => assert!(matches!(error, RegisterError::NameInUse)),
            }
        }
        assert_eq!(made.len(), 1);
        let login = made.remove(0).login.unwrap();
        assert!(world.whose(&login).await.is_some());
    })
    .await;
}

#[tokio::test]
async fn without_a_name_one_is_made_up() {
    on_each_engine(|world| async move {
        let mut new = account("x");
        new.localpart = None;
        let registered = world.try_register(new).await.unwrap();
        let localpart = registered.user_id.localpart().to_owned();
        assert_eq!(localpart.len(), 16);
        let grammar = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        assert!(localpart.chars().all(grammar), "{localpart}");
        world.login(&localpart, PASSWORD).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_first_session_begins_if_it_is_asked_for() {
    on_each_engine(|world| async move {
        let mut new = account("alice");
        new.device = Some(NewDevice {
            id: Some("LAPTOP".to_owned()),
            display_name: Some("Laptop".to_owned()),
            refreshes: false,
        });
        let alice = world.try_register(new).await.unwrap();
        let login = alice.login.unwrap();
        assert_eq!(
            (login.device_id.as_str(), &login.user_id),
            ("LAPTOP", &alice.user_id)
        );
        assert_eq!(&*world.session(&login).await.device_id, "LAPTOP");

        let mut new = account("bob");
        new.device = None;
        let bob = world.try_register(new).await.unwrap();
        assert_eq!(bob.login, None);
        let user = bob.user;
        let devices = world.read(move |tx| starling_store::devices::device_list(tx, user));
        assert_eq!(devices.await, []);
    })
    .await;
}

#[tokio::test]
async fn guests_and_administrators_are_told_apart() {
    on_each_engine(|world| async move {
        let mut admin = account("admin");
        admin.is_admin = true;
        let admin = world.try_register(admin).await.unwrap();
        let session = world.session(&admin.login.unwrap()).await;
        assert!(session.is_admin && !session.is_guest);

        let mut guest = account("x");
        (guest.localpart, guest.password) = (None, None);
        guest.kind = AccountKind::Guest;
        let guest = world.try_register(guest).await.unwrap();
        let session = world.session(&guest.login.unwrap()).await;
        assert!(session.is_guest && !session.is_admin);
    })
    .await;
}

#[tokio::test]
async fn passwords_and_devices_are_bounded() {
    on_each_engine(|world| async move {
        let with = |password: &str| {
            let mut new = account("alice");
            new.password = Some(password.to_owned());
            new
        };
        let empty = world.try_register(with("")).await;
        assert!(matches!(
            empty,
            Err(RegisterError::Password(PasswordError::Empty))
        ));
        let long = world.try_register(with(&"x".repeat(513))).await;
        assert!(matches!(
            long,
            Err(RegisterError::Password(PasswordError::TooLong))
        ));
        let mut new = account("alice");
        new.device = Some(device(&"x".repeat(256)));
        let long = world.try_register(new).await;
        assert!(matches!(
            long,
            Err(RegisterError::Device(DeviceError::IdTooLong))
        ));
        // None of these took the name.
        let longest = "ü".repeat(256);
        world.try_register(with(&longest)).await.unwrap();
        world.login("alice", &longest).await.unwrap();
    })
    .await;
}
