//! A named statement: one text, and what each engine makes of it.

use std::sync::OnceLock;

use crate::engine::Dialect;

/// A statement with a name. The text is written once for both engines, with these differences spelled by macros:
///
/// | in the text | SQLite | PostgreSQL |
/// |---|---|---|
/// | `?1` | `?1` | `$1` |
/// | `{ints ?1}` | `rarray(?1)` | `unnest($1::bigint[])`, each as a sub-select with one column, `value` |
/// | `{texts ?1}`, `{blobs ?1}` | the same | the same for `text[]`, `bytea[]` |
/// | `{pairs ?1}` | `json_each(?1)` | `jsonb_array_elements`: of a JSON text, a list of pairs of integers ([`pairs`]), as a sub-select with the columns `one` and `other` |
/// | `{zip ints ?1 blobs ?2}` | these lists beside each other | the same: a sub-select with the columns `c1`, `c2` and so on. All are equally long |
/// | `{bytes}` | `BLOB` | `BYTEA` |
/// | `{id}` | `INTEGER PRIMARY KEY AUTOINCREMENT` | an identity column |
/// | `{key}` | `INTEGER PRIMARY KEY`, the row's own number: no index beside the table | `BIGINT PRIMARY KEY` |
/// | `{keyed}` (after a table's closing bracket) | `WITHOUT ROWID` | nothing |
///
/// Integers are `BIGINT`, truth values are `BIGINT` 0 and 1. A literal question mark or brace is not supported.
#[derive(Debug)]
pub struct Sql {
    name: &'static str,
    text: &'static str,
    sqlite: OnceLock<String>,
    postgres: OnceLock<String>,
}

impl Sql {
    /// A statement called `name` in metrics and errors.
    #[must_use]
    pub const fn new(name: &'static str, text: &'static str) -> Self {
        Self {
            name,
            text,
            sqlite: OnceLock::new(),
            postgres: OnceLock::new(),
        }
    }

    /// The name, as in metrics and errors.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it surely changes nothing (a `WITH` may hold an `INSERT`).
    pub(crate) fn only_reads(&self) -> bool {
        self.text
            .trim_start()
            .get(..6)
            .is_some_and(|word| word.eq_ignore_ascii_case("select"))
    }

    /// The text as `dialect` wants it.
    pub(crate) fn text(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Sqlite => self.sqlite.get_or_init(|| expand(self.text, dialect)),
            Dialect::Postgres => self.postgres.get_or_init(|| expand(self.text, dialect)),
        }
    }
}

/// Declares named statements as statics, and `STATEMENTS`, the list of all of them (for the test that prepares each).
/// A statement's name in metrics and errors is its path.
#[macro_export]
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)+) => {
        $($(#[$doc])* pub(crate) static $name: $crate::Sql = $crate::Sql::new(concat!(module_path!(), "::", stringify!($name)), $text);)+
        /// Every statement of this file.
        pub(crate) static STATEMENTS: &[&$crate::Sql] = &[$(&$name),+];
    };
}

/// Pairs of integers as `{pairs ?1}` takes them.
#[must_use]
pub fn pairs(pairs: impl IntoIterator<Item = (i64, i64)>) -> String {
    let pairs = pairs.into_iter();
    let pairs: Vec<String> = pairs
        .map(|(one, other)| format!("[{one},{other}]"))
        .collect();
    format!("[{}]", pairs.join(","))
}

/// Spells the macros of [`Sql`] for one engine.
pub(crate) fn expand(text: &str, dialect: Dialect) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(at) = rest.find(['{', '?']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        rest = if let Some(inside) = from.strip_prefix('{') {
            let (name, after) = inside.split_once('}').unwrap_or((inside, ""));
            out.push_str(&spell(name, dialect));
            after
        } else {
            out.push(if dialect == Dialect::Postgres {
                '$'
            } else {
                '?'
            });
            from.strip_prefix('?').unwrap_or("")
        };
    }
    out.push_str(rest);
    out
}

