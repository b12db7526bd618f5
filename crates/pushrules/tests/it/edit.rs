//! Changing rules: <https://spec.matrix.org/v1.19/client-server-api/#push-rules-api>

use serde_json::{Value, json};
use starling_pushrules::{EditError, Kind, Place, RuleBody, Ruleset};

use crate::support::{ALICE, put};

fn ids(rules: &Ruleset, kind: Kind) -> Vec<&str> {
    let own = rules.of_kind(kind).iter().map(|rule| rule.id());
    own.filter(|id| !id.starts_with('.')).collect()
}

fn place(before: Option<&str>, after: Option<&str>) -> Place {
    let own = |id: &str| id.to_owned();
    Place {
        before: before.map(own),
        after: after.map(own),
    }
}

fn content(pattern: &str) -> RuleBody {
    RuleBody {
        pattern: Some(pattern.to_owned()),
        ..RuleBody::default()
    }
}

#[test]
fn new_rules_come_first_or_where_they_are_put() {
    let mut rules = Ruleset::default();
    for id in ["a", "b", "c"] {
        put(&mut rules, Kind::Content, id, json!([]));
    }
    assert_eq!(ids(&rules, Kind::Content), ["c", "b", "a"]);
    let mut go = |id: &str, place: &Place| rules.put(Kind::Content, id, content(id), place);
    go("d", &place(Some("b"), None)).unwrap();
    go("e", &place(None, Some("b"))).unwrap();
    // With both, `before` counts.
    go("f", &place(Some("a"), Some("c"))).unwrap();
    // One that is there moves, or keeps its place.
    go("c", &place(None, Some("a"))).unwrap();
    go("b", &Place::default()).unwrap();
    go("d", &place(Some("d"), None)).unwrap();
    for (id, unknown) in [("new", "nobody"), ("b", "nobody"), ("new", "new")] {
        let error = go(id, &place(Some(unknown), None)).unwrap_err();
        assert_eq!(error, EditError::UnknownNeighbour(unknown.to_owned()));
    }
    assert_eq!(ids(&rules, Kind::Content), ["d", "b", "e", "f", "a", "c"]);
    let master = Place {
        before: Some(".m.rule.master".to_owned()),
        after: None,
    };
    let error = rules.put(Kind::Override, "x", RuleBody::default(), &master);
    assert_eq!(
        error,
        Err(EditError::UnknownNeighbour(".m.rule.master".to_owned()))
    );
    // The user's own are before the predefined ones, but for the one that turns all off.
    put(&mut rules, Kind::Override, "mine", json!([]));
    let overriding = rules.of_kind(Kind::Override);
    assert_eq!(
        [overriding[0].id(), overriding[1].id()],
        [".m.rule.master", "mine"]
    );
}

#[test]
fn a_changed_rule_stays_off_and_a_new_one_is_on() {
    let mut rules = Ruleset::default();
    put(&mut rules, Kind::Room, "!a:b", json!([]));
    assert!(rules.rule(Kind::Room, "!a:b").unwrap().is_enabled());
    rules.set_enabled(Kind::Room, "!a:b", false).unwrap();
    put(&mut rules, Kind::Room, "!a:b", json!(["notify"]));
    let rule = rules.rule(Kind::Room, "!a:b").unwrap();
    assert_eq!((rule.is_enabled(), rule.verdict().notify), (false, true));
}

#[test]
fn what_cannot_be_a_rule_is_refused() {
    let mut rules = Ruleset::default();
    let before = rules.clone();
    let invalid = |error: EditError| matches!(error, EditError::Invalid(_));
    let mut go = |kind, id: &str, body: Value| {
        let list = |name: &str| serde_json::from_value(body[name].clone()).unwrap_or_default();
        let body = RuleBody {
            actions: list("actions"),
            conditions: list("conditions"),
            pattern: body["pattern"].as_str().map(str::to_owned),
        };
        rules.put(kind, id, body, &Place::default()).unwrap_err()
    };
    assert_eq!(
        go(Kind::Override, ".mine", json!({})),
        EditError::ServerDefault
    );
    for id in ["", "a/b", "a\\b", &"x".repeat(513)] {
        assert_eq!(
            go(Kind::Override, id, json!({})),
            EditError::InvalidId,
            "{id}"
        );
    }
    assert!(invalid(go(Kind::Content, "a", json!({}))));
    assert!(invalid(go(
        Kind::Content,
        "a",
        json!({"pattern": "x".repeat(1_025)})
    )));
    for actions in [
        json!(["sneeze"]),
        json!([1]),
        json!([{}]),
        json!([{"set_tweak": 1}]),
    ] {
        assert!(
            invalid(go(Kind::Room, "a", json!({"actions": actions}))),
            "{actions}"
        );
    }
    for conditions in [
        json!([1]),
        json!([{}]),
        json!([{"kind": 1}]),
        json!(vec![json!({"kind": "x"}); 51]),
    ] {
        assert!(invalid(go(
            Kind::Override,
            "a",
            json!({"conditions": conditions})
        )));
    }
    let large = json!([{"kind": "x", "key": "y".repeat(20_000)}]);
    assert!(invalid(go(
        Kind::Override,
        "a",
        json!({"conditions": large})
    )));
    assert_eq!(rules, before);
}

