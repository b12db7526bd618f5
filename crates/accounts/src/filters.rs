//! Filters: a client uploads a definition once and then names it by number.
//! <https://spec.matrix.org/v1.19/client-server-api/#filtering>

use sha2::{Digest, Sha256};
use starling_db::{Error, Tx, Write};
use starling_store::UserNum;
use starling_store::accounts::lock_key;
use starling_store::filters;

use crate::Accounts;
use crate::json::{self, Refusal};

/// The largest definition, in bytes.
pub const FILTER_BYTES: usize = 65_536;

/// The most definitions that a user has.
pub const FILTERS_PER_USER: i64 = 10_000;

/// Why a filter was not stored.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The definition has more than [`FILTER_BYTES`] bytes.
    #[error("the filter has more than {FILTER_BYTES} bytes")]
    TooLarge,
    /// The definition is no JSON object, or is nested too deeply.
    #[error("the filter is not a JSON object")]
    NotAnObject,
    /// The user has [`FILTERS_PER_USER`] already.
    #[error("the user has {FILTERS_PER_USER} filters already")]
    TooMany,
    /// The database failed.
    #[error("the filter could not be stored")]
    Database(#[from] Error),
}

impl From<Refusal> for FilterError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge => Self::TooLarge,
            Refusal::NotAnObject => Self::NotAnObject,
        }
    }
}

impl Accounts {
    /// The number of a filter with this definition (JSON text): the one that it has, or a new one.
    ///
    /// # Errors
    /// Why it was not stored.
    pub async fn store_filter(
        &self,
        user: UserNum,
        definition: String,
    ) -> Result<i64, FilterError> {
        json::check_object(&definition, FILTER_BYTES)?;
        let hash: [u8; 32] = Sha256::digest(definition.as_bytes()).into();
        let write = Write::new("filter").locking([lock_key(user)]);
        let store = move |tx: &mut Tx<'_>| {
            filters::filter_store(tx, user, &hash, &definition, FILTERS_PER_USER)
        };
        let number: Option<i64> = self.store().db().write(write, store).await?;
        number.ok_or(FilterError::TooMany)
    }

    /// The definition (JSON text) of the filter with this number, if `user` has one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn filter(&self, user: UserNum, number: i64) -> Result<Option<String>, Error> {
        let read = move |tx: &mut Tx<'_>| filters::filter_read(tx, user, number);
        self.store().db().read("filter", read).await
    }
}
