//! Pushers. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers>

use serde_json::{Value, json};

use super::{User, on_servers};

fn pusher(pushkey: &str) -> Value {
    json!({
        "lang": "en", "kind": "http", "app_display_name": "Mat Rix", "device_display_name": "Phone",
        "profile_tag": "xyz", "app_id": "com.example.app", "pushkey": pushkey,
        "data": { "url": "https://push.example/_matrix/push/v1/notify", "format": "event_id_only", "x": [1] },
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut pusher = pusher("k");
    pusher[name] = value;
    pusher
}

async fn set(user: &User<'_>, pusher: Value) {
    let answer = user.post("pushers/set", pusher).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
}

async fn keys(user: &User<'_>) -> Vec<String> {
    let list = user.get("pushers").await.body;
    let pushers = list["pushers"].as_array().unwrap().iter();
    pushers
        .map(|pusher| pusher["pushkey"].as_str().unwrap().to_owned())
        .collect()
}

/// `GET /_matrix/client/v3/pushers`, `POST /_matrix/client/v3/pushers/set`
#[tokio::test]
async fn they_are_set_listed_changed_and_deleted() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        assert_eq!(alice.get("pushers").await.body, json!({ "pushers": [] }));
        set(&alice, pusher("k")).await;
        assert_eq!(
            alice.get("pushers").await.body,
            json!({ "pushers": [pusher("k")] })
        );
        let mut changed = with("lang", json!("de"));
        changed.as_object_mut().unwrap().remove("profile_tag");
        set(&alice, changed.clone()).await;
        assert_eq!(
            alice.get("pushers").await.body,
            json!({ "pushers": [changed] })
        );
        set(&alice, pusher("other")).await;
        set(
            &alice,
            json!({ "kind": null, "app_id": "com.example.app", "pushkey": "k" }),
        )
        .await;
        assert_eq!(keys(&alice).await, ["other"]);
        // What isn't there is deleted already.
        set(
            &alice,
            json!({ "kind": null, "app_id": "com.example.app", "pushkey": "k" }),
        )
        .await;
    })
    .await;
}

/// `POST /_matrix/client/v3/pushers/set`
#[tokio::test]
async fn a_device_that_changes_hands_takes_its_pusher_along_unless_it_is_appended() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let bob = User::register(&server, "bob").await;
        set(&alice, pusher("k")).await;
        let mut appended = pusher("k");
        appended["append"] = json!(true);
        set(&bob, appended).await;
        assert_eq!((keys(&alice).await.len(), keys(&bob).await.len()), (1, 1));
        set(&bob, pusher("k")).await;
        assert_eq!((keys(&alice).await.len(), keys(&bob).await.len()), (0, 1));
    })
    .await;
}

