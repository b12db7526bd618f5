//! Credentials for a TURN server, good for a while: the time when they end and the user's id, and what a secret that is
//! shared with the TURN server makes of it. <https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use ruma_common::UserId;
use sha1::Sha1;

/// What a client shows a TURN server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnCredentials {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl TurnCredentials {
    /// Credentials for `user` that are good until `expires_s` (seconds since 1970), by the secret that the TURN server
    /// knows too (its `static-auth-secret`): HMAC-SHA1, in base64.
    #[must_use]
    pub fn until(expires_s: i64, user: &UserId, secret: &str) -> Self {
        let username = format!("{expires_s}:{user}");
        let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes());
        // HMAC takes keys of any length.
        let mac = mac.map(|mac| mac.chain_update(username.as_bytes()).finalize());
        let password = mac.map_or_else(|_| String::new(), |mac| STANDARD.encode(mac.into_bytes()));
        Self { username, password }
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::user_id;

    use super::TurnCredentials;

    #[test]
    fn the_password_is_what_the_secret_makes_of_the_name() {
        let made = TurnCredentials::until(1_443_779_631, user_id!("@user:example.com"), "secret");
        assert_eq!(made.username, "1443779631:@user:example.com");
        assert_eq!(made.password, "Xm0lErj7sx/fpxQLH9q1I3FF0uw=");
    }
}
