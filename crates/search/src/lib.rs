//! Finding users: [`Search::users`] looks for them by the beginnings of the words of their names, among those whom the
//! asking user may see.
//!
//! What is searched is written by the transaction that changes it (`user_words` in the store), so nothing here lags
//! behind or has to be built up.

mod users;

use ruma_common::OwnedServerName;
use starling_store::Store;

pub use users::{FoundUser, MAX_USERS, UserResults};

/// Finds things. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Search {
    store: Store,
    server_name: OwnedServerName,
}

impl Search {
    /// Searches what is in `store`, of the server of this name.
    #[must_use]
    pub fn new(store: Store, server_name: OwnedServerName) -> Self {
        Self { store, server_name }
    }
}
