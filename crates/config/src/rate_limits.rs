//! `[rate_limits]`: how often one caller may ask.

use serde::Deserialize;

use crate::error::Fault;
use crate::keys::{Key, Kind, Section, Value};

/// The most that a key takes.
const MOST: u32 = 1_000_000;

/// How often one caller may ask, by kind of action: in the long run, and at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RateLimits {
    /// Whether there are limits.
    pub enabled: bool,
    /// Requests of one user that are counted nowhere else, with all devices.
    pub requests_per_second: u32,
    /// How many of them at once.
    pub requests_burst: u32,
    /// Requests from one address without a session that are counted nowhere else.
    pub anonymous_requests_per_second: u32,
    /// How many of them at once.
    pub anonymous_requests_burst: u32,
    /// Events that one user sends, changes or redacts, and memberships that they end.
    pub messages_per_second: u32,
    /// How many of them at once.
    pub messages_burst: u32,
    /// Rooms that one user joins or knocks on.
    pub joins_per_minute: u32,
    /// How many of them at once.
    pub joins_burst: u32,
    /// Invites that one user sends.
    pub invites_per_minute: u32,
    /// How many of them at once.
    pub invites_burst: u32,
    /// Rooms that one user creates.
    pub rooms_per_minute: u32,
    /// How many of them at once.
    pub rooms_burst: u32,
    /// Changes of one user's profile, each of which may be told to many rooms.
    pub profile_changes_per_minute: u32,
    /// How many of them at once.
    pub profile_changes_burst: u32,
    /// Changes of one user's password, devices, push rules and account.
    pub account_changes_per_minute: u32,
    /// How many of them at once.
    pub account_changes_burst: u32,
    /// Logins from one address.
    pub logins_per_minute: u32,
    /// How many of them at once.
    pub logins_burst: u32,
    /// Wrong passwords for one account, from anywhere.
    pub login_failures_per_minute: u32,
    /// How many of them at once.
    pub login_failures_burst: u32,
    /// Requests to register from one address.
    pub registrations_per_minute: u32,
    /// How many of them at once.
    pub registrations_burst: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            requests_per_second: 25,
            requests_burst: 1000,
            anonymous_requests_per_second: 20,
            anonymous_requests_burst: 500,
            messages_per_second: 5,
            messages_burst: 100,
            joins_per_minute: 30,
            joins_burst: 50,
            invites_per_minute: 20,
            invites_burst: 50,
            rooms_per_minute: 10,
            rooms_burst: 20,
            profile_changes_per_minute: 10,
            profile_changes_burst: 20,
            account_changes_per_minute: 20,
            account_changes_burst: 30,
            logins_per_minute: 10,
            logins_burst: 30,
            login_failures_per_minute: 1,
            login_failures_burst: 10,
            registrations_per_minute: 10,
            registrations_burst: 30,
        }
    }
}

impl RateLimits {
    /// Refuses rates that let nobody in, and those that cannot be counted.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        for (key, value) in self.numbers() {
            if value == 0 {
                return Err(Fault::new(
                    key,
                    "lets nobody do this at all",
                    "write at least 1, or enabled = false for no limits",
                ));
            }
            if value > MOST {
                return Err(Fault::new(
                    key,
                    "is no limit",
                    "write at most 1000000, or enabled = false for no limits",
                ));
            }
        }
        Ok(())
    }

    fn numbers(&self) -> [(&'static str, u32); 22] {
        [
            ("rate_limits.requests_per_second", self.requests_per_second),
            ("rate_limits.requests_burst", self.requests_burst),
            (
                "rate_limits.anonymous_requests_per_second",
                self.anonymous_requests_per_second,
            ),
            (
                "rate_limits.anonymous_requests_burst",
                self.anonymous_requests_burst,
            ),
            ("rate_limits.messages_per_second", self.messages_per_second),
            ("rate_limits.messages_burst", self.messages_burst),
            ("rate_limits.joins_per_minute", self.joins_per_minute),
            ("rate_limits.joins_burst", self.joins_burst),
            ("rate_limits.invites_per_minute", self.invites_per_minute),
            ("rate_limits.invites_burst", self.invites_burst),
            ("rate_limits.rooms_per_minute", self.rooms_per_minute),
            ("rate_limits.rooms_burst", self.rooms_burst),
            (
                "rate_limits.profile_changes_per_minute",
                self.profile_changes_per_minute,
            ),
            (
                "rate_limits.profile_changes_burst",
                self.profile_changes_burst,
            ),
            (
                "rate_limits.account_changes_per_minute",
                self.account_changes_per_minute,
            ),
            (
                "rate_limits.account_changes_burst",
                self.account_changes_burst,
            ),
            ("rate_limits.logins_per_minute", self.logins_per_minute),
            ("rate_limits.logins_burst", self.logins_burst),
            (
                "rate_limits.login_failures_per_minute",
                self.login_failures_per_minute,
            ),
            (
                "rate_limits.login_failures_burst",
                self.login_failures_burst,
            ),
            (
                "rate_limits.registrations_per_minute",
                self.registrations_per_minute,
            ),
            ("rate_limits.registrations_burst", self.registrations_burst),
        ]
    }
}

