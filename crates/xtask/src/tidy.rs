//! The rules of the house that neither the compiler nor clippy knows: layers, SQL, error codes, files, paths in texts.

mod layers;
mod literals;
mod paths;
mod sources;

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// From the root of the workspace.
    pub path: String,
    /// From 1; 0 when it is about the whole file.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// What `tidy` found.
#[derive(Debug)]
pub struct Report {
    /// Text files that were read.
    pub files: usize,
    /// Sorted by path and line.
    pub findings: Vec<Finding>,
}

/// A text file of the project.
struct Text {
    /// From the root of the workspace, with `/`.
    path: String,
    content: String,
}

impl Text {
    fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            message: message.into(),
        }
    }

    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }

    /// The folder under `crates/` that the file is in.
    fn krate(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Whether it is a test of its crate from outside.
    fn is_test(&self) -> bool {
        self.path.split('/').nth(2) == Some("tests")
    }
}

/// Checks the workspace at `root`.
///
/// # Errors
/// A folder or file cannot be read.
pub fn tidy(root: &Path) -> io::Result<Report> {
    let mut texts = Vec::new();
    collect(root, "", &mut texts)?;
    let mut findings = layers::check(&texts);
    for text in &texts {
        sources::check(text, &mut findings);
        if text.has_extension("md") {
            paths::check(root, text, &mut findings);
        }
    }
    findings.sort();
    Ok(Report {
        files: texts.len(),
        findings,
    })
}

/// What is made, not written, from the root. (`.git` is a file in a further work tree of git's.)
const MADE: [&str; 6] = [
    ".git",
    "build",
    "clients/target",
    "data",
    "fuzz/target",
    "target",
];
/// Folders that are made, wherever they are.
const MADE_ANYWHERE: [&str; 2] = ["__pycache__", "node_modules"];

fn collect(root: &Path, folder: &str, texts: &mut Vec<Text>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        if MADE.contains(&path.as_str()) || MADE_ANYWHERE.contains(&name.as_str()) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(root, &path, texts)?;
        } else if kind.is_file() {
            // What is not UTF-8 is not text.
            if let Ok(content) = String::from_utf8(fs::read(entry.path())?) {
                texts.push(Text { path, content });
            }
        }
    }
    Ok(())
}
