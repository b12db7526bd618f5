//! Hands the commit that is built to the program, when there is a git repository.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let git = Path::new("../../.git");
    if !git.exists() {
        return;
    }
    for file in ["HEAD", "logs/HEAD"] {
        // A file that is missing would run this script at every build.
        if git.join(file).exists() {
            println!("cargo::rerun-if-changed=../../.git/{file}");
        }
    }
    let asked = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    let Ok(answer) = asked else { return };
    if let (true, Ok(commit)) = (answer.status.success(), String::from_utf8(answer.stdout)) {
        println!("cargo::rustc-env=STARLING_COMMIT={}", commit.trim());
    }
}
