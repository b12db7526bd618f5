//! Guests, as they come and as they become users: <https://spec.matrix.org/v1.19/client-server-api/#guest-access>

use serde::Deserialize;
use starling_accounts::{AccountKind, Authentication, NewAccount, NewDevice, Registered, Session};
use starling_http::MatrixError;

use super::register::refusal;
use crate::State;

/// What counts of a guest's request; the rest must be ignored.
#[derive(Deserialize)]
pub(super) struct GuestRequest {
    initial_device_display_name: Option<String>,
}

/// Lets a guest in, who has no name to choose and no password.
pub(super) async fn register_guest(
    state: &State,
    request: GuestRequest,
) -> Result<Registered, MatrixError> {
    if !state.config.registration.guests {
        return Err(MatrixError::guest_access_forbidden(
            "This server takes no guests",
        ));
    }
    let device = NewDevice {
        id: None,
        display_name: request.initial_device_display_name,
        refreshes: false,
    };
    let new = NewAccount {
        localpart: None,
        password: None,
        kind: AccountKind::Guest,
        is_admin: false,
        device: Some(device),
        registration_token: None,
    };
    state.accounts.register(new).await.map_err(refusal)
}

/// The guest who wants to become a user, and must say as whom.
pub(super) async fn guest_of(
    state: &State,
    token: &str,
    username: Option<&str>,
) -> Result<Session, MatrixError> {
    let username = username.ok_or_else(|| MatrixError::missing_param("The username is missing"))?;
    let whose = state.accounts.authenticate(token).await;
    match whose.map_err(MatrixError::internal)? {
        Authentication::Granted(guest)
            if guest.is_guest && guest.user_id.localpart() == username =>
        {
            Ok(guest)
        }
        Authentication::Locked(_) => Err(MatrixError::user_locked()),
        _ => Err(MatrixError::forbidden(
            "This is not the access token of a guest of this name",
        )),
    }
}
