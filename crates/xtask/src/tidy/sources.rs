//! Rules for single files: their first line, their length, SQL, error codes, words that must not stay.

use super::literals::{Literal, string_literals};
use super::{Finding, Text, layers};

/// The longest that a source or text file may be, in lines.
const MAX_LINES: usize = 1000;
const SOURCES: [&str; 6] = ["md", "py", "rs", "sh", "sql", "toml"];

/// Crates that may hold SQL, with the reason.
const MAY_HOLD_SQL: &[(&str, &str)] = &[
    (
        "bench",
        "what the server is compared with has a table of its own",
    ),
    (
        "db",
        "its own statements: transactions, migrations, checks of the server's settings",
    ),
    ("store", "the one place for SQL"),
    ("testkit", "makes and drops a database for each test"),
    ("xtask", "names what it looks for"),
];

/// What must not stand anywhere, with the reason. Put together here, so that this file doesn't hold them itself.
const UNWANTED: &[(&str, &str)] = &[
    (
        concat!("TO", "DO"),
        "finish it, or write down what is missing where users and contributors look",
    ),
    (concat!("FIX", "ME"), "mend it"),
    (concat!("../sha", "red"), "a folder outside the project"),
    (concat!("/wo", "rk/"), "a folder of one machine"),
];

pub(super) fn check(text: &Text, findings: &mut Vec<Finding>) {
    if SOURCES
        .iter()
        .any(|extension| text.has_extension(extension))
    {
        let lines = text.content.lines().count();
        if lines > MAX_LINES {
            findings.push(text.finding(
                0,
                format!("{lines} lines; split what has more than {MAX_LINES}"),
            ));
        }
    }
    for (number, line) in text.content.lines().enumerate() {
        for (word, reason) in UNWANTED.iter().filter(|(word, _)| line.contains(word)) {
            findings.push(text.finding(number + 1, format!("`{word}`: {reason}")));
        }
    }
    if text.has_extension("rs") {
        check_rust(text, findings);
    }
}

fn check_rust(text: &Text, findings: &mut Vec<Finding>) {
    if !text.content.starts_with("//! ") {
        findings.push(text.finding(1, "the first line says what the file is: `//! …`"));
    }
    let Some(krate) = text.krate() else { return };
    let may_hold_sql = MAY_HOLD_SQL.iter().any(|(name, _)| *name == krate);
    // Tests play other servers, which answer with such codes.
    let below_edge = layers::is_below_edge(krate) && !text.is_test();
    for Literal {
        line,
        text: literal,
    } in string_literals(&text.content)
    {
        if !may_hold_sql && is_sql(&literal) {
            findings.push(text.finding(line, "SQL outside `store`"));
        }
        if below_edge && has_error_code(&literal) {
            findings.push(text.finding(
                line,
                "an error code of the Matrix API below the edge (layer 4)",
            ));
        }
    }
}

/// Whether a literal is a statement: it begins with a verb of SQL, all in one case, and goes on as one does.
fn is_sql(literal: &str) -> bool {
    let statement = literal.trim_start();
    let first = statement.split_whitespace().next().unwrap_or_default();
    if first != first.to_uppercase() && first != first.to_lowercase() {
        return false;
    }
    let words: Vec<String> = statement
        .split_whitespace()
        .map(str::to_uppercase)
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["SELECT", rest @ ..] => first == "SELECT" || rest.contains(&"FROM"),
        ["INSERT", "INTO" | "OR", ..] | ["DELETE", "FROM", _, ..] | ["REPLACE", "INTO", ..] => true,
        ["UPDATE", _, rest @ ..] => rest.contains(&"SET"),
        ["CREATE" | "ALTER" | "DROP", kind, _, ..] => {
            matches!(
                *kind,
                "TABLE"
                    | "INDEX"
                    | "UNIQUE"
                    | "TRIGGER"
                    | "VIEW"
                    | "SCHEMA"
                    | "DATABASE"
                    | "SEQUENCE"
            )
        }
        ["WITH", _, "AS", ..] => first == "WITH",
        _ => false,
    }
}

/// Whether a literal holds something like `M_FORBIDDEN`.
fn has_error_code(literal: &str) -> bool {
    literal
        .split("M_")
        .skip(1)
        .any(|rest| rest.chars().take_while(char::is_ascii_uppercase).count() >= 2)
}
