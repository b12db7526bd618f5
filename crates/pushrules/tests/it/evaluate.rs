//! Which rule decides on an event: <https://spec.matrix.org/v1.19/client-server-api/#push-rules>

use serde_json::{Value, json};
use starling_pushrules::{Budget, Kind, Rule, Ruleset};

use crate::support::{Scene, decision, decision_in, event, message, put, with_conditions};

#[test]
fn a_long_event_costs_the_predefined_rules_no_more_than_a_short_one() {
    let mentions = json!({"user_ids": ["@alice:example.org"]});
    let long = json!({"body": "a".repeat(60_000), "msgtype": "m.text", "m.mentions": mentions});
    let (rules, budget) = (Ruleset::default(), Budget::new(200));
    let decides =
        Scene::default().decides_within(&budget, &rules, &event(&json!({"content": long})));
    assert_eq!(decides.map(Rule::id), Some(".m.rule.is_user_mention"));
    assert!(!budget.is_spent());
}

#[test]
fn the_predefined_rules_decide() {
    let rules = Ruleset::default();
    let cases = [
        (message("hi"), ".m.rule.message"),
        (json!({"type": "m.room.encrypted"}), ".m.rule.encrypted"),
        (json!({"type": "m.call.invite"}), ".m.rule.call"),
        (
            json!({"content": {"msgtype": "m.notice"}}),
            ".m.rule.suppress_notices",
        ),
        (json!({"type": "m.reaction"}), ".m.rule.reaction"),
        (
            json!({"type": "m.room.member", "state_key": "@carol:example.org", "content": {"membership": "join"}}),
            ".m.rule.member_event",
        ),
        (
            json!({"type": "m.room.member", "state_key": "@alice:example.org", "content": {"membership": "invite"}}),
            ".m.rule.invite_for_me",
        ),
        (
            json!({"type": "m.room.tombstone", "state_key": ""}),
            ".m.rule.tombstone",
        ),
        (json!({"type": "m.room.tombstone", "state_key": "x"}), ""),
        (json!({"type": "m.room.tombstone"}), ""),
        (
            json!({"type": "m.room.server_acl", "state_key": ""}),
            ".m.rule.room.server_acl",
        ),
        (
            json!({"content": {"body": "* hi", "m.relates_to": {"rel_type": "m.replace", "event_id": "$x"}}}),
            ".m.rule.suppress_edits",
        ),
        (
            json!({"content": {"m.mentions": {"user_ids": ["@x:y", "@alice:example.org"]}}}),
            ".m.rule.is_user_mention",
        ),
        (
            json!({"content": {"m.mentions": {"user_ids": ["@alicia:example.org"]}}}),
            ".m.rule.message",
        ),
        (
            json!({"content": {"m.mentions": {"user_ids": "@alice:example.org"}}}),
            ".m.rule.message",
        ),
        // Without the power it is an ordinary message.
        (
            json!({"content": {"m.mentions": {"room": true}}}),
            ".m.rule.message",
        ),
        (json!({"type": "m.room.name", "state_key": ""}), ""),
    ];
    for (parts, expected) in cases {
        assert_eq!(decision(&rules, &parts), expected, "{parts}");
    }
}

#[test]
fn the_predefined_rules_look_at_power_and_members() {
    let rules = Ruleset::default();
    let powerful = Scene {
        may: &["room"],
        ..Scene::default()
    };
    let room = json!({"content": {"m.mentions": {"room": true}}});
    assert_eq!(
        decision_in(powerful, &rules, &room),
        ".m.rule.is_room_mention"
    );
    for no in [json!("true"), json!(1), json!(null), json!([true])] {
        let room = json!({"content": {"m.mentions": {"room": no}}});
        assert_eq!(
            decision_in(powerful, &rules, &room),
            ".m.rule.message",
            "{room}"
        );
    }
    let two = Scene {
        members: 2,
        ..Scene::default()
    };
    assert_eq!(
        decision_in(two, &rules, &message("hi")),
        ".m.rule.room_one_to_one"
    );
    let encrypted = json!({"type": "m.room.encrypted"});
    assert_eq!(
        decision_in(two, &rules, &encrypted),
        ".m.rule.encrypted_room_one_to_one"
    );
}

