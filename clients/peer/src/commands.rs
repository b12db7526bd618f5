//! What a test may ask for.

use std::sync::Arc;

use matrix_sdk::RoomMemberships;
use matrix_sdk::authentication::matrix::MatrixAuth;
use matrix_sdk::encryption::identities::{Device, UserIdentity};
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::api::client::account::register;
use matrix_sdk::ruma::api::client::room::create_room;
use matrix_sdk::ruma::api::client::uiaa::{
    AuthData, Dummy, MatrixUserIdentifier, Password, UserIdentifier,
};
use matrix_sdk::ruma::events::InitialStateEvent;
use matrix_sdk::ruma::events::key::verification::VerificationMethod;
use matrix_sdk::ruma::events::room::encryption::RoomEncryptionEventContent;
use matrix_sdk::ruma::events::room::message::RoomMessageEventContent;
use matrix_sdk::ruma::{
    OwnedDeviceId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomOrAliasId, RoomVersionId,
    TransactionId, UInt,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::failure::Failure;
use crate::peer::{AFTER_ERROR, Peer, describe};

/// How many events a page of history has: less than a room's, so that there are several.
const PAGE: u32 = 50;

/// A command, by `do`, and what it needs, in `with`.
#[derive(Deserialize)]
#[serde(tag = "do", content = "with", rename_all = "camelCase")]
pub(crate) enum Command {
    Register {
        username: String,
        password: String,
    },
    Login {
        identifier: Identifier,
        password: String,
    },
    Logout {},
    Start {},
    CreateRoom(NewRoom),
    Invite {
        room: OwnedRoomId,
        user: OwnedUserId,
    },
    Join {
        room: OwnedRoomId,
        #[serde(default)]
        via: Vec<OwnedServerName>,
    },
    Leave {
        room: OwnedRoomId,
    },
    Say {
        room: OwnedRoomId,
        body: String,
    },
    /// All of a room that the server gives, oldest first.
    History {
        room: OwnedRoomId,
    },
    /// Who is in a room, once the client knows that the room is encrypted.
    MembersIfEncrypted {
        room: OwnedRoomId,
    },
    /// The devices that the client knows of a user.
    Devices {
        user: OwnedUserId,
    },
    DeleteDevice {
        device: OwnedDeviceId,
        password: String,
    },
    /// Makes keys for cross-signing and publishes them.
    CrossSign {
        password: String,
    },
    /// What the client thinks of a user's device.
    DeviceTrust {
        user: OwnedUserId,
        device: OwnedDeviceId,
    },
    /// What the client thinks of a user's identity.
    UserTrust {
        user: OwnedUserId,
    },
    /// Asks a user, or one of their devices, to verify each other.
    AskToVerify {
        user: OwnedUserId,
        device: Option<OwnedDeviceId>,
    },
    AcceptToVerify {
        id: String,
    },
    StartEmoji {
        id: String,
    },
    SameEmoji {
        id: String,
    },
    /// Makes the secret storage and a backup, and waits until all keys are in it; the recovery key.
    BackUp {},
    /// What a fresh device does with a recovery key: it signs itself, and fetches the keys of all messages
    /// that are in the backup by now.
    Recover {
        key: String,
    },
    /// Waits until all keys are in the backup.
    BackedUp {},
}

/// Who logs in.
#[derive(Deserialize)]
pub(crate) struct Identifier {
    user: String,
}

/// An encrypted room.
#[derive(Deserialize)]
pub(crate) struct NewRoom {
    #[serde(default)]
    public: bool,
    version: Option<RoomVersionId>,
    #[serde(default)]
    invite: Vec<OwnedUserId>,
}

impl Command {
    /// The answer.
    pub(crate) async fn run(self, peer: Arc<Peer>) -> Result<Value, Failure> {
        match self {
            Self::Register { username, password } => {
                register(&peer.client.matrix_auth(), username, password).await
            }
            Self::Login {
                identifier,
                password,
            } => {
                let login = peer
                    .client
                    .matrix_auth()
                    .login_username(identifier.user, &password)
                    .send()
                    .await?;
                Ok(
                    json!({"user_id": login.user_id, "device_id": login.device_id, "token": login.access_token}),
                )
            }
            Self::Logout {} => done(peer.client.matrix_auth().logout().await),
            Self::Start {} => {
                peer.start().await;
                Ok(Value::Null)
            }
            Self::CreateRoom(room) => Ok(json!(
                peer.client.create_room(room.request()).await?.room_id()
            )),
            Self::Invite { room, user } => done(peer.room(&room)?.invite_user_by_id(&user).await),
            Self::Join { room, via } => {
                let room: &RoomOrAliasId = (&*room).into();
                Ok(json!(
                    peer.client
                        .join_room_by_id_or_alias(room, &via)
                        .await?
                        .room_id()
                ))
            }
            Self::Leave { room } => done(peer.room(&room)?.leave().await),
            Self::Say { room, body } => talk(&peer, room, body).await,
            Self::History { room } => history(&peer, room).await,
            Self::MembersIfEncrypted { room } => members_if_encrypted(&peer, room).await,
            Self::Devices { user } => devices(&peer, user).await,
            Self::DeleteDevice { device, password } => delete_device(&peer, device, password).await,
            Self::CrossSign { password } => cross_sign(&peer, password).await,
            Self::DeviceTrust { user, device } => device_trust(&peer, user, device).await,
            Self::UserTrust { user } => user_trust(&peer, user).await,
            Self::AskToVerify { user, device } => ask_to_verify(&peer, user, device).await,
            Self::AcceptToVerify { id } => done(
                peer.verifications
                    .request(&id)?
                    .accept_with_methods(vec![VerificationMethod::SasV1])
                    .await,
            ),
            Self::StartEmoji { id } => done(peer.verifications.request(&id)?.start_sas().await),
            Self::SameEmoji { id } => done(peer.verifications.shown(&id)?.confirm().await),
            Self::BackUp {} => Ok(json!(
                peer.client
                    .encryption()
                    .recovery()
                    .enable()
                    .wait_for_backups_to_upload()
                    .await?
            )),
            Self::Recover { key } => recover(&peer, &key).await,
            Self::BackedUp {} => done(
                peer.client
                    .encryption()
                    .backups()
                    .wait_for_steady_state()
                    .await,
            ),
        }
    }
}

impl NewRoom {
    fn request(self) -> create_room::v3::Request {
        let encryption = RoomEncryptionEventContent::with_recommended_defaults();
        let mut request = create_room::v3::Request::new();
        let preset = if self.public {
            create_room::v3::RoomPreset::PublicChat
        } else {
            create_room::v3::RoomPreset::PrivateChat
        };
        request.preset = Some(preset);
        request.initial_state =
            vec![InitialStateEvent::with_empty_state_key(encryption).to_raw_any()];
        request.room_version = self.version;
        request.invite = self.invite;
        request
    }
}

fn done<T, E: Into<Failure>>(result: Result<T, E>) -> Result<Value, Failure> {
    result.map(|_| Value::Null).map_err(Into::into)
}

async fn register(auth: &MatrixAuth, username: String, password: String) -> Result<Value, Failure> {
    let mut request = register::v3::Request::new();
    request.username = Some(username);
    request.password = Some(password);
    request.auth = Some(AuthData::Dummy(Dummy::new()));
    let made = auth.register(request).await?;
    Ok(json!({"user_id": made.user_id, "device_id": made.device_id, "token": made.access_token}))
}

async fn recover(peer: &Peer, key: &str) -> Result<Value, Failure> {
    let encryption = peer.client.encryption();
    encryption.recovery().recover(key).await?;
    for room in peer.client.joined_rooms() {
        encryption
            .backups()
            .download_room_keys_for_room(room.room_id())
            .await?;
    }
    Ok(Value::Null)
}

/// Says something, also if the server goes away meanwhile: then again, as the same transaction, until it is said.
async fn talk(peer: &Peer, room: OwnedRoomId, body: String) -> Result<Value, Failure> {
    let room = peer.room(&room)?;
    let transaction = TransactionId::new();
    loop {
        let content = RoomMessageEventContent::text_plain(body.clone());
        match room
            .send(content)
            .with_transaction_id(transaction.clone())
            .await
        {
            Ok(sent) => return Ok(json!(sent.response.event_id)),
            Err(error) if error.as_client_api_error().is_some() => return Err(error.into()),
            Err(_) => sleep(AFTER_ERROR).await,
        }
    }
}

async fn history(peer: &Peer, room: OwnedRoomId) -> Result<Value, Failure> {
    let room = peer.room(&room)?;
    let mut events = Vec::new();
    let mut from = None;
    loop {
        let mut options = MessagesOptions::backward().from(from.as_deref());
        options.limit = UInt::from(PAGE);
        let page = room.messages(options).await?;
        events.extend(
            page.chunk
                .iter()
                .map(|event| describe("history", room.room_id(), event)),
        );
        if page.end.is_none() {
            events.reverse();
            return Ok(Value::Array(events));
        }
        from = page.end;
    }
}

async fn members_if_encrypted(peer: &Peer, room: OwnedRoomId) -> Result<Value, Failure> {
    let Some(room) = peer.client.get_room(&room) else {
        return Ok(Value::Null);
    };
    if !room.encryption_state().is_encrypted() {
        return Ok(Value::Null);
    }
    let mut members: Vec<_> = room
        .members_no_sync(RoomMemberships::JOIN)
        .await?
        .iter()
        .map(|member| member.user_id().to_owned())
        .collect();
    members.sort();
    Ok(json!(members))
}

async fn devices(peer: &Peer, user: OwnedUserId) -> Result<Value, Failure> {
    let known = peer.client.encryption().get_user_devices(&user).await?;
    let mut ids: Vec<_> = known.keys().map(|id| id.as_str().to_owned()).collect();
    ids.sort();
    Ok(json!(ids))
}

async fn delete_device(
    peer: &Peer,
    device: OwnedDeviceId,
    password: String,
) -> Result<Value, Failure> {
    let devices = [device];
    let Err(error) = peer.client.delete_devices(&devices, None).await else {
        return Ok(Value::Null);
    };
    let Some(info) = error.as_uiaa_response() else {
        return Err(error.into());
    };
    let auth = own_password(peer, password, info.session.clone())?;
    done(peer.client.delete_devices(&devices, Some(auth)).await)
}

async fn cross_sign(peer: &Peer, password: String) -> Result<Value, Failure> {
    let encryption = peer.client.encryption();
    let Err(error) = encryption.bootstrap_cross_signing(None).await else {
        return Ok(Value::Null);
    };
    let Some(info) = error.as_uiaa_response() else {
        return Err(error.into());
    };
    let auth = own_password(peer, password, info.session.clone())?;
    done(encryption.bootstrap_cross_signing(Some(auth)).await)
}

fn own_password(
    peer: &Peer,
    password: String,
    session: Option<String>,
) -> Result<AuthData, Failure> {
    let user = peer
        .client
        .user_id()
        .ok_or_else(|| Failure::new("nobody is logged in"))?;
    let identifier = UserIdentifier::Matrix(MatrixUserIdentifier::new(user.as_str().to_owned()));
    let mut auth = Password::new(identifier, password);
    auth.session = session;
    Ok(AuthData::Password(auth))
}

async fn device_trust(
    peer: &Peer,
    user: OwnedUserId,
    device: OwnedDeviceId,
) -> Result<Value, Failure> {
    let known = peer.client.encryption().get_device(&user, &device).await?;
    let describe = |device: Device| json!({"byOwner": device.is_cross_signed_by_owner(), "verified": device.is_verified_with_cross_signing()});
    Ok(known.map_or(Value::Null, describe))
}

async fn user_trust(peer: &Peer, user: OwnedUserId) -> Result<Value, Failure> {
    let identity = peer.client.encryption().get_user_identity(&user).await?;
    let verified = identity.as_ref().is_some_and(UserIdentity::is_verified);
    Ok(json!({"known": identity.is_some(), "verified": verified}))
}

async fn ask_to_verify(
    peer: &Peer,
    user: OwnedUserId,
    device: Option<OwnedDeviceId>,
) -> Result<Value, Failure> {
    let encryption = peer.client.encryption();
    let methods = vec![VerificationMethod::SasV1];
    let unknown = || {
        Failure::new(format!(
            "the client knows no such device or identity of {user}"
        ))
    };
    let request = if let Some(device) = device {
        let device = encryption
            .get_device(&user, &device)
            .await?
            .ok_or_else(unknown)?;
        device.request_verification_with_methods(methods).await?
    } else {
        let identity = encryption
            .get_user_identity(&user)
            .await?
            .ok_or_else(unknown)?;
        identity.request_verification_with_methods(methods).await?
    };
    Ok(json!(Arc::clone(&peer.verifications).follow(request)))
}
