//! Canonical JSON: the specification's examples, what is refused, and what Python makes of what need not be.

use starling_events::{
    CanonicalObject, JsonError, Value,
    canonical_json::{MAX_DEPTH, canonicalize},
    room_version::JsonForm::{self, Loose, Strict},
};

use crate::support::text;

#[track_caller]
fn check_form(form: JsonForm, input: &str, expected: &str) {
    let canonical = canonicalize(form, input.as_bytes()).unwrap();
    assert_eq!(text(&canonical), expected, "{form:?}: {input}");
    assert_eq!(
        text(&canonicalize(form, &canonical).unwrap()),
        expected,
        "canonical form must stay as it is"
    );
}

/// Checks what is the same in both forms.
#[track_caller]
fn check(input: &str, expected: &str) {
    check_form(Strict, input, expected);
    check_form(Loose, input, expected);
}

#[track_caller]
fn refused(form: JsonForm, input: impl AsRef<[u8]>, expected: JsonError) {
    assert_eq!(canonicalize(form, input.as_ref()), Err(expected));
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
    check("[0,-1,-0]", "[0,-1,0]");
    check_form(Strict, "[1E2,12e+1,0e999999999999,-0e1]", "[100,120,0,0]");
    for huge in [
        "9007199254740992",
        "-9007199254740992",
        "1e16",
        "1e999999999999",
        "99999999999999999999999",
    ] {
        refused(Strict, huge, JsonError::IntegerRange(0));
    }
    for fraction in ["1.0", "1.1", "-0.5", "1.5e1"] {
        refused(Strict, fraction, JsonError::NotAnInteger(0));
    }
    refused(Strict, "1e-1", JsonError::NotAnInteger(1));
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
        "1E",
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
        for form in [Strict, Loose] {
            let error = canonicalize(form, bad.as_bytes()).unwrap_err();
            assert!(
                matches!(error, JsonError::Syntax(_)),
                "{form:?}: {bad:?} gave {error:?}"
            );
        }
    }
    for form in [Strict, Loose] {
        refused(form, b"\"\xff\"", JsonError::NotUtf8);
        // A surrogate that was encoded as UTF-8.
        refused(form, b"\"\xed\xa0\x80\"", JsonError::NotUtf8);
    }
    for bad in [
        "1.", "-1.", "1.e5", "1e-", "1e-x", "1.5e", "1..5", "1.5.5", "1e5e5", "1e5.0",
    ] {
        let error = canonicalize(Loose, bad.as_bytes()).unwrap_err();
        assert!(
            matches!(error, JsonError::Syntax(_)),
            "{bad:?} gave {error:?}"
        );
    }
}

