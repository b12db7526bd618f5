//! Push rules. <https://spec.matrix.org/v1.19/client-server-api/#push-rules-api>

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

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`,
/// `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`,
/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`,
/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
#[tokio::test]
async fn other_rules_are_not_found() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        for path in ["override/nonsense", "content/.m.rule.master", "room/!a:b"] {
            let path = format!("pushrules/global/{path}");
            let (enabled, actions) = (format!("{path}/enabled"), format!("{path}/actions"));
            for answer in [
                alice.get(&path).await,
                alice.get(&enabled).await,
                alice.get(&actions).await,
                alice.delete(&path).await,
                alice.put(&enabled, json!({ "enabled": true })).await,
                alice.put(&actions, json!({ "actions": [] })).await,
            ] {
                assert_eq!(answer.error(), (404, "M_NOT_FOUND"), "{path}");
            }
        }
        let kind = alice.get("pushrules/global/nonsense/.m.rule.master").await;
        assert_eq!(kind.error(), (400, "M_INVALID_PARAM"));
    })
    .await;
}

/// The ids of a user's own rules of a kind.
async fn own(user: &User<'_>, kind: &str) -> Vec<String> {
    let all = user.get("pushrules/global/").await.body;
    let ids = all[kind].as_array().unwrap().iter();
    let ids = ids.map(|rule| rule["rule_id"].as_str().unwrap().to_owned());
    ids.filter(|id| !id.starts_with('.')).collect()
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`,
/// `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
#[tokio::test]
async fn rules_are_made_changed_ordered_and_deleted() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let bob = User::register(&server, "bob").await;
        let put = async |path: &str, pattern: &str| {
            let body = json!({ "pattern": pattern, "actions": ["notify", "dont_notify"] });
            let answer = alice.put(&format!("pushrules/global/content/{path}"), body).await;
            assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})), "{path}");
        };
        put("cake", "cake*lie").await;
        put("tea", "tea").await;
        put("time?before=cake", "time").await;
        put("pie?after=tea&before=cake", "pie").await;
        put("jam?after=tea", "jam").await;
        assert_eq!(own(&alice, "content").await, ["tea", "jam", "time", "pie", "cake"]);
        put("cake", "cheese").await;
        let cake = alice.get("pushrules/global/content/cake").await.body;
        let expected = json!({
            "rule_id": "cake", "default": false, "enabled": true, "pattern": "cheese", "actions": ["notify"],
        });
        assert_eq!(cake, expected);
        assert_eq!(alice.delete("pushrules/global/content/jam").await.body, json!({}));
        assert_eq!(own(&alice, "content").await, ["tea", "time", "pie", "cake"]);
        // A room's id stands in the path as it is, or encoded.
        let body = json!({ "actions": [] });
        let answer = alice.put("pushrules/global/room/%21a%3Alocalhost", body).await;
        assert_eq!(answer.status, 200);
        assert_eq!(own(&alice, "room").await, ["!a:localhost"]);
        assert!(own(&bob, "content").await.is_empty());
    })
    .await;
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
#[tokio::test]
async fn of_rules_that_are_made_at_once_none_is_lost() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let words: Vec<String> = (0..20).map(|number| format!("word{number:02}")).collect();
        let putting = words.iter().map(async |word| {
            let rule = json!({ "pattern": word, "actions": ["notify"] });
            let path = format!("pushrules/global/content/{word}");
            assert_eq!(alice.put(&path, rule).await.status, 200, "{word}");
        });
        futures_util::future::join_all(putting).await;
        let mut kept = own(&alice, "content").await;
        kept.sort();
        assert_eq!(kept, words);
    })
    .await;
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`,
/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
#[tokio::test]
async fn also_predefined_rules_are_turned_off_and_given_other_actions() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let rule = "pushrules/global/underride/.m.rule.message";
        let answer = alice
            .put(&format!("{rule}/enabled"), json!({ "enabled": false }))
            .await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
        let actions = json!({ "actions": ["notify", { "set_tweak": "highlight" }] });
        let answer = alice.put(&format!("{rule}/actions"), actions.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
        assert_eq!(
            alice.get(&format!("{rule}/enabled")).await.body,
            json!({ "enabled": false })
        );
        assert_eq!(alice.get(&format!("{rule}/actions")).await.body, actions);
        let shown = alice.get(rule).await.body;
        assert_eq!(
            (&shown["default"], &shown["enabled"]),
            (&json!(true), &json!(false))
        );
    })
    .await;
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`,
/// `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
#[tokio::test]
async fn what_cannot_be_a_rule_is_refused_and_changes_nothing() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let before = alice.get("pushrules/").await.body;
        let good = || json!({ "actions": [], "pattern": "x" });
        let cases = [
            ("override/.mine", good(), (400, "M_INVALID_PARAM")),
            ("override/.m.rule.master", good(), (400, "M_INVALID_PARAM")),
            ("override/a%2Fb", good(), (400, "M_INVALID_PARAM")),
            ("override/a%5Cb", good(), (400, "M_INVALID_PARAM")),
            ("sneeze/a", good(), (400, "M_INVALID_PARAM")),
            (
                "content/a",
                json!({ "pattern": "x" }),
                (400, "M_MISSING_PARAM"),
            ),
            (
                "content/a",
                json!({ "actions": [] }),
                (400, "M_INVALID_PARAM"),
            ),
            (
                "content/a",
                json!({ "actions": ["sneeze"], "pattern": "x" }),
                (400, "M_INVALID_PARAM"),
            ),
            (
                "override/a",
                json!({ "actions": [], "conditions": [{}] }),
                (400, "M_INVALID_PARAM"),
            ),
            (
                "override/a",
                json!({ "actions": "notify" }),
                (400, "M_BAD_JSON"),
            ),
            (
                "override/a?before=.m.rule.master",
                good(),
                (400, "M_UNKNOWN"),
            ),
        ];
        for (path, body, expected) in cases {
            let answer = alice.put(&format!("pushrules/global/{path}"), body).await;
            assert_eq!(answer.error(), expected, "{path}");
        }
        let master = alice
            .delete("pushrules/global/override/.m.rule.master")
            .await;
        assert_eq!(master.error(), (400, "M_INVALID_PARAM"));
        assert_eq!(alice.get("pushrules/").await.body, before);
    })
    .await;
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`, `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn clients_learn_of_changed_rules_by_sync() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let first = alice.get("sync").await.body;
        let since = first["next_batch"].as_str().unwrap();
        let sync = format!("sync?since={since}");
        assert_eq!(
            alice.get(&sync).await.body["account_data"]["events"],
            json!([])
        );
        let rule = "pushrules/global/room/!a:b";
        assert_eq!(alice.put(rule, json!({ "actions": [] })).await.status, 200);
        let answer = alice.get(&sync).await.body;
        let expected =
            json!([{ "type": "m.push_rules", "content": alice.get("pushrules/").await.body }]);
        assert_eq!(answer["account_data"]["events"], expected);
        assert_eq!(
            expected[0]["content"]["global"]["room"][0]["rule_id"],
            "!a:b"
        );
        // The same again is no change.
        assert_eq!(alice.put(rule, json!({ "actions": [] })).await.status, 200);
        let later = format!("sync?since={}", answer["next_batch"].as_str().unwrap());
        assert_eq!(
            alice.get(&later).await.body["account_data"]["events"],
            json!([])
        );
        // Whoever comes for the first time gets them as they are.
        let whole = alice.get("sync").await.body;
        assert_eq!(whole["account_data"]["events"], expected);
        let own = format!("user/{}/account_data/m.push_rules", alice.id);
        assert_eq!(alice.get(&own).await.body, expected[0]["content"]);
    })
    .await;
}
