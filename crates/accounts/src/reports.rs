//! Reports: of users by users, and all of them as the administrator sees them.
//! <https://spec.matrix.org/v1.19/client-server-api/#reporting-content>

use ruma_common::UserId;
use starling_db::{Error, Tx, Write};
use starling_store::reports::{self, Report, Reported};
use starling_store::{UserNum, accounts};

use crate::Accounts;

impl Accounts {
    /// Keeps a report of a user of this server, by `by`. False when there is no such user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn report_user(
        &self,
        by: UserNum,
        user: &UserId,
        reason: String,
    ) -> Result<bool, Error> {
        let (user, now_ms) = (user.to_owned(), self.now_ms());
        let insert = move |tx: &mut Tx<'_>| {
            if accounts::account_find(tx, &user)?.is_none() {
                return Ok(false);
            }
            let reported = Reported::User(user.to_string());
            reports::report_insert(tx, by, &reported, &reason, now_ms)?;
            Ok(true)
        };
        self.store().db().write(Write::new("report"), insert).await
    }

    /// At most `limit` reports of all kinds, in the order in which they came; those above the number `after` (0: from the
    /// first).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn reports(&self, after: i64, limit: u32) -> Result<Vec<Report>, Error> {
        let list = move |tx: &mut Tx<'_>| reports::report_list(tx, after, limit);
        self.store().db().scan("report_list", list).await
    }

    /// Removes the report of this number. False when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_report(&self, number: i64) -> Result<bool, Error> {
        let delete = move |tx: &mut Tx<'_>| reports::report_delete(tx, number);
        let write = Write::new("report_delete");
        self.store().db().write(write, delete).await
    }
}
