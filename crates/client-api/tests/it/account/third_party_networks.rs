//! Third-party networks. <https://spec.matrix.org/v1.19/client-server-api/#third-party-networks>

use serde_json::json;

use crate::caller::on_servers;

/// `GET /_matrix/client/v3/thirdparty/protocols`, `GET /_matrix/client/v3/thirdparty/protocol/{protocol}`,
/// `GET /_matrix/client/v3/thirdparty/location/{protocol}`, `GET /_matrix/client/v3/thirdparty/user/{protocol}`,
/// `GET /_matrix/client/v3/thirdparty/location`, `GET /_matrix/client/v3/thirdparty/user`
#[tokio::test]
async fn without_bridges_there_is_no_other_network() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        assert_eq!(alice.get("thirdparty/protocols").await.ok(), json!({}));
        for path in [
            "thirdparty/protocol/irc",
            "thirdparty/location/irc?channel=x",
            "thirdparty/user/irc?nickname=x",
            "thirdparty/location?alias=%23a%3Alocalhost",
            "thirdparty/user?userid=%40alice%3Alocalhost",
        ] {
            alice.get(path).await.fails_for(path, 404, "M_NOT_FOUND");
        }
        for path in ["thirdparty/location", "thirdparty/user"] {
            alice
                .get(path)
                .await
                .fails_for(path, 400, "M_MISSING_PARAM");
        }
    })
    .await;
}
