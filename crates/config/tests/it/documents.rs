//! The example and the reference page say what the program does.

use starling_config::{Config, example, reference};

use crate::load;

#[test]
fn the_example_holds_the_defaults() {
    let mut config: Config = toml::from_str(&example()).unwrap();
    assert_eq!(config.server_name.as_str(), "example.org");
    config.server_name = Config::default().server_name;
    assert_eq!(config, Config::default());
    load(Some(&example()), &[]).unwrap();
}

#[test]
fn every_key_of_the_example_has_a_comment() {
    let example = example();
    let lines: Vec<&str> = example.lines().collect();
    let keys = lines.windows(2).filter(|pair| pair[1].contains(" = "));
    for pair in keys {
        assert!(pair[0].starts_with("# "), "{pair:?}");
    }
    assert!(lines.iter().all(|line| line.len() <= 100), "{example}");
}

#[test]
fn the_page_in_the_documents_is_the_generated_one() {
    let page = include_str!("../../../../docs/configuration.md");
    assert!(
        page == reference(),
        "docs/configuration.md is out of date: run `cargo xtask docs`"
    );
}
