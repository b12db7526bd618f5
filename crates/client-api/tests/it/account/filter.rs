//! Filters. <https://spec.matrix.org/v1.19/client-server-api/#filtering>

use serde_json::json;

use super::{User, on_servers};

/// `POST /_matrix/client/v3/user/{userId}/filter`, `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`
#[tokio::test]
async fn a_filter_is_kept_under_its_id() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let path = format!("user/{}/filter", alice.id);
        let definition =
            json!({ "room": { "timeline": { "limit": 3, "types": ["m.*"] } }, "org.x": 1 });
        let id = alice.post(&path, definition.clone()).await.body["filter_id"].take();
        let id = id.as_str().unwrap();
        assert!(!id.starts_with('{'));
        assert_eq!(alice.get(&format!("{path}/{id}")).await.body, definition);
        // The same again is the same, another is another.
        assert_eq!(alice.post(&path, definition).await.body["filter_id"], id);
        assert_ne!(alice.post(&path, json!({})).await.body["filter_id"], id);
        for unknown in ["999", "nonsense", "-1"] {
            let answer = alice.get(&format!("{path}/{unknown}")).await;
            assert_eq!(answer.error(), (404, "M_NOT_FOUND"), "{unknown}");
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/user/{userId}/filter`, `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`
#[tokio::test]
async fn what_is_no_filter_is_refused() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let path = format!("user/{}/filter", alice.id);
        for body in [
            json!([]),
            json!({ "room": 7 }),
            json!({ "room": { "timeline": { "limit": "many" } } }),
            json!({ "event_format": "other" }),
        ] {
            let answer = alice.post(&path, body.clone()).await;
            assert_eq!(answer.error(), (400, "M_BAD_JSON"), "{body}");
        }
        let big = alice
            .post(&path, json!({ "org.x": "y".repeat(70_000) }))
            .await;
        assert_eq!(big.error(), (413, "M_TOO_LARGE"));
        let bob = User::register(&server, "bob").await;
        assert_eq!(
            bob.post(&path, json!({})).await.error(),
            (403, "M_FORBIDDEN")
        );
        assert_eq!(
            bob.get(&format!("{path}/1")).await.error(),
            (403, "M_FORBIDDEN")
        );
    })
    .await;
}
