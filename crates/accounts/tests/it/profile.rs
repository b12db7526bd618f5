//! Profiles.

use ruma_common::{UserId, user_id};
use serde_json::{Value, json};
use starling_accounts::{FieldName, ProfileError};
use starling_bus::Topic;
use starling_store::UserNum;
use starling_store::profiles::profile_rows;

use crate::world::{World, on_each_engine};

const ALICE: &str = "@alice:example.org";

async fn profile(world: &World, user: &str) -> Option<Value> {
    let user = UserId::parse(user).unwrap();
    let fields = world.accounts.profile(&user).await.unwrap()?;
    let member = |value: &str| serde_json::from_str::<Value>(value).unwrap();
    let members = fields
        .iter()
        .map(|field| (field.name.clone(), member(&field.value)));
    Some(Value::Object(members.collect()))
}

async fn set(world: &World, user: UserNum, name: &str, value: Value) -> Result<bool, ProfileError> {
    let field = FieldName::parse(name)?;
    let set = world.accounts.set_profile_field(user, field, Some(&value));
    set.await
}

async fn remove(world: &World, user: UserNum, name: &str) -> bool {
    let field = FieldName::parse(name).unwrap();
    let removed = world.accounts.set_profile_field(user, field, None);
    removed.await.unwrap()
}

