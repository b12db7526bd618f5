//! Who is meant: <https://spec.matrix.org/v1.19/client-server-api/#identifier-types>

use http::StatusCode;
use serde::Deserialize;
use starling_http::MatrixError;

/// An identifier of a user.
#[derive(Deserialize)]
pub(crate) struct Identifier {
    #[serde(rename = "type")]
    kind: String,
    user: Option<String>,
}

/// The user that is named by an identifier, or in the deprecated way by `user`: a localpart or a whole id.
pub(crate) fn claimed_user(
    identifier: Option<Identifier>,
    user: Option<String>,
) -> Result<String, MatrixError> {
    let user = match identifier {
        None => user,
        Some(Identifier { kind, user }) => match kind.as_str() {
            "m.id.user" => user,
            // No account has a third-party identifier.
            "m.id.thirdparty" | "m.id.phone" => {
                return Err(MatrixError::forbidden("Wrong user name or password"));
            }
            _ => {
                return Err(MatrixError::new(
                    StatusCode::BAD_REQUEST,
                    "M_UNKNOWN",
                    "This server does not know this type of identifier",
                ));
            }
        },
    };
    user.ok_or_else(|| MatrixError::missing_param("The user is missing"))
}