fn holds(condition: &Value, scene: Scene<'_>, parts: &Value) -> bool {
    decision_in(scene, &with_conditions(json!([condition])), parts) == "mine"
}

#[test]
fn event_match_wants_a_text_that_the_pattern_matches() {
    let lunch = json!({"kind": "event_match", "key": "content.topic", "pattern": "lunc?*"});
    let cases = [
        (json!("Lunch plans"), true),
        (json!("LUNCH"), true),
        (json!(" lunch"), false),
        (json!("lunc"), false),
        (json!(null), false),
        (json!(["lunch"]), false),
    ];
    for (topic, expected) in cases {
        let parts = json!({"type": "m.room.topic", "state_key": "", "content": {"topic": topic}});
        assert_eq!(holds(&lunch, Scene::default(), &parts), expected, "{parts}");
    }
    let any = json!({"kind": "event_match", "key": "content.absent", "pattern": "*"});
    assert!(!holds(&any, Scene::default(), &message("x")));
    let body = json!({"kind": "event_match", "key": "content.body", "pattern": "ex*ple"});
    assert!(holds(
        &body,
        Scene::default(),
        &message("An example event.")
    ));
    assert!(!holds(&body, Scene::default(), &message("examples")));
    for (key, pattern) in [
        ("sender", "@BOB:*"),
        ("room_id", "!room:example.org"),
        ("type", "m.room.*"),
        ("event_id", "$h*"),
        ("content.msgtype", "m.text"),
    ] {
        let condition = json!({"kind": "event_match", "key": key, "pattern": pattern});
        assert!(holds(&condition, Scene::default(), &message("x")), "{key}");
    }
    // No pattern, no key, or no text for them: never.
    for condition in [
        json!({"kind": "event_match", "key": "type"}),
        json!({"kind": "event_match", "pattern": "*"}),
        json!({"kind": "event_match", "key": "type", "pattern": 1}),
    ] {
        assert!(
            !holds(&condition, Scene::default(), &message("x")),
            "{condition}"
        );
    }
}

#[test]
fn properties_are_compared_exactly() {
    let content = json!({"content": {"m.federate": true, "n": 1, "z": null, "list": ["a", 1, {"a": 1}], "f": {"a": "b"}}});
    let cases = [
        (
            "event_property_is",
            r"content.m\.federate",
            json!(true),
            true,
        ),
        (
            "event_property_is",
            "content.m.federate",
            json!(true),
            false,
        ),
        (
            "event_property_is",
            r"content.m\.federate",
            json!("true"),
            false,
        ),
        ("event_property_is", "content.n", json!(1), true),
        ("event_property_is", "content.n", json!("1"), false),
        ("event_property_is", "content.z", json!(null), true),
        ("event_property_is", "content.absent", json!(null), false),
        ("event_property_is", "content.f", json!({"a": "b"}), false),
        ("event_property_is", "content.f.a", json!("b"), true),
        ("event_property_is", "content.f.a", json!("B"), false),
        ("event_property_is", "content.list", json!("a"), false),
        ("event_property_contains", "content.list", json!("a"), true),
        ("event_property_contains", "content.list", json!(1), true),
        ("event_property_contains", "content.list", json!("A"), false),
        ("event_property_contains", "content.n", json!(1), false),
        ("event_property_contains", "content.list", json!(1.5), false),
    ];
    for (kind, key, value, expected) in cases {
        let condition = json!({"kind": kind, "key": key, "value": value});
        assert_eq!(
            holds(&condition, Scene::default(), &content),
            expected,
            "{condition}"
        );
    }
}

