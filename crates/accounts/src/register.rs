//! Registration: a new account, and its first session, in one transaction.
//! <https://spec.matrix.org/v1.19/client-server-api/#account-registration-and-management>

use ruma_common::{OwnedUserId, UserId};
use starling_db::{Error, Tx, Write};
use starling_store::UserNum;
use starling_store::accounts::{self, AccountInsert, AccountKind};
use starling_store::names::Name;

use crate::Accounts;
use crate::login::LoggedIn;
use crate::password::{self, HashError, PasswordError};
use crate::registration_tokens::{ShownToken, use_shown};
use crate::sessions::{self, DeviceError, NewDevice, NewSession};
use crate::user_id::{new_user_id, random_user_id};

/// An account that is to be.
pub struct NewAccount {
    /// The name that was asked for; one is made up when there is none.
    pub localpart: Option<String>,
    /// `None`: nobody can log in by password.
    pub password: Option<String>,
    /// User or guest.
    pub kind: AccountKind,
    /// Whether the user is an administrator of this server.
    pub is_admin: bool,
    /// The device of the first session; `None` begins none.
    pub device: Option<NewDevice>,
    /// The registration token that is used by this.
    pub registration_token: Option<ShownToken>,
}

/// An account that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The user.
    pub user: UserNum,
    /// The user's name.
    pub user_id: OwnedUserId,
    /// The first session, if one was asked for.
    pub login: Option<LoggedIn>,
}

/// Why there is no such account now.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The localpart is empty, too long, or holds characters that user ids don't.
    #[error("no user id can have this name")]
    InvalidName,
    /// Somebody has, or had, this name.
    #[error("the name is taken")]
    NameInUse,
    /// No account may have this password.
    #[error("the password is not allowed")]
    Password(#[from] PasswordError),
    /// The registration token is not good (any longer).
    #[error("the registration token is not good")]
    RegistrationToken,
    /// The device cannot be.
    #[error("no such device can be")]
    Device(#[from] DeviceError),
    /// The password could not be hashed.
    #[error("the password could not be stored")]
    Hash(#[from] HashError),
    /// The database failed.
    #[error("the account could not be stored")]
    Database(#[from] Error),
}

impl Accounts {
    /// Whether somebody may register as `localpart` now.
    ///
    /// # Errors
    /// [`RegisterError::InvalidName`], [`RegisterError::NameInUse`] or [`RegisterError::Database`].
    pub async fn check_available(&self, localpart: &str) -> Result<(), RegisterError> {
        let user_id =
            new_user_id(localpart, self.server_name()).ok_or(RegisterError::InvalidName)?;
        self.check_free(&user_id).await
    }

    /// Makes an account. Whether the one who asks may have it, is the caller's to decide.
    ///
    /// # Errors
    /// Why there is no such account now.
    pub async fn register(&self, new: NewAccount) -> Result<Registered, RegisterError> {
        let setup = self.setup();
        let user_id = match &new.localpart {
            Some(localpart) => new_user_id(localpart, self.server_name()),
            None => random_user_id(&setup.chance, self.server_name()),
        };
        let user_id = user_id.ok_or(RegisterError::InvalidName)?;
        let device = match new.device {
            Some(device) => Some(self.new_session(device)?),
            None => None,
        };
        if let Some(password) = &new.password {
            password::check(password)?;
        }
        // Before the costly hash; what counts is the insert.
        self.check_free(&user_id).await?;
        let password_hash = match new.password {
            Some(password) => {
                let cost = &setup.password_cost;
                Some(password::hash(&setup.cpu, &setup.chance, cost, password).await?)
            }
            None => None,
        };
        let login = device.map(|(session, tokens)| {
            let login = LoggedIn::new(user_id.clone(), session.device_id.clone(), tokens);
            (session, login)
        });
        let (session, login) = login.unzip();
        let row = Row {
            kind: new.kind,
            is_admin: new.is_admin,
            password_hash,
            registration_token: new.registration_token,
        };
        let user = self.insert(&user_id, row, session).await?;
        Ok(Registered {
            user,
            user_id,
            login,
        })
    }

    async fn check_free(&self, user_id: &UserId) -> Result<(), RegisterError> {
        let user_id = user_id.to_owned();
        let find = move |tx: &mut Tx<'_>| accounts::account_find(tx, &user_id);
        match self.store().db().read("account_available", find).await? {
            Some(_) => Err(RegisterError::NameInUse),
            None => Ok(()),
        }
    }

    async fn insert(
        &self,
        user_id: &UserId,
        row: Row,
        session: Option<NewSession>,
    ) -> Result<UserNum, RegisterError> {
        let names = self.store().names().clone();
        let user_id = user_id.to_owned();
        let db = self.store().db();
        names
            .intern_ahead(db, vec![Name::User(user_id.clone())])
            .await?;
        let created_at = self.now_ms();
        db.write(Write::new("register"), move |tx| {
            let user = names.user_intern(tx, &user_id)?;
            let account = AccountInsert {
                user,
                kind: row.kind,
                is_admin: row.is_admin,
                password_hash: row.password_hash.as_deref(),
                created_at,
            };
            if !accounts::account_insert(tx, &account)? {
                return Err(RegisterError::NameInUse);
            }
            if let Some(shown) = &row.registration_token
                && !use_shown(tx, shown, created_at)?
            {
                return Err(RegisterError::RegistrationToken);
            }
            if let Some(session) = &session {
                // A new account has no session that could end with this.
                sessions::begin(tx, user, session)?;
            }
            Ok(user)
        })
        .await
    }
}

/// What a new account's row says.
struct Row {
    kind: AccountKind,
    is_admin: bool,
    password_hash: Option<String>,
    registration_token: Option<ShownToken>,
}
