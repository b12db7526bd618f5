//! The user directory. <https://spec.matrix.org/v1.19/client-server-api/#user-directory>

use serde_json::{Value, json};
use starling_testkit::TestServer;

use crate::caller::{Caller, on_servers, on_servers_with, segment};

/// The ids that a search finds, and whether there are more.
async fn find(caller: &Caller, term: &str, limit: u32) -> (Vec<String>, bool) {
    let body = json!({ "search_term": term, "limit": limit });
    let answer = caller.post("user_directory/search", &body).await.ok();
    let users = answer["results"].as_array().unwrap().iter();
    let ids = users.map(|user| user["user_id"].as_str().unwrap().to_owned());
    (ids.collect(), answer["limited"].as_bool().unwrap())
}

async fn found(caller: &Caller, term: &str) -> Vec<String> {
    find(caller, term, 10).await.0
}

async fn name(caller: &Caller, name: &str) {
    let path = format!("profile/{}/displayname", segment(&caller.user_id));
    caller
        .put(&path, &json!({ "displayname": name }))
        .await
        .ok();
}

/// `POST /_matrix/client/v3/user_directory/search`
#[tokio::test]
async fn users_are_found_by_the_beginnings_of_the_words_of_their_names() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let (ann, bob) = (server.user("ann.lee").await, server.user("bob").await);
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        for user in [&ann, &bob] {
            user.join(&room).await.ok();
        }
        name(&bob, "Bob O'Hara Ännie").await;
        let avatar = format!("profile/{}/avatar_url", segment(&bob.user_id));
        bob.put(&avatar, &json!({ "avatar_url": "mxc://localhost/bob" })).await.ok();
        for (term, wanted) in [
            ("ann", vec!["@ann.lee:localhost"]),
            ("ANN lee", vec!["@ann.lee:localhost"]),
            ("le an", vec!["@ann.lee:localhost"]),
            ("@ann.l", vec!["@ann.lee:localhost"]),
            ("@ann.lee:local", vec!["@ann.lee:localhost"]),
            ("@ann.lee:elsewhere", vec![]),
            ("ann bob", vec![]),
            ("nn", vec![]),
            ("ÄNN", vec!["@bob:localhost"]),
            ("o'hara", vec!["@bob:localhost"]),
            ("a", vec!["@alice:localhost", "@ann.lee:localhost"]),
            ("", vec![]),
            (" @: ", vec![]),
            ("\u{0}", vec![]),
            ("%", vec![]),
        ] {
            let mut users = found(&alice, term).await;
            users.sort();
            assert_eq!(users, wanted, "{term:?}");
        }
        let body = json!({ "search_term": "hara" });
        let answer = alice.post("user_directory/search", &body).await.ok();
        let wanted = json!({
            "results": [{ "user_id": "@bob:localhost", "display_name": "Bob O'Hara Ännie", "avatar_url": "mxc://localhost/bob" }],
            "limited": false,
        });
        assert_eq!(answer, wanted);
        let body = json!({ "search_term": "lee" });
        let answer = alice.post("user_directory/search", &body).await.ok();
        assert_eq!(answer["results"], json!([{ "user_id": "@ann.lee:localhost" }]));

        let search = "user_directory/search";
        alice.post(search, &json!({})).await.fails(400, "M_BAD_JSON");
        alice.post(search, &json!({ "search_term": 1 })).await.fails(400, "M_BAD_JSON");
        let negative = json!({ "search_term": "a", "limit": -1 });
        alice.post(search, &negative).await.fails(400, "M_BAD_JSON");
        let long = json!({ "search_term": "x".repeat(1025) });
        alice.post(search, &long).await.fails(400, "M_INVALID_PARAM");
    })
    .await;
}

/// `POST /_matrix/client/v3/user_directory/search`
#[tokio::test]
async fn only_who_shares_a_room_or_is_in_an_open_one_is_found() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        assert_eq!(found(&alice, "bob").await, Vec::<String>::new());
        let is_found = async || !found(&alice, "bob").await.is_empty();
        let room = bob.create(json!({})).await;
        assert!(!is_found().await);
        bob.act(&room, "invite", &alice).await.ok();
        assert!(!is_found().await, "an invite shares no room");
        alice.join(&room).await.ok();
        assert!(is_found().await, "a room in common");
        alice.leave(&room).await.ok();
        assert!(!is_found().await, "no room in common any longer");
        let set = async |kind: &str, content: Value| {
            let path = format!("rooms/{}/state/{kind}", segment(&room));
            bob.put(&path, &content).await.ok();
        };
        set("m.room.join_rules", json!({ "join_rule": "public" })).await;
        assert!(is_found().await, "anybody may come in");
        set("m.room.join_rules", json!({ "join_rule": "invite" })).await;
        assert!(!is_found().await);
        set(
            "m.room.history_visibility",
            json!({ "history_visibility": "world_readable" }),
        )
        .await;
        assert!(is_found().await, "anybody may read");
        let again = server.restarted().await.again(&alice);
        assert_eq!(found(&again, "bob").await, ["@bob:localhost"]);
        bob.leave(&room).await.ok();
        assert!(!is_found().await, "Bob is nowhere");
    })
    .await;
}

/// `POST /_matrix/client/v3/user_directory/search`
#[tokio::test]
async fn a_changed_name_is_found_at_once_and_the_old_one_no_longer() {
    let mut config = TestServer::config();
    config.registration.guests = true;
    on_servers_with(config, async |server| {
        let (alice, bob, _) = server.two_in_a_room().await;
        name(&bob, "Robert").await;
        assert_eq!(found(&alice, "rob").await, ["@bob:localhost"]);
        name(&bob, "Bertie Robinson").await;
        assert_eq!(found(&alice, "bert rob").await, ["@bob:localhost"]);
        assert_eq!(found(&alice, "robert").await, Vec::<String>::new());
        assert_eq!(found(&alice, "bob").await, ["@bob:localhost"], "the id stays");
        let path = format!("profile/{}/displayname", segment(&bob.user_id));
        bob.delete(&path).await.ok();
        assert_eq!(found(&alice, "bert").await, Vec::<String>::new());

        let auth = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "bob" }, "password": "bob" });
        bob.post("account/deactivate", &json!({ "auth": auth })).await.ok();
        assert_eq!(found(&alice, "bob").await, Vec::<String>::new());
    })
    .await;
}

/// `POST /_matrix/client/v3/user_directory/search`
#[tokio::test]
async fn no_more_are_found_than_wanted_and_the_best_come_first() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        for user in ["samuel", "sam.b", "zoe", "samantha", "sam"] {
            server.user(user).await.join(&room).await.ok();
        }
        let zoe = server.device("zoe").await;
        name(&zoe, "Samson Zoe").await;
        let (users, limited) = find(&alice, "sam", 2).await;
        assert_eq!(
            (users, limited),
            (
                vec!["@sam:localhost".to_owned(), "@zoe:localhost".to_owned()],
                true
            )
        );
        let (users, limited) = find(&alice, "sam", 5).await;
        assert_eq!((users.len(), limited), (5, false));
        assert_eq!(find(&alice, "sam", 0).await, (Vec::new(), true));
    })
    .await;
}
