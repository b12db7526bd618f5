//! Guests. <https://spec.matrix.org/v1.19/client-server-api/#guest-access>

use http::Method;
use serde_json::{Value, json};
use starling_store::SCHEMA;
use starling_testkit::{TestServer, on_each_engine};

use super::{User, anybody, on_servers};

async fn on_servers_with_guests<F: AsyncFn(TestServer)>(test: F) {
    on_each_engine(&SCHEMA, async |db| {
        let mut config = TestServer::config();
        config.registration.guests = true;
        test(TestServer::start_with(&db, config).await).await;
    })
    .await;
}

async fn guest(server: &TestServer) -> User<'_> {
    let body = json!({ "initial_device_display_name": "Browser" });
    let answer = anybody(server, Method::POST, "register?kind=guest", Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let text = |field: &str| answer.body[field].as_str().unwrap().to_owned();
    User {
        server,
        id: text("user_id"),
        device_id: text("device_id"),
        token: text("access_token"),
    }
}

/// `POST /_matrix/client/v3/register`, `GET /_matrix/client/v3/account/whoami`, `GET /_matrix/client/v3/devices`
#[tokio::test]
async fn a_guest_has_a_session_and_few_rights() {
    on_servers_with_guests(async |server| {
        let guest = guest(&server).await;
        let whoami = guest.get("account/whoami").await.body;
        assert_eq!(whoami["is_guest"], true);
        let device = guest.get(&format!("devices/{}", guest.device_id)).await;
        assert_eq!(device.body["display_name"], "Browser");
        assert_eq!(guest.get("sync").await.status, 200);
        let name = json!({ "displayname": "Somebody" });
        let profile = format!("profile/{}", guest.id);
        let named = guest.put(&format!("{profile}/displayname"), name).await;
        assert_eq!(named.status, 200);

        let no_guests = (403, "M_GUEST_ACCESS_FORBIDDEN");
        let picture = json!({ "avatar_url": "mxc://localhost/a" });
        let set = guest.put(&format!("{profile}/avatar_url"), picture).await;
        assert_eq!(set.error(), no_guests);
        for path in ["createRoom", "account/password", "account/deactivate"] {
            let answer = guest.post(path, json!({})).await;
            assert_eq!(answer.error(), no_guests, "{path}");
        }
        let ids = guest.get("account/3pid").await;
        assert_eq!(ids.error(), no_guests);
    })
    .await;
}

/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn guests_are_let_in_only_where_the_configuration_says_so() {
    on_servers(async |server| {
        let path = "register?kind=guest";
        let refused = anybody(&server, Method::POST, path, Some(json!({}))).await;
        assert_eq!(refused.error(), (403, "M_GUEST_ACCESS_FORBIDDEN"));
        assert_eq!(refused.body["user_id"], Value::Null);
    })
    .await;
}
