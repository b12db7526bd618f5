//! Whose keys a request asks for, of a client or of another server.

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{OwnedUserId, ServerName};
use starling_events::id::parse_user_id;

use crate::{KeyClaim, KeyQuery, MOST_CLAIMED};

/// So many users are asked for at once.
const MOST_QUERIED: usize = 5_000;

/// Why no keys are looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskedError {
    /// More are asked for than may be.
    #[error("`{0}` has more than {1}")]
    TooMany(&'static str, String),
    /// A name is no user's id.
    #[error("`{0}` must name users by their ids, such as @alice:example.org")]
    NoUser(&'static str),
    /// Another server was asked for the keys of a user.
    #[error("`{0}` names a user of another server: ask that one")]
    Elsewhere(&'static str),
}

/// Whose keys are wanted, by the `device_keys` of a request; only users of `server`, if it is given.
///
/// # Errors
/// Why none are looked for.
pub fn read_query(
    asked: BTreeMap<String, Vec<String>>,
    server: Option<&ServerName>,
) -> Result<KeyQuery, AskedError> {
    let field = "device_keys";
    if asked.len() > MOST_QUERIED {
        let most = format!("{MOST_QUERIED} users");
        return Err(AskedError::TooMany(field, most));
    }
    let read = |(user, devices): (String, Vec<String>)| {
        Ok((user_of(field, &user, server)?, BTreeSet::from_iter(devices)))
    };
    asked.into_iter().map(read).collect()
}

/// Of which devices keys are claimed, by the `one_time_keys` of a request; only of users of `server`, if it is given.
///
/// # Errors
/// Why none are looked for.
pub fn read_claim(
    asked: BTreeMap<String, BTreeMap<String, String>>,
    server: Option<&ServerName>,
) -> Result<KeyClaim, AskedError> {
    let field = "one_time_keys";
    let count: usize = asked.values().map(BTreeMap::len).sum();
    if count > MOST_CLAIMED {
        let most = format!("{MOST_CLAIMED} devices");
        return Err(AskedError::TooMany(field, most));
    }
    let read = |(user, devices): (String, _)| Ok((user_of(field, &user, server)?, devices));
    asked.into_iter().map(read).collect()
}

fn user_of(
    field: &'static str,
    user_id: &str,
    server: Option<&ServerName>,
) -> Result<OwnedUserId, AskedError> {
    let user_id = parse_user_id(user_id).map_err(|_| AskedError::NoUser(field))?;
    match server {
        Some(server) if user_id.server_name() != server => Err(AskedError::Elsewhere(field)),
        _ => Ok(user_id),
    }
}
