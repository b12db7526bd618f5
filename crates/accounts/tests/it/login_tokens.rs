//! Tokens for one login.

use starling_accounts::{KeepSession, LoginError, NewDevice, Session};

use crate::world::{PASSWORD, World, on_each_engine};

async fn is_good(world: &World, token: &str) -> bool {
    let login = world.accounts.login_by_token(token, NewDevice::default());
    match login.await {
        Ok(_) => true,
        Err(LoginError::UnknownToken) => false,
        Err(error) => panic!("{error}"),
    }
}

async fn give(world: &World, session: &Session) -> String {
    let token = world.accounts.login_token(session).await.unwrap();
    token.unwrap().as_str().to_owned()
}

#[tokio::test]
async fn of_many_logins_at_once_one_works() {
    on_each_engine(|world| async move {
        let (_, alice) = world.register("alice").await;
        let token = give(&world, &alice).await;
        let attempt = || is_good(&world, &token);
        let (a, b, c, d) = tokio::join!(attempt(), attempt(), attempt(), attempt());
        assert_eq!([a, b, c, d].iter().filter(|worked| **worked).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_ends_the_sessions_ends_what_could_begin_others() {
    on_each_engine(|world| async move {
        let (registered, alice) = world.register("alice").await;
        let other = world.login("alice", PASSWORD).await.unwrap();
        let other = world.session(&other).await;
        let set = async |keep| {
            let set = world
                .accounts
                .set_password(registered.user, PASSWORD.to_owned(), keep);
            assert!(set.await.unwrap());
        };
        let kept = give(&world, &alice).await;
        set(KeepSession::All(alice.device)).await;
        assert!(is_good(&world, &kept).await);

        let ended = give(&world, &alice).await;
        set(KeepSession::Only(alice.device)).await;
        assert!(!is_good(&world, &ended).await);
        // A request that was let in before gets none after.
        assert_eq!(world.accounts.login_token(&other).await.unwrap(), None);
        assert!(is_good(&world, &give(&world, &alice).await).await);

        let ended = give(&world, &alice).await;
        world.accounts.logout_all(registered.user).await.unwrap();
        assert!(!is_good(&world, &ended).await);
    })
    .await;
}
