//! What identity servers say of keys that third-party invites were made out with.
//! <https://spec.matrix.org/v1.19/client-server-api/#third-party-invites>

use std::time::Duration;

use ruma_common::OwnedServerName;
use serde::Deserialize;
use starling_outbound::Request;

use super::Remote;
use super::request::escaped;

/// How long an identity server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of an answer is taken.
const ANSWER_BYTES: usize = 4096;

/// The longest URL that is asked.
const URL_BYTES: usize = 2048;

#[derive(Deserialize)]
struct Validity {
    valid: bool,
}

impl Remote {
    /// Whether a key (in base64) is valid yet, as the URL says that belongs to it; `None` when nobody says so there.
    pub(crate) async fn is_key_valid(&self, url: &str, key: &str) -> Option<bool> {
        let (server, mut uri) = place_of(url)?;
        uri.push(if uri.contains('?') { '&' } else { '?' });
        uri.push_str("public_key=");
        uri.push_str(&escaped(key));
        let request = Request::get(uri)
            .patience(PATIENCE)
            .answer_bytes(ANSWER_BYTES);
        // With a port, a name is the host to connect to, and no server is looked for behind it.
        let answer = self.client.request_unsigned(&server, request).await;
        let answer = answer
            .inspect_err(|error| tracing::info!(url, %error, "a key's validity is not known"))
            .ok()?;
        let answer: Validity = serde_json::from_slice(&answer).ok()?;
        Some(answer.valid)
    }
}

/// Host and port of an https URL, and the path with the query.
fn place_of(url: &str) -> Option<(OwnedServerName, String)> {
    let rest = url.strip_prefix("https://")?;
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_graphic());
    if rest.len() > URL_BYTES || !is_plain {
        return None;
    }
    let rest = rest.split('#').next()?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let authority = if has_port {
        authority.to_owned()
    } else {
        format!("{authority}:443")
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let server = OwnedServerName::try_from(authority).ok()?;
    Some((server, format!("{slash}{path}")))
}

#[cfg(test)]
mod tests {
    use super::place_of;

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, path) in [
            ("https://a.example/b/c", "a.example:443", "/b/c"),
            ("https://a.example:8090", "a.example:8090", "/"),
            ("https://a.example?x=1#y", "a.example:443", "/?x=1"),
            ("https://[::1]/x", "[::1]:443", "/x"),
        ] {
            let (server, uri) = place_of(url).unwrap();
            assert_eq!((server.as_str(), &*uri), (host, path), "{url}");
        }
        for url in [
            "http://a.example/",
            "https://a@b/",
            "https:///x",
            "https://a b/",
            "x",
        ] {
            assert!(place_of(url).is_none(), "{url}");
        }
    }
}
