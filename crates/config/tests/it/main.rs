//! What a configuration file may say, what is refused and how the refusal reads.
#![cfg(test)]

mod documents;
mod errors;
mod loading;
mod names;
mod table;

use std::path::Path;

use starling_config::{Config, Error, Source};

/// Loads a file; `None` is the development profile.
fn load(text: Option<&str>, variables: &[(&str, &str)]) -> Result<Config, Error> {
    Config::load(Source {
        text,
        folder: Path::new("/srv/starling"),
        environment: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        readable: &|path| {
            if path.display().to_string().contains("missing") {
                Err(std::io::ErrorKind::NotFound.into())
            } else {
                Ok(())
            }
        },
        pair: &|tls| {
            if tls.key.ends_with("other.pem") {
                Err("they do not belong together".to_owned())
            } else {
                Ok(())
            }
        },
        authorities: &|path| {
            if path.ends_with("empty.pem") {
                Err("it holds no certificate".to_owned())
            } else {
                Ok(())
            }
        },
        filter: &|filter| match filter {
            "loud" => Err("is no filter".to_owned()),
            _ => Ok(()),
        },
    })
}

/// Loads a file that has a server name on its first line and this text from its second line on.
fn file(text: &str) -> Result<Config, Error> {
    load(Some(&format!("server_name = \"example.org\"\n{text}")), &[])
}