/// One key of a pair.
const fn rate(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind: Kind::Integer,
        value: Value::Default(default),
        doc,
        built: true,
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "rate_limits",
    repeated: false,
    doc: "How often one caller may ask. Each kind of action has a rate that holds in the long run and a number that may come at \
          once. What has no session is counted by address (IPv6 by its /64): behind a proxy, name it under `trusted_proxies`, or \
          all callers count as one. Whoever exceeds a limit is told how long to wait.",
    keys: &[
        Key {
            name: "enabled",
            kind: Kind::Boolean,
            value: Value::Default("true"),
            doc: "Whether there are limits.",
            built: true,
        },
        rate(
            "requests_per_second",
            "25",
            "Requests of one user, on all devices, that none of the following keys counts: reading, waiting for what is new, typing, keys and so on.",
        ),
        rate(
            "requests_burst",
            "1000",
            "How many of these at once, after a pause.",
        ),
        rate(
            "anonymous_requests_per_second",
            "20",
            "Requests without a session, from one address, that none of the following keys counts.",
        ),
        rate(
            "anonymous_requests_burst",
            "500",
            "How many of these at once, after a pause.",
        ),
        rate(
            "messages_per_second",
            "5",
            "What one user does to rooms: sending events, state, redactions, leaving, kicks, bans, aliases. Administrators of the server are free of this limit and of the next three, as they and their bots clear up in rooms.",
        ),
        rate(
            "messages_burst",
            "100",
            "How many of these at once, after a pause.",
        ),
        rate(
            "joins_per_minute",
            "30",
            "Rooms that one user joins or knocks on.",
        ),
        rate(
            "joins_burst",
            "50",
            "How many of these at once, after a pause.",
        ),
        rate("invites_per_minute", "20", "Invites that one user sends."),
        rate(
            "invites_burst",
            "50",
            "How many of these at once, after a pause.",
        ),
        rate("rooms_per_minute", "10", "Rooms that one user creates."),
        rate(
            "rooms_burst",
            "20",
            "How many of these at once, after a pause.",
        ),
        rate(
            "profile_changes_per_minute",
            "10",
            "Changes of one user's profile; each may be told to many rooms.",
        ),
        rate(
            "profile_changes_burst",
            "20",
            "How many of these at once, after a pause.",
        ),
        rate(
            "account_changes_per_minute",
            "20",
            "Changes of one user's password, devices, push rules and account. Interactive authentication takes two or three requests for each.",
        ),
        rate(
            "account_changes_burst",
            "30",
            "How many of these at once, after a pause.",
        ),
        rate(
            "logins_per_minute",
            "10",
            "Logins from one address, whatever comes of them.",
        ),
        rate(
            "logins_burst",
            "30",
            "How many of these at once, after a pause.",
        ),
        rate(
            "login_failures_per_minute",
            "1",
            "Wrong passwords for one account, from anywhere. Whoever uses them up keeps the account's owner from logging in anew for so long; sessions go on.",
        ),
        rate(
            "login_failures_burst",
            "10",
            "How many of these at once, after a pause.",
        ),
        rate(
            "registrations_per_minute",
            "10",
            "Requests to register from one address. Interactive authentication takes two or three for each account.",
        ),
        rate(
            "registrations_burst",
            "30",
            "How many of these at once, after a pause.",
        ),
    ],
};
