//! Profiles.

use ruma_common::{UserId, user_id};
use starling_accounts::{Field, Profile, ProfileError};
use starling_bus::Topic;

use crate::world::{World, on_each_engine};

const ALICE: &str = "@alice:example.org";

async fn profile(world: &World, user: &str) -> Option<Profile> {
    let user = UserId::parse(user).unwrap();
    world.accounts.profile(&user).await.unwrap()
}

#[tokio::test]
async fn fields_are_set_changed_and_removed() {
    on_each_engine(|world| async move {
        let (alice, session) = world.register("alice").await;
        assert_eq!(profile(&world, ALICE).await, Some(Profile::default()));
        let set = async |field, value: &str| {
            let before = world.bus.head();
            let ear = world.listen(&session);
            let set = world.accounts.set_profile_field(alice.user, field, value);
            let is_change = set.await.unwrap();
            // A change takes a position and is heard; what is no change isn't.
            assert_eq!(world.bus.head() > before, is_change);
            let heard = [Topic::User(alice.user.0)];
            assert_eq!(ear.heard() == heard, is_change);
            is_change
        };
        let name = "Alice \0 \"A\" 🦊";
        assert!(set(Field::DisplayName, name).await);
        assert!(!set(Field::DisplayName, name).await);
        assert!(set(Field::AvatarUrl, "mxc://example.org/abc").await);
        let expected = Profile {
            display_name: Some(name.to_owned()),
            avatar_url: Some("mxc://example.org/abc".to_owned()),
        };
        assert_eq!(profile(&world, ALICE).await, Some(expected));
        assert!(set(Field::DisplayName, "").await);
        assert!(!set(Field::DisplayName, "").await);
        assert!(set(Field::AvatarUrl, "").await);
        assert_eq!(profile(&world, ALICE).await, Some(Profile::default()));
        assert!(set(Field::DisplayName, "Again").await);
    })
    .await;
}

#[tokio::test]
async fn values_are_bounded_and_an_avatar_is_an_mxc_uri() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let set = async |field, value: &str| {
            world
                .accounts
                .set_profile_field(alice.user, field, value)
                .await
        };
        let name = "x".repeat(1_024);
        assert!(set(Field::DisplayName, &name).await.unwrap());
        let longer = set(Field::DisplayName, &format!("{name}x")).await;
        assert!(matches!(longer, Err(ProfileError::TooLong)));
        for url in [
            "https://example.org/a.png",
            "mxc://",
            "mxc://example.org",
            "x",
        ] {
            let wrong = set(Field::AvatarUrl, url).await;
            assert!(
                matches!(wrong, Err(ProfileError::InvalidAvatarUrl)),
                "{url}"
            );
        }
        let long = format!("mxc://example.org/{name}");
        let long = set(Field::AvatarUrl, &long).await;
        assert!(matches!(long, Err(ProfileError::TooLong)));
        let profile = profile(&world, ALICE).await.unwrap();
        assert_eq!(
            (profile.display_name, profile.avatar_url),
            (Some(name), None)
        );
    })
    .await;
}

#[tokio::test]
async fn others_have_no_profile_here() {
    on_each_engine(|world| async move {
        let (gone, _) = world.register("gone").await;
        world.accounts.deactivate(gone.user, false).await.unwrap();
        for user in [
            "@gone:example.org",
            "@bob:example.org",
            "@alice:elsewhere.org",
        ] {
            assert_eq!(profile(&world, user).await, None);
        }
        // A user whom this server knows, but who has no account here.
        let names = world.store.names().clone();
        let intern = move |tx: &mut starling_db::Tx<'_>| {
            names.user_intern(tx, user_id!("@carol:example.org"))
        };
        let write = starling_db::Write::new("test");
        world.store.db().write(write, intern).await.unwrap();
        assert_eq!(profile(&world, "@carol:example.org").await, None);
    })
    .await;
}
