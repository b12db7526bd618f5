//! The default push rules, against the text of the specification.

use serde_json::{Value, json};
use starling_pushrules::Ruleset;

fn ruleset(user_id: &str) -> Value {
    serde_json::from_str(&Ruleset::default().to_content(user_id)).unwrap()
}

fn rule<'a>(ruleset: &'a Value, kind: &str, id: &str) -> &'a Value {
    let rules = ruleset["global"][kind].as_array().unwrap();
    rules.iter().find(|rule| rule["rule_id"] == id).unwrap()
}

/// A condition in one line, for example `event_match type=m.room.message`.
fn condition(condition: &Value) -> String {
    let text = |name: &str| condition[name].as_str().unwrap();
    let fields = condition.as_object().unwrap().len();
    match text("kind") {
        "event_match" if fields == 3 => format!("{}~{}", text("key"), text("pattern")),
        "event_property_is" if fields == 3 => format!("{}={}", text("key"), condition["value"]),
        "event_property_contains" if fields == 3 => {
            format!("{}∋{}", text("key"), condition["value"])
        }
        "room_member_count" if fields == 2 => format!("members {}", text("is")),
        "sender_notification_permission" if fields == 2 => format!("permission {}", text("key")),
        other => panic!("the condition {other} with {fields} fields"),
    }
}

fn action(action: &Value) -> String {
    let Some(tweak) = action.as_object() else {
        return action.as_str().unwrap().to_owned();
    };
    let name = tweak["set_tweak"].as_str().unwrap();
    match tweak.get("value") {
        Some(value) => format!("{name}:{}", value.as_str().unwrap()),
        None => name.to_owned(),
    }
}

/// A rule in one line: its id, whether it is enabled, its conditions, its actions.
fn line(rule: &Value) -> String {
    assert_eq!(rule["default"], true);
    assert_eq!(rule.as_object().unwrap().len(), 5, "{rule}");
    let list = |name: &str, each: fn(&Value) -> String| -> String {
        let all: Vec<String> = rule[name].as_array().unwrap().iter().map(each).collect();
        all.join(" & ")
    };
    let state = if rule["enabled"].as_bool().unwrap() {
        "on"
    } else {
        "off"
    };
    let (conditions, actions) = (list("conditions", condition), list("actions", action));
    let id = rule["rule_id"].as_str().unwrap();
    format!("{id} | {state} | {conditions} | {actions}")
}

fn check(kind: &str, expected: &[&str]) {
    let ruleset = ruleset("@alice:example.com");
    let rules = ruleset["global"][kind].as_array().unwrap();
    let lines: Vec<String> = rules.iter().map(line).collect();
    assert_eq!(lines, expected);
}

#[test]
fn override_rules_in_order() {
    check(
        "override",
        &[
            ".m.rule.master | off |  | ",
            ".m.rule.suppress_notices | on | content.msgtype~m.notice | ",
            ".m.rule.invite_for_me | on | type~m.room.member & content.membership~invite & state_key~@alice:example.com \
             | notify & sound:default",
            ".m.rule.member_event | on | type~m.room.member | ",
            ".m.rule.is_user_mention | on | content.m\\.mentions.user_ids∋\"@alice:example.com\" \
             | notify & sound:default & highlight",
            ".m.rule.is_room_mention | on | content.m\\.mentions.room=true & permission room | notify & highlight",
            ".m.rule.tombstone | on | type~m.room.tombstone & state_key~ | notify & highlight",
            ".m.rule.reaction | on | type~m.reaction | ",
            ".m.rule.room.server_acl | on | type~m.room.server_acl & state_key~ | ",
            ".m.rule.suppress_edits | on | content.m\\.relates_to.rel_type=\"m.replace\" | ",
        ],
    );
}

#[test]
fn underride_rules_in_order() {
    check(
        "underride",
        &[
            ".m.rule.call | on | type~m.call.invite | notify & sound:ring",
            ".m.rule.encrypted_room_one_to_one | on | members 2 & type~m.room.encrypted | notify & sound:default",
            ".m.rule.room_one_to_one | on | members 2 & type~m.room.message | notify & sound:default",
            ".m.rule.message | on | type~m.room.message | notify",
            ".m.rule.encrypted | on | type~m.room.encrypted | notify",
        ],
    );
}

#[test]
fn the_ruleset_has_all_kinds_and_no_rules_of_the_user_yet() {
    let ruleset = ruleset("@alice:example.com");
    assert_eq!(ruleset.as_object().unwrap().len(), 1);
    assert_eq!(ruleset["global"].as_object().unwrap().len(), 5);
    for kind in ["content", "room", "sender"] {
        check(kind, &[]);
    }
}

#[test]
fn a_user_id_cannot_break_out_of_its_string() {
    // Legal in historical user ids.
    let user_id = "@a\",\"enabled\":false,\"x\":\"\\\u{1}:example.com";
    let ruleset = ruleset(user_id);
    let invite = rule(&ruleset, "override", ".m.rule.invite_for_me");
    assert_eq!(invite["conditions"][2]["pattern"], user_id);
    let mention = rule(&ruleset, "override", ".m.rule.is_user_mention");
    assert_eq!(mention["conditions"][0]["value"], user_id);
    assert_eq!(invite["enabled"], json!(true));
}
