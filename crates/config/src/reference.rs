//! The commented example and the reference page, made from the table of keys.

use crate::keys::{Key, SECTIONS, Section, Value};

/// The width of the example's comments.
const WIDTH: usize = 100;

/// What opens the reference page.
const INTRODUCTION: &str = "\
# Configuration

This page is made from the program's table of keys by `cargo xtask docs`: change it there.

The file is TOML. `starling config default` prints a commented example with every default, `starling config check FILE` checks a
file. Relative paths start from the file's folder. An unknown key, a bad value or a path that cannot be read is an error that
names the line and the fix.

Every key can also be set by a variable of the environment, which wins over the file: `STARLING__REGISTRATION__MODE`, at the top
level `STARLING__SERVER_NAME`. Strings and paths are written as they are, everything else as TOML:
`STARLING__LISTENERS='[{ address = \"127.0.0.1:8008\", serves = [\"client\"] }]'`.

Without a file, the development profile holds: server name `localhost`, SQLite under `./data`, listening on `127.0.0.1:8008`
only, registration open. Registration that is open in this way is refused on any address but loopback.

A key marked *not built yet* is accepted; setting it gives one warning at start.

[federating.md](federating.md) shows whole configurations of servers that others reach, and what else these need.
";

/// The commented example that `starling config default` prints: every key with its default.
#[must_use]
pub fn example() -> String {
    let mut lines =
        comment("Every key with its default. Relative paths start from this file's folder.");
    for section in SECTIONS {
        lines.push(String::new());
        if !section.name.is_empty() {
            lines.extend(comment(section.doc));
            lines.push(header(section));
        }
        // The keys of an inline table are shown within it.
        for key in section.keys.iter().filter(|key| !key.name.contains('.')) {
            let unbuilt = if key.built { "" } else { " Not built yet." };
            lines.extend(comment(&format!("{}{unbuilt}", key.doc)));
            let sign = if matches!(key.value, Value::Absent(_)) {
                "# "
            } else {
                ""
            };
            lines.push(format!("{sign}{} = {}", key.name, key.value.toml()));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn header(section: &Section) -> String {
    if section.repeated {
        format!("[[{}]]", section.name)
    } else {
        format!("[{}]", section.name)
    }
}

/// A comment without Markdown's signs, in lines of bounded width.
fn comment(doc: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in doc.replace('`', "").split_whitespace() {
        match lines
            .last_mut()
            .filter(|line| line.len() + word.len() < WIDTH)
        {
            Some(line) => line.extend([" ", word]),
            None => lines.push(format!("# {word}")),
        }
    }
    lines
}

/// The reference page, `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut lines = vec![INTRODUCTION.to_owned()];
    for section in SECTIONS {
        let title = if section.name.is_empty() {
            "Top of the file".to_owned()
        } else {
            format!("`{}`", header(section))
        };
        lines.push(format!("## {title}\n\n{}\n", section.doc));
        lines.push("| key | type | default | meaning |\n|---|---|---|---|".to_owned());
        lines.extend(section.keys.iter().map(row));
        lines.push(String::new());
    }
    lines.join("\n")
}

fn row(key: &Key) -> String {
    let default = match key.value {
        Value::Default(toml) => format!("`{toml}`"),
        Value::Required(toml) => format!("required, such as `{toml}`"),
        Value::Absent(toml) => format!("none; such as `{toml}`"),
    };
    let unbuilt = if key.built { "" } else { " *Not built yet.*" };
    format!(
        "| `{}` | {} | {default} | {}{unbuilt} |",
        key.name,
        key.kind.word(),
        key.doc
    )
}
