//! Deactivating one's account. <https://spec.matrix.org/v1.19/client-server-api/#account-deactivation>

use http::Method;
use serde_json::json;

use super::{User, anybody, on_servers};

/// `POST /_matrix/client/v3/account/deactivate`
#[tokio::test]
async fn a_deactivated_account_is_gone_and_its_name_taken() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let asked = alice.call(Method::POST, "account/deactivate", None).await;
        assert_eq!((asked.status.as_u16(), asked.errcode()), (401, ""));
        assert_eq!(alice.get("account/whoami").await.status, 200);
        let body = json!({ "auth": alice.auth(), "erase": true });
        let done = alice.post("account/deactivate", body).await;
        let answer = json!({ "id_server_unbind_result": "no-support" });
        assert_eq!((done.status.as_u16(), done.body), (200, answer));
        assert_eq!(
            alice.get("account/whoami").await.error(),
            (401, "M_UNKNOWN_TOKEN")
        );
        let login = json!({ "type": "m.login.password", "user": "alice", "password": "alice" });
        let login = anybody(&server, Method::POST, "login", Some(login)).await;
        assert_eq!(login.error(), (403, "M_FORBIDDEN"));
        let again = "register/available?username=alice";
        let again = anybody(&server, Method::GET, again, None).await;
        assert_eq!(again.error(), (400, "M_USER_IN_USE"));
    })
    .await;
}