#[test]
fn rules_are_deleted_but_for_the_servers() {
    let mut rules = Ruleset::default();
    put(&mut rules, Kind::Sender, "@a:b", json!([]));
    assert_eq!(rules.delete(Kind::Room, "@a:b"), Err(EditError::NotFound));
    assert_eq!(
        rules.delete(Kind::Underride, ".m.rule.message"),
        Err(EditError::ServerDefault)
    );
    rules.delete(Kind::Sender, "@a:b").unwrap();
    assert_eq!(rules, Ruleset::default());
    assert_eq!(
        rules.set_enabled(Kind::Sender, "@a:b", true),
        Err(EditError::NotFound)
    );
    assert_eq!(
        rules.set_actions(Kind::Sender, "@a:b", vec![]),
        Err(EditError::NotFound)
    );
}

#[test]
fn there_are_only_so_many() {
    let mut rules = Ruleset::default();
    for id in 0..1_000 {
        put(&mut rules, Kind::Room, &format!("!{id}"), json!([]));
    }
    let more = rules.put(Kind::Room, "!more", RuleBody::default(), &Place::default());
    assert_eq!(more, Err(EditError::TooMany));
    rules
        .put(Kind::Room, "!7", RuleBody::default(), &Place::default())
        .unwrap();
}

#[test]
fn what_is_stored_comes_back() {
    let mut rules = Ruleset::default();
    assert_eq!(
        Ruleset::from_stored(&rules.to_stored()),
        Some(rules.clone())
    );
    for (kind, id) in Kind::ALL.into_iter().zip(["a", "b", "c", "d", "e"]) {
        put(
            &mut rules,
            kind,
            id,
            json!(["notify", {"set_tweak": "x", "value": {"y": [1]}}]),
        );
        put(&mut rules, kind, &format!("{id}2"), json!([]));
    }
    rules.set_enabled(Kind::Content, "b", false).unwrap();
    rules
        .set_enabled(Kind::Override, ".m.rule.master", true)
        .unwrap();
    rules
        .set_actions(Kind::Underride, ".m.rule.message", vec![])
        .unwrap();
    let stored = rules.to_stored();
    assert!(!stored.contains(".m.rule.encrypted"), "{stored}");
    let back = Ruleset::from_stored(&stored).unwrap();
    assert_eq!(back, rules);
    assert_eq!(back.to_json(ALICE), rules.to_json(ALICE));
    let gone = r#"{"defaults":{".m.rule.gone":{"enabled":false}}}"#;
    assert_eq!(Ruleset::from_stored(gone), Some(Ruleset::default()));
    assert_eq!(Ruleset::from_stored("[]"), None);
}

#[test]
fn a_rule_as_the_api_has_it() {
    let mut rules = Ruleset::default();
    let body = RuleBody {
        actions: vec![json!("dont_notify"), json!("notify")],
        ..content("cake*lie")
    };
    rules
        .put(Kind::Content, "nocake", body, &Place::default())
        .unwrap();
    let expected = json!({
        "actions": ["notify"], "pattern": "cake*lie", "rule_id": "nocake", "enabled": true, "default": false,
    });
    assert_eq!(
        rules.rule_json(Kind::Content, "nocake", ALICE),
        Some(expected)
    );
    put(&mut rules, Kind::Room, "!a:b", json!([]));
    let expected = json!({"actions": [], "rule_id": "!a:b", "enabled": true, "default": false});
    assert_eq!(rules.rule_json(Kind::Room, "!a:b", ALICE), Some(expected));
    // The placeholder of the predefined rules means nothing in a user's own.
    let mine = crate::support::with_conditions(json!([
        {"kind": "event_match", "key": "state_key", "pattern": "@user:server"},
    ]));
    let shown = mine.rule_json(Kind::Override, "mine", ALICE).unwrap();
    assert_eq!(shown["conditions"][0]["pattern"], "@user:server");
}