fn spell(name: &str, dialect: Dialect) -> String {
    let (word, placeholder) = name.split_once(' ').unwrap_or((name, ""));
    let number = placeholder.trim_start_matches('?');
    match (word, dialect) {
        ("ints" | "texts" | "blobs", Dialect::Sqlite) => {
            format!("(SELECT value FROM rarray(?{number}))")
        }
        ("ints", Dialect::Postgres) => format!("(SELECT unnest(${number}::BIGINT[]) AS value)"),
        ("texts", Dialect::Postgres) => format!("(SELECT unnest(${number}::TEXT[]) AS value)"),
        ("blobs", Dialect::Postgres) => format!("(SELECT unnest(${number}::BYTEA[]) AS value)"),
        ("zip", _) => zip(placeholder, dialect),
        ("pairs", Dialect::Sqlite) => {
            format!("(SELECT value ->> 0 AS one, value ->> 1 AS other FROM json_each(?{number}))")
        }
        ("pairs", Dialect::Postgres) => format!(
            "(SELECT CAST(pair ->> 0 AS BIGINT) AS one, CAST(pair ->> 1 AS BIGINT) AS other
                FROM jsonb_array_elements(CAST(CAST(${number} AS TEXT) AS JSONB)) AS pair)"
        ),
        ("bytes", Dialect::Sqlite) => "BLOB".to_owned(),
        ("bytes", Dialect::Postgres) => "BYTEA".to_owned(),
        ("id", Dialect::Sqlite) => "INTEGER PRIMARY KEY AUTOINCREMENT".to_owned(),
        ("id", Dialect::Postgres) => {
            "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY".to_owned()
        }
        ("key", Dialect::Sqlite) => "INTEGER PRIMARY KEY".to_owned(),
        ("key", Dialect::Postgres) => "BIGINT PRIMARY KEY".to_owned(),
        ("keyed", Dialect::Sqlite) => "WITHOUT ROWID".to_owned(),
        ("keyed", Dialect::Postgres) => String::new(),
        // An unknown word stays as it is, and the engine refuses the statement.
        _ => format!("{{{name}}}"),
    }
}

/// Lists beside each other: `lists` is `ints ?1 blobs ?2`. For SQLite the elements are numbered, and those with the same number
/// brought together: to join the lists would go through each for every element of another.
fn zip(lists: &str, dialect: Dialect) -> String {
    let words: Vec<&str> = lists.split(' ').collect();
    let lists = words.chunks(2).filter_map(|list| match list {
        [kind, placeholder] => Some((*kind, *placeholder)),
        _ => None,
    });
    let numbered = lists
        .enumerate()
        .map(|(at, (kind, placeholder))| (at + 1, kind, placeholder));
    match dialect {
        Dialect::Sqlite => {
            let (mut columns, mut elements) = (Vec::new(), Vec::new());
            for (at, _, placeholder) in numbered {
                columns.push(format!("MAX(CASE k WHEN {at} THEN value END) AS c{at}"));
                elements.push(format!(
                    "SELECT {at} AS k, row_number() OVER () AS n, value FROM rarray({placeholder})"
                ));
            }
            format!(
                "(SELECT {} FROM ({}) GROUP BY n)",
                columns.join(", "),
                elements.join(" UNION ALL ")
            )
        }
        Dialect::Postgres => {
            let (mut columns, mut arrays) = (Vec::new(), Vec::new());
            for (at, kind, placeholder) in numbered {
                let kind = match kind {
                    "ints" => "BIGINT",
                    "texts" => "TEXT",
                    _ => "BYTEA",
                };
                columns.push(format!("c{at}"));
                let number = placeholder.trim_start_matches('?');
                arrays.push(format!("${number}::{kind}[]"));
            }
            format!(
                "(SELECT {columns} FROM unnest({}) AS zipped ({columns}))",
                arrays.join(", "),
                columns = columns.join(", "),
            )
        }
    }
}
