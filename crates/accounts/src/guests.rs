//! Guests who become users, and stay who they are. <https://spec.matrix.org/v1.19/client-server-api/#guest-access>

use std::sync::Arc;

use starling_db::{Positions, Tx, Write};
use starling_store::accounts::{self, lock_key};
use starling_store::devices;

use crate::login::LoggedIn;
use crate::password;
use crate::registration_tokens::{ShownToken, use_shown};
use crate::sessions::{self, NewDevice, Session};
use crate::{Accounts, RegisterError, Registered};

/// A guest's account that is to be a user's.
pub struct GuestUpgrade {
    /// The password.
    pub password: String,
    /// The device of the session that begins with this; `None` begins none.
    pub device: Option<NewDevice>,
    /// The registration token that is used by this.
    pub registration_token: Option<ShownToken>,
}

impl Accounts {
    /// Makes a guest's account a user's. The guest's sessions go on, as the user's; rooms and profile stay.
    ///
    /// # Errors
    /// Why it is no user's; [`RegisterError::NameInUse`] when it is no guest's any longer.
    pub async fn upgrade_guest(
        &self,
        guest: &Session,
        upgrade: GuestUpgrade,
    ) -> Result<Registered, RegisterError> {
        let setup = self.setup();
        let begun = upgrade.device.map(|device| self.new_session(device));
        let (session, tokens) = begun.transpose()?.unzip();
        password::check(&upgrade.password)?;
        let cost = &setup.password_cost;
        let hash = password::hash(&setup.cpu, &setup.chance, cost, upgrade.password).await?;
        let (user, user_id) = (guest.user, guest.user_id.clone());
        let login = session.as_ref().zip(tokens).map(|(session, tokens)| {
            LoggedIn::new(user_id.clone(), session.device_id.clone(), tokens)
        });
        let (shown, now_ms) = (upgrade.registration_token, self.now_ms());
        let work = move |tx: &mut Tx<'_>| {
            if !accounts::guest_upgrade(tx, user, &hash)? {
                return Err(RegisterError::NameInUse);
            }
            if let Some(shown) = &shown
                && !use_shown(tx, shown, now_ms)?
            {
                return Err(RegisterError::RegistrationToken);
            }
            let guests = devices::user_sessions(tx, user, None)?;
            let openings = session.iter().map(|new| sessions::begin(tx, user, new));
            let ended: Vec<_> = openings.collect::<Result<_, _>>()?;
            Ok((guests, ended))
        };
        let shared = Arc::clone(&self.shared);
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, (guests, ended)| {
            sessions::place_ended(tx, positions, &shared, user, ended)?;
            let shared = Arc::clone(&shared);
            let guests: Vec<devices::EndedSession> = guests;
            // In memory they are a guest's still.
            tx.after_commit(move || {
                for guest in guests {
                    shared.sessions.forget(&guest.tokens);
                }
            });
            Ok(())
        };
        let write = Write::new("guest_upgrade").locking([lock_key(user)]);
        self.store().db().write_placed(write, work, place).await?;
        Ok(Registered {
            user,
            user_id,
            login,
        })
    }
}
