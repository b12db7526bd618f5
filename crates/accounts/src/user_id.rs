//! User ids of this server: which new ones are allowed, and which one a login means.
//! <https://spec.matrix.org/v1.19/appendices/#user-identifiers>

use ruma_common::{OwnedUserId, ServerName, UserId};
use starling_runtime::Chance;

/// The longest user id, sigil and server name included.
const MOST_BYTES: usize = 255;

/// The letters of a made-up localpart: over 80 bits of chance.
const RANDOM_LETTERS: usize = 16;

/// The user id for a new account. Upper-case letters become lower-case; other characters outside the grammar, an empty
/// localpart and one that makes the id too long are refused.
pub(crate) fn new_user_id(localpart: &str, server: &ServerName) -> Option<OwnedUserId> {
    if localpart.len() > MOST_BYTES {
        return None;
    }
    let localpart = localpart.to_ascii_lowercase();
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'=' | b'-' | b'/' | b'+');
    if localpart.is_empty() || !localpart.bytes().all(allowed) {
        return None;
    }
    parse(&localpart, server)
}

/// A user id that nobody has chosen.
pub(crate) fn random_user_id(chance: &Chance, server: &ServerName) -> Option<OwnedUserId> {
    new_user_id(&chance.token(RANDOM_LETTERS), server)
}

/// The user ids of this server that somebody who logs in as `user` (a localpart or a whole id) may mean, in the order
/// in which they are tried: as it is written (old accounts may have upper-case letters), then in lower case.
pub(crate) fn login_user_ids(user: &str, server: &ServerName) -> Vec<OwnedUserId> {
    if user.len() > MOST_BYTES {
        return Vec::new();
    }
    let localpart = if user.starts_with('@') {
        match UserId::parse(user) {
            Ok(id) if id.server_name() == server => id.localpart().to_owned(),
            _ => return Vec::new(),
        }
    } else {
        user.to_owned()
    };
    let lower = localpart.to_ascii_lowercase();
    let mut ids: Vec<OwnedUserId> = parse(&localpart, server).into_iter().collect();
    if lower != localpart {
        ids.extend(parse(&lower, server));
    }
    ids
}

fn parse(localpart: &str, server: &ServerName) -> Option<OwnedUserId> {
    let id = format!("@{localpart}:{server}");
    if id.len() > MOST_BYTES || localpart.contains(':') {
        return None;
    }
    UserId::parse(id).ok()
}