/// Each line is a fact about Python: `json.dumps(json.loads(left)) == right`.
#[test]
fn numbers_as_python_writes_them() {
    for (written, expected) in [
        ("0.0", "0.0"),
        ("-0.0", "-0.0"),
        ("-0e5", "-0.0"),
        ("1.0", "1.0"),
        ("1e0", "1.0"),
        ("-1.0", "-1.0"),
        ("0.1", "0.1"),
        ("-0.5", "-0.5"),
        ("1.50", "1.5"),
        ("50.000", "50.0"),
        ("0.1e1", "1.0"),
        ("100.0e-2", "1.0"),
        ("4.35", "4.35"),
        ("2.675", "2.675"),
        ("0.0001", "0.0001"),
        ("0.000123456", "0.000123456"),
        ("0.00001", "1e-05"),
        ("1e-5", "1e-05"),
        ("1E-5", "1e-05"),
        ("1.5e-7", "1.5e-07"),
        ("1e-100", "1e-100"),
        ("1E+2", "100.0"),
        ("1e10", "10000000000.0"),
        ("1e15", "1000000000000000.0"),
        ("123456789012345.6", "123456789012345.6"),
        ("1234567890123456.0", "1234567890123456.0"),
        ("9007199254740992.5", "9007199254740992.0"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("9999999999999998.0", "9999999999999998.0"),
        ("9999999999999999.0", "1e+16"),
        ("1e16", "1e+16"),
        ("12345678901234567.0", "1.2345678901234568e+16"),
        ("123456789012345680.0", "1.2345678901234568e+17"),
        ("1e21", "1e+21"),
        ("1e22", "1e+22"),
        ("1e+23", "1e+23"),
        ("1e100", "1e+100"),
        ("3.141592653589793238462643383279", "3.141592653589793"),
        // Two texts are as short and as near: the even one.
        ("961511384467007.25", "961511384467007.2"),
        ("-961511384467007.25", "-961511384467007.2"),
        ("961511384467007.75", "961511384467007.8"),
        // 2^-1017: the nearest text of that length stands for the number below.
        ("7.12023634722304443e-307", "7.120236347223045e-307"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("-1.7976931348623157e308", "-1.7976931348623157e+308"),
        ("2.2250738585072014e-308", "2.2250738585072014e-308"),
        ("5e-324", "5e-324"),
        ("4.9406564584124654e-324", "5e-324"),
        ("2.5e-324", "5e-324"),
        ("2.4e-324", "0.0"),
        ("1e-400", "0.0"),
        ("-1e-99999999999", "-0.0"),
        ("0e99999999999", "0.0"),
        ("-0", "0"),
        ("0", "0"),
        ("9007199254740993", "9007199254740993"),
        ("-18446744073709551617", "-18446744073709551617"),
    ] {
        check_form(Loose, written, expected);
        check_form(
            Loose,
            &format!("{{\"a\": [{written} , {written}]}}"),
            &format!("{{\"a\":[{expected},{expected}]}}"),
        );
    }
    let googol = format!("1{}", "0".repeat(100));
    check_form(Loose, &googol, &googol);
    for huge in [
        "1.8e308",
        "-1e400",
        "1e999999999999",
        "1e99999999999999999999999",
    ] {
        refused(Loose, huge, JsonError::FloatRange(0));
    }
    refused(Loose, "[1,2e308]", JsonError::FloatRange(3));
}

#[test]
fn long_numbers_take_linear_time() {
    let digits = "7".repeat(1_000_000);
    check_form(Loose, &digits, &digits);
    check_form(Loose, &format!("0.{digits}"), "0.7777777777777778");
    refused(Loose, format!("{digits}.5"), JsonError::FloatRange(0));
    refused(Strict, &digits, JsonError::IntegerRange(0));
}

/// Like Python: the last of them counts, wherever it stands, and what is inside the others goes with them.
#[test]
fn last_of_a_key_that_occurs_twice() {
    check_form(Loose, r#"{"a":1,"a":2}"#, r#"{"a":2}"#);
    check_form(
        Loose,
        r#"{"b":1,"a":2,"b":3,"a":4,"\u0062":{"x":1,"x":2},"c":[[],[]]}"#,
        r#"{"a":4,"b":{"x":2},"c":[[],[]]}"#,
    );
    check_form(
        Loose,
        r#"[1,1,{"a":{"q":[1,1]},"a":[2,2],"":5},"",""]"#,
        r#"[1,1,{"":5,"a":[2,2]},"",""]"#,
    );
    let many: Vec<_> = (0..100_000)
        .map(|n| format!("\"k{}\":{n}", n % 7))
        .collect();
    check_form(
        Loose,
        &format!("{{{}}}", many.join(",")),
        r#"{"k0":99995,"k1":99996,"k2":99997,"k3":99998,"k4":99999,"k5":99993,"k6":99994}"#,
    );
}

#[test]
fn no_key_twice() {
    refused(Strict, r#"{"a":1,"a":1}"#, JsonError::DuplicateKey(13));
    refused(
        Strict,
        r#"{"a":1,"b":2,"\u0061":3}"#,
        JsonError::DuplicateKey(24),
    );
    check(
        r#"{"a":{"a":1},"b":{"a":1}}"#,
        r#"{"a":{"a":1},"b":{"a":1}}"#,
    );
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    check(&nested(MAX_DEPTH), &nested(MAX_DEPTH));
    for form in [Strict, Loose] {
        refused(form, nested(MAX_DEPTH + 1), JsonError::TooDeep);
        refused(form, "[".repeat(1_000_000), JsonError::TooDeep);
        refused(form, "{\"a\":".repeat(1_000_000), JsonError::TooDeep);
    }
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
    let canonical = canonicalize(Strict, json.as_bytes()).unwrap();
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
