//! Users' cross-signing keys: <https://spec.matrix.org/v1.19/client-server-api/#cross-signing>

use std::collections::BTreeMap;

use axum::extract;
use ruma_common::OwnedUserId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use starling_accounts::Session;
use starling_e2ee::{
    CrossSigningError, CrossSigningUpload, KeyUsage, MOST_SIGNED, SignatureError, SignedKeys,
};
use starling_events::id::parse_user_id;
use starling_http::{Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, Routes};

use super::keys::{invalid_signature, owner};
use crate::State;
use crate::interactive_auth::{AuthData, BY_PASSWORD, Guarded, Refusal, authorize};

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post(
            "/_matrix/client/v3/keys/device_signing/upload",
            Auth::User,
            upload,
        )
        .limit(Limited::AccountChange)
        .post(
            "/_matrix/client/v3/keys/signatures/upload",
            Auth::User,
            sign,
        )
        .limit(Limited::AccountChange)
}

#[derive(Deserialize)]
struct Upload {
    master_key: Option<Value>,
    self_signing_key: Option<Value>,
    user_signing_key: Option<Value>,
    auth: Option<AuthData>,
}

/// Who has no master key yet, or uploads the same keys again, needn't authenticate.
async fn upload(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Json(request): Json<Upload>,
) -> Result<JsonBytes, Refusal> {
    let owner = owner(&session);
    let keys = [
        (KeyUsage::Master, request.master_key),
        (KeyUsage::SelfSigning, request.self_signing_key),
        (KeyUsage::UserSigning, request.user_signing_key),
    ];
    let upload = CrossSigningUpload::read(&owner, keys).map_err(refusal)?;
    let uploaded = state
        .keys
        .upload_cross_signing(&owner, upload.clone(), false)
        .await;
    match uploaded {
        Err(CrossSigningError::Unconfirmed) => {}
        uploaded => {
            uploaded.map_err(refusal)?;
            return Ok(JsonBytes::empty());
        }
    }
    let guarded = Guarded {
        what: "POST /keys/device_signing/upload",
        session: Some(&session),
        flows: BY_PASSWORD,
    };
    authorize(&state, guarded, request.auth).await?;
    let uploaded = state.keys.upload_cross_signing(&owner, upload, true).await;
    uploaded.map_err(refusal)?;
    Ok(JsonBytes::empty())
}

fn refusal(error: CrossSigningError) -> MatrixError {
    let message = error.to_string();
    match error {
        CrossSigningError::Invalid(_) => MatrixError::invalid_param(message),
        CrossSigningError::Signature(_) => invalid_signature(message),
        CrossSigningError::NoMaster => MatrixError::missing_param(message),
        CrossSigningError::InUse | CrossSigningError::Unconfirmed => {
            MatrixError::forbidden(message)
        }
        CrossSigningError::Database(error) => MatrixError::internal(error),
    }
}

#[derive(Serialize)]
struct Signed {
    failures: BTreeMap<OwnedUserId, BTreeMap<String, Failure>>,
}

#[derive(Serialize)]
struct Failure {
    errcode: &'static str,
    error: String,
}

impl From<SignatureError> for Failure {
    fn from(error: SignatureError) -> Self {
        let errcode = match error {
            SignatureError::NotFound => "M_NOT_FOUND",
            SignatureError::OtherKey => "M_INVALID_PARAM",
            SignatureError::NoSignature | SignatureError::Invalid => "M_INVALID_SIGNATURE",
        };
        Self {
            errcode,
            error: error.to_string(),
        }
    }
}

async fn sign(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Json(request): Json<BTreeMap<String, BTreeMap<String, Value>>>,
) -> Result<Json<Signed>, MatrixError> {
    let count: usize = request.values().map(BTreeMap::len).sum();
    if count > MOST_SIGNED {
        return Err(MatrixError::too_large(format!(
            "More than {MOST_SIGNED} keys are signed at once"
        )));
    }
    let mut signed = SignedKeys::new();
    for (user_id, keys) in request {
        let user = parse_user_id(&user_id).map_err(|_| {
            MatrixError::invalid_param(
                "The content must name users by their ids, such as @alice:example.org",
            )
        })?;
        signed.insert(user, keys);
    }
    let failures = state.keys.upload_signatures(&owner(&session), signed).await;
    let failures = failures.map_err(MatrixError::internal)?.into_iter();
    let failures = failures.map(|(user, keys)| {
        let keys = keys.into_iter().map(|(key, error)| (key, error.into()));
        (user, keys.collect())
    });
    Ok(Json(Signed {
        failures: failures.collect(),
    }))
}