#[tokio::test]
async fn fields_are_set_changed_and_removed() {
    on_each_engine(|world| async move {
        let (alice, session) = world.register("alice").await;
        let alice = alice.user;
        assert_eq!(profile(&world, ALICE).await, Some(json!({})));
        let name = "Alice \0 \"A\" 🦊";
        let (url, pronouns) = ("mxc://example.org/abc", json!([{ "summary": "she/her" }]));
        // What is set (null: removed), and whether that is a change.
        for (field, value, changes) in [
            ("displayname", json!(name), true),
            ("displayname", json!(name), false),
            ("avatar_url", json!(url), true),
            ("m.tz", json!("Europe/London"), true),
            ("io.fsky.nyx.pronouns", pronouns.clone(), true),
            ("io.fsky.nyx.pronouns", pronouns.clone(), false),
            ("org.example.null", json!(null), true),
            ("org.example.null", json!(null), false),
        ] {
            let before = world.bus.head();
            let ear = world.listen(&session);
            let is_change = set(&world, alice, field, value).await.unwrap();
            assert_eq!(is_change, changes, "{field}");
            // A change takes a position and is heard; what is no change isn't.
            assert_eq!(world.bus.head() > before, changes);
            assert_eq!(ear.heard() == [Topic::User(alice.0)], changes);
        }
        let whole = json!({
            "displayname": name, "avatar_url": url, "m.tz": "Europe/London", "io.fsky.nyx.pronouns": pronouns,
            "org.example.null": null,
        });
        assert_eq!(profile(&world, ALICE).await, Some(whole));
        let field = FieldName::parse("m.tz").unwrap();
        let value = world.accounts.profile_field(user_id!("@alice:example.org"), &field);
        assert_eq!(value.await.unwrap().as_deref(), Some("\"Europe/London\""));

        // An empty text removes what a client could not remove otherwise.
        assert!(set(&world, alice, "displayname", json!("")).await.unwrap());
        assert!(!set(&world, alice, "displayname", json!("")).await.unwrap());
        assert!(set(&world, alice, "avatar_url", json!("")).await.unwrap());
        for field in ["m.tz", "io.fsky.nyx.pronouns", "org.example.null"] {
            assert!(remove(&world, alice, field).await, "{field}");
            assert!(!remove(&world, alice, field).await, "{field}");
        }
        assert_eq!(profile(&world, ALICE).await, Some(json!({})));
        assert!(set(&world, alice, "displayname", json!("Again")).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn values_are_bounded_and_have_the_form_of_their_field() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let alice = alice.user;
        let name = "x".repeat(1_024);
        assert!(
            set(&world, alice, "displayname", json!(name))
                .await
                .unwrap()
        );
        let longer = set(&world, alice, "displayname", json!(format!("{name}x"))).await;
        assert!(matches!(longer, Err(ProfileError::TooLong)));
        for url in [
            "https://example.org/a.png",
            "mxc://",
            "mxc://example.org",
            "x",
        ] {
            let wrong = set(&world, alice, "avatar_url", json!(url)).await;
            assert!(
                matches!(wrong, Err(ProfileError::InvalidAvatarUrl)),
                "{url}"
            );
        }
        let long = set(
            &world,
            alice,
            "avatar_url",
            json!(format!("mxc://example.org/{name}")),
        )
        .await;
        assert!(matches!(long, Err(ProfileError::TooLong)));
        for field in ["displayname", "avatar_url", "m.tz"] {
            let wrong = set(&world, alice, field, json!(["x"])).await;
            assert!(matches!(wrong, Err(ProfileError::NotAString)), "{field}");
        }
        for name in [
            "",
            "nickname",
            "Org.example",
            "org.exämple",
            "1.2",
            ".a",
            "org.a b",
            "org.a\"b",
        ] {
            let wrong = set(&world, alice, name, json!(1)).await;
            assert!(matches!(wrong, Err(ProfileError::InvalidName)), "{name}");
        }
        let longest = format!("org.{}", "x".repeat(251));
        let longer = FieldName::parse(&format!("{longest}x"));
        assert!(matches!(longer, Err(ProfileError::NameTooLong)));
        assert!(set(&world, alice, &longest, json!(1)).await.unwrap());
        assert_eq!(
            profile(&world, ALICE).await,
            Some(json!({ "displayname": name, &longest: 1 }))
        );
    })
    .await;
}

#[tokio::test]
async fn a_whole_profile_is_smaller_than_64_kib() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let alice = alice.user;
        set(&world, alice, "displayname", json!("Alice"))
            .await
            .unwrap();
        let rest = json!({ "displayname": "Alice", "org.x": "" })
            .to_string()
            .len();
        let text = |bytes: usize| json!("x".repeat(bytes - rest));
        assert!(set(&world, alice, "org.x", text(65_535)).await.unwrap());
        let whole = profile(&world, ALICE).await.unwrap();
        assert_eq!(whole.to_string().len(), 65_535);
        for (field, value) in [
            ("org.x", text(65_536)),
            ("displayname", json!("Alicia")),
            ("org.y", json!(1)),
        ] {
            let refused = set(&world, alice, field, value).await;
            assert!(
                matches!(refused, Err(ProfileError::ProfileTooLarge)),
                "{field}"
            );
        }
        assert_eq!(profile(&world, ALICE).await, Some(whole));
        // What makes it smaller is let through.
        assert!(
            set(&world, alice, "displayname", json!("Al"))
                .await
                .unwrap()
        );
        assert!(remove(&world, alice, "org.x").await);
        assert!(set(&world, alice, "org.y", text(65_000)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn of_many_removed_fields_the_oldest_are_forgotten() {
    on_each_engine(|world| async move {
        let (alice, _) = world.register("alice").await;
        let alice = alice.user;
        set(&world, alice, "displayname", json!("Alice"))
            .await
            .unwrap();
        remove(&world, alice, "displayname").await;
        for number in 0..110 {
            let name = format!("org.example.x{number}");
            set(&world, alice, &name, json!(1)).await.unwrap();
            remove(&world, alice, &name).await;
        }
        let rows = world.read(move |tx| profile_rows(tx, alice)).await;
        assert_eq!(rows.len(), 101);
        let has = |name: &str| rows.iter().any(|row| row.name == name);
        assert!(has("displayname") && has("org.example.x109") && has("org.example.x10"));
        assert!(!has("org.example.x9"));
    })
    .await;
}

#[tokio::test]
async fn others_have_no_profile_here() {
    on_each_engine(|world| async move {
        let (gone, _) = world.register("gone").await;
        set(&world, gone.user, "displayname", json!("Gone"))
            .await
            .unwrap();
        world.accounts.deactivate(gone.user, false).await.unwrap();
        for user in [
            "@gone:example.org",
            "@bob:example.org",
            "@alice:elsewhere.org",
        ] {
            assert_eq!(profile(&world, user).await, None);
            let user = UserId::parse(user).unwrap();
            let name = FieldName::display_name();
            let value = world.accounts.profile_field(&user, &name).await.unwrap();
            assert_eq!(value, None);
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
