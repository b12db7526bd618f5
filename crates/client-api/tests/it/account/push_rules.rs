//! Reading push rules. <https://spec.matrix.org/v1.19/client-server-api/#push-rules-api>

use serde_json::json;

use super::{User, on_servers};

/// `GET /_matrix/client/v3/pushrules/`, `GET /_matrix/client/v3/pushrules/global/`,
/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`,
/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`,
/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
#[tokio::test]
async fn everybody_has_the_predefined_rules() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let all = alice.get("pushrules/").await.body;
        assert_eq!(alice.get("pushrules/global/").await.body, all["global"]);
        let mention = alice
            .get("pushrules/global/override/.m.rule.is_user_mention")
            .await;
        assert_eq!(mention.body["conditions"][0]["value"], "@alice:localhost");
        let master = "pushrules/global/override/.m.rule.master";
        assert_eq!(
            alice.get(&format!("{master}/enabled")).await.body,
            json!({ "enabled": false })
        );
        assert_eq!(
            alice.get(&format!("{master}/actions")).await.body,
            json!({ "actions": [] })
        );
        let message = "pushrules/global/underride/.m.rule.message/actions";
        assert_eq!(
            alice.get(message).await.body,
            json!({ "actions": ["notify"] })
        );
    })
    .await;
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
#[tokio::test]
async fn other_rules_are_not_found() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        for path in [
            "override/nonsense",
            "content/.m.rule.master",
            "override/nonsense/enabled",
        ] {
            let answer = alice.get(&format!("pushrules/global/{path}")).await;
            assert_eq!(answer.error(), (404, "M_NOT_FOUND"), "{path}");
        }
        let kind = alice.get("pushrules/global/nonsense/.m.rule.master").await;
        assert_eq!(kind.error(), (400, "M_INVALID_PARAM"));
    })
    .await;
}