#[test]
fn rooms_and_names_count() {
    let alice = Scene {
        name: Some("Alice W."),
        ..Scene::default()
    };
    let named = json!({"kind": "contains_display_name"});
    assert!(holds(&named, alice, &message("hello ALICE w.!")));
    assert!(!holds(&named, alice, &message("hello alice")));
    assert!(!holds(&named, Scene::default(), &message("hello alice")));
    assert!(!holds(
        &named,
        Scene {
            name: Some(""),
            ..alice
        },
        &message("")
    ));
    for (is, expected) in [
        ("3", true),
        ("==3", true),
        ("2", false),
        ("<3", false),
        ("<=3", true),
        (">2", true),
        (">=4", false),
        ("", false),
        ("=3", false),
        (" 3", false),
        ("+3", false),
        ("-1", false),
        (">99999999999999999999", false),
    ] {
        let condition = json!({"kind": "room_member_count", "is": is});
        assert_eq!(
            holds(&condition, Scene::default(), &message("x")),
            expected,
            "{is}"
        );
    }
    let permission = json!({"kind": "sender_notification_permission", "key": "org.fish"});
    assert!(!holds(&permission, Scene::default(), &message("x")));
    let may = Scene {
        may: &["org.fish"],
        ..Scene::default()
    };
    assert!(holds(&permission, may, &message("x")));
}

#[test]
fn conditions_that_nobody_knows_never_hold() {
    for condition in [
        json!({"kind": "org.example.device"}),
        json!({"kind": "device"}),
    ] {
        assert!(
            !holds(&condition, Scene::default(), &message("x")),
            "{condition}"
        );
    }
    // And all must hold.
    let rules = with_conditions(json!([
        {"kind": "event_match", "key": "type", "pattern": "*"}, {"kind": "org.example"},
    ]));
    assert_eq!(decision(&rules, &message("x")), ".m.rule.message");
    assert_eq!(decision(&with_conditions(json!([])), &message("x")), "mine");
}

#[test]
fn the_first_kind_that_matches_decides() {
    let mut rules = Ruleset::default();
    let tea = message("time for tea");
    put(&mut rules, Kind::Underride, "under", json!(["notify"]));
    assert_eq!(decision(&rules, &tea), "under");
    put(&mut rules, Kind::Sender, "@bob:example.org", json!([]));
    assert_eq!(decision(&rules, &tea), "@bob:example.org");
    put(&mut rules, Kind::Room, "!room:example.org", json!([]));
    assert_eq!(decision(&rules, &tea), "!room:example.org");
    put(&mut rules, Kind::Content, "tea", json!(["notify"]));
    put(&mut rules, Kind::Content, "time", json!([]));
    assert_eq!(decision(&rules, &tea), "time");
    put(&mut rules, Kind::Override, "over", json!([]));
    assert_eq!(decision(&rules, &tea), "over");
    rules.set_enabled(Kind::Override, "over", false).unwrap();
    rules.set_enabled(Kind::Content, "time", false).unwrap();
    assert_eq!(decision(&rules, &tea), "tea");
    rules
        .set_enabled(Kind::Override, ".m.rule.master", true)
        .unwrap();
    rules.set_enabled(Kind::Override, "over", true).unwrap();
    assert_eq!(decision(&rules, &tea), ".m.rule.master");
}

#[test]
fn a_highlight_is_a_tweak_that_is_not_false() {
    for (actions, notifies, highlights) in [
        (json!(["notify"]), true, false),
        (json!([]), false, false),
        (json!(["dont_notify", "coalesce"]), false, false),
        (json!(["notify", {"set_tweak": "highlight"}]), true, true),
        (
            json!(["notify", {"set_tweak": "highlight", "value": true}]),
            true,
            true,
        ),
        (
            json!(["notify", {"set_tweak": "highlight", "value": false}]),
            true,
            false,
        ),
        (
            json!(["notify", {"set_tweak": "sound", "value": "default"}]),
            true,
            false,
        ),
        (json!([{"set_tweak": "highlight"}]), false, false),
    ] {
        let mut rules = Ruleset::default();
        put(&mut rules, Kind::Override, "x", actions.clone());
        let rule = rules.rule(Kind::Override, "x").unwrap();
        let verdict = rule.verdict();
        assert_eq!(
            (verdict.notify, verdict.highlight),
            (notifies, highlights),
            "{actions}"
        );
    }
}
