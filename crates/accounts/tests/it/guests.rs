//! Guests who become users.

use starling_accounts::{
    AccountKind, GuestUpgrade, PasswordError, RegisterError, Registered, Session, ShownToken,
};

use crate::world::{PASSWORD, World, account, device, on_each_engine};

async fn guest(world: &World) -> (Registered, Session) {
    let mut new = account("x");
    (new.localpart, new.password) = (None, None);
    new.kind = AccountKind::Guest;
    let guest = world.try_register(new).await.unwrap();
    let session = world.session(guest.login.as_ref().unwrap()).await;
    (guest, session)
}

fn upgrade() -> GuestUpgrade {
    GuestUpgrade {
        password: PASSWORD.to_owned(),
        device: Some(device("PHONE")),
        registration_token: None,
    }
}

#[tokio::test]
async fn a_guest_becomes_a_user_and_stays_who_they_are() {
    on_each_engine(|world| async move {
        let (before, session) = guest(&world).await;
        let made = world.accounts.upgrade_guest(&session, upgrade()).await;
        let made = made.unwrap();
        assert_eq!((made.user, &made.user_id), (before.user, &before.user_id));
        // What is in memory of the old session is no guest's either.
        for login in [&made.login, &before.login] {
            let session = world.session(login.as_ref().unwrap()).await;
            assert!(!session.is_guest);
        }
        assert_eq!(made.login.unwrap().device_id, "PHONE");
        let login = world.login(before.user_id.localpart(), PASSWORD).await;
        assert_eq!(login.unwrap().user_id, before.user_id);

        let again = world.accounts.upgrade_guest(&session, upgrade()).await;
        assert!(matches!(again, Err(RegisterError::NameInUse)));
    })
    .await;
}

#[tokio::test]
async fn a_session_begins_if_it_is_asked_for_and_ends_that_of_its_device() {
    on_each_engine(|world| async move {
        let (_, session) = guest(&world).await;
        let same = GuestUpgrade {
            device: Some(device(&session.device_id)),
            ..upgrade()
        };
        let made = world.accounts.upgrade_guest(&session, same).await.unwrap();
        assert!(!world.is_valid(&session).await);
        assert!(world.whose(&made.login.unwrap()).await.is_some());

        let (_, session) = guest(&world).await;
        let none = GuestUpgrade {
            device: None,
            ..upgrade()
        };
        let made = world.accounts.upgrade_guest(&session, none).await.unwrap();
        assert_eq!(made.login, None);
        assert!(world.is_valid(&session).await);
    })
    .await;
}

#[tokio::test]
async fn what_fails_leaves_a_guest() {
    on_each_engine(|world| async move {
        let (before, session) = guest(&world).await;
        let empty = GuestUpgrade {
            password: String::new(),
            ..upgrade()
        };
        let empty = world.accounts.upgrade_guest(&session, empty).await;
        assert!(matches!(
            empty,
            Err(RegisterError::Password(PasswordError::Empty))
        ));
        let token = "nonsense".to_owned();
        let shown = ShownToken {
            token,
            shown_during: None,
        };
        let shown = GuestUpgrade {
            registration_token: Some(shown),
            ..upgrade()
        };
        let shown = world.accounts.upgrade_guest(&session, shown).await;
        assert!(matches!(shown, Err(RegisterError::RegistrationToken)));
        assert!(world.session(&before.login.unwrap()).await.is_guest);
        let login = world.login(before.user_id.localpart(), PASSWORD).await;
        assert!(login.is_err());

        // Nor does a user become one anew.
        let (_, alice) = world.register("alice").await;
        let user = world.accounts.upgrade_guest(&alice, upgrade()).await;
        assert!(matches!(user, Err(RegisterError::NameInUse)));
    })
    .await;
}
