//! A user's push rules: <https://spec.matrix.org/v1.19/client-server-api/#push-rules>

use std::sync::Arc;

use ruma_common::OwnedUserId;
use starling_bus::Topic;
use starling_db::{Error, Positions, Tx, Write};
use starling_pushrules::{EditError, Ruleset};
use starling_store::UserNum;
use starling_store::accounts::lock_key;
use starling_store::push_rules::push_rules_read;

use crate::Accounts;

/// Why push rules were not changed.
#[derive(Debug, thiserror::Error)]
pub enum PushRulesError {
    /// The rules don't allow it.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The database failed.
    #[error("the push rules could not be stored")]
    Database(#[from] Error),
}

impl Accounts {
    /// The push rules of `user`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn push_rules(&self, user: UserNum) -> Result<Arc<Ruleset>, Error> {
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| store.push_rules(tx, user);
        self.store().db().read("push_rules", read).await
    }

    /// Changes the push rules of `user`, called `user_id`. What leaves them as they are is no change. `edit` may run
    /// twice.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub async fn edit_push_rules(
        &self,
        (user, user_id): (UserNum, OwnedUserId),
        edit: impl Fn(&mut Ruleset) -> Result<(), EditError> + Send + 'static,
    ) -> Result<(), PushRulesError> {
        let (store, bus) = (self.store().clone(), self.setup().bus.clone());
        // All of it in the second step: the first steps of a batch all come before the first second step, and another
        // change of the same rules may be in it.
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
            let before = push_rules_read(tx, user)?;
            let mut ruleset = before.clone();
            edit(&mut ruleset)?;
            if ruleset == before {
                return Ok(());
            }
            let position = positions.give()?;
            store.push_rules_set(tx, (user, user_id.as_str()), &ruleset, position)?;
            let bus = bus.clone();
            tx.after_commit(move || bus.advance(position, &[Topic::User(user.0)]));
            Ok(())
        };
        let write = Write::new("push_rules").locking([lock_key(user)]);
        self.store()
            .db()
            .write_placed(write, |_| Ok(()), place)
            .await
    }
}
