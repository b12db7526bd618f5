//! Tags of rooms. <https://spec.matrix.org/v1.19/client-server-api/#room-tagging>

use http::Method;
use serde_json::{Value, json};

use super::{User, on_servers};

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`,
/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`,
/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`,
/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn tags_are_account_data_of_the_room() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let room = alice.post("createRoom", json!({})).await.body["room_id"].take();
        let room = room.as_str().unwrap();
        let tags = format!("user/{}/rooms/{room}/tags", alice.id);
        assert_eq!(alice.get(&tags).await.body, json!({ "tags": {} }));
        let since = alice.get("sync").await.body["next_batch"].take();
        let one = |tag: &str| format!("{tags}/{tag}");
        let favourite = json!({ "order": 0.25, "org.example": [1] });
        let set = alice.put(&one("m.favourite"), favourite.clone()).await;
        assert_eq!((set.status.as_u16(), set.body), (200, json!({})));
        assert_eq!(alice.put(&one("u.Work"), json!({})).await.status, 200);
        let both = json!({ "tags": { "m.favourite": favourite, "u.Work": {} } });
        assert_eq!(alice.get(&tags).await.body, both);
        let data = format!("user/{}/rooms/{room}/account_data/m.tag", alice.id);
        assert_eq!(alice.get(&data).await.body, both);
        let told = async |since: &Value| {
            let since = since.as_str().unwrap();
            let mut answer = alice.get(&format!("sync?since={since}")).await.body;
            let data = answer["rooms"]["join"][room]["account_data"]["events"].take();
            (data, answer["next_batch"].take())
        };
        let (data, since) = told(&since).await;
        assert_eq!(data, json!([{ "type": "m.tag", "content": both }]));

        let path = format!("/_matrix/client/v3/{}", one("m.favourite"));
        for _ in 0..2 {
            let deleted = server.request(Method::DELETE, &path, Some(&alice.token), None);
            assert_eq!(deleted.await.status, 200);
        }
        let (data, since) = told(&since).await;
        assert_eq!(data[0]["content"], json!({ "tags": { "u.Work": {} } }));
        assert_eq!(
            told(&since).await.0,
            Value::Null,
            "what changes nothing is not told"
        );
        // They are this user's.
        let bob = User::register(&server, "bob").await;
        assert_eq!(bob.get(&tags).await.error(), (403, "M_FORBIDDEN"));
    })
    .await;
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
#[tokio::test]
async fn the_order_of_a_tag_is_a_number_from_0_to_1() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let room = alice.post("createRoom", json!({})).await.body["room_id"].take();
        let tag = format!(
            "user/{}/rooms/{}/tags/u.a",
            alice.id,
            room.as_str().unwrap()
        );
        for order in [json!(0), json!(1), json!(0.5), json!("0.5"), Value::Null] {
            let set = alice.put(&tag, json!({ "order": order })).await;
            assert_eq!(set.status, 200, "{order}");
        }
        for order in [
            json!(-0.1),
            json!(1.5),
            json!(1e300),
            json!("2"),
            json!("first"),
            json!("NaN"),
            json!(true),
            json!([0.5]),
        ] {
            let refused = alice.put(&tag, json!({ "order": order })).await;
            assert_eq!(refused.error(), (400, "M_BAD_JSON"), "{order}");
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
#[tokio::test]
async fn of_many_tags_set_at_once_none_is_lost() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let room = alice.post("createRoom", json!({})).await.body["room_id"].take();
        let tags = format!("user/{}/rooms/{}/tags", alice.id, room.as_str().unwrap());
        let set = (0..20).map(|number| {
            let path = format!("{tags}/u.{number}");
            let alice = &alice;
            async move { alice.put(&path, json!({ "order": 0.5 })).await.status }
        });
        for status in futures_util::future::join_all(set).await {
            assert_eq!(status, 200);
        }
        let all = alice.get(&tags).await.body;
        assert_eq!(all["tags"].as_object().unwrap().len(), 20, "{all}");
        // What is no list of tags is replaced.
        let data = tags.replace("/tags", "/account_data/m.tag");
        assert_eq!(alice.put(&data, json!({ "tags": [1] })).await.status, 200);
        assert_eq!(alice.get(&tags).await.body, json!({ "tags": {} }));
        alice.put(&format!("{tags}/a"), json!({})).await;
        assert_eq!(alice.get(&tags).await.body, json!({ "tags": { "a": {} } }));
        // All of a room's tags together have a bound.
        let large = json!({ "org.example": "x".repeat(65_536) });
        let refused = alice.put(&format!("{tags}/b"), large).await;
        assert_eq!(refused.error(), (413, "M_TOO_LARGE"));
        assert_eq!(alice.get(&tags).await.body, json!({ "tags": { "a": {} } }));
    })
    .await;
}
