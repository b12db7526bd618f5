//! Canonical JSON: the specification's examples, and what is refused.

use starling_events::{
    CanonicalObject, JsonError, Value,
    canonical_json::{MAX_DEPTH, canonicalize},
};

use crate::support::text;

#[track_caller]
fn check(input: &str, expected: &str) {
    let canonical = canonicalize(input.as_bytes()).unwrap();
    assert_eq!(text(&canonical), expected);
    assert_eq!(
        text(&canonicalize(&canonical).unwrap()),
        expected,
        "canonical form must stay as it is"
    );
}

#[track_caller]
fn refused(input: impl AsRef<[u8]>, expected: JsonError) {
    assert_eq!(canonicalize(input.as_ref()), Err(expected));
}

#[test]
fn specification_examples() {
    check("{}", "{}");
    check(
        "{\n    \"one\": 1,\n    \"two\": \"Two\"\n}",
        r#"{"one":1,"two":"Two"}"#,
    );
    check(
        "{\n    \"b\": \"2\",\n    \"a\": \"1\"\n}",
        r#"{"a":"1","b":"2"}"#,
    );
    check(r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#);
    check(
        r#"{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",
           "three_pids": [{"medium": "email", "address": "john.doe@example.org"},
                          {"medium": "msisdn", "address": "123456789"}]}}}"#,
        concat!(
            r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":["#,
            r#"{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}"#,
            r#"]},"success":true}}"#
        ),
    );
    check(r#"{ "a": "日本語" }"#, r#"{"a":"日本語"}"#);
    check(r#"{ "本": 2, "日": 1 }"#, r#"{"日":1,"本":2}"#);
    check(r#"{ "a": "\u65E5" }"#, r#"{"a":"日"}"#);
    check(r#"{ "a": null }"#, r#"{"a":null}"#);
    check(r#"{ "a": -0, "b": 1e10 }"#, r#"{"a":0,"b":10000000000}"#);
}

#[test]
fn strings_have_one_form() {
    check(r#""\/\b\f\n\r\t\"\\""#, r#""/\b\f\n\r\t\"\\""#);
    check(
        r#""\u0008\u000C\u000a\u000D\u0009\u0022\u005c\u002f""#,
        r#""\b\f\n\r\t\"\\/""#,
    );
    check(r#""\u001F\u0000\u007f""#, "\"\\u001f\\u0000\u{7f}\"");
    check(r#""\uD83D\uDE00 \ud83d\ude00 😀""#, r#""😀 😀 😀""#);
    check(r#""aé\u00e9b""#, r#""aééb""#);
}

#[test]
fn null_character_is_kept() {
    check(r#"{"a\u0000b":"x\u0000y"}"#, r#"{"a\u0000b":"x\u0000y"}"#);
}

#[test]
fn keys_are_sorted_by_their_text() {
    // As written, a backslash would come after "A"; as text, a quote and a newline come before.
    check(
        r#"{"A":1,"\"":2,"\n":3,"":4}"#,
        r#"{"":4,"\n":3,"\"":2,"A":1}"#,
    );
    // By code point, not by UTF-16 unit.
    check(r#"{"😀":1,"\uFB00":2}"#, "{\"\u{fb00}\":2,\"😀\":1}");
    check(
        r#"[{"b":{"d":1,"c":2},"a":[3,{"z":1,"y":2}]}]"#,
        r#"[{"a":[3,{"y":2,"z":1}],"b":{"c":2,"d":1}}]"#,
    );
}

#[test]
fn numbers() {
    check("9007199254740991", "9007199254740991");
    check("-9007199254740991", "-9007199254740991");
    check("[0,-1,1E2,12e+1,0e999999999999,-0e1]", "[0,-1,100,120,0,0]");
    for huge in [
        "9007199254740992",
        "-9007199254740992",
        "1e16",
        "1e999999999999",
        "99999999999999999999999",
    ] {
        refused(huge, JsonError::IntegerRange(0));
    }
    for fraction in ["1.0", "1.1", "-0.5", "1.5e1"] {
        refused(fraction, JsonError::NotAnInteger(0));
    }
    refused("1e-1", JsonError::NotAnInteger(1));
}

#[test]
fn not_json() {
    for bad in [
        "",
        " ",
        "{",
        "}",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "tru",
        "nul",
        "True",
        "NaN",
        "Infinity",
        "-Infinity",
        "-",
        "+1",
        "01",
        "-01",
        "1e",
        "1e+",
        ".5",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u+123\"",
        "\"\\uD800\"",
        "\"\\uD800\\u0041\"",
        "\"\\uDC00\"",
        "\"\\uD800\\uD800\"",
        "\"\n\"",
        "\"\u{1}\"",
        "{}{}",
        "1 2",
        "'a'",
        "/**/1",
        "[1]]",
    ] {
        let error = canonicalize(bad.as_bytes()).unwrap_err();
        assert!(
            matches!(error, JsonError::Syntax(_)),
            "{bad:?} gave {error:?}"
        );
    }
    refused(b"\"\xff\"", JsonError::NotUtf8);
    // A surrogate that was encoded as UTF-8.
    refused(b"\"\xed\xa0\x80\"", JsonError::NotUtf8);
}

#[test]
fn no_key_twice() {
    refused(r#"{"a":1,"a":1}"#, JsonError::DuplicateKey(13));
    refused(r#"{"a":1,"b":2,"\u0061":3}"#, JsonError::DuplicateKey(24));
    check(
        r#"{"a":{"a":1},"b":{"a":1}}"#,
        r#"{"a":{"a":1},"b":{"a":1}}"#,
    );
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    check(&nested(MAX_DEPTH), &nested(MAX_DEPTH));
    refused(nested(MAX_DEPTH + 1), JsonError::TooDeep);
    refused("[".repeat(1_000_000), JsonError::TooDeep);
    refused("{\"a\":".repeat(1_000_000), JsonError::TooDeep);
    let content = |levels: usize| format!(r#"{{"a":{}}}"#, nested(levels));
    assert!(CanonicalObject::parse(content(MAX_DEPTH - 2).as_bytes()).is_ok());
    assert_eq!(
        CanonicalObject::parse(content(MAX_DEPTH - 1).as_bytes()),
        Err(JsonError::TooDeep)
    );
}

#[test]
fn deep_unsorted_objects_take_linear_time() {
    // Each level is out of order; a megabyte of it would be copied per level by a naive sort of bytes.
    let mut json = format!("\"{}\"", "x".repeat(1_000_000));
    for _ in 0..MAX_DEPTH {
        json = format!(r#"{{"b":{json},"a":0}}"#);
    }
    let canonical = canonicalize(json.as_bytes()).unwrap();
    assert_eq!(canonical.len(), json.len());
    assert!(canonical.starts_with(br#"{"a":0,"b":{"a":0,"b":"#));
}

#[test]
fn only_objects_are_objects() {
    for other in ["[]", "1", "\"a\"", "null", "true"] {
        assert_eq!(
            CanonicalObject::parse(other.as_bytes()),
            Err(JsonError::NotAnObject)
        );
    }
}

#[test]
fn views_read_what_is_there() {
    let object = CanonicalObject::parse(
        br#"{"s":"a\n","n":-5,"t":true,"l":[1,"]",{"x":"}"}],"o":{"q\"":1},"e":[]}"#,
    )
    .unwrap();
    let view = object.value();
    assert_eq!(
        view.get("s").and_then(Value::as_str).as_deref(),
        Some("a\n")
    );
    assert_eq!(view.get("n").and_then(Value::as_integer), Some(-5));
    assert_eq!(view.get("t").and_then(Value::as_bool), Some(true));
    assert_eq!(
        view.get("o")
            .and_then(|inner| inner.get("q\""))
            .and_then(Value::as_integer),
        Some(1)
    );
    assert_eq!(view.get("missing"), None);
    let elements: Vec<_> = view
        .get("l")
        .unwrap()
        .elements()
        .map(|value| text(value.as_bytes()))
        .collect();
    assert_eq!(elements, ["1", "\"]\"", r#"{"x":"}"}"#]);
    assert_eq!(view.get("e").unwrap().elements().count(), 0);
    let keys: Vec<_> = view
        .members()
        .map(|member| member.key().unwrap().into_owned())
        .collect();
    assert_eq!(keys, ["e", "l", "n", "o", "s", "t"]);
}
