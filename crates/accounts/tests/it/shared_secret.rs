//! The check of requests that know the shared secret.

use std::collections::HashSet;
use std::time::Duration;

use starling_accounts::{SharedSecret, SharedSecretError, SharedSecretRequest};
use starling_runtime::{Chance, Clock};

/// A secret of which [`NONCE`] was just given out.
fn shared_secret() -> SharedSecret {
    let secret = SharedSecret::new("shared", Clock::simulated(0), Chance::seeded(1)).unwrap();
    assert_eq!(secret.nonce(), NONCE);
    secret
}

fn request<'a>(nonce: &'a str, mac: &'a str) -> SharedSecretRequest<'a> {
    SharedSecretRequest {
        nonce,
        user: "pepper_roni",
        password: "pizza",
        is_admin: true,
        user_type: None,
        mac,
    }
}

/// The first nonce of seed 1.
const NONCE: &str = "jYwZmaqMrNSlX60gPKycHTvZlm3X15sW";
/// These were made with Python: `hmac.new(b"shared", b"\0".join([nonce, …]), "sha1").hexdigest()`.
const MAC: &str = "909e83f3c77780187d1b202df3b79570c7db984d";
const MAC_NOT_ADMIN: &str = "dbe6a468ed5fa46e2c15a5b1b44e156f90d8a0b8";
const MAC_BOT: &str = "cfc7c167b5bfc14ab64b1a547d2986927a2a0984";

#[tokio::test(start_paused = true)]
async fn a_right_mac_is_believed_once() {
    let secret = shared_secret();
    assert_eq!(secret.check(&request(NONCE, MAC)), Ok(()));
    let again = secret.check(&request(NONCE, MAC));
    assert_eq!(again, Err(SharedSecretError::UnknownNonce));
}

/// The answer to the request as it is after `change`.
fn check(change: fn(&mut SharedSecretRequest<'_>), mac: &str) -> Result<(), SharedSecretError> {
    let secret = shared_secret();
    let mut request = request(NONCE, mac);
    change(&mut request);
    secret.check(&request)
}

#[tokio::test(start_paused = true)]
async fn the_mac_covers_every_field() {
    let wrong = Err(SharedSecretError::WrongMac);
    assert_eq!(check(|_| {}, &MAC.to_uppercase()), Ok(()));
    assert_eq!(check(|r| r.is_admin = false, MAC_NOT_ADMIN), Ok(()));
    assert_eq!(check(|r| r.user_type = Some("bot"), MAC_BOT), Ok(()));
    assert_eq!(check(|r| r.is_admin = false, MAC), wrong);
    assert_eq!(check(|r| r.user = "other", MAC), wrong);
    assert_eq!(check(|r| r.password = "other", MAC), wrong);
    assert_eq!(check(|r| r.user_type = Some("bot"), MAC), wrong);
    let shorter: String = MAC.chars().skip(1).collect();
    let no_digit = format!("{shorter}g");
    for mac in ["", "00", &shorter, &no_digit, &"ü".repeat(20)] {
        assert_eq!(check(|_| {}, mac), wrong);
    }
    // Fields that run into each other would make one message of two requests.
    let shifted = check(|r| r.user = "pepper_roni\0pizza", MAC);
    assert_eq!(shifted, Err(SharedSecretError::ZeroByte));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_mac_uses_up_the_nonce() {
    let secret = shared_secret();
    let wrong = secret.check(&request(NONCE, MAC_BOT));
    assert_eq!(wrong, Err(SharedSecretError::WrongMac));
    let right = secret.check(&request(NONCE, MAC));
    assert_eq!(right, Err(SharedSecretError::UnknownNonce));
}

#[tokio::test(start_paused = true)]
async fn a_nonce_is_good_for_a_minute() {
    let secret = shared_secret();
    tokio::time::advance(Duration::from_millis(59_999)).await;
    assert_eq!(secret.check(&request(NONCE, MAC)), Ok(()));

    let secret = shared_secret();
    tokio::time::advance(Duration::from_mins(1)).await;
    let late = secret.check(&request(NONCE, MAC));
    assert_eq!(late, Err(SharedSecretError::UnknownNonce));
}

#[tokio::test(start_paused = true)]
async fn nonces_are_bounded_in_number() {
    let answer_after = |others: usize| {
        let secret = shared_secret();
        let others: HashSet<String> = (0..others).map(|_| secret.nonce()).collect();
        assert!(!others.contains(NONCE));
        secret.check(&request(NONCE, MAC))
    };
    assert_eq!(answer_after(999), Ok(()));
    let oldest = answer_after(1_000);
    assert_eq!(oldest, Err(SharedSecretError::UnknownNonce));
}

#[tokio::test(start_paused = true)]
async fn an_empty_secret_is_none() {
    let none = SharedSecret::new("", Clock::simulated(0), Chance::seeded(1));
    assert!(none.is_none());
    assert!(!format!("{:?}", shared_secret()).contains("shared\""));
}
