//! What the domain's errors are in the API.

use starling_http::MatrixError;
use starling_rooms::ServerReadError;

/// Reading rooms. A room that isn't here is answered as one that the server isn't in.
pub(crate) fn read(error: ServerReadError) -> MatrixError {
    let message = error.to_string();
    match error {
        ServerReadError::NotInRoom | ServerReadError::Denied => MatrixError::forbidden(message),
        ServerReadError::NotFound => MatrixError::not_found(message),
        ServerReadError::Db(error) => MatrixError::internal(error),
    }
}
