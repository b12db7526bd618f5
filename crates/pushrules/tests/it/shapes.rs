//! What the shape of an event decides, against evaluating all rules.

use serde_json::{Value, json};
use starling_pushrules::{EventView, Kind, Place, RuleBody, Ruleset, Shape, words};

use crate::support::{ALICE, ROOM, Scene, event, message, with_conditions};

#[test]
fn the_predefined_rules_need_no_evaluation() {
    assert!(Ruleset::default().interest(ALICE).is_empty());
    let mut rules = Ruleset::default();
    for id in [".m.rule.message", ".m.rule.encrypted"] {
        rules.set_enabled(Kind::Underride, id, false).unwrap();
    }
    for id in [
        ".m.rule.suppress_edits",
        ".m.rule.reaction",
        ".m.rule.member_event",
    ] {
        rules.set_enabled(Kind::Override, id, false).unwrap();
    }
    assert!(rules.interest(ALICE).is_empty());
}

#[test]
fn mutes_and_tests_on_the_member_count_need_none_either() {
    for conditions in [
        json!([{"kind": "event_match", "key": "room_id", "pattern": ROOM}]),
        json!([{"kind": "room_member_count", "is": ">10"}]),
        json!([{"kind": "event_match", "key": "type", "pattern": "m.room.message"}]),
        json!([{"kind": "event_match", "key": "content.msgtype", "pattern": "m.notice"}]),
        json!([]),
    ] {
        let rules = with_conditions(conditions.clone());
        assert!(rules.interest(ALICE).is_empty(), "{conditions}");
    }
}

#[test]
fn words_and_senders_are_looked_for() {
    let mut rules =
        with_conditions(json!([{"kind": "event_match", "key": "sender", "pattern": "@Bob:x"}]));
    crate::support::put(&mut rules, Kind::Content, "Apple pie", json!(["notify"]));
    crate::support::put(&mut rules, Kind::Sender, "@Carol:x", json!([]));
    let interest = rules.interest(ALICE);
    assert_eq!(interest.words, ["apple"]);
    assert_eq!(interest.senders, ["@bob:x", "@carol:x"]);
    assert!(!interest.has(Shape::of(&EventView::new(&event(&message("x"))), || false)));
    rules
        .set_enabled(Kind::Content, "Apple pie", false)
        .unwrap();
    assert!(rules.interest(ALICE).words.is_empty());
}