/// `POST /_matrix/client/v3/pushers/set`
#[tokio::test]
async fn what_cannot_be_a_pusher_is_refused() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let url = |url: &str| with("data", json!({ "url": url }));
        let mut cases = vec![
            (with("kind", json!("email")), "M_INVALID_PARAM"),
            (with("kind", json!("sneeze")), "M_INVALID_PARAM"),
            (with("kind", json!(1)), "M_BAD_JSON"),
            (with("pushkey", json!("k".repeat(513))), "M_INVALID_PARAM"),
            (with("app_id", json!("a".repeat(65))), "M_INVALID_PARAM"),
            (with("lang", json!("l".repeat(2_000))), "M_INVALID_PARAM"),
            (with("data", json!({})), "M_MISSING_PARAM"),
            (with("data", json!("x")), "M_BAD_JSON"),
            (with("data", json!({ "url": 1 })), "M_INVALID_PARAM"),
            (
                with(
                    "data",
                    json!({ "url": "https://a/_matrix/push/v1/notify", "x": "y".repeat(9_000) }),
                ),
                "M_INVALID_PARAM",
            ),
            (
                with(
                    "data",
                    json!({ "url": "https://a/_matrix/push/v1/notify", "format": 1 }),
                ),
                "M_INVALID_PARAM",
            ),
            (url("http://a/_matrix/push/v1/notify"), "M_INVALID_PARAM"),
            (url("https://a/other"), "M_INVALID_PARAM"),
            (url("https:///_matrix/push/v1/notify"), "M_INVALID_PARAM"),
            (url("/_matrix/push/v1/notify"), "M_INVALID_PARAM"),
            (url("nonsense"), "M_INVALID_PARAM"),
        ];
        for name in [
            "pushkey",
            "app_id",
            "kind",
            "app_display_name",
            "device_display_name",
            "lang",
            "data",
        ] {
            let mut without = pusher("k");
            without.as_object_mut().unwrap().remove(name);
            cases.push((without, "M_MISSING_PARAM"));
        }
        for (body, errcode) in cases {
            let answer = alice.post("pushers/set", body.clone()).await;
            assert_eq!(answer.error(), (400, errcode), "{body}");
        }
        assert!(keys(&alice).await.is_empty());
        for number in 0..100 {
            set(&alice, pusher(&format!("k{number}"))).await;
        }
        let more = alice.post("pushers/set", pusher("more")).await;
        assert_eq!(more.error(), (400, "M_RESOURCE_LIMIT_EXCEEDED"));
        set(&alice, pusher("k7")).await;
    })
    .await;
}

/// A second session of the user.
async fn second<'a>(user: &User<'a>) -> User<'a> {
    let name = user
        .id
        .trim_start_matches('@')
        .split(':')
        .next()
        .unwrap()
        .to_owned();
    let body = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": name,
    });
    let login = user.post("login", body).await.body;
    let text = |field: &str| login[field].as_str().unwrap().to_owned();
    User {
        server: user.server,
        id: user.id.clone(),
        device_id: text("device_id"),
        token: text("access_token"),
    }
}

/// `POST /_matrix/client/v3/pushers/set`, `POST /_matrix/client/v3/logout`,
/// `DELETE /_matrix/client/v3/devices/{deviceId}`, `POST /_matrix/client/v3/account/password`,
/// `POST /_matrix/client/v3/logout/all`
#[tokio::test]
async fn a_pusher_goes_with_the_session_that_set_it() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        set(&alice, pusher("mine")).await;
        let other = second(&alice).await;
        set(&other, pusher("logout")).await;
        assert_eq!(other.post("logout", json!({})).await.status, 200);
        assert_eq!(keys(&alice).await, ["mine"]);
        let other = second(&alice).await;
        set(&other, pusher("delete")).await;
        let path = format!("devices/{}", other.device_id);
        let body = json!({ "auth": alice.auth() });
        assert_eq!(
            alice
                .call(http::Method::DELETE, &path, Some(body))
                .await
                .status,
            200
        );
        assert_eq!(keys(&alice).await, ["mine"]);
        let other = second(&alice).await;
        set(&other, pusher("password")).await;
        let mut body =
            json!({ "new_password": "alice", "logout_devices": false, "auth": alice.auth() });
        assert_eq!(
            alice.post("account/password", body.clone()).await.status,
            200
        );
        assert_eq!(keys(&alice).await, ["mine", "password"]);
        body["logout_devices"] = json!(true);
        assert_eq!(alice.post("account/password", body).await.status, 200);
        assert_eq!(keys(&alice).await, ["mine"]);
        let other = second(&alice).await;
        assert_eq!(alice.post("logout/all", json!({})).await.status, 200);
        assert_eq!(other.get("pushers").await.status, 401);
        assert!(keys(&second_of(&server, "alice").await).await.is_empty());
    })
    .await;
}

async fn second_of<'a>(server: &'a starling_testkit::TestServer, name: &str) -> User<'a> {
    let stranger = User {
        server,
        id: format!("@{name}:localhost"),
        device_id: String::new(),
        token: String::new(),
    };
    second(&stranger).await
}
