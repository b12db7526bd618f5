//! TURN servers. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver>

use serde_json::json;
use starling_config::{Config, Secret};
use starling_testkit::TestServer;

use crate::caller::{on_servers, on_servers_with};

fn config() -> Config {
    let mut config = TestServer::config();
    config.turn.uris = vec!["turn:turn.example.org:3478?transport=udp".to_owned()];
    config.turn.ttl_seconds = 3600;
    config
}

/// `GET /_matrix/client/v3/voip/turnServer`
#[tokio::test]
async fn credentials_are_made_of_the_secret_that_the_turn_server_knows() {
    let mut config = config();
    config.turn.shared_secret = Secret::new("shared");
    on_servers_with(config, async |server| {
        let alice = server.user("alice").await;
        // The clock of tests starts at 1,700,000,000 s. What the secret makes of the name was reckoned elsewhere.
        let wanted = json!({
            "username": "1700003600:@alice:localhost", "password": "YL6cwpKO1tlu3SCffl9ePO1Wemw=", "ttl": 3600,
            "uris": ["turn:turn.example.org:3478?transport=udp"],
        });
        assert_eq!(alice.get("voip/turnServer").await.ok(), wanted);
    })
    .await;
}

/// `GET /_matrix/client/v3/voip/turnServer`
#[tokio::test]
async fn fixed_credentials_are_handed_on_and_without_servers_there_is_nothing() {
    let mut config = config();
    config.turn.username = "all".to_owned();
    config.turn.password = Secret::new("secret");
    on_servers_with(config, async |server| {
        let alice = server.user("alice").await;
        let answer = alice.get("voip/turnServer").await.ok();
        assert_eq!(
            (&answer["username"], &answer["password"]),
            (&json!("all"), &json!("secret"))
        );
    })
    .await;
    on_servers(async |server| {
        let alice = server.user("alice").await;
        assert_eq!(alice.get("voip/turnServer").await.ok(), json!({}));
    })
    .await;
}