#[test]
fn what_a_shape_cannot_decide_is_evaluated() {
    let interested = |conditions: Value, parts: Value| {
        let interest = with_conditions(conditions).interest(ALICE);
        interest.has(Shape::of(&EventView::new(&event(&parts)), || false))
    };
    let glob = json!([{"kind": "event_match", "key": "content.body", "pattern": "foo*"}]);
    assert!(interested(glob, message("x")));
    let files = json!([{"kind": "event_match", "key": "content.msgtype", "pattern": "m.file"}]);
    assert!(interested(files, message("x")));
    let own = json!([{"kind": "event_match", "key": "type", "pattern": "org.example"}]);
    assert!(interested(own.clone(), json!({"type": "org.example"})));
    assert!(!interested(own, message("x")));
    let elsewhere = json!([
        {"kind": "event_match", "key": "content.body", "pattern": "foo*"},
        {"kind": "event_match", "key": "room_id", "pattern": "!other:x"},
    ]);
    assert!(interested(elsewhere, message("x")), "wherever it is sent");
}

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    fn one_of(&mut self, texts: &[&str]) -> String {
        let at = self.below(texts.len());
        texts[at].to_owned()
    }

    fn condition(&mut self) -> Value {
        let pattern = |dice: &mut Self| {
            dice.one_of(&[
                "*",
                "m.notice",
                "m.text",
                "m.replace",
                "tea",
                "t*a",
                "@bob:example.org",
                ROOM,
                "",
                "m.room.*",
                "m.room.message",
                "m.reaction",
                "org.example",
                "💥",
                "M.Room.Message",
                ALICE,
            ])
        };
        let key = |dice: &mut Self| {
            dice.one_of(&[
                "type",
                "sender",
                "room_id",
                "state_key",
                "content.body",
                "content.msgtype",
                r"content.m\.relates_to.rel_type",
                r"content.m\.mentions.room",
                r"content.m\.mentions.user_ids",
                "content.topic",
                "event_id",
            ])
        };
        match self.below(8) {
            0..=3 => json!({"kind": "event_match", "key": key(self), "pattern": pattern(self)}),
            4 => {
                json!({"kind": "event_property_is", "key": key(self), "value": self.pick(&[json!(true), json!("m.replace")])})
            }
            5 => json!({"kind": "event_property_contains", "key": key(self), "value": ALICE}),
            6 => json!({"kind": "room_member_count", "is": self.one_of(&["2", ">2", "<5"])}),
            _ => self.pick(&[
                json!({"kind": "contains_display_name"}),
                json!({"kind": "unknown"}),
                json!({"kind": "sender_notification_permission", "key": "room"}),
                json!({"kind": "sender_notification_permission", "key": "org.fish"}),
            ]),
        }
    }

    fn pick(&mut self, values: &[Value]) -> Value {
        values[self.below(values.len())].clone()
    }

    fn ruleset(&mut self) -> Ruleset {
        let mut rules = Ruleset::default();
        for number in 0..self.below(4) {
            let kind = Kind::ALL[self.below(5)];
            let id = match kind {
                Kind::Sender => {
                    self.one_of(&["@bob:example.org", "@carol:example.org", "@Bob:example.org"])
                }
                Kind::Room => self.one_of(&[ROOM, "!other:example.org"]),
                _ => format!("r{number}"),
            };
            let body = RuleBody {
                actions: serde_json::from_value(self.pick(&[
                    json!([]),
                    json!(["notify"]),
                    json!(["notify", {"set_tweak": "highlight"}]),
                ]))
                .unwrap(),
                conditions: (0..self.below(3)).map(|_| self.condition()).collect(),
                pattern: Some(self.one_of(&["tea", "T?a", "time for", "💥", "*"])),
            };
            rules.put(kind, &id, body, &Place::default()).unwrap();
        }
        for _ in 0..self.below(3) {
            let kind = [Kind::Override, Kind::Underride][self.below(2)];
            let at = self.below(rules.of_kind(kind).len());
            let rule = &rules.of_kind(kind)[at];
            let (id, enabled) = (rule.id().to_owned(), rule.is_enabled());
            rules.set_enabled(kind, &id, !enabled).unwrap();
        }
        rules
    }

    fn event(&mut self) -> Value {
        let mut content = json!({});
        if self.below(4) > 0 {
            content["body"] = self.pick(&[
                json!("time for tea"),
                json!("TEA"),
                json!("teapot"),
                json!(""),
                json!("💥"),
                json!("hello Alice"),
                json!(7),
            ]);
        }
        if self.below(3) > 0 {
            content["msgtype"] = self.pick(&[
                json!("m.text"),
                json!("m.notice"),
                json!("M.Notice"),
                json!(1),
            ]);
        }
        if self.below(4) == 0 {
            content["m.relates_to"] = json!({"rel_type": self.one_of(&["m.replace", "M.REPLACE", "m.thread"]), "event_id": "$x"});
        }
        if self.below(3) == 0 {
            content["m.mentions"] = self.pick(&[
                json!({"room": true}),
                json!({"user_ids": [ALICE]}),
                json!({"room": "x"}),
                json!({"room": true, "user_ids": ["@x:y", ALICE]}),
                json!([]),
            ]);
        }
        let mut event = json!({
            "content": content,
            "type": self.one_of(&["m.room.message", "m.room.message", "m.room.encrypted", "m.reaction", "m.room.tombstone",
                "m.room.server_acl", "m.call.invite", "m.poll.start", "org.matrix.msc3381.poll.start", "org.example",
                "m.room.topic", "M.ROOM.MESSAGE", "m.room.member"]),
            "sender": self.one_of(&["@bob:example.org", "@carol:example.org"]),
        });
        if event["type"] == "m.room.member" || self.below(4) == 0 {
            event["state_key"] = self.pick(&[json!(""), json!("x"), json!("@bob:example.org")]);
        }
        event
    }
}

/// Whoever isn't interested in an event, and isn't mentioned in it, gets what its shape says.
#[test]
fn shapes_and_interests_are_the_whole_truth() {
    let (mut evaluated, mut decided) = (0, 0);
    for seed in 0..4_000 {
        let mut dice = Dice(seed);
        for _ in 0..5 {
            dice.below(2);
        }
        let (rules, parts) = (dice.ruleset(), dice.event());
        let scene = Scene {
            members: [2, 3, 7][dice.below(3)],
            name: [None, Some("Alice"), Some("💥")][dice.below(3)],
            may: [&[][..], &["room"], &["room", "org.fish"]][dice.below(3)],
        };
        let pdu = event(&parts);
        let view = EventView::new(&pdu);
        let shape = Shape::of(&view, || scene.may.contains(&"room"));
        let interest = rules.interest(ALICE);
        let body = view.lower_body().unwrap_or_default();
        let has_word = |word: &String| words(body).any(|found| found == word);
        let name = scene
            .name
            .filter(|_| interest.display_name)
            .map(str::to_lowercase);
        let is_interested = interest.has(shape)
            || interest.words.iter().any(has_word)
            || interest
                .senders
                .contains(&pdu.sender().as_str().to_lowercase())
            || name.is_some_and(|name| body.contains(&name))
            || view.mentioned().iter().any(|mentioned| mentioned == ALICE);
        let truth = scene.decides(&rules, &pdu);
        if is_interested {
            evaluated += 1;
            continue;
        }
        decided += 1;
        let by_shape = rules.decides(shape, scene.room(), ALICE);
        assert_eq!(
            by_shape.map(starling_pushrules::Rule::id),
            truth.map(starling_pushrules::Rule::id),
            "seed {seed}: {parts} {}",
            rules.to_stored()
        );
    }
    assert!(evaluated > 600 && decided > 600, "{evaluated} {decided}");
}
