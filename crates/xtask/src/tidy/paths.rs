//! Paths that a Markdown text names, in backticks or as a link, exist.

use std::path::Path;

use super::{Finding, MADE, Text};

/// Endings by which a name with a slash is taken for a path of ours.
const SOURCES: [&str; 7] = ["md", "py", "rs", "sh", "sql", "toml", "yaml"];

pub(super) fn check(root: &Path, text: &Text, findings: &mut Vec<Finding>) {
    let mut in_code_block = false;
    for (number, line) in text.content.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code_block = !in_code_block;
        } else if !in_code_block {
            let named = named_paths(root, line).chain(links(line));
            let dead = named.filter(|path| !exists(root, &text.path, path));
            findings.extend(
                dead.map(|path| text.finding(number + 1, format!("`{path}` does not exist"))),
            );
        }
    }
}

/// Paths of the project between backticks, with `{a,b}` written out.
fn named_paths<'a>(root: &'a Path, line: &'a str) -> impl Iterator<Item = String> + 'a {
    line.split('`')
        .skip(1)
        .step_by(2)
        .flat_map(expand)
        .filter(|name| is_ours(root, name))
}

fn is_ours(root: &Path, name: &str) -> bool {
    let Some((first, _)) = name.split_once('/') else {
        return false;
    };
    let is_plain = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    if !is_plain || first.is_empty() || MADE.contains(&first) {
        return false;
    }
    let is_source = Path::new(name)
        .extension()
        .is_some_and(|found| SOURCES.iter().any(|known| found == *known));
    // `./data` is where a server runs, not where the project is.
    first != "." && (is_source || root.join(first).is_dir())
}

/// The targets of `[text](target)` within the project.
fn links(line: &str) -> impl Iterator<Item = String> + '_ {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?.split('#').next()?;
        let is_local = !target.is_empty() && !target.contains(':');
        is_local.then(|| target.to_owned())
    })
}

/// `src/{a,b}.rs` as `src/a.rs` and `src/b.rs`.
fn expand(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else {
        return vec![name.to_owned()];
    };
    let Some((choices, after)) = rest.split_once('}') else {
        return vec![name.to_owned()];
    };
    choices
        .split(',')
        .flat_map(|choice| expand(&format!("{before}{}{after}", choice.trim())))
        .collect()
}

/// From the root, from the text's own folder, or from `crates/`.
fn exists(root: &Path, text: &str, path: &str) -> bool {
    let own_folder = Path::new(text).parent().unwrap_or(Path::new(""));
    [Path::new(""), own_folder, Path::new("crates")]
        .iter()
        .any(|base| root.join(base).join(path).exists())
}
