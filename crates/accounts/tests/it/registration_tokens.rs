//! Registration tokens.

use starling_accounts::{NewRegistrationToken, Operation, RegisterError, ShownToken, Stage};

use crate::world::{account, on_each_engine};

#[tokio::test]
async fn what_was_shown_on_a_page_is_good_for_one_account() {
    on_each_engine(|world| async move {
        let accounts = &world.accounts;
        let token = accounts.make_registration_token(NewRegistrationToken::default());
        let token = token.await.unwrap().token;
        let what = "POST /register";
        let session = accounts.begin_interactive(Operation { user: None, what });
        let stage = Stage::RegistrationToken;
        let done = accounts.do_stage(&session, stage, Some(token.clone()));
        done.await.unwrap();
        let register = async |name: &str| {
            let mut new = account(name);
            new.registration_token = Some(ShownToken {
                token: token.clone(),
                shown_during: Some(session.clone()),
            });
            world.try_register(new).await
        };
        world.register("taken").await;
        let refused = register("taken").await;
        assert!(matches!(refused, Err(RegisterError::NameInUse)));
        register("alice").await.unwrap();
        let more = register("bob").await;
        assert!(matches!(more, Err(RegisterError::RegistrationToken)));
        let listed = accounts.registration_tokens(String::new(), 10).await;
        assert_eq!(listed.unwrap()[0].uses, 1);
        world.register("bob").await;
    })
    .await;
}

#[tokio::test]
async fn texts_are_opaque_identifiers_of_64_letters_at_most() {
    on_each_engine(|world| async move {
        let world = &world;
        let make = async |text: String| {
            let new = NewRegistrationToken {
                token: Some(text),
                ..NewRegistrationToken::default()
            };
            world.accounts.make_registration_token(new).await.is_ok()
        };
        for good in ["a", "0._~-Z", &"x".repeat(64)] {
            assert!(make(good.to_owned()).await, "{good}");
            assert!(!make(good.to_owned()).await, "{good} twice");
        }
        for bad in ["", " ", "a b", "a/b", "ü", "a\n", &"x".repeat(65)] {
            assert!(!make(bad.to_owned()).await, "{bad}");
        }
    })
    .await;
}
