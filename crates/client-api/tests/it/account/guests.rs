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
        let zone = guest
            .put(&format!("{profile}/m.tz"), json!({ "m.tz": "UTC" }))
            .await;
        assert_eq!(zone.error(), no_guests);
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

/// `POST /_matrix/client/v3/rooms/{roomId}/join`, `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`,
/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
#[tokio::test]
async fn guests_are_in_a_room_as_long_as_it_lets_them() {
    on_servers_with_guests(async |server| {
        let alice = User::register(&server, "alice").await;
        let visitor = guest(&server).await;
        let open = json!({ "preset": "public_chat" });
        let room = alice.post("createRoom", open).await.body["room_id"].clone();
        let room = room.as_str().unwrap();
        let allow = async |access: &str| {
            let path = format!("rooms/{room}/state/m.room.guest_access/");
            let content = json!({ "guest_access": access });
            assert_eq!(alice.put(&path, content).await.status, 200);
        };
        let no_guests = (403, "M_GUEST_ACCESS_FORBIDDEN");
        let join = async || visitor.post(&format!("rooms/{room}/join"), json!({})).await;
        assert_eq!(join().await.error(), no_guests);
        let own = format!("rooms/{room}/state/m.room.member/{}", visitor.id);
        let member = json!({ "membership": "join" });
        assert_eq!(visitor.put(&own, member).await.error(), no_guests);

        allow("can_join").await;
        assert_eq!(join().await.status, 200);
        let text = json!({ "msgtype": "m.text", "body": "hello" });
        let send = format!("rooms/{room}/send/m.room.message/1");
        assert_eq!(visitor.put(&send, text.clone()).await.status, 200);
        server.jobs.work().await.unwrap();
        let joined = async || {
            let members = alice.get(&format!("rooms/{room}/joined_members")).await;
            members.body["joined"].as_object().unwrap().len()
        };
        assert_eq!(joined().await, 2);

        allow("forbidden").await;
        server.state.store.jobs().notified().await;
        server.jobs.work().await.unwrap();
        assert_eq!(joined().await, 1);
        let send = format!("rooms/{room}/send/m.room.message/2");
        assert_eq!(visitor.put(&send, text).await.error(), (403, "M_FORBIDDEN"));
        assert_eq!(join().await.error(), no_guests);
    })
    .await;
}

/// `POST /_matrix/client/v3/register`, `GET /_matrix/client/v3/account/whoami`
#[tokio::test]
async fn a_guest_chooses_nothing_but_the_name_of_the_device() {
    on_servers_with_guests(async |server| {
        let body = json!({
            "username": "alice", "password": 1, "device_id": ["MINE"], "inhibit_login": true, "refresh_token": true,
            "auth": "none", "guest_access_token": 7, "initial_device_display_name": "Browser",
        });
        let path = "register?kind=guest";
        let answer = anybody(&server, Method::POST, path, Some(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_ne!(answer.body["user_id"], "@alice:localhost");
        assert!(answer.body["access_token"].is_string() && answer.body["device_id"].is_string());
        assert_eq!(answer.body["refresh_token"], Value::Null);
        assert_eq!(answer.body["expires_in_ms"], Value::Null);
        let number = json!({ "initial_device_display_name": 7 });
        let number = anybody(&server, Method::POST, path, Some(number)).await;
        assert_eq!(number.error(), (400, "M_BAD_JSON"));
        let path = "/_matrix/client/v3/register?kind=guest";
        let empty = server.raw(Method::POST, path, None, Vec::new()).await;
        assert_eq!(empty.status, 200, "{}", empty.body);
    })
    .await;
}

fn upgrade(guest: &User<'_>, name: &str) -> Value {
    json!({
        "username": name, "password": "secret", "guest_access_token": guest.token,
        "auth": { "type": "m.login.dummy" },
    })
}

fn localpart<'a>(user: &'a User<'_>) -> &'a str {
    let name = user.id.trim_start_matches('@');
    name.split(':').next().unwrap()
}

/// `POST /_matrix/client/v3/register`, `POST /_matrix/client/v3/login`, `GET /_matrix/client/v3/account/whoami`
#[tokio::test]
async fn a_guest_becomes_a_user() {
    on_servers_with_guests(async |server| {
        let guest = guest(&server).await;
        let profile = format!("profile/{}/displayname", guest.id);
        let named = guest.put(&profile, json!({ "displayname": "Ann" })).await;
        assert_eq!(named.status, 200);
        let mut body = upgrade(&guest, localpart(&guest));
        let auth = body["auth"].take();
        let asked = anybody(&server, Method::POST, "register", Some(body.clone())).await;
        assert_eq!((asked.status.as_u16(), asked.errcode()), (401, ""));
        assert_eq!(guest.get("account/whoami").await.body["is_guest"], true);

        body["auth"] = auth;
        let made = anybody(&server, Method::POST, "register", Some(body.clone())).await;
        assert_eq!(made.status, 200, "{}", made.body);
        assert_eq!(made.body["user_id"], json!(guest.id));
        let login = json!({ "type": "m.login.password", "user": guest.id, "password": "secret" });
        let login = anybody(&server, Method::POST, "login", Some(login)).await;
        for token in [
            &json!(guest.token),
            &made.body["access_token"],
            &login.body["access_token"],
        ] {
            let user = User {
                server: &server,
                id: guest.id.clone(),
                device_id: String::new(),
                token: token.as_str().unwrap().to_owned(),
            };
            assert_ne!(user.get("account/whoami").await.body["is_guest"], true);
            assert_eq!(user.post("createRoom", json!({})).await.status, 200);
        }
        assert_eq!(guest.get(&profile).await.body["displayname"], "Ann");
        // Once, and a name that is taken is nobody else's.
        let again = anybody(&server, Method::POST, "register", Some(body)).await;
        assert_eq!(again.error(), (403, "M_FORBIDDEN"));
    })
    .await;
}

/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn nobody_becomes_a_user_with_the_token_of_another() {
    on_servers_with_guests(async |server| {
        let alice = User::register(&server, "alice").await;
        let (one, other) = (guest(&server).await, guest(&server).await);
        let mut unnamed = upgrade(&one, "");
        unnamed["username"].take();
        let unknown = json!("stl_unknown");
        let mut stranger = upgrade(&one, localpart(&one));
        stranger["guest_access_token"] = unknown;
        for (body, status, errcode) in [
            (unnamed, 400, "M_MISSING_PARAM"),
            (stranger, 403, "M_FORBIDDEN"),
            (upgrade(&one, localpart(&other)), 403, "M_FORBIDDEN"),
            (upgrade(&one, "alice"), 403, "M_FORBIDDEN"),
            (upgrade(&one, "free"), 403, "M_FORBIDDEN"),
            (upgrade(&alice, "alice"), 403, "M_FORBIDDEN"),
        ] {
            let answer = anybody(&server, Method::POST, "register", Some(body.clone())).await;
            assert_eq!(answer.error(), (status, errcode), "{body}");
        }
        for guest in [one, other] {
            assert_eq!(guest.get("account/whoami").await.body["is_guest"], true);
        }
    })
    .await;
}
