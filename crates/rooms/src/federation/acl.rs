//! Server access control lists: which servers may take part in a room.
//! <https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms>

use std::collections::HashSet;
use std::net::Ipv4Addr;

use ruma_common::ServerName;
use starling_events::Value;

/// The type of the state that says which servers may take part.
pub(crate) const SERVER_ACL: &str = "m.room.server_acl";

/// What an `m.room.server_acl` event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAcl {
    allow_ip_literals: bool,
    allow: Patterns,
    deny: Patterns,
}

/// Patterns of names, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Patterns {
    /// Those that are names.
    names: HashSet<Box<str>>,
    /// Those with `*` or `?`.
    globs: Vec<Box<[u8]>>,
}

impl ServerAcl {
    /// Reads the content of the event. What has another form than it should counts as missing.
    pub(crate) fn parse(content: &[u8]) -> Self {
        let content = Value::new(content);
        let allow_ip_literals = content.get("allow_ip_literals").and_then(Value::as_bool);
        Self {
            allow_ip_literals: allow_ip_literals.unwrap_or(true),
            allow: Patterns::parse(content.get("allow")),
            deny: Patterns::parse(content.get("deny")),
        }
    }

    /// Whether this server may take part, whatever its port.
    pub(crate) fn allows(&self, server: &ServerName) -> bool {
        let host = server.host().to_ascii_lowercase();
        let is_literal = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
        if is_literal && !self.allow_ip_literals {
            return false;
        }
        !self.deny.match_name(&host) && self.allow.match_name(&host)
    }
}

impl Patterns {
    fn parse(list: Option<Value<'_>>) -> Self {
        let mut patterns = Self::default();
        let texts = list.into_iter().flat_map(Value::elements);
        for text in texts.filter_map(Value::as_str) {
            let text = text.to_ascii_lowercase();
            if text.contains(['*', '?']) {
                let mut glob = text.into_bytes();
                // Several stars are as good as one.
                glob.dedup_by(|next, last| *next == b'*' && *last == b'*');
                patterns.globs.push(glob.into());
            } else {
                patterns.names.insert(text.into());
            }
        }
        patterns
    }

    fn match_name(&self, name: &str) -> bool {
        let mut globs = self.globs.iter();
        self.names.contains(name) || globs.any(|glob| glob_matches(glob, name.as_bytes()))
    }
}

/// Whether a name is one of a pattern in which `*` stands for any number of signs and `?` for one.
/// <https://spec.matrix.org/v1.19/appendices/#glob-style-matching>
fn glob_matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    // What follows the last star, and where in the name it was tried last.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (glob.get(at), name.get(next)) {
            (Some(b'*'), _) => {
                at += 1;
                star = Some((at, next));
            }
            (Some(sign), Some(wanted)) if *sign == b'?' || sign == wanted => {
                at += 1;
                next += 1;
            }
            (None, None) => return true,
            _ => match star {
                Some((after, tried)) if tried < name.len() => {
                    at = after;
                    next = tried + 1;
                    star = Some((after, next));
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::ServerName;
    use serde_json::{Value, json};

    use super::{ServerAcl, glob_matches};

    fn allows(content: &Value, server: &str) -> bool {
        let acl = ServerAcl::parse(content.to_string().as_bytes());
        acl.allows(<&ServerName>::try_from(server).unwrap())
    }

    #[test]
    fn the_deny_list_comes_before_the_allow_list_and_all_else_is_denied() {
        let acl = json!({ "allow": ["*.good.example", "one.example"], "deny": ["bad.good.example", "evil*"] });
        for (server, allowed) in [
            ("a.good.example", true),
            ("good.example", false),
            ("one.example", true),
            ("bad.good.example", false),
            ("evil.good.example", false),
            ("other.example", false),
        ] {
            assert_eq!(allows(&acl, server), allowed, "{server}");
        }
    }

    #[test]
    fn case_and_port_make_no_difference() {
        let acl = json!({ "allow": ["*"], "deny": ["EVIL.example"] });
        for server in ["evil.example", "Evil.Example:8448", "evil.EXAMPLE:1"] {
            assert!(!allows(&acl, server), "{server}");
        }
        assert!(allows(&acl, "fine.example:8448"));
    }

    #[test]
    fn addresses_are_denied_where_it_says_so() {
        let addresses = ["127.0.0.1", "127.0.0.1:8448", "[::1]", "[2001:db8::1]:8448"];
        for (say, allowed) in [
            (json!(false), false),
            (json!(true), true),
            (json!("no"), true),
        ] {
            let acl = json!({ "allow": ["*"], "allow_ip_literals": say });
            for address in addresses {
                assert_eq!(allows(&acl, address), allowed, "{address} {say}");
            }
            assert!(allows(&acl, "1.2.3.example"));
        }
        assert!(!allows(
            &json!({ "allow": ["*"], "deny": ["[::1]"] }),
            "[::1]:1"
        ));
    }

    #[test]
    fn without_an_allow_list_nobody_is_allowed() {
        for acl in [
            json!({}),
            json!({ "allow": "*" }),
            json!({ "allow": [7, null] }),
        ] {
            assert!(!allows(&acl, "a.example"), "{acl}");
        }
        let acl = json!({ "allow": ["*"], "deny": "a.example" });
        assert!(allows(&acl, "a.example"));
    }

    #[test]
    fn globs_match_whole_names() {
        for (glob, name, matches) in [
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*", "a", true),
            ("*a*b", "xxaybzb", true),
            ("*a*b", "xxaybz", false),
            ("a*b*c", "abc", true),
            ("?", "", false),
            ("abc", "abcd", false),
            ("*.a", "a", false),
        ] {
            let matched = glob_matches(glob.as_bytes(), name.as_bytes());
            assert_eq!(matched, matches, "{glob} {name}");
        }
    }
}
