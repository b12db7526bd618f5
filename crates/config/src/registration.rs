//! `[registration]`: who may make an account.

use serde::Deserialize;

use crate::Secret;
use crate::keys::{Key, Kind, Section, Value};

/// Who may make an account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Registration {
    /// Whether anybody may, whoever holds a token, or nobody.
    pub mode: RegistrationMode,
    /// The secret with which tools make accounts through the admin API; empty switches that off.
    pub shared_secret: Secret,
    /// Whether guests are let in.
    pub guests: bool,
}

/// Who may make an account through the client API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationMode {
    /// Anybody.
    Open,
    /// Who holds a registration token.
    Token,
    /// Nobody.
    #[default]
    Closed,
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "registration",
    repeated: false,
    doc: "Who may make an account.",
    keys: &[
        Key {
            name: "mode",
            kind: Kind::Text,
            value: Value::Default("\"closed\""),
            doc: "\"open\": anybody; \"token\": who holds a registration token (`starling token create`); \"closed\": nobody but who is \
                  given an account with `starling user create`.",
            built: true,
        },
        Key {
            name: "shared_secret",
            kind: Kind::Secret,
            value: Value::Default("\"\""),
            doc: "Enables `/_synapse/admin/v1/register` (nonce and HMAC-SHA1, as existing tools use it) when not empty, on listeners \
                  that serve \"admin\".",
            built: true,
        },
        Key {
            name: "guests",
            kind: Kind::Boolean,
            value: Value::Default("false"),
            doc: "Whether guests are let in: accounts without name and password, which may look at rooms and speak where a room lets \
                  guests join.",
            built: true,
        },
    ],
};
