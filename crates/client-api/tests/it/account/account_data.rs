//! Account data. <https://spec.matrix.org/v1.19/client-server-api/#client-config>

use http::Method;
use serde_json::{Value, json};

use super::{User, on_servers};

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`,
/// `GET /_matrix/client/v3/user/{userId}/account_data/{type}`,
/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`,
/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
#[tokio::test]
async fn it_is_kept_for_the_account_and_for_a_room() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let room = alice.post("createRoom", json!({})).await.body["room_id"].take();
        let room = room.as_str().unwrap();
        let global = format!("user/{}/account_data/org.example.x", alice.id);
        let of_room = format!("user/{}/rooms/{room}/account_data/org.example.x", alice.id);
        for path in [&global, &of_room] {
            assert_eq!(alice.get(path).await.error(), (404, "M_NOT_FOUND"));
        }
        assert_eq!(alice.put(&global, json!({ "a": 1 })).await.body, json!({}));
        assert_eq!(alice.get(&of_room).await.error(), (404, "M_NOT_FOUND"));
        assert_eq!(alice.put(&of_room, json!({ "b": 2 })).await.status, 200);
        assert_eq!(alice.put(&global, json!({ "a": 3 })).await.status, 200);
        assert_eq!(alice.get(&global).await.body, json!({ "a": 3 }));
        assert_eq!(alice.get(&of_room).await.body, json!({ "b": 2 }));
        let rules = alice
            .get(&format!("user/{}/account_data/m.push_rules", alice.id))
            .await;
        assert_eq!(rules.body, alice.get("pushrules/").await.body);
    })
    .await;
}

/// `DELETE /_matrix/client/v3/user/{userId}/account_data/{type}`,
/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`,
/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn what_is_deleted_is_told_once_as_empty() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let room = alice.post("createRoom", json!({})).await.body["room_id"].take();
        let room = room.as_str().unwrap();
        let path = |of: &str| format!("user/{}{of}/account_data/org.example.x", alice.id);
        let of_room = format!("/rooms/{room}");
        let unstable = "/_matrix/client/unstable/org.matrix.msc3391/";
        let remove = async |prefix: &str, of: &str| {
            let path = format!("{prefix}{}", path(of));
            let token = Some(alice.token.as_str());
            let answer = server.request(Method::DELETE, &path, token, None).await;
            assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
        };
        let told = async |since: &str| {
            let sync = alice.get(&format!("sync?{since}")).await.body;
            let list = |events: &Value| {
                let events = events.as_array().cloned().unwrap_or_default().into_iter();
                let mine = events.filter(|event| event["type"] == "org.example.x");
                mine.map(|event| event["content"].clone()).collect()
            };
            let joined = &sync["rooms"]["join"][room]["account_data"]["events"];
            let both: (Vec<Value>, Vec<Value>) =
                (list(&sync["account_data"]["events"]), list(joined));
            let next = format!("since={}", sync["next_batch"].as_str().unwrap());
            (both, next)
        };
        let nothing = || (vec![], vec![]);
        for (prefix, by_put) in [
            ("/_matrix/client/v3/", false),
            (unstable, false),
            ("", true),
        ] {
            for of in ["", &of_room] {
                alice.put(&path(of), json!({ "a": 1 })).await;
            }
            let (both, since) = told("").await;
            assert_eq!(both, (vec![json!({ "a": 1 })], vec![json!({ "a": 1 })]));
            for of in ["", &of_room] {
                if by_put {
                    assert_eq!(alice.put(&path(of), json!({})).await.status, 200);
                } else {
                    remove(prefix, of).await;
                }
                assert_eq!(alice.get(&path(of)).await.error(), (404, "M_NOT_FOUND"));
            }
            let (both, next) = told(&since).await;
            assert_eq!(both, (vec![json!({})], vec![json!({})]), "{prefix}");
            assert_eq!(told(&next).await.0, nothing());
            assert_eq!(told("").await.0, nothing());
        }

        // What isn't there is not deleted again; but a client that sets nothing waits to be told so.
        let (_, since) = told("").await;
        remove(unstable, "").await;
        assert_eq!(told(&since).await.0, nothing());
        alice.put(&path(""), json!({})).await;
        assert_eq!(told(&since).await.0, (vec![json!({})], vec![]));
    })
    .await;
}

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`,
/// `GET /_matrix/client/v3/user/{userId}/account_data/{type}`,
/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`,
/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
#[tokio::test]
async fn it_is_the_users_own() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let bob = User::register(&server, "bob").await;
        for path in [
            "account_data/org.x",
            "rooms/!r:localhost/account_data/org.x",
        ] {
            let path = format!("user/{}/{path}", alice.id);
            assert_eq!(bob.get(&path).await.error(), (403, "M_FORBIDDEN"), "{path}");
            assert_eq!(
                bob.put(&path, json!({})).await.error(),
                (403, "M_FORBIDDEN"),
                "{path}"
            );
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`,
/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let own = |path: &str| format!("user/{}/{path}", alice.id);
        for kind in ["m.fully_read", "m.push_rules"] {
            let answer = alice
                .put(&own(&format!("account_data/{kind}")), json!({}))
                .await;
            assert_eq!(answer.error(), (405, "M_BAD_JSON"), "{kind}");
        }
        let answer = alice.put(&own("account_data/org.x"), json!([1])).await;
        assert_eq!(answer.error(), (400, "M_BAD_JSON"));
        let big = alice
            .put(
                &own("account_data/org.x"),
                json!({ "x": "y".repeat(70_000) }),
            )
            .await;
        assert_eq!(big.error(), (413, "M_TOO_LARGE"));
        let path = format!("/_matrix/client/v3/{}", own("account_data/org.x"));
        let broken = server
            .raw(Method::PUT, &path, Some(&alice.token), b"{\"a\":".to_vec())
            .await;
        assert_eq!(broken.error(), (400, "M_NOT_JSON"));
        let long = alice
            .put(
                &own(&format!("account_data/{}", "k".repeat(300))),
                json!({}),
            )
            .await;
        assert_eq!(long.error(), (400, "M_INVALID_PARAM"));
        for (room, status, errcode) in [
            ("nonsense", 400, "M_INVALID_PARAM"),
            ("!gone:localhost", 404, "M_NOT_FOUND"),
        ] {
            let path = own(&format!("rooms/{room}/account_data/org.x"));
            assert_eq!(
                alice.put(&path, json!({})).await.error(),
                (status, errcode),
                "{room}"
            );
            assert_eq!(alice.get(&path).await.error(), (status, errcode), "{room}");
        }
    })
    .await;
}
