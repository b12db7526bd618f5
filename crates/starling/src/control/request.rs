//! What is asked of a server, and its answers. The password of a user passes here, so none of it is logged.

use serde::{Deserialize, Serialize};

/// The longest line, in bytes.
pub(super) const LINE_BYTES: u64 = 1 << 20;

/// What a command asks for.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Make an account.
    Create {
        name: String,
        password: String,
        admin: bool,
    },
    /// One page of the accounts: those after the one with this number, 0 for the first.
    List { after: i64 },
    /// Set a password, and end all sessions.
    SetPassword { name: String, password: String },
    /// Deactivate an account.
    Deactivate { name: String, erase: bool },
    /// Make a registration token; its text is made up without `token`.
    CreateToken {
        token: Option<String>,
        uses: Option<u32>,
        lifetime_s: Option<u64>,
    },
    /// One page of the registration tokens: those after the one with this text, empty for the first.
    ListTokens { after: String },
    /// End a registration token.
    RevokeToken { token: String },
    /// One page of the reports: those after the one with this number, 0 for the first.
    ListReports { after: i64 },
    /// Remove a report.
    DeleteReport { number: i64 },
    /// Delete a room.
    PurgeRoom { room_id: String, force: bool },
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// Done; the user id that it was done to.
    Done { user_id: String },
    /// A page of accounts; `next` is what to ask for after it.
    Accounts {
        accounts: Vec<ListedAccount>,
        next: Option<i64>,
    },
    /// The registration token that was made or ended.
    Token { token: String },
    /// A page of registration tokens; `next` is what to ask for after it.
    Tokens {
        tokens: Vec<ListedToken>,
        next: Option<String>,
    },
    /// A page of reports; `next` is what to ask for after it.
    Reports {
        reports: Vec<ListedReport>,
        next: Option<i64>,
    },
    /// The report that was removed.
    Report { number: i64 },
    /// The room that is being deleted, and what happens before.
    Room {
        room_id: String,
        before: Option<String>,
    },
    /// Not done, and why.
    Refused { reason: String },
}

/// An account in a list.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListedAccount {
    /// The user id.
    pub(crate) user_id: String,
    /// `admin`, `user` or `guest`.
    pub(crate) kind: String,
    /// `active`, `suspended`, `locked` or `deactivated`.
    pub(crate) state: String,
}

/// A registration token in a list.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListedToken {
    /// Its text.
    pub(crate) token: String,
    /// How often it was used, and may be.
    pub(crate) used: String,
    /// Until when it is good.
    pub(crate) expires: String,
}

/// A report in a list.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListedReport {
    /// Its number.
    pub(crate) number: i64,
    /// When it came.
    pub(crate) at: String,
    /// Who reported.
    pub(crate) by: String,
    /// What was reported.
    pub(crate) what: String,
    /// Why.
    pub(crate) reason: String,
}
