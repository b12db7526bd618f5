//! Interactive authentications: their ids, what is done of them, and their end.

use starling_accounts::{INTERACTIVE_SESSION_MS, Operation, Stage, session_secret};
use starling_db::{Tx, Write};
use starling_runtime::Chance;
use starling_store::UserNum;
use starling_store::server::server_name_record;

use crate::world::{START_MS, accounts_over, on_each_engine};

const ALICE: Operation<'_> = Operation {
    user: Some(UserNum(7)),
    what: "POST /account/password",
};

#[tokio::test]
async fn an_id_says_for_whom_and_for_what_and_cannot_be_changed() {
    on_each_engine(|world| async move {
        let begun = world.accounts.begin_interactive(ALICE);
        let other = world.accounts.begin_interactive(ALICE);
        assert_ne!(begun.id(), other.id());
        let found = world.accounts.interactive_session(begun.id());
        assert_eq!(found.as_ref(), Some(&begun));
        assert_eq!(begun.user(), ALICE.user);
        assert!(begun.is_for(ALICE));
        let (user, what) = (Some(UserNum(8)), "POST /register");
        assert!(!begun.is_for(Operation { user, ..ALICE }));
        assert!(!begun.is_for(Operation {
            user: None,
            ..ALICE
        }));
        assert!(!begun.is_for(Operation { what, ..ALICE }));
        // Each letter counts.
        for at in 0..begun.id().len() {
            let mut letters = begun.id().as_bytes().to_vec();
            letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(letters).unwrap();
            assert_eq!(world.accounts.interactive_session(&forged), None, "{at}");
        }
        let shorter = begun.id().split_at(4).1;
        for text in ["", "x", shorter, &format!("{}AA", begun.id())] {
            assert_eq!(world.accounts.interactive_session(text), None, "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_id_is_good_for_an_hour() {
    on_each_engine(|world| async move {
        let begun = world.accounts.begin_interactive(ALICE);
        let found_at = |now_ms| {
            let later = accounts_over(world.db.db(), &world.bus, now_ms, 8);
            later.interactive_session(begun.id()).is_some()
        };
        // The world's clock moves on a little.
        assert!(found_at(START_MS + INTERACTIVE_SESSION_MS - 60_000));
        assert!(!found_at(START_MS + INTERACTIVE_SESSION_MS + 60_000));
    })
    .await;
}

#[tokio::test]
async fn a_stage_is_done_once_and_forgotten_when_it_is_old() {
    on_each_engine(|world| async move {
        let begun = world.accounts.begin_interactive(ALICE);
        let stages = async || world.accounts.done_stages(&begun).await.unwrap();
        assert!(stages().await.stages.is_empty());
        for token in ["first", "second"] {
            let token = Some(token.to_owned());
            let done = world
                .accounts
                .do_stage(&begun, Stage::RegistrationToken, token);
            done.await.unwrap();
        }
        let done = world.accounts.do_stage(&begun, Stage::Dummy, None);
        done.await.unwrap();
        let both = ["m.login.registration_token", "m.login.dummy"];
        assert_eq!(stages().await.stages, both);
        assert_eq!(stages().await.token.as_deref(), Some("first"));

        let now = world.accounts.sweep_interactive_sessions(10).await;
        assert_eq!(now.unwrap(), 0);
        let late = START_MS + INTERACTIVE_SESSION_MS + 60_000;
        let later = accounts_over(world.db.db(), &world.bus, late, 8);
        assert_eq!(later.sweep_interactive_sessions(10).await.unwrap(), 1);
        assert!(stages().await.stages.is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_secret_is_made_once() {
    on_each_engine(|world| async move {
        let world = &world;
        let name = |tx: &mut Tx<'_>| server_name_record(tx, "example.org");
        let db = world.store.db();
        db.write(Write::new("test"), name).await.unwrap();
        let secret = async |seed| {
            let secret = session_secret(&world.store, &Chance::seeded(seed)).await;
            secret.unwrap()
        };
        let first = secret(1).await;
        assert_ne!(first, [0; 32]);
        assert_eq!(secret(2).await, first);
    })
    .await;
}
